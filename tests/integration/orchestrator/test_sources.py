"""Whole runs on repositories from elsewhere: remotes, uploads, and what worktrees hold."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from autopack_api.orchestrator.v1 import batch_pb2
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client.uploads import make_bundle, upload_bundle, upload_for, upload_repository
from autopack_kit.auth import LOCAL_PRINCIPAL
from autopack_kit.errors import (
    AutopackError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from autopack_kit.identity import Scope
from autopack_orchestrator.core.isolation import SandboxMode

from tests.integration.orchestrator.git_servers import BACKEND, TOKEN, HttpGit, http_git
from tests.service.orchestrator.bench import Bench, bench, fingerprint, git, repository, run, shell

needs_backend = pytest.mark.skipif(not BACKEND.exists(), reason="git http-backend is not installed")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "calc")


@pytest.fixture
def served(tmp_path: Path, repo: Path) -> Iterator[HttpGit]:
    """The repository on a server that wants a token."""
    bare = tmp_path / "served" / "private.git"
    git(tmp_path, "clone", "-q", "--bare", str(repo), str(bare))
    git(bare, "config", "http.receivepack", "true")
    (tmp_path / "credentials").mkdir(mode=0o700)
    (tmp_path / "credentials" / "forge").touch(mode=0o600)
    (tmp_path / "credentials" / "forge").write_text(TOKEN)
    with http_git(tmp_path / "served") as server:
        yield server


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as running:
        yield running


async def finish(stack: Bench, spec: batch_pb2.BatchSpec) -> list[pb.Run]:
    """Create the batch and wait for its end; its runs in order."""
    batch = (await stack.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))).batch
    await stack.watch(batch.batch_id)
    return [await stack.get(f"{batch.batch_id}.{item.name}") for item in spec.runs]


def on_remote(server: HttpGit, *runs: batch_pb2.RunSpec, **fields: Any) -> batch_pb2.BatchSpec:
    remote = batch_pb2.RemoteSource(url=server.url("private.git"), credential="forge")
    return batch_pb2.BatchSpec(remote=remote, runs=runs, **fields)


@needs_backend
async def test_runs_on_a_remote_push_their_branches_and_never_see_its_token(tmp_path: Path, served: HttpGit) -> None:
    settings: dict[str, Any] = {"remote_hosts": (served.address,), "credentials_dir": tmp_path / "credentials"}
    look = f"env > env.txt; cat {tmp_path}/credentials/forge > seen.txt 2>&1 || true; echo '# more' >> src/calc.py"
    async with bench(tmp_path, **settings) as stack:
        runs = [run("one", look), run("two")]
        done = await finish(stack, on_remote(served, *runs, publish=batch_pb2.PUBLISH_PUSH))
        batch = (await stack.client.orchestrator.GetBatch(pb.GetBatchRequest(batch_id=done[0].batch_id))).batch
        assert [item.state for item in done] == [pb.RUN_STATE_SUCCEEDED] * 2
        assert batch.repository == served.url("private.git")
        for item in done:
            assert git(tmp_path / "served/private.git", "rev-parse", item.branch) == item.head_commit
        assert TOKEN not in git(tmp_path / "served/private.git", "show", f"{done[0].branch}:env.txt")
        assert "AUTOPACK_GIT_SECRET" not in git(tmp_path / "served/private.git", "show", f"{done[0].branch}:env.txt")
        clones = [path for path in served.requests if path.endswith("/git-upload-pack")]
        assert len(clones) <= 3, "the second run uses the mirror that the first batch made"


@needs_backend
async def test_a_remote_that_is_deleted_while_runs_wait_does_not_stop_them(tmp_path: Path, served: HttpGit) -> None:
    settings: dict[str, Any] = {"remote_hosts": (served.address,), "credentials_dir": tmp_path / "credentials"}
    gate = tmp_path / "gate"
    gate.mkdir()
    agent = f"while [ ! -e {gate}/open ]; do sleep 0.1; done; echo '# more' >> src/calc.py"
    async with bench(tmp_path, **settings, **unconfined()) as stack:
        spec = on_remote(served, run("one", agent), run("two"), max_concurrent_runs=1)
        batch = (await stack.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))).batch
        await stack.until(batch.batch_id, pb.EVENT_KIND_STATE, to="running")
        shutil.rmtree(tmp_path / "served" / "private.git")
        (gate / "open").touch()
        await stack.watch(batch.batch_id)
        done = [await stack.get(f"{batch.batch_id}.{name}") for name in ("one", "two")]
        assert [item.state for item in done] == [pb.RUN_STATE_SUCCEEDED] * 2
        assert b"# more" in await stack.patch(done[1].run_id)


def unconfined() -> dict[str, Any]:
    """Settings with which an agent sees the files of a test."""
    return {"sandbox": SandboxMode.NONE}


async def test_a_path_that_is_deleted_while_runs_wait_does_not_stop_them_and_the_patch_is_kept(
    tmp_path: Path, repo: Path
) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    agent = f"while [ ! -e {gate}/open ]; do sleep 0.1; done; echo '# more' >> src/calc.py"
    async with bench(tmp_path, **unconfined()) as stack:
        runs = [run("one", agent), run("two")]
        batch = await stack.submit(repo, *runs, max_concurrent_runs=1)
        await stack.until(batch.batch_id, pb.EVENT_KIND_STATE, to="running")
        shutil.rmtree(repo)
        (gate / "open").touch()
        await stack.watch(batch.batch_id)
        for name in ("one", "two"):
            item = await stack.get(f"{batch.batch_id}.{name}")
            assert (item.state, item.error.reason) == (pb.RUN_STATE_FAILED, "SOURCE_MISSING")
            assert b"# more" in await stack.patch(item.run_id)


@needs_backend
async def test_a_branch_that_the_remote_refuses_fails_the_run_and_the_patch_is_kept(
    tmp_path: Path, served: HttpGit
) -> None:
    hook = tmp_path / "served/private.git/hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'branches need a ticket' >&2\nexit 1\n")
    hook.chmod(0o755)
    settings: dict[str, Any] = {"remote_hosts": (served.address,), "credentials_dir": tmp_path / "credentials"}
    async with bench(tmp_path, **settings) as stack:
        (done,) = await finish(stack, on_remote(served, run("one"), publish=batch_pb2.PUBLISH_PUSH))
        assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "PUSH_REFUSED")
        assert "branches need a ticket" in done.error.message
        assert any("runs patch" in hint for hint in done.error.suggestions)
        assert b"# more" in await stack.patch(done.run_id)


async def test_a_remote_is_refused_unless_its_host_is_allowed(stack: Bench) -> None:
    for url, field in (
        ("https://git.example.com/a.git", "remote.url"),
        ("https://me:tok3n@git.example.com/a.git", "remote.url"),
        ("file:///etc", "remote.url"),
    ):
        spec = batch_pb2.BatchSpec(remote=batch_pb2.RemoteSource(url=url), runs=[run("one")])
        with pytest.raises(InvalidArgument) as caught:
            await stack.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))
        assert [item.field for item in caught.value.violations] == [field]
        assert "tok3n" not in str(caught.value)


async def test_an_uploaded_repository_is_worked_on_and_its_patch_applies_at_home(
    stack: Bench, repo: Path, tmp_path: Path
) -> None:
    git(repo, "branch", "feature")
    before = fingerprint(repo)
    upload = await upload_repository(stack.client, repo, "feature")
    assert fingerprint(repo) == before
    assert dict(upload.refs) == {"refs/heads/feature": git(repo, "rev-parse", "feature")}
    spec = batch_pb2.BatchSpec(upload_id=upload.upload_id, ref="feature", runs=[run("one"), run("two")])
    done = await finish(stack, spec)
    assert [item.state for item in done] == [pb.RUN_STATE_SUCCEEDED] * 2
    assert done[0].base_commit == git(repo, "rev-parse", "feature")
    git(repo, "apply", "--binary", stdin=await stack.patch(done[0].run_id))
    git(repo, "add", "-A")
    assert git(repo, "write-tree") == done[0].tree_id


async def test_any_name_of_a_commit_can_be_uploaded(stack: Bench, repo: Path, tmp_path: Path) -> None:
    git(repo, "tag", "-am", "annotated", "v1")
    git(tmp_path, "clone", "-q", str(repo), "clone")
    clone, head = tmp_path / "clone", git(repo, "rev-parse", "HEAD")
    git(clone, "checkout", "-q", "--detach")
    git(clone, "branch", "-q", "-D", "main")
    for ref in ("", "HEAD", "v1", "origin/main", "refs/remotes/origin/main", head, head[:12]):
        spec = batch_pb2.BatchSpec(path=str(clone), ref=ref, runs=[run("one", mock=batch_pb2.MockExecutor())])
        await upload_for(stack.client, spec)
        assert spec.WhichOneof("source") == "upload_id"
        batch = (await stack.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))).batch
        assert batch.base_commit == head, ref
    spec = batch_pb2.BatchSpec(path=str(clone), ref="nope", runs=[run("one")])
    with pytest.raises(NotFound):
        await upload_for(stack.client, spec)


async def test_the_same_bundle_is_the_same_upload_and_of_its_tenant_alone(
    stack: Bench, repo: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "x.bundle"
    await make_bundle(repo, "HEAD", bundle)
    one, two = await upload_bundle(stack.client, bundle), await upload_bundle(stack.client, bundle)
    assert one.upload_id == two.upload_id == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert len(list(stack.data.rglob("*.bundle"))) == 1
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(stack.data / "orchestrator" / "uploads", other / "data" / "orchestrator" / "uploads")
    async with bench(other, principal=replace(LOCAL_PRINCIPAL, tenant="somebody-else")) as foreign:
        spec = batch_pb2.BatchSpec(upload_id=one.upload_id, runs=[run("one")])
        with pytest.raises(NotFound) as caught:
            await foreign.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))
        assert caught.value.reason == "UPLOAD_NOT_FOUND"


async def test_what_is_no_complete_bundle_is_refused_and_leaves_nothing(
    stack: Bench, repo: Path, tmp_path: Path
) -> None:
    (repo / "more.txt").write_text("more\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "second")
    thin, filtered, whole = (tmp_path / f"{name}.bundle" for name in ("thin", "filtered", "whole"))
    git(repo, "bundle", "create", "-q", str(thin), "HEAD~1..main")
    git(repo, "bundle", "create", "-q", str(whole), "main")
    filtered.write_bytes(whole.read_bytes().replace(b"# v2 git bundle\n", b"# v3 git bundle\n@filter=blob:none\n", 1))
    garbage, cut, empty = tmp_path / "garbage", tmp_path / "cut", tmp_path / "empty"
    garbage.write_bytes(b"not a bundle" * 100)
    cut.write_bytes(whole.read_bytes()[:-40])
    empty.write_bytes(b"# v2 git bundle\n\n")
    for file in (thin, filtered, garbage, cut, empty):
        with pytest.raises(InvalidArgument) as caught:
            await upload_bundle(stack.client, file)
        assert caught.value.reason == "BUNDLE_INVALID", file
    for header, data in (
        (pb.UploadHeader(size_bytes=5, sha256="0" * 64), [b"12345"]),
        (pb.UploadHeader(size_bytes=5, sha256="0" * 64), [b"1234"]),
        (pb.UploadHeader(size_bytes=5, sha256="0" * 64), [b"123456"]),
        (pb.UploadHeader(size_bytes=5, sha256="../../x"), [b"12345"]),
        (pb.UploadHeader(size_bytes=0, sha256="0" * 64), []),
        (None, [b"12345"]),
    ):
        parts = [pb.UploadSourceRequest(header=header)] if header else []
        parts += [pb.UploadSourceRequest(data=item) for item in data]
        with pytest.raises(InvalidArgument):
            await stack.client.orchestrator.UploadSource(_stream(parts))
    left = [path for path in (stack.data / "orchestrator" / "uploads").rglob("*") if path.is_file()]
    assert left == []


async def _stream(parts: list[pb.UploadSourceRequest]) -> AsyncIterator[pb.UploadSourceRequest]:
    for part in parts:
        yield part


async def test_uploads_are_bounded_and_expire(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, max_upload_bytes=100) as stack:
        with pytest.raises(ResourceExhausted) as caught:
            await upload_repository(stack.client, repo)
        assert caught.value.reason == "UPLOAD_TOO_LARGE"
    async with bench(tmp_path, upload_keep=timedelta(0)) as stack:
        upload = await upload_repository(stack.client, repo)
        spec = batch_pb2.BatchSpec(upload_id=upload.upload_id, runs=[run("one")])
        with pytest.raises(NotFound) as gone:
            await stack.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))
        assert gone.value.reason == "UPLOAD_NOT_FOUND"


async def test_a_refusal_is_told_although_pieces_are_on_their_way(tmp_path: Path) -> None:
    """However far the sender is."""
    file = tmp_path / "large.bundle"
    file.write_bytes(b"x" * (4 << 20))
    async with bench(tmp_path, max_upload_bytes=100) as stack:
        for _ in range(100):
            with pytest.raises(ResourceExhausted) as caught:
                await upload_bundle(stack.client, file)
            assert caught.value.reason == "UPLOAD_TOO_LARGE"


async def test_a_shallow_repository_is_not_made_into_a_bundle(tmp_path: Path, repo: Path) -> None:
    git(repo, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    with pytest.raises(InvalidArgument) as caught:
        await make_bundle(tmp_path / "shallow", "HEAD", tmp_path / "x.bundle")
    assert caught.value.reason == "SHALLOW_REPOSITORY"
    with pytest.raises(AutopackError):
        await make_bundle(repo, "--output=x", tmp_path / "x.bundle")


async def test_nothing_is_published_where_that_is_not_wanted(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one"), publish=batch_pb2.PUBLISH_NONE)
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert git(repo, "branch", "--list", "autopack/*") == ""
    assert b"# more" in await stack.patch(done.run_id)


async def test_a_sparse_run_changes_what_it_sees_and_keeps_the_rest(stack: Bench, repo: Path) -> None:
    repository(repo, {"web/index.js": "1\n", "src/deep/x.py": "x = 1\n"}, subject="More")
    checkout = batch_pb2.Checkout(sparse_paths=["src"])
    script = (
        "test ! -e web; test -e src/deep/x.py; git status --porcelain | grep . && exit 3; echo '# more' >> src/calc.py"
    )
    (done,) = await stack.finish(repo, run("one", script), checkout=checkout)
    assert (done.state, done.error.message) == (pb.RUN_STATE_SUCCEEDED, "")
    assert git(repo, "diff", "--name-only", done.base_commit, done.head_commit) == "src/calc.py"


async def test_copied_files_are_seen_by_the_agent_and_the_base_and_are_in_no_result(stack: Bench, repo: Path) -> None:
    (repo / ".env").write_text("TOKEN=s3cret\n")
    (repo / "local").mkdir()
    (repo / "local/settings.json").write_text("{}\n")
    (repo / ".worktreeinclude").write_text("local/\n")
    before = fingerprint(repo)
    checkout = batch_pb2.Checkout(copy_untracked=[".env"], worktreeinclude=True)
    script = (
        "grep -q s3cret .env; test -e local/settings.json; git add -Af .; echo '# more' >> src/calc.py; touch local/own"
    )
    failing = shell("grep -q nothing .env")
    items = [run("one", script), run("two", validate=[failing])]
    done = await stack.finish(repo, *items, checkout=checkout)
    assert (done[0].state, done[0].error.message) == (pb.RUN_STATE_SUCCEEDED, "")
    assert [change.path for change in done[0].changes] == ["local/own", "src/calc.py"]
    for item in done:
        assert b"s3cret" not in await stack.patch(item.run_id)
    assert done[1].steps[0].outcome == pb.STEP_OUTCOME_PRE_EXISTING, "the base commit has the files too"
    assert {name for name in fingerprint(repo) if not name.startswith(".git/")} == {
        name for name in before if not name.startswith(".git/")
    }


def with_large_file(repo: Path) -> None:
    """A repository with a file in Git LFS."""
    git(repo, "lfs", "install", "--local", "--skip-repo")
    (repo / ".gitattributes").write_text("*.dat filter=lfs diff=lfs merge=lfs -text\n")
    (repo / "big.dat").write_bytes(b"large " * 1000)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "large file")


NEW = hashlib.sha256(b"new\n" * 500).hexdigest()
MAKES_LARGE = "test $(wc -c < big.dat) = 6000; yes new | head -n 500 > new.dat"


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
async def test_large_files_of_a_run_come_home_with_its_branch(stack: Bench, repo: Path) -> None:
    with_large_file(repo)
    (done,) = await stack.finish(repo, run("one", MAKES_LARGE), checkout=batch_pb2.Checkout(lfs=True))
    assert (done.state, done.error.message) == (pb.RUN_STATE_SUCCEEDED, "")
    assert git(repo, "show", f"{done.branch}:new.dat").splitlines()[1] == f"oid sha256:{NEW}"
    assert (repo / ".git/lfs/objects" / NEW[:2] / NEW[2:4] / NEW).read_bytes() == b"new\n" * 500


@needs_backend
@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
async def test_large_files_are_fetched_from_a_remote_and_pushed_to_it(
    tmp_path: Path, served: HttpGit, repo: Path
) -> None:
    with_large_file(repo)
    (tmp_path / "served" / "lfs").mkdir()
    digest = hashlib.sha256(b"large " * 1000).hexdigest()
    (tmp_path / "served" / "lfs" / digest).write_bytes(b"large " * 1000)
    git(tmp_path / "served" / "private.git", "fetch", "-q", str(repo), "+main:main")
    settings: dict[str, Any] = {"remote_hosts": (served.address,), "credentials_dir": tmp_path / "credentials"}
    async with bench(tmp_path, **settings) as stack:
        checkout = batch_pb2.Checkout(lfs=True)
        spec = on_remote(served, run("one", MAKES_LARGE), publish=batch_pb2.PUBLISH_PUSH, checkout=checkout)
        (done,) = await finish(stack, spec)
        assert (done.state, done.error.message) == (pb.RUN_STATE_SUCCEEDED, "")
        assert git(tmp_path / "served/private.git", "rev-parse", done.branch) == done.head_commit
        assert (tmp_path / "served" / "lfs" / NEW).read_bytes() == b"new\n" * 500


async def test_submodules_are_filled_where_they_may_be_and_told_where_not(
    stack: Bench, repo: Path, tmp_path: Path
) -> None:
    repository(tmp_path / "lib", {"lib.py": "y = 1\n"})
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../lib", "vendor")
    git(repo, "commit", "-qm", "with a submodule")
    checkout = batch_pb2.Checkout(submodules=True)
    script = "test -e vendor/lib.py; echo '# more' >> src/calc.py"
    (done,) = await stack.finish(repo, run("one", script), checkout=checkout)
    assert (done.state, done.error.message) == (pb.RUN_STATE_SUCCEEDED, "")
    assert [change.path for change in done.changes] == ["src/calc.py"]
    git(repo, "submodule", "--quiet", "deinit", "-f", "vendor")
    shutil.rmtree(repo / ".git" / "modules")
    for url, reason in (
        ("https://elsewhere.example.com/x.git", "SUBMODULE_NOT_ALLOWED"),
        ("ext::sh -c 'touch /tmp/never'", "SUBMODULE_NOT_ALLOWED"),
        ("../../../../../etc", "SOURCE_OUTSIDE_ROOTS"),
    ):
        git(repo, "config", "-f", ".gitmodules", "submodule.vendor.url", url)
        git(repo, "commit", "-qam", "another url")
        (done,) = await stack.finish(repo, run("one", script), checkout=checkout)
        assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, reason)


async def test_roots_of_one_tenant_are_closed_to_another(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, allowed_roots=(Path(f"somebody-else={tmp_path}"),)) as stack:
        with pytest.raises(PermissionDenied) as caught:
            await stack.submit(repo, run("one"))
        assert caught.value.reason == "SOURCE_OUTSIDE_ROOTS"
    async with bench(tmp_path, allowed_roots=(Path(f"default={tmp_path}"),)) as stack:
        (done,) = await stack.finish(repo, run("one"))
        assert done.state == pb.RUN_STATE_SUCCEEDED


async def test_what_an_agent_writes_into_git_is_not_run_by_the_server(tmp_path: Path, repo: Path) -> None:
    canary, program = tmp_path / "canary", tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$AUTOPACK_RUN_ID $0" >> {canary}\ncat\n')
    program.chmod(0o755)
    agent = f"""
    common=$(git rev-parse --path-format=absolute --git-common-dir); mkdir -p $common/hooks
    for name in pre-commit post-commit reference-transaction post-checkout post-index-change pre-push; do
        cp {program} $common/hooks/$name; done
    for key in core.fsmonitor core.sshCommand filter.x.clean filter.x.smudge diff.x.command diff.external \
            gpg.program core.alternateRefsCommand core.editor; do git config $key {program}; done
    git config --unset core.hooksPath || true
    echo '* filter=x diff=x' > .gitattributes; echo {tmp_path}/elsewhere/objects > $common/objects/info/alternates
    rm {canary} 2>/dev/null || true
    echo '# more' >> src/calc.py; echo 'gitdir: {tmp_path}/elsewhere' > .git
    """
    git(tmp_path, "init", "-q", "--bare", "elsewhere")
    async with bench(tmp_path, **unconfined()) as stack:
        (done,) = await stack.finish(repo, run("one", agent, validate=[shell("grep -q more src/calc.py")]))
        assert (done.state, done.error.message) == (pb.RUN_STATE_SUCCEEDED, "")
        (second,) = await stack.finish(repo, run("two"))
        assert second.state == pb.RUN_STATE_SUCCEEDED
    assert not canary.exists(), canary.read_text()


async def test_an_upload_needs_the_right_to_run(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, principal=replace(LOCAL_PRINCIPAL, scopes=frozenset({Scope.READ}))) as stack:
        with pytest.raises(PermissionDenied):
            await upload_repository(stack.client, repo)
        with pytest.raises((FailedPrecondition, PermissionDenied)):
            await stack.submit(repo, run("one"))

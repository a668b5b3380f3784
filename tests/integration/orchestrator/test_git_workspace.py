"""Worktrees under load, after crashes, and beside a repository that must not notice any of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from autopack_kit.errors import AlreadyExists, AutopackError, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from autopack_orchestrator.adapters.git import (
    Identity,
    Mirror,
    RepositoryLocks,
    Workspace,
    Workspaces,
    branch_tip,
    commit,
    run_git,
    worktree_tree,
)

if TYPE_CHECKING:
    from tests.integration.orchestrator.conftest import World

AGENT = Identity("Agent", "agent@example.com")
HOOKS = ("post-checkout", "reference-transaction", "pre-commit", "post-commit", "post-index-change", "pre-auto-gc")


def fingerprint(repo: Path) -> dict[str, str]:
    """Content, mode and time of every file of a repository but for objects and reflogs, which only ever grow."""
    found = {}
    for path in sorted(repo.rglob("*")):
        name = str(path.relative_to(repo))
        if path.is_dir() or name.startswith((".git/objects/", ".git/logs/")):
            continue
        status = path.lstat()
        data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        found[name] = f"{hashlib.sha256(data).hexdigest()} {status.st_mode} {status.st_mtime_ns}"
    return found


async def make(world: World, name: str = "r1") -> Workspace:
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    return await world.workspaces.create(mirror, world.head, f"autopack/b/{name}", world.worktrees / name, name)


def leftovers(world: World, mirror: Mirror) -> list[str]:
    branches = world.git("for-each-ref", "refs/heads", cwd=mirror.path).splitlines()
    admin = [str(path) for path in (mirror.path / "worktrees").glob("*")]
    records = [path.name for path in mirror.records.iterdir()]
    locks = [str(path) for path in mirror.path.rglob("*.lock")]
    return [*branches, *admin, *records, *locks, *(path.name for path in world.worktrees.glob("*"))]


async def test_a_worktree_has_the_commit_on_its_branch_and_leaves_nothing_when_removed(world: World) -> None:
    workspace = await make(world)
    assert world.git("status", "--porcelain", "--branch", cwd=workspace.path) == "## autopack/b/r1"
    assert world.git("rev-parse", "HEAD", cwd=workspace.path) == world.head
    assert (workspace.path / "run.sh").stat().st_mode & 0o111
    assert (workspace.path / "link").readlink() == Path("src/a.py")
    assert world.git("describe", "--tags", cwd=workspace.path) == "v1"
    assert world.git("rev-parse", "origin/main", cwd=workspace.path) == world.head
    assert world.workspaces.existing(workspace.mirror) == [workspace]
    await world.workspaces.remove(workspace, delete_branch=True)
    await world.workspaces.remove(workspace, delete_branch=True)
    assert leftovers(world, workspace.mirror) == []


async def test_a_later_commit_is_fetched_into_the_same_mirror(world: World) -> None:
    first = await make(world, "r1")
    world.git("branch", "topic/x")
    world.git("commit", "-q", "--allow-empty", "-m", "second")
    world.git("tag", "v2")
    second = await make(world, "r2")
    world.git("branch", "-D", "topic/x")
    world.git("branch", "topic")
    world.git("commit", "-q", "--allow-empty", "-m", "third")
    third = await make(world, "r3")
    assert first.mirror == second.mirror == third.mirror
    assert world.git("describe", "--tags", cwd=second.path) == "v2"
    assert world.git("rev-parse", "origin/topic", cwd=third.path) == second.base
    assert not (third.mirror.path / "FETCH_HEAD").exists()


async def test_a_shallow_clone_is_a_fine_source(world: World) -> None:
    for number in range(3):
        world.git("commit", "-q", "--allow-empty", "-m", str(number))
    shallow = world.repo.parent / "shallow"
    world.git("clone", "-q", "--depth=1", f"file://{world.repo}", str(shallow))
    origin = world.repo
    object.__setattr__(world, "repo", shallow)
    await make(world, "r1")
    world.git("commit", "-q", "--allow-empty", "-m", "deeper", cwd=origin)
    world.git("fetch", "-q", "--depth=1", "origin", "main")
    world.git("reset", "-q", "--hard", "FETCH_HEAD")
    workspace = await make(world, "r2")
    (workspace.path / "new").touch()
    await commit(workspace, await worktree_tree(workspace), "m", AGENT)
    await world.mirrors.publish(workspace.mirror, workspace.branch, await world.source())
    assert world.git("log", "--format=%s", "-2", "autopack/b/r2") == "m\ndeeper"


WORKER = """
import asyncio, sys
from pathlib import Path
from autopack_orchestrator.adapters.git import *
data, repo = Path(sys.argv[1]), Path(sys.argv[2])
sha, prefix, count, mode = sys.argv[3], sys.argv[4], int(sys.argv[5]), sys.argv[6]
async def main():
    locks = RepositoryLocks()
    mirrors, workspaces = Mirrors(data / "mirrors", locks), Workspaces(data / "worktrees", locks)
    source = await open_source(repo, [repo.parent])
    async def one(i):
        mirror = await mirrors.ensure(source, sha)
        name = f"{prefix}{i}"
        print("begin", flush=True)
        workspace = await workspaces.create(mirror, sha, f"autopack/b/{name}", data / "worktrees" / name, name)
        assert len(list(workspace.path.iterdir())) == 6
        if mode == "remove":
            await workspaces.remove(workspace, delete_branch=True)
    async with asyncio.TaskGroup() as group:
        for i in range(count):
            group.create_task(one(i))
asyncio.run(main())
"""


def worker(world: World, prefix: str, count: int, mode: str) -> subprocess.Popen[bytes]:
    data = world.worktrees.parent
    words = [sys.executable, "-c", WORKER, str(data), str(world.repo), world.head, prefix, str(count), mode]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("mode", ["keep", "remove"])
async def test_64_worktrees_from_two_processes_meet_no_git_error(world: World, mode: str) -> None:
    workers = [worker(world, prefix, 32, mode) for prefix in ("x", "y")]
    for process in workers:
        _, errors = await asyncio.to_thread(process.communicate, timeout=120)
        assert process.returncode == 0, errors.decode()
    mirror = world.mirrors.of(await world.source())
    existing = world.workspaces.existing(mirror)
    assert len(existing) == (64 if mode == "keep" else 0)
    await asyncio.gather(*(world.workspaces.remove(one, delete_branch=True) for one in existing))
    assert leftovers(world, mirror) == []


async def test_collection_leaves_nothing_of_an_orchestrator_that_was_killed_at_any_point(world: World) -> None:
    mirror = (await make(world, "warm-up")).mirror
    for attempt in range(12):
        process = worker(world, f"k{attempt}-", 4, "keep")
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        time.sleep(attempt * 0.007)  # noqa: ASYNC251  # the point of the crash is what varies
        process.kill()
        process.wait()
        process.stdout.close()
        report = await world.workspaces.gc(mirror, keep=["warm-up"], harvest_dir=world.worktrees.parent, min_age_s=0)
        assert report.failed == {}
        assert report.harvested == ()
        assert [one.run_id for one in world.workspaces.existing(mirror)] == ["warm-up"]
    await world.workspaces.gc(mirror, keep=[], harvest_dir=world.worktrees.parent, min_age_s=0)
    assert leftovers(world, mirror) == []


async def test_collection_harvests_unfinished_work_and_keeps_what_it_must(world: World, tmp_path: Path) -> None:
    dirty, committed, kept = await make(world, "dirty"), await make(world, "committed"), await make(world, "kept")
    (dirty.path / "src" / "a.py").write_text("changed\n")
    (committed.path / "new.txt").write_text("new\n")
    tip = await commit(committed, await worktree_tree(committed), "work", AGENT)
    report = await world.workspaces.gc(dirty.mirror, ["kept"], tmp_path / "harvest", min_age_s=0)
    assert sorted(report.removed) == ["committed", "dirty"]
    assert report.harvested == (tmp_path / "harvest" / "dirty.patch",)
    world.git("apply", "--binary", str(report.harvested[0]))
    assert (world.repo / "src" / "a.py").read_text() == "changed\n"
    assert await branch_tip(committed) == tip
    assert await branch_tip(dirty) is None
    assert world.workspaces.existing(dirty.mirror) == [kept]
    assert kept.path.exists()


async def test_collection_leaves_alone_what_is_young_and_what_is_not_ours(world: World, tmp_path: Path) -> None:
    young = await make(world, "young")
    foreign = world.worktrees / "foreign"
    world.git("worktree", "add", "-q", "--detach", str(foreign), world.head, cwd=young.mirror.path)
    stranger = world.worktrees / "no-worktree"
    stranger.mkdir()
    assert (await world.workspaces.gc(young.mirror, [], tmp_path / "harvest")).removed == ()
    report = await world.workspaces.gc(young.mirror, [], tmp_path / "harvest", min_age_s=0)
    assert report.removed == ("young",)
    assert foreign.is_dir()
    assert stranger.is_dir()


async def test_collection_does_not_delete_what_it_cannot_harvest(world: World, tmp_path: Path) -> None:
    workspace = await make(world)
    (workspace.path / "src" / "a.py").write_text("changed\n")
    (tmp_path / "harvest").touch()  # a file where the directory should be
    report = await world.workspaces.gc(workspace.mirror, [], tmp_path / "harvest", min_age_s=0)
    assert list(report.failed) == ["r1"]
    assert (workspace.path / "src" / "a.py").read_text() == "changed\n"


def plant_hooks(directory: Path, canary: Path) -> None:
    directory.mkdir(exist_ok=True)
    for hook in HOOKS:
        (directory / hook).write_text(f"#!/bin/sh\necho {hook} >> {canary}\n")
        (directory / hook).chmod(0o755)


async def test_no_hook_filter_or_monitor_of_a_repository_ever_runs(world: World, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (world.repo / ".gitattributes").write_text("*.py filter=evil diff=evil\n*.txt filter=lfs\n")
    (world.repo / "big.txt").write_text("version https://git-lfs.github.com/spec/v1\n")
    world.git("add", "-A")
    world.git("commit", "-qm", "attributes")
    first = await make(world, "r0")
    for repository in (world.repo / ".git", first.mirror.path):  # the mirror's can be written by any agent
        plant_hooks(repository / "hooks", canary)
        for name, value in {
            "core.hooksPath": str(repository / "hooks"),
            "core.fsmonitor": f"sh -c 'echo fsmonitor >> {canary}'",
            "core.sshCommand": f"sh -c 'echo ssh >> {canary}'",
            "filter.evil.clean": f"sh -c 'echo clean >> {canary}; cat'",
            "filter.evil.smudge": f"sh -c 'echo smudge >> {canary}; cat'",
            "filter.evil.required": "true",
            "diff.evil.textconv": f"sh -c 'echo textconv >> {canary}; cat $1'",
            "diff.external": f"sh -c 'echo external >> {canary}'",
            f"remote.{world.repo}/.git.uploadpack": f"sh -c 'echo uploadpack >> {canary}'",
            f"remote.{first.mirror.path}.uploadpack": f"sh -c 'echo uploadpack >> {canary}'",
            "url.ssh://host/.insteadOf": "/nowhere",
        }.items():
            world.git("config", "-f", str(repository / "config"), name, value)
    world.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "another base")
    canary.unlink(missing_ok=True)
    workspace = await make(world, "r1")
    (workspace.path / "src" / "a.py").write_text("changed\n")
    tree = await worktree_tree(workspace)
    await commit(workspace, tree, "m", AGENT)
    await world.mirrors.publish(workspace.mirror, workspace.branch, await world.source())
    (workspace.path / "src" / "b.py").write_text("changed\n")
    report = await world.workspaces.gc(workspace.mirror, [], tmp_path / "harvest", min_age_s=0)
    assert len(report.harvested) == 1
    assert not canary.exists(), canary.read_text()


async def test_a_dirty_repository_of_the_user_stays_byte_identical(world: World) -> None:
    (world.repo / "src" / "a.py").write_text("work in progress\n")
    (world.repo / "staged.txt").write_text("staged\n")
    world.git("add", "staged.txt")
    (world.repo / "untracked.txt").write_text("untracked\n")
    world.git("stash", "push", "-q", "--include-untracked", "--", "untracked.txt")
    world.git("config", "fetch.prune", "true")
    world.git("config", "fetch.pruneTags", "true")
    before, refs = fingerprint(world.repo), world.git("for-each-ref")
    workspace = await make(world)
    (workspace.path / "new.txt").write_text("new\n")
    sha = await commit(workspace, await worktree_tree(workspace), "work", AGENT)
    source = await world.source()
    assert fingerprint(world.repo) == before
    assert await world.mirrors.publish(workspace.mirror, workspace.branch, source) == sha
    assert await world.mirrors.publish(workspace.mirror, workspace.branch, source) == sha
    await world.workspaces.remove(workspace, delete_branch=True)
    after = fingerprint(world.repo)
    assert after.pop(".git/refs/heads/autopack/b/r1")
    assert after == before
    assert world.git("for-each-ref").replace(f"{sha} commit\trefs/heads/autopack/b/r1\n", "") == refs
    assert world.git("show", "autopack/b/r1:new.txt") == "new"


async def test_publishing_never_overwrites_a_branch_of_the_user(world: World) -> None:
    workspace = await make(world)
    (workspace.path / "new.txt").touch()
    await commit(workspace, await worktree_tree(workspace), "work", AGENT)
    world.git("branch", workspace.branch)  # an ancestor: git itself would fast-forward it
    source = await world.source()
    with pytest.raises(AlreadyExists) as caught:
        await world.mirrors.publish(workspace.mirror, workspace.branch, source)
    assert caught.value.reason == "BRANCH_EXISTS"
    assert world.git("rev-parse", workspace.branch) == world.head
    world.git("branch", "-D", workspace.branch)
    world.git("branch", "autopack")  # a file where a directory must be
    with pytest.raises(FailedPrecondition) as blocked:
        await world.mirrors.publish(workspace.mirror, workspace.branch, source)
    assert blocked.value.reason == "PUBLISH_FAILED"
    with pytest.raises(NotFound):
        await world.mirrors.publish(workspace.mirror, "autopack/b/none", source)


async def test_what_exists_is_never_taken_over(world: World) -> None:
    workspace = await make(world)
    create, mirror, base = world.workspaces.create, workspace.mirror, workspace.base
    for branch, path, run_id, kind in (
        ("autopack/b/r1", world.worktrees / "r2", "r2", AlreadyExists),
        ("autopack/b/r2", world.worktrees / "r1", "r2", AlreadyExists),
        ("autopack/b/r2", world.worktrees / "r2", "r1", AlreadyExists),
        ("autopack/b/r2", world.repo / "r2", "r2", FailedPrecondition),
        ("autopack/b/r2", world.worktrees / ".." / "r2", "r2", FailedPrecondition),
        ("autopack/b/..", world.worktrees / "r2", "r2", InvalidArgument),
        ("autopack/b/r2", world.worktrees / "r2", "../r2", InvalidArgument),
    ):
        with pytest.raises(kind):
            await create(mirror, base, branch, path, run_id)
    assert world.workspaces.existing(mirror) == [workspace]
    assert await worktree_tree(workspace) == world.git("rev-parse", "HEAD^{tree}")


async def test_a_create_that_fails_or_is_cancelled_leaves_nothing(world: World) -> None:
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    with pytest.raises(AutopackError):
        await world.workspaces.create(mirror, "1" * 40, "autopack/b/r", world.worktrees / "r", "r")
    assert leftovers(world, mirror) == []
    for pause in (0.0, 0.003, 0.006, 0.012, 0.02):
        creating = asyncio.ensure_future(
            world.workspaces.create(mirror, world.head, "autopack/b/r", world.worktrees / "r", "r")
        )
        await asyncio.sleep(pause)
        creating.cancel()
        done = (await asyncio.gather(creating, return_exceptions=True))[0]
        if isinstance(done, Workspace):
            await world.workspaces.remove(done, delete_branch=True)
        assert leftovers(world, mirror) == []


async def test_removal_copes_with_submodules_read_only_directories_and_a_broken_git_file(world: World) -> None:
    library = world.repo.parent / "library"
    world.git("clone", "-q", str(world.repo), str(library))
    world.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "lib")
    world.git("commit", "-qm", "submodule")
    workspace = await make(world)
    assert list((workspace.path / "lib").iterdir()) == []
    assert await worktree_tree(workspace) == world.git("rev-parse", "HEAD^{tree}")
    world.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init", cwd=workspace.path)
    assert await worktree_tree(workspace) == world.git("rev-parse", "HEAD^{tree}")
    (workspace.path / "cache" / "module").mkdir(parents=True)
    (workspace.path / "cache" / "module" / "file").touch()
    (workspace.path / "cache" / "module").chmod(0o555)
    (workspace.path / ".git").write_text("gitdir: /nowhere\n")
    await world.workspaces.remove(workspace, delete_branch=True)
    assert leftovers(world, workspace.mirror) == []


async def test_a_lock_is_held_between_processes_and_until_an_orphaned_git_has_ended(tmp_path: Path) -> None:
    lock, script = tmp_path / "lock", tmp_path / "holder.py"
    script.write_text(
        "import asyncio, sys\nfrom pathlib import Path\nfrom autopack_orchestrator.adapters.git import *\n"
        "async def main():\n"
        "    async with RepositoryLocks().hold(Path(sys.argv[1])) as fd:\n"
        "        child = await asyncio.create_subprocess_exec('sleep', '1011', pass_fds=(fd,), stdout=-3)\n"
        "        print(child.pid, flush=True)\n"
        "        await child.wait()\n"
        "asyncio.run(main())\n"
    )
    holder = await asyncio.create_subprocess_exec(sys.executable, str(script), str(lock), stdout=subprocess.PIPE)
    assert holder.stdout is not None
    orphan = int(await holder.stdout.readline())
    locks = RepositoryLocks(timeout_s=0.05)
    try:
        with pytest.raises(Unavailable) as caught:
            async with locks.hold(lock):
                pass
        assert caught.value.reason == "REPOSITORY_BUSY"
        holder.kill()
        await holder.wait()
        with pytest.raises(Unavailable):
            async with locks.hold(lock):
                pass
    finally:
        os.kill(orphan, signal.SIGKILL)
    async with RepositoryLocks().hold(lock):
        pass


async def test_a_lock_lets_one_task_in_at_a_time_and_outlives_a_cancelled_waiter(tmp_path: Path) -> None:
    locks, inside, most = RepositoryLocks(), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with locks.hold(tmp_path / "lock"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    tasks = [asyncio.ensure_future(work()) for _ in range(20)]
    await asyncio.sleep(0.003)
    tasks[5].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 1
    assert [type(result) for result in results].count(asyncio.CancelledError) == 1


async def test_git_is_bounded_in_time_and_output_and_leaves_no_process(world: World, tmp_path: Path) -> None:
    with pytest.raises(AutopackError) as large:
        await run_git("cat-file", "blob", "HEAD:blob.bin", git_dir=world.repo / ".git", max_output=1000)
    assert large.value.reason == "GIT_OUTPUT_TOO_LARGE"
    with pytest.raises(AutopackError) as file:
        await run_git(
            *("cat-file", "blob", "HEAD:blob.bin"),
            git_dir=world.repo / ".git",
            max_output=1000,
            stdout=tmp_path / "out",
        )
    assert file.value.reason == "GIT_OUTPUT_TOO_LARGE"
    slow = f"alias.slow=!echo $$ > {tmp_path}/pid; exec sleep 1012"
    with pytest.raises(AutopackError) as late:
        await run_git("-c", slow, "slow", cwd=tmp_path, timeout_s=0.5)
    assert late.value.reason == "GIT_TIMEOUT"
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(30):
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_error_of_git_is_its_last_line(world: World) -> None:
    with pytest.raises(AutopackError, match="fatal: Not a valid object name nope"):
        await run_git("cat-file", "-t", "nope", git_dir=world.repo / ".git")
    shutil.rmtree(world.repo)


async def test_checkouts_are_bounded(world: World) -> None:
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    narrow = Workspaces(world.worktrees, world.locks, checkouts=1)
    names = [f"r{number}" for number in range(5)]
    made = await asyncio.gather(
        *(narrow.create(mirror, world.head, f"autopack/b/{n}", world.worktrees / n, n) for n in names)
    )
    assert all(one.ready for one in made)


async def test_a_prune_where_the_worktree_cannot_be_seen_leaves_it_alone(world: World) -> None:
    """A container that shares the mirror but not the worktrees takes them for gone."""
    elsewhere = ("unshare", "--mount", "--propagation", "private")
    if subprocess.run([*elsewhere, "true"], capture_output=True, check=False).returncode:  # noqa: ASYNC221
        pytest.skip("this user may not make a mount namespace (root may)")
    workspace = await make(world)
    script = 'mount -t tmpfs hidden "$1" && ! test -e "$1/r1" && git -C "$2" worktree prune --expire=now'
    words = (*elsewhere, "sh", "-c", script, "sh", str(world.worktrees), str(workspace.mirror.path))
    subprocess.run(words, check=True)  # noqa: ASYNC221
    assert world.workspaces.existing(workspace.mirror) == [workspace]
    assert world.git("status", "--porcelain", "--branch", cwd=workspace.path) == "## autopack/b/r1"

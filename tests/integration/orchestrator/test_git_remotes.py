"""Repositories on other hosts: cloned, fetched by id, pushed to, and never with more of this server than is meant."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from autopack_kit.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from autopack_orchestrator.adapters import git as adapter
from autopack_orchestrator.adapters.git import Credentials, Remote, Remotes, remotes
from autopack_orchestrator.core.urls import parse_remote_url

from tests.integration.orchestrator.conftest import World, git
from tests.integration.orchestrator.git_servers import BACKEND, READER, SSHD, TOKEN, HttpGit, http_git, ssh_git

pytestmark = pytest.mark.skipif(not BACKEND.exists(), reason="git http-backend is not installed")
IDENTITY = adapter.Identity("Robot", "robot@example.com")


@dataclass
class Setup:
    world: World
    server: HttpGit
    remotes: Remotes
    bare: Path
    credentials: Path

    def remote(self, name: str = "private.git", credential: str = "forge", tenant: str = "default") -> Remote:
        return Remote(parse_remote_url(self.server.url(name)), credential, tenant)

    def secret(self, name: str, text: str, mode: int = 0o600) -> Path:
        file = self.credentials / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file


@pytest.fixture
def setup(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    monkeypatch.setattr(remotes, "PUSH_PAUSES_S", (0.01,))
    bare = tmp_path / "served" / "private.git"
    git(world.repo, "clone", "-q", "--bare", str(world.repo), str(bare))
    git(bare, "config", "http.receivepack", "true")
    credentials = tmp_path / "credentials"
    with http_git(tmp_path / "served") as server:
        found = Setup(world, server, Remotes(world.mirrors, world.locks, Credentials(credentials)), bare, credentials)
        found.secret("forge", TOKEN)
        found.secret("reader", f"someone:{READER}\n")
        yield found


async def finished(setup: Setup, remote: Remote, branch: str = "autopack/b/one") -> adapter.Workspace:
    """A worktree whose branch has a commit of its own."""
    sha = await setup.remotes.resolve(remote)
    mirror = await setup.remotes.ensure(remote, sha)
    path = setup.world.worktrees / branch.replace("/", "-")
    tree = await setup.world.workspaces.create(mirror, sha, branch, path, path.name)
    (path / "new.txt").write_text("new\n")
    await adapter.commit(tree, await adapter.worktree_tree(tree), "New", IDENTITY)
    return tree


async def test_a_branch_a_tag_a_commit_and_head_are_resolved_and_copied(setup: Setup) -> None:
    world, remote = setup.world, setup.remote()
    git(world.repo, "tag", "-am", "annotated", "v2")
    git(world.repo, "push", "-q", str(setup.bare), "v2")
    for ref in ("", "main", "v1", "v2", "refs/heads/main", world.head):
        sha = await setup.remotes.resolve(remote, ref)
        assert sha == world.head
        mirror = await setup.remotes.ensure(remote, sha)
        assert await mirror.sha(sha) == world.head
    assert git(mirror.path, "rev-parse", "refs/remotes/origin/main") == world.head
    with pytest.raises(NotFound, match="'nope' is not a branch or tag") as caught:
        await setup.remotes.resolve(remote, "nope")
    assert caught.value.reason == "REF_NOT_FOUND"
    for ref in ("--upload-pack=touch /tmp/x", "-h", "main:x y"):
        with pytest.raises(InvalidArgument):
            await setup.remotes.resolve(remote, ref)


async def test_a_new_commit_is_fetched_by_its_id_and_names_are_refreshed(setup: Setup) -> None:
    world, remote = setup.world, setup.remote()
    await setup.remotes.ensure(remote, world.head)
    (world.repo / "more.txt").write_text("more\n")
    git(world.repo, "add", "-A")
    git(world.repo, "commit", "-qm", "second")
    git(world.repo, "push", "-q", str(setup.bare), "main")
    mirror = await setup.remotes.ensure(remote, await setup.remotes.resolve(remote, "main"))
    assert await mirror.sha(world.head) == world.head
    assert git(mirror.path, "rev-parse", "refs/remotes/origin/main") == world.head
    with pytest.raises(NotFound) as caught:
        await setup.remotes.ensure(remote, "1" * 40)
    assert caught.value.reason == "COMMIT_NOT_FOUND"


async def test_what_was_copied_stays_when_the_remote_is_force_pushed_or_deleted(setup: Setup) -> None:
    world, remote = setup.world, setup.remote()
    mirror = await setup.remotes.ensure(remote, world.head)
    asked = len(setup.server.requests)
    setup.bare.rename(setup.bare.with_name("gone.git"))
    assert await setup.remotes.ensure(remote, world.head) == mirror
    assert await world.mirrors.find(mirror.name, world.head) == mirror
    assert len(setup.server.requests) == asked
    with pytest.raises(NotFound) as caught:
        await setup.remotes.resolve(remote)
    assert caught.value.reason == "REMOTE_NOT_FOUND"


async def test_tenants_share_no_mirror(setup: Setup) -> None:
    sha = setup.world.head
    one = await setup.remotes.ensure(setup.remote(tenant="one"), sha)
    two = await setup.remotes.ensure(setup.remote(tenant="two"), sha)
    assert one.path != two.path
    assert await setup.remotes.ensure(setup.remote(tenant="one"), sha) == one


async def test_without_a_right_credential_nothing_is_read(setup: Setup) -> None:
    setup.secret("wrong", "wrong-token")
    for credential in ("", "wrong"):
        with pytest.raises(PermissionDenied) as caught:
            await setup.remotes.resolve(setup.remote(credential=credential))
        assert caught.value.reason == "REMOTE_DENIED"
        assert "wrong-token" not in str(caught.value) + caught.value.remedy
    with pytest.raises(NotFound) as missing:
        await setup.remotes.resolve(setup.remote(credential="nobody"))
    assert missing.value.reason == "CREDENTIAL_NOT_FOUND"
    setup.secret("open", TOKEN, 0o644)
    with pytest.raises(FailedPrecondition) as mode:
        await setup.remotes.resolve(setup.remote(credential="open"))
    assert mode.value.reason == "SECRET_FILE_MODE"


async def test_a_credential_of_one_tenant_or_for_one_host_serves_no_other(setup: Setup) -> None:
    setup.secret("team-a/own", TOKEN)
    assert await setup.remotes.resolve(setup.remote(credential="own", tenant="team-a")) == setup.world.head
    for tenant in ("team-b", "..", "team-a/.."):
        with pytest.raises(NotFound):
            await setup.remotes.resolve(setup.remote(credential="own", tenant=tenant))
    setup.secret("forge.hosts", "git.example.com")
    with pytest.raises(PermissionDenied) as caught:
        await setup.remotes.resolve(setup.remote())
    assert caught.value.reason == "CREDENTIAL_HOST"
    setup.secret("forge.hosts", f"git.example.com {setup.server.address}")
    assert await setup.remotes.resolve(setup.remote()) == setup.world.head


async def test_the_users_own_configuration_and_netrc_are_not_used(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login x password {TOKEN}\n")
    (tmp_path / ".netrc").chmod(0o600)
    canary = tmp_path / "ran"
    (tmp_path / ".gitconfig").write_text(f'[credential]\n\thelper = "!touch {canary}; echo password={TOKEN}"\n')
    with pytest.raises(PermissionDenied):
        await setup.remotes.resolve(setup.remote(credential=""))
    assert not canary.exists()


async def test_a_redirect_to_another_host_is_not_followed(setup: Setup, tmp_path: Path) -> None:
    with http_git(tmp_path / "served") as other:
        setup.server.redirect_to = f"http://{other.address}"
        with pytest.raises((InvalidArgument, Unavailable, PermissionDenied)):
            await setup.remotes.resolve(setup.remote())
        assert other.requests == []


async def test_a_finished_branch_is_pushed_and_pushing_it_again_changes_nothing(setup: Setup) -> None:
    remote = setup.remote()
    tree = await finished(setup, remote)
    sha = await setup.remotes.push(tree.mirror, tree.branch, remote)
    assert git(setup.bare, "rev-parse", tree.branch) == sha
    assert await setup.remotes.push(tree.mirror, tree.branch, remote) == sha
    assert git(setup.bare, "rev-parse", "main") == setup.world.head


async def test_a_branch_with_other_commits_is_rejected_and_not_overwritten(setup: Setup) -> None:
    remote = setup.remote()
    tree = await finished(setup, remote)
    world = setup.world
    git(world.repo, "commit", "-q", "--allow-empty", "-m", "other")
    git(world.repo, "push", "-q", str(setup.bare), f"HEAD:refs/heads/{tree.branch}")
    with pytest.raises(AlreadyExists) as caught:
        await setup.remotes.push(tree.mirror, tree.branch, remote)
    assert caught.value.reason == "PUSH_REJECTED"
    assert "autopack runs patch" in caught.value.remedy
    assert git(setup.bare, "rev-parse", tree.branch) == world.head


async def test_a_push_without_the_right_or_against_a_rule_says_so(setup: Setup) -> None:
    tree = await finished(setup, setup.remote())
    with pytest.raises(PermissionDenied) as denied:
        await setup.remotes.push(tree.mirror, tree.branch, setup.remote(credential="reader"))
    assert denied.value.reason == "REMOTE_DENIED"
    hook = setup.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'only on Mondays' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(FailedPrecondition) as refused:
        await setup.remotes.push(tree.mirror, tree.branch, setup.remote())
    assert refused.value.reason == "PUSH_REFUSED"
    assert "only on Mondays" in refused.value.message


async def test_what_an_agent_writes_into_the_mirror_is_not_run_when_it_is_fetched_or_pushed(
    setup: Setup, tmp_path: Path
) -> None:
    remote = setup.remote()
    tree = await finished(setup, remote)
    canary = tmp_path / "canary"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nenv >> {canary}\n")
    program.chmod(0o755)
    for repository in (tree.mirror.path, tree.path):
        for name, value in (
            ("core.sshCommand", str(program)),
            ("core.hooksPath", str(tmp_path)),
            ("core.fsmonitor", str(program)),
            ("core.askPass", str(program)),
            ("credential.helper", f"!{program}"),
            (f"url.ext::{program}.insteadOf", f"http://{setup.server.address}/"),
            ("http.proxy", "http://127.0.0.1:9"),
            ("filter.x.clean", str(program)),
            ("filter.x.smudge", str(program)),
        ):
            git(repository, "config", name, value)
    (tree.path / ".gitattributes").write_text("* filter=x\n")
    hooks = tree.mirror.path / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-push", "reference-transaction", "post-checkout", "pre-receive"):
        (hooks / name).write_bytes(program.read_bytes())
        (hooks / name).chmod(0o755)
        (tmp_path / name).write_bytes(program.read_bytes())
        (tmp_path / name).chmod(0o755)
    world = setup.world
    git(world.repo, "commit", "-q", "--allow-empty", "-m", "more")
    git(world.repo, "push", "-q", str(setup.bare), "main")
    mirror = await setup.remotes.ensure(remote, world.head)
    await adapter.commit(tree, await adapter.worktree_tree(tree), "More", IDENTITY)
    await setup.remotes.push(mirror, tree.branch, remote)
    assert not canary.exists()


async def test_an_unreachable_host_says_so(setup: Setup) -> None:
    remote = Remote(parse_remote_url("http://127.0.0.1:9/x.git"), "", "default")
    with pytest.raises(Unavailable) as caught:
        await setup.remotes.resolve(remote)
    assert caught.value.reason == "REMOTE_UNREACHABLE"


@pytest.mark.skipif(not os.path.exists(SSHD), reason="sshd is not installed")
async def test_over_ssh_with_a_key_and_a_known_host(setup: Setup, tmp_path: Path) -> None:
    with ssh_git(tmp_path / "sshd") as server:
        setup.secret("deploy", server.key.read_text())
        remote = Remote(parse_remote_url(server.url(setup.bare)), "deploy", "default")
        with pytest.raises(FailedPrecondition) as unknown:
            await setup.remotes.resolve(remote)
        assert unknown.value.reason == "REMOTE_HOST_KEY"
        (setup.credentials / "known_hosts").write_text(server.known_hosts)
        assert await setup.remotes.resolve(remote, "main") == setup.world.head
        tree = await finished(setup, remote)
        sha = await setup.remotes.push(tree.mirror, tree.branch, remote)
        assert git(setup.bare, "rev-parse", tree.branch) == sha
        setup.secret("deploy", (tmp_path / "sshd" / "host").read_text())
        with pytest.raises(PermissionDenied) as denied:
            await setup.remotes.resolve(remote)
        assert denied.value.reason == "REMOTE_DENIED"
        assert stat.S_IMODE((setup.credentials / "deploy").stat().st_mode) == 0o600

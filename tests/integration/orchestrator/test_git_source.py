"""Which repository and which commit a user means, and a clear word when there is none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from autopack_kit.errors import AutopackError, FailedPrecondition, InvalidArgument, NotFound
from autopack_orchestrator.adapters.git import (
    open_source,
    resolve,
)

if TYPE_CHECKING:
    from tests.integration.orchestrator.conftest import World


async def test_a_repository_is_opened_and_its_refs_resolve(world: World) -> None:
    source = await world.source()
    assert (source.path, source.git_dir, source.bare) == (world.repo, world.repo / ".git", False)
    for ref in ("", "HEAD", "main", "v1", "refs/heads/main", world.head, world.head[:10]):
        assert await resolve(source, ref) == world.head


async def test_a_bare_repository_is_a_fine_source(world: World) -> None:
    bare = world.repo.parent / "bare.git"
    world.git("clone", "-q", "--bare", str(world.repo), str(bare))
    source = await open_source(bare, world.roots)
    assert (source.bare, source.git_dir) == (True, bare)
    sha = await resolve(source, "main")
    mirror = await world.mirrors.ensure(source, sha)
    workspace = await world.workspaces.create(mirror, sha, "autopack/b/r", world.worktrees / "r", "r")
    assert (workspace.path / "run.sh").exists()
    await world.mirrors.publish(mirror, workspace.branch, source)
    assert world.git("rev-parse", "autopack/b/r", cwd=bare) == sha


async def test_head_of_a_linked_worktree_is_its_own(world: World) -> None:
    linked = world.repo.parent / "linked"
    world.git("worktree", "add", "-q", "-b", "other", str(linked))
    world.git("commit", "-q", "--allow-empty", "-m", "second", cwd=linked)
    source = await open_source(linked, world.roots)
    assert source.git_dir == world.repo / ".git"
    assert await resolve(source) == world.git("rev-parse", "HEAD", cwd=linked) != world.head


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "SOURCE_MISSING"),
        ("file", "SOURCE_MISSING"),
        ("plain", "NOT_A_REPOSITORY"),
        ("repo/src", "NOT_A_REPOSITORY"),
        ("repo/.git", "NOT_A_REPOSITORY"),
        ("../outside", "SOURCE_OUTSIDE_ROOTS"),
        ("link-out", "SOURCE_OUTSIDE_ROOTS"),
        ("link-to-itself", "SOURCE_MISSING"),
        ("x" * 300, "SOURCE_MISSING"),
        ("gitdir-out", "SOURCE_OUTSIDE_ROOTS"),
    ],
)
async def test_what_is_no_usable_repository_is_refused_with_a_remedy(world: World, name: str, reason: str) -> None:
    user = world.repo.parent
    (user / "file").touch()
    (user / "plain").mkdir()
    outside = user.parent / "outside"
    world.git("clone", "-q", str(world.repo), str(outside), cwd=user)
    (user / "link-out").symlink_to(outside)
    (user / "link-to-itself").symlink_to(user / "link-to-itself")
    (user / "gitdir-out").mkdir()
    (user / "gitdir-out" / ".git").write_text(f"gitdir: {outside}/.git\n")
    with pytest.raises(AutopackError) as caught:
        await open_source(user / name, world.roots)
    assert caught.value.reason == reason
    assert caught.value.remedy


async def test_a_repository_of_another_user_is_refused_until_the_user_trusts_it(world: World, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for path in (world.repo, world.repo / ".git"):
        os.chown(path, 65534, 65534)
    with pytest.raises(AutopackError) as caught:
        await world.source()
    assert caught.value.reason == "SOURCE_FOREIGN_OWNER"
    assert f"safe.directory {world.repo}" in caught.value.remedy
    (tmp_path / ".gitconfig").write_text(f"[safe]\n\tdirectory = {world.repo}\n\tdirectory = {world.repo}/.git\n")
    source = await world.source()
    sha = await resolve(source)
    mirror = await world.mirrors.ensure(source, sha)
    assert await mirror.sha(sha) == sha


def make_deep(directory: Path) -> None:
    """A tree deeper than Python's stack."""
    directory.mkdir(exist_ok=True)
    subprocess.run(["mkdir", "-p", "d/" * 1800], cwd=directory, check=True)


async def test_a_mirror_in_which_a_run_made_a_very_deep_tree_is_removed_and_made_again(world: World) -> None:
    source = await world.source()
    mirror = await world.mirrors.ensure(source, world.head)
    make_deep(mirror.path / "objects")
    await world.mirrors.remove(mirror)
    assert not list(mirror.path.parent.glob("*.git*")) + list(mirror.path.parent.glob("*.tmp-*"))
    killed = mirror.path.with_name(f"{mirror.path.stem}.tmp-0")
    make_deep(killed)
    again = await world.mirrors.ensure(source, world.head)
    assert await again.sha(world.head) == world.head
    assert not killed.exists()


async def test_an_empty_repository_is_refused_with_a_remedy(world: World) -> None:
    empty = world.repo.parent / "empty"
    world.git("init", "-q", str(empty))
    with pytest.raises(FailedPrecondition) as caught:
        await resolve(await open_source(empty, world.roots))
    assert caught.value.reason == "EMPTY_REPOSITORY"


@pytest.mark.parametrize("ref", ["nope", "refs/heads/nope", "0" * 40, "v2", "HEAD:run.sh", "main..main"])
async def test_a_ref_that_does_not_exist_is_not_found(world: World, ref: str) -> None:
    with pytest.raises(NotFound) as caught:
        await resolve(await world.source(), ref)
    assert caught.value.reason == "REF_NOT_FOUND"


@pytest.mark.parametrize(
    "ref", ["-x", "--all", "--upload-pack=touch x", ":/first", "HEAD^{/first}", "a b", "a\nb", "x" * 1025]
)
async def test_a_ref_that_is_no_name_is_refused(world: World, ref: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await resolve(await world.source(), ref)
    assert caught.value.reason == "INVALID_REF"

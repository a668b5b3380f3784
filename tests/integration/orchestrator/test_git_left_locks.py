"""Lock files that a killed git has left in a mirror are in nobody's way for long; others' are never touched."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from autopack_kit.errors import AutopackError
from autopack_orchestrator.adapters.git import Workspace, left_locks

from tests.integration.orchestrator.conftest import World

OLD_S = 3600


def leave(path: Path, *, age_s: float = OLD_S) -> Path:
    """A lock file as a git leaves it that was killed so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


async def make(world: World, name: str) -> Workspace:
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    return await world.workspaces.create(mirror, world.head, f"autopack/b/{name}", world.worktrees / name, name)


async def test_a_repository_goes_on_although_locks_were_left_in_its_mirror(world: World) -> None:
    world.git("branch", "topic")
    first = await make(world, "one")
    world.git("branch", "-D", "topic")
    world.git("commit", "-q", "--allow-empty", "-m", "second")
    at = first.mirror.path
    left = [
        leave(at / "packed-refs.lock"),
        leave(at / f"refs/autopack/base/{world.head}.lock"),
        leave(at / "refs/heads/autopack/b/two.lock"),
        leave(at / "refs/heads/autopack/b/one.lock"),
    ]
    second = await make(world, "two")
    assert world.git("rev-parse", "HEAD", cwd=second.path) == world.head
    assert "origin/topic" not in world.git("branch", "--remotes", cwd=second.path)
    await world.workspaces.remove(first, delete_branch=True)
    assert world.git("for-each-ref", "refs/heads/autopack/b/one", cwd=at) == ""
    assert [path for path in left if path.exists()] == []


async def test_the_lock_of_a_shallow_mirror_is_removed_too(world: World) -> None:
    for number in range(3):
        world.git("commit", "-q", "--allow-empty", "-m", str(number))
    shallow, origin = world.repo.parent / "shallow", world.repo
    world.git("clone", "-q", "--depth=1", f"file://{origin}", str(shallow))
    object.__setattr__(world, "repo", shallow)
    first = await make(world, "one")
    world.git("commit", "-q", "--allow-empty", "-m", "deeper", cwd=origin)
    world.git("fetch", "-q", "--depth=1", "origin", "main")
    world.git("reset", "-q", "--hard", "FETCH_HEAD")
    left = leave(first.mirror.path / "shallow.lock")
    await make(world, "two")
    assert not left.exists()


async def test_a_fresh_lock_is_waited_for_and_left_alone_if_it_is_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await make(world, "one")
    monkeypatch.setattr(left_locks, "STALE_S", 30.0)
    held = leave(first.mirror.path / "refs/heads/autopack/b/two.lock", age_s=0)
    making = asyncio.create_task(make(world, "two"))
    done, _ = await asyncio.wait([making], timeout=0.5)
    assert not done
    assert held.exists()
    held.unlink()
    assert (await making).path.is_dir()
    monkeypatch.setattr(left_locks, "STALE_S", 0.3)
    left = leave(first.mirror.path / "refs/heads/autopack/b/three.lock", age_s=0)
    assert (await make(world, "three")).path.is_dir()
    assert not left.exists()


async def test_a_lock_in_the_users_repository_stays_and_is_told(world: World) -> None:
    workspace = await make(world, "one")
    theirs = leave(world.repo / ".git/refs/heads/autopack/b/one.lock")
    with pytest.raises(AutopackError) as refused:
        await world.mirrors.publish(workspace.mirror, workspace.branch, await world.source())
    assert refused.value.reason == "PUBLISH_FAILED"
    assert theirs.exists()


async def test_a_link_that_an_agent_put_into_the_mirror_leads_to_no_other_lock(world: World) -> None:
    first = await make(world, "one")
    theirs = leave(world.repo / ".git/refs/heads/autopack/c/two.lock")
    (first.mirror.path / "refs/heads/autopack/c").symlink_to(theirs.parent)
    with pytest.raises(AutopackError) as refused:
        await world.workspaces.create(first.mirror, world.head, "autopack/c/two", world.worktrees / "two", "two")
    assert refused.value.reason == "GIT_FAILED"
    assert theirs.exists()

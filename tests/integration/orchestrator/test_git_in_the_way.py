"""Git that is killed in the middle, and git that meets somebody who writes: neither is the fault of a run."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_orchestrator.adapters.git import left_locks

from tests.integration.orchestrator.conftest import World
from tests.robustness.processes import HANG_LIMIT_S, until
from tests.service.orchestrator.bench import bench, repository, run


def put_before_git(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program that is found in the place of git, and becomes git after ``script``."""
    real = shutil.which("git")
    directory.mkdir()
    (directory / "git").write_text(f'#!/bin/sh\n{script}\nexec {real} "$@"\n')
    (directory / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


async def test_a_run_cancelled_while_git_leaves_a_lock_behind_is_cancelled_and_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, begun = repository(tmp_path / "calc"), tmp_path / "begun"
    # A git that is killed between taking the lock of a branch and writing it: the branch cannot be deleted any more.
    script = f"""
    case " $* " in *" worktree add "*)
        for word; do
            case $word in --git-dir=*) at="${{word#--git-dir=}}/refs/heads" ;; autopack/*) branch=$word ;; esac
        done
        mkdir -p "$(dirname "$at/$branch")"
        : > "$at/$branch.lock"
        : > {begun}
        sleep 1000 ;;
    esac"""
    put_before_git(tmp_path / "bin", monkeypatch, script)
    monkeypatch.setattr(left_locks, "STALE_S", 1.0)
    async with bench(tmp_path) as stack, asyncio.timeout(HANG_LIMIT_S):
        batch = await stack.submit(repo, run("one"))
        await until(begun.exists, "git has begun a worktree")
        await stack.client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=f"{batch.batch_id}.one"))
        await stack.watch(batch.batch_id)
        done = await stack.get(f"{batch.batch_id}.one")
    assert (done.state, done.error.reason) == (pb.RUN_STATE_CANCELLED, "CANCELLED")


async def test_a_copy_of_a_repository_in_which_somebody_writes_meanwhile_is_tried_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""
    case " $* " in *" clone "*)
        if mkdir {tmp_path}/once 2>/dev/null; then
            for word; do last=$word; done
            mkdir -p "$last/objects"
            echo "fatal: failed to create link '$last/objects/tmp_obj_x': No such file or directory" >&2
            exit 128
        fi ;;
    esac"""
    put_before_git(tmp_path / "bin", monkeypatch, script)
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    assert (tmp_path / "once").exists()
    assert await mirror.sha(world.head) == world.head
    assert not list(mirror.path.parent.glob("*.tmp-*"))

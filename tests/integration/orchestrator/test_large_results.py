"""Changes that are too large for a patch, and those that can be kept in no way at all: nothing of them is lost."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import SANDBOX_NONE, Isolation
from autopack_kit.errors import ResourceExhausted
from autopack_orchestrator.adapters.git import Workspace, capture, worktree_tree

from tests.integration.orchestrator.conftest import World
from tests.service.orchestrator.bench import Bench, argv, bench, git, repository, run

LIMIT = 100_000


@pytest.fixture
async def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(capture, "MAX_PATCH_BYTES", LIMIT)
    async with bench(tmp_path) as running:
        yield running


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(
        tmp_path / "calc", {"src/calc.py": "def add(a, b):\n    return a + b\n", "big.bin": "x" * LIMIT * 2}
    )


BIG = f"head -c {LIMIT * 2} /dev/urandom > model.bin"


async def test_a_change_too_large_for_a_patch_is_delivered_as_a_branch_with_a_warning(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one", BIG))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert git(repo, "rev-parse", f"{done.branch}^{{tree}}") == done.tree_id
    assert git(repo, "cat-file", "-s", f"{done.branch}:model.bin") == str(LIMIT * 2)
    assert done.patch_bytes == 0
    (warning,) = done.warnings
    assert warning.startswith("There is no patch: The files that changed hold 0 MiB")
    assert done.branch in warning
    assert not list(stack.data.rglob("*.patch"))


async def test_of_a_run_that_failed_the_branch_stays_where_the_warning_says(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one", BIG, validate=[argv("test", "!", "-e", "model.bin")]))
    assert done.state == pb.RUN_STATE_FAILED
    (warning,) = [text for text in done.warnings if "There is no patch" in text]
    words = warning[warning.index("git fetch") :].split()
    git(repo, *words[1:])
    assert git(repo, "rev-parse", "FETCH_HEAD^{tree}") == done.tree_id
    assert git(repo, "cat-file", "-s", "FETCH_HEAD:model.bin") == str(LIMIT * 2)


async def test_a_large_file_that_moves_or_changes_its_mode_needs_no_room_in_a_patch(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one", "git mv big.bin 'weights 1.bin'; chmod +x src/calc.py"))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert not done.warnings
    git(repo, "apply", "--binary", "--index", stdin=await stack.patch(done.run_id))
    assert git(repo, "write-tree") == done.tree_id


async def test_work_that_cannot_be_captured_stays_in_its_worktree_until_it_can(
    stack: Bench, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = tmp_path / "go-on"
    script = f"until [ -e {go_on} ]; do sleep .05; done; echo precious > notes.txt"
    batch = await stack.submit(repo, run("one", script), isolation=Isolation(sandbox=SANDBOX_NONE))
    await stack.until(batch.batch_id, pb.EVENT_KIND_STATE, to="running")
    with monkeypatch.context() as patched:
        patched.setattr(capture, "CAPTURE_TIMEOUT_S", 0.000_001)
        go_on.touch()
        await stack.watch(batch.batch_id)
    assert (await stack.get(f"{batch.batch_id}.one")).state == pb.RUN_STATE_FAILED
    (left,) = stack.data.rglob("notes.txt")
    assert left.read_text() == "precious\n"
    (record,) = stack.data.rglob("records/*.json")
    os.utime(record, (0, 0))
    with contextlib.closing(sqlite3.connect(stack.data / "orchestrator/orchestrator.sqlite3")) as database, database:
        database.execute("UPDATE runs SET ended_at = 1")
    answer = await stack.client.orchestrator.CollectGarbage(pb.CollectGarbageRequest())
    assert pb.GARBAGE_KIND_WORKTREE in [item.kind for item in answer.items]
    assert not left.exists()
    assert any("precious" in file.read_text() for file in stack.data.rglob("*.patch"))


async def test_what_is_deleted_counts_too_and_the_error_says_how_much(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "MAX_PATCH_BYTES", 3 << 20)
    mirror = await world.mirrors.ensure(await world.source(), world.head)
    tree = await world.workspaces.create(mirror, world.head, "autopack/b/r", world.worktrees / "r", "r")
    assert await _patch_size(tree, tmp_path / "fits") > 0
    (tree.path / ":100644 100644 a b R").write_bytes(os.urandom(2 << 20))  # a name like a line of git
    assert await _patch_size(tree, tmp_path / "still") > 2 << 20
    (tree.path / "more").write_bytes(os.urandom(2 << 20))
    with pytest.raises(ResourceExhausted, match="hold 4 MiB, and a patch is made of at most 3 MiB") as caught:
        await _patch_size(tree, tmp_path / "large")
    assert caught.value.reason == "PATCH_TOO_LARGE"
    assert not (tmp_path / "large").exists()


async def _patch_size(workspace: Workspace, file: Path) -> int:
    (workspace.path / "changed").write_text("one line\n")
    return await capture.patch(workspace.mirror, workspace.base, await worktree_tree(workspace), file)

"""What was kept long enough goes; what is at work, new, or not ours stays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import batch_pb2
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client.uploads import upload_repository
from autopack_kit.errors import Aborted, FailedPrecondition, NotFound, PermissionDenied
from autopack_kit.identity import Principal, Scope
from autopack_orchestrator.execution.directory import lock

from tests.service.orchestrator.bench import Bench, bench, git, repository, run

DAY = 24 * 3600
HANG_S = 60.0


async def collect(stack: Bench, *, dry_run: bool = False) -> pb.CollectGarbageResponse:
    return await stack.client.orchestrator.CollectGarbage(pb.CollectGarbageRequest(dry_run=dry_run))


def kinds(answer: pb.CollectGarbageResponse) -> list[str]:
    return sorted(pb.GarbageKind.Name(item.kind).removeprefix("GARBAGE_KIND_") for item in answer.items)


def root(stack: Bench) -> Path:
    return stack.data / "orchestrator"


def age_batch(stack: Bench, batch_id: str, seconds: float) -> None:
    """The batch and its runs ended so long ago."""
    with contextlib.closing(sqlite3.connect(root(stack) / "orchestrator.sqlite3", timeout=30)) as database, database:
        for table in ("batches", "runs"):
            words = f"UPDATE {table} SET ended_at = ended_at - ? WHERE batch_id = ? AND ended_at IS NOT NULL"
            database.execute(words, (int(seconds * 1e6), batch_id))


def age_path(path: Path, seconds: float) -> None:
    """Nothing of it was changed since so long ago."""
    moment = time.time() - seconds
    for item in [path, *path.rglob("*")]:
        os.utime(item, (moment, moment), follow_symlinks=False)


def rows(stack: Bench, batch_id: str) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(root(stack) / "orchestrator.sqlite3", timeout=30)) as database:
        return {
            table: database.execute(f"SELECT count(*) FROM {table} WHERE batch_id = ?", (batch_id,)).fetchone()[0]
            for table in ("batches", "runs", "events")
        }


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Bench]:
    """A server that keeps hardly anything."""
    async with bench(tmp_path, keep_bytes=0) as running:
        yield running


async def test_batch_past_its_time_goes_with_its_rows_logs_and_patches(stack: Bench, repo: Path) -> None:
    old, second = await stack.finish(repo, run("one"), run("two", needs=["one"]))
    (new,) = await stack.finish(repo, run("one"))
    age_batch(stack, old.batch_id, 31 * DAY)
    told = await collect(stack, dry_run=True)
    assert [(item.name, item.size_bytes > 0) for item in told.items] == [(old.batch_id, True)]
    assert await stack.patch(old.run_id)
    answer = await collect(stack)
    assert (kinds(answer), answer.size_bytes, list(answer.problems)) == (["BATCH"], told.size_bytes, [])
    assert rows(stack, old.batch_id) == {"batches": 0, "runs": 0, "events": 0}
    assert not (root(stack) / "runs" / old.batch_id).exists()
    for call in (stack.get(second.run_id), stack.log(old.run_id), stack.patch(old.run_id), stack.watch(old.batch_id)):
        with pytest.raises(NotFound) as error:
            await call
        assert "KEEP_RESULTS" in error.value.remedy
    assert await stack.patch(new.run_id)
    assert git(repo, "rev-parse", old.branch) == old.head_commit
    assert kinds(await collect(stack)) == []


async def test_deletion_that_was_interrupted_is_done_again_and_nobody_sees_half_of_it(stack: Bench, repo: Path) -> None:
    (one,) = await stack.finish(repo, run("one"))
    with contextlib.closing(sqlite3.connect(root(stack) / "orchestrator.sqlite3", timeout=30)) as database, database:
        database.execute("UPDATE batches SET tenant = '(removed)'")
        database.execute("UPDATE runs SET tenant = '(removed)'")
        database.execute("DELETE FROM events WHERE sequence < 4")
    assert (await stack.client.orchestrator.ListRuns(pb.ListRunsRequest())).runs == []
    assert kinds(await collect(stack)) == ["BATCH"]
    assert rows(stack, one.batch_id) == {"batches": 0, "runs": 0, "events": 0}


async def test_batch_that_is_tried_again_is_not_removed(stack: Bench, repo: Path) -> None:
    (failed,) = await stack.finish(repo, run("one", "test -e go || exit 3; echo x > new"))
    age_batch(stack, failed.batch_id, 31 * DAY)
    await stack.client.orchestrator.RetryRun(pb.RetryRunRequest(run_id=failed.run_id))
    assert kinds(await collect(stack)) == []
    await stack.watch(failed.batch_id)
    assert (await stack.get(failed.run_id)).attempt == 2


async def test_results_over_the_quota_go_and_say_so_while_the_batch_stays_listed(small: Bench, repo: Path) -> None:
    (old,) = await small.finish(repo, run("one", "echo hello; echo x >> src/calc.py"))
    (new,) = await small.finish(repo, run("one", "echo hello; echo x >> src/calc.py"))
    age_batch(small, old.batch_id, 2 * 3600)
    told = await collect(small, dry_run=True)
    assert [(kind, item.name) for kind, item in zip(kinds(told), told.items, strict=True)] == [
        ("RESULTS", old.batch_id)
    ]
    assert b"hello" in await small.log(old.run_id)
    answer = await collect(small)
    assert (kinds(answer), answer.kept_bytes > 0) == (["RESULTS"], True)
    assert (await small.get(old.run_id)).head_commit == old.head_commit
    for call in (small.log(old.run_id), small.patch(old.run_id)):
        with pytest.raises(FailedPrecondition) as error:
            await call
        assert (error.value.reason, "retention" in error.value.message) == ("RESULTS_REMOVED", True)
    assert b"hello" in await small.log(new.run_id)
    assert kinds(await collect(small)) == []


async def test_worktree_of_no_run_goes_with_its_work_kept_and_a_live_one_stays(stack: Bench, repo: Path) -> None:
    batch = await stack.submit(repo, run("one", "echo mine >> src/calc.py; sleep 600"))
    await stack.until(batch.batch_id, pb.EVENT_KIND_STATE, to="running")
    (tree,) = (root(stack) / "workspaces").iterdir()
    async with asyncio.timeout(HANG_S):
        while "mine" not in (tree / "src/calc.py").read_text():  # noqa: ASYNC110 - the disk sets no event
            await asyncio.sleep(0.05)
    (record,) = (root(stack) / "mirrors").glob("*.trusted/records/*.json")
    os.utime(record, (time.time() - DAY, time.time() - DAY))
    assert kinds(await collect(stack)) == []
    with contextlib.closing(sqlite3.connect(root(stack) / "orchestrator.sqlite3", timeout=30)) as database, database:
        database.execute("UPDATE runs SET state = 'lost', ended_at = 1")  # as another host's reconciler would
    assert kinds(await collect(stack, dry_run=True)) == ["WORKTREE"]
    assert tree.exists()
    foreign = root(stack) / "workspaces" / "of-somebody-else"
    foreign.mkdir()
    age_path(foreign, 99 * DAY)
    assert kinds(await collect(stack)) == ["WORKTREE"]
    assert [path.name for path in (root(stack) / "workspaces").iterdir()] == ["of-somebody-else"]
    (patch,) = (root(stack) / "harvested").iterdir()
    assert b"+mine" in patch.read_bytes()


def make_deep(directory: Path) -> None:
    """A tree deeper than Python's stack, as a run may leave it; the directory stays as old as it was."""
    before = directory.stat()
    subprocess.run(["mkdir", "-p", "d/" * 1800], cwd=directory, check=True)
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_old_patches_of_nobody_and_results_of_unknown_batches_go_by_their_own_age(stack: Bench) -> None:
    for name, days in (("old", 31), ("new", 1)):
        for place in (
            root(stack) / "harvested" / f"{name}.patch",
            root(stack) / "runs" / name / "r" / "attempt-1" / "log",
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("x" * 10)
        age_path(root(stack) / "runs" / name, days * DAY)
        age_path(root(stack) / "harvested" / f"{name}.patch", days * DAY)
    make_deep(root(stack) / "runs" / "old" / "r" / "attempt-1")
    answer = await collect(stack)
    assert kinds(answer) == ["HARVESTED", "RESULTS"]
    assert answer.size_bytes == 20
    assert [path.name for path in (root(stack) / "harvested").iterdir()] == ["new.patch"]
    assert [path.name for path in (root(stack) / "runs").iterdir()] == ["new"]


async def test_mirror_that_no_batch_uses_goes_and_is_made_again_when_it_is_needed(
    stack: Bench, repo: Path, tmp_path: Path
) -> None:
    (one,) = await stack.finish(repo, run("one"))
    await stack.settled()
    (mirror,) = (root(stack) / "mirrors").glob("*.git")
    age_path(mirror, 40 * DAY)
    assert kinds(await collect(stack)) == []  # a batch that is kept still uses it
    age_batch(stack, one.batch_id, 31 * DAY)
    assert kinds(await collect(stack)) == ["BATCH", "MIRROR"]
    assert [path for path in (root(stack) / "mirrors").iterdir() if path.is_dir()] == []
    (again,) = await stack.finish(repo, run("one"))
    assert again.state == pb.RUN_STATE_SUCCEEDED
    await stack.finish(repository(tmp_path / "other"), run("one"))
    assert kinds(await collect(stack)) == []


async def test_expired_uploads_go_and_their_mirrors_follow_once_no_batch_uses_them(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, upload_keep=timedelta(hours=1)) as stack:
        upload = await upload_repository(stack.client, repo, "HEAD")
        spec = batch_pb2.BatchSpec(upload_id=upload.upload_id, runs=[run("one")])
        batch = (await stack.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))).batch
        await stack.watch(batch.batch_id)
        (file,) = (root(stack) / "uploads").glob("*/*.bundle")
        assert kinds(await collect(stack)) == []
        age_path(file, 3 * 3600)
        told = await collect(stack, dry_run=True)
        assert (kinds(told), upload.upload_id in told.items[0].name, told.items[0].size_bytes > 0) == (
            ["UPLOAD"], True, True,
        )  # fmt: skip
        assert file.exists()
        assert kinds(await collect(stack)) == ["UPLOAD"]
        assert not file.exists()
        assert await stack.patch(f"{batch.batch_id}.one")
        await stack.settled()
        (mirror,) = (root(stack) / "mirrors").glob("*.git")
        age_path(mirror, 40 * DAY)
        age_batch(stack, batch.batch_id, 31 * DAY)
        assert kinds(await collect(stack)) == ["BATCH", "MIRROR"]


def make_caches(stack: Bench, **idle_s: float) -> Path:
    """Of tenants that used them last so many seconds ago, 100 bytes each."""
    caches = root(stack) / "caches"
    for tenant, seconds in idle_s.items():
        (caches / tenant / ".cache/pip").mkdir(parents=True)
        (caches / tenant / ".cache/pip/wheel").write_bytes(b"x" * 100)
        age_path(caches / tenant, seconds)
    return caches


async def test_caches_of_a_tenant_that_is_gone_go_and_those_of_the_others_stay(stack: Bench) -> None:
    caches = make_caches(stack, gone=31 * DAY, here=29 * DAY, now=0)
    told = await collect(stack, dry_run=True)
    assert [(item.name, item.size_bytes) for item in told.items] == [("gone", 100)]
    assert (caches / "gone").exists()
    assert kinds(await collect(stack)) == ["CACHE"]
    assert sorted(path.name for path in caches.iterdir()) == ["here", "now"]


async def test_caches_over_the_quota_go_in_the_order_of_their_last_use_but_none_that_a_command_may_have(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, cache_bytes=250) as stack:
        caches = make_caches(stack, first=9 * DAY, second=8 * DAY, third=7 * DAY, busy=DAY)
        assert [item.name for item in (await collect(stack, dry_run=True)).items] == ["first", "second"]
        assert kinds(await collect(stack)) == ["CACHE", "CACHE"]
        assert sorted(path.name for path in caches.iterdir()) == ["busy", "third"]
    async with bench(tmp_path, cache_bytes=0) as stack:
        assert [item.name for item in (await collect(stack)).items] == ["third"]
        assert [path.name for path in caches.iterdir()] == ["busy"]


async def test_two_collections_at_once_are_one(stack: Bench) -> None:
    held = lock(root(stack), "gc.lock")
    assert held is not None
    try:
        with pytest.raises(Aborted) as error:
            await collect(stack)
        assert error.value.reason == "GC_UNDER_WAY"
    finally:
        os.close(held)
    assert kinds(await collect(stack)) == []


async def test_who_is_no_administrator_collects_nothing(tmp_path: Path) -> None:
    person = Principal("person", "default", frozenset({Scope.READ, Scope.RUN}))
    async with bench(tmp_path, principal=person) as stack:
        with pytest.raises(PermissionDenied):
            await collect(stack, dry_run=True)


async def test_a_server_collects_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopack_orchestrator.execution.retention.FIRST_LOOK_S", 0.0)
    old = tmp_path / "data/orchestrator/harvested/old.patch"
    old.parent.mkdir(parents=True)
    old.write_text("x")
    age_path(old, 40 * DAY)
    async with bench(tmp_path, keep_results=timedelta(days=30)) as stack, asyncio.timeout(HANG_S):
        while not (root(stack) / "gc.last").exists():  # noqa: ASYNC110 - the disk sets no event
            await asyncio.sleep(0.05)
        assert not old.exists()

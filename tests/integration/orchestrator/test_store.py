"""The store on both databases: nothing is done twice, by whoever, and every change has its number."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from autopack_kit.commands import Command
from autopack_kit.db import differences, migrate
from autopack_kit.errors import AlreadyExists, FailedPrecondition, NotFound
from autopack_orchestrator.adapters import queries
from autopack_orchestrator.adapters.rows import to_micros
from autopack_orchestrator.adapters.store import MIGRATIONS, Store
from autopack_orchestrator.adapters.tables import METADATA
from autopack_orchestrator.core.model import (
    Batch,
    BatchState,
    Budget,
    EventKind,
    Intention,
    NewEvent,
    Run,
    RunError,
    RunResult,
    RunSpec,
    RunState,
)
from autopack_orchestrator.core.names import branch, run_id
from autopack_orchestrator.errors import IdTaken, LeaseLost

NOTE = NewEvent(EventKind.WARNING, "note", {"about": "x"})
CLOCK = itertools.count()


def new_batch(batch_id: str, *, tenant: str = "default", most: int = 100) -> Batch:
    return Batch(
        batch_id=batch_id,
        tenant=tenant,
        name="batch",
        repository="/repo",
        base_commit="0" * 40,
        state=BatchState.ACTIVE,
        max_concurrent_runs=most,
        budget=Budget(),
        create_time=datetime.now(UTC) + timedelta(seconds=next(CLOCK)),
        end_time=None,
        last_sequence=0,
        runs_by_state={},
    )


def new_runs(batch: Batch, count: int) -> list[Run]:
    spec = RunSpec(name="", intention=Intention(title="x"), command=Command.of("true"))
    return [
        Run(
            run_id=run_id(batch.batch_id, f"r{number}"),
            batch_id=batch.batch_id,
            tenant=batch.tenant,
            name=f"r{number}",
            position=number,
            spec=replace(spec, name=f"r{number}"),
            state=RunState.QUEUED,
            activity="",
            attempt=1,
            branch=branch(batch.batch_id, f"r{number}", 1),
            base_commit=batch.base_commit,
            lease_epoch=0,
            cancel_requested=False,
            create_time=batch.create_time,
            start_time=None,
            end_time=None,
            result=RunResult(),
        )
        for number in range(count)
    ]


async def make(store: Store, batch_id: str, count: int = 1, **fields: object) -> Batch:
    batch = new_batch(batch_id, **fields)  # type: ignore[arg-type]  # tenant and most
    return await store.create_batch(batch, new_runs(batch, count), "", "")


async def sequences(store: Store, batch_id: str) -> list[int]:
    found: list[int] = []
    while events := await store.events_after(batch_id, found[-1] if found else 0):
        found += [event.sequence for event in events]
    return found


def test_migrations_make_exactly_the_tables_that_the_code_declares(url: str) -> None:
    assert migrate(url, name="orchestrator", migrations=MIGRATIONS)
    assert differences(url, name="orchestrator", metadata=METADATA) == []
    assert migrate(url, name="orchestrator", migrations=MIGRATIONS) == ()


async def test_a_batch_and_its_runs_come_back_as_they_were_stored(store: Store) -> None:
    batch = new_batch("one")
    runs = new_runs(batch, 2)
    stored = await store.create_batch(batch, runs, "", "")
    assert stored.runs_by_state == {"queued": 2}
    assert replace(stored, runs_by_state={}, last_sequence=0) == batch
    assert await store.all_runs("default", "one") == runs
    with pytest.raises(NotFound):
        await store.get_batch("other", "one")
    with pytest.raises(NotFound):
        await store.get_run("other", "one.r0")


async def test_a_request_id_makes_one_batch_whoever_sends_it_and_however_often(store: Store, url: str) -> None:
    second = await asyncio.to_thread(Store.open, url)

    async def submit(number: int) -> Batch:
        batch = new_batch(f"b{number}")
        return await (store, second)[number % 2].create_batch(batch, new_runs(batch, 3), "req", "hash")

    answers = await asyncio.gather(*(submit(number) for number in range(32)))
    assert len({answer.batch_id for answer in answers}) == 1
    assert len(await store.list_batches("default", None, 100)) == 1
    assert len((await store.list_runs("default", limit=100))[0]) == 3
    with pytest.raises(AlreadyExists):
        await store.find_request("default", "req", "another hash")
    assert await store.find_request("another tenant", "req", "hash") is None
    await second.close()


async def test_an_id_that_was_drawn_twice_is_told(store: Store) -> None:
    await make(store, "one")
    with pytest.raises(IdTaken):
        await make(store, "one")
    assert (await store.get_batch("default", "one")).runs_by_state == {"queued": 1}


async def test_runs_are_claimed_oldest_batch_first_within_both_limits(store: Store) -> None:
    await make(store, "z-first", 3, most=2)
    await make(store, "a-second", 3)
    claimed = [await store.claim("me", limit=4) for _ in range(6)]
    assert [run.run_id if run else None for run in claimed] == [
        "z-first.r0", "z-first.r1", "a-second.r0", "a-second.r1", None, None,
    ]  # fmt: skip
    first = claimed[0]
    assert first is not None
    assert (first.state, first.lease_epoch) == (RunState.PREPARING, 1)
    assert first.start_time is not None
    await store.update(first, to=RunState.FAILED, result=RunResult(error=RunError("X", "x")))
    freed = await store.claim("me", limit=4)
    assert freed is not None
    assert freed.run_id == "z-first.r2"


async def test_two_engines_on_one_database_never_exceed_a_limit_or_claim_a_run_twice(store: Store, url: str) -> None:
    second = await asyncio.to_thread(Store.open, url)
    await make(store, "one", 40, most=7)

    async def claim(number: int) -> Run | None:
        try:
            return await (store, second)[number % 2].claim(f"engine-{number % 2}", limit=100)
        except LeaseLost:
            return None

    claimed = [run for run in await asyncio.gather(*(claim(number) for number in range(40))) if run]
    assert len(claimed) == len({run.run_id for run in claimed}) == 7
    assert len(await store.held_by("engine-0")) + len(await second.held_by("engine-1")) == 7
    await second.close()


async def test_a_writer_of_an_older_epoch_changes_nothing(store: Store) -> None:
    await make(store, "one")
    old = await store.claim("me", limit=1)
    assert old is not None
    new = await store.adopt(old, "you")
    assert new.lease_epoch == old.lease_epoch + 1
    before = await sequences(store, "one")
    for late in (
        store.update(old, to=RunState.RUNNING),
        store.update(old, activity="late"),
        store.update(old, events=[NOTE]),
        store.requeue(old, 2, "branch", NOTE),
        store.adopt(old, "me"),
    ):
        with pytest.raises(LeaseLost):
            await late
    assert await sequences(store, "one") == before
    assert await store.get_run("default", "one.r0") == new
    assert await store.held_by("me") == []


async def test_a_state_follows_only_where_it_may_and_the_end_is_the_end(store: Store) -> None:
    await make(store, "one", 2)
    run = await store.claim("me", limit=1)
    assert run is not None
    with pytest.raises(LeaseLost):
        await store.update(run, to=RunState.SUCCEEDED)
    running = await store.update(run, to=RunState.RUNNING, activity="agent")
    with pytest.raises(LeaseLost):  # the same epoch, but the state has moved on
        await store.update(run, to=RunState.FAILED)
    ended = await store.update(await store.update(running, to=RunState.VALIDATING), to=RunState.SUCCEEDED)
    assert (ended.activity, ended.state) == ("", RunState.SUCCEEDED)
    assert ended.end_time is not None
    with pytest.raises(LeaseLost):
        await store.update(ended, events=[NOTE], to=RunState.FAILED)
    assert (await store.get_batch("default", "one")).state is BatchState.ACTIVE
    other = await store.claim("me", limit=9)
    assert other is not None
    await store.update(other, to=RunState.LOST)
    batch = await store.get_batch("default", "one")
    assert (batch.state, batch.runs_by_state) == (BatchState.FAILED, {"succeeded": 1, "lost": 1})
    assert batch.end_time is not None


async def test_a_run_that_is_queued_again_forgets_its_result_and_keeps_its_start(store: Store) -> None:
    await make(store, "one")
    run = await store.claim("me", limit=1)
    assert run is not None
    run = await store.update(run, result=RunResult(warnings=("x",)))
    again = await store.requeue(run, 2, "autopack/one/r0-2", NOTE)
    assert (again.state, again.attempt, again.branch) == (RunState.QUEUED, 2, "autopack/one/r0-2")
    assert again.result == RunResult()
    assert again.start_time == run.start_time
    assert await store.held_by("me") == []
    claimed = await store.claim("you", limit=1)
    assert claimed is not None
    assert claimed.lease_epoch == 2


async def test_events_have_no_gap_whoever_writes_them(store: Store, url: str) -> None:
    second = await asyncio.to_thread(Store.open, url)
    await make(store, "one", 8)
    runs = [run for run in [await store.claim("me", limit=8) for _ in range(8)] if run]

    async def write(run: Run, through: Store) -> None:
        for _ in range(15):
            run = await through.update(run, events=[NOTE, NOTE])

    seen: list[int] = []

    async def read() -> None:
        while len(seen) < 1 + 8 + 8 * 30:
            seen.extend([event.sequence for event in await second.events_after("one", seen[-1] if seen else 0)])

    writers = (write(run, (store, second)[index % 2]) for index, run in enumerate(runs))
    await asyncio.gather(read(), *writers)
    assert seen == list(range(1, 1 + 8 + 8 * 30 + 1))
    assert (await store.get_batch("default", "one")).last_sequence == len(seen)
    await second.close()


async def test_cancelling_ends_what_waits_and_marks_what_is_worked_on(store: Store) -> None:
    await make(store, "one", 3)
    run = await store.claim("me", limit=1)
    assert run is not None
    await store.request_cancel("stranger", batch_id="one")
    assert (await store.get_batch("default", "one")).runs_by_state == {"preparing": 1, "queued": 2}
    await store.request_cancel("default", batch_id="one", run_id="one.r2")
    assert (await store.get_run("default", "one.r2")).state is RunState.CANCELLED
    await store.request_cancel("default", batch_id="one")
    await store.request_cancel("default", batch_id="one")
    assert await store.cancel_requested(["one.r0", "one.r1", "nobody"]) == {"one.r0", "one.r1"}
    events = await store.events_after("one", 0)
    assert [event.run_id for event in events if event.kind is EventKind.CANCEL_REQUESTED] == [
        "one.r2", "one.r0", "one.r1",
    ]  # fmt: skip
    assert await store.claim("me", limit=9) is None
    run = await store.update(run, to=RunState.CANCELLED)
    assert (await store.get_batch("default", "one")).state is BatchState.CANCELLED


async def test_pages_show_each_run_once_although_new_batches_come(store: Store) -> None:
    for name in ("a", "b", "c"):
        await make(store, name, 4)
    found: list[Run] = []
    more = True
    while more:
        after = (to_micros(found[-1].create_time), found[-1].batch_id, found[-1].position) if found else None
        page, more = await store.list_runs("default", after=after, limit=5)
        found += page
        await make(store, f"new-{len(found)}")
    assert [run.run_id for run in found] == [f"{name}.r{number}" for name in "cba" for number in range(4)]


async def test_a_page_of_large_results_ends_early(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_PAGE_BYTES", 5000)
    await make(store, "one", 4)
    for _ in range(4):
        run = await store.claim("me", limit=9)
        assert run is not None
        await store.update(run, result=RunResult(warnings=("x" * 2000,)))
    page, more = await store.list_runs("default", limit=4)
    assert (len(page), more) == (2, True)
    assert len(await store.all_runs("default", "one")) == 4


async def test_text_that_a_database_refuses_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.get_batch("default", "a\0b")
    with pytest.raises(NotFound):
        await store.get_run("default", "a\0b")


async def test_a_watcher_of_the_same_process_is_woken(store: Store) -> None:
    await make(store, "one")
    changed, release = store.watch("one")
    run = await store.claim("me", limit=1)
    assert run is not None
    assert changed.is_set()
    changed.clear()
    await store.update(run, activity="no event")
    assert not changed.is_set()
    await store.update(run, events=[NOTE])
    assert changed.is_set()
    release()


def test_a_database_of_something_else_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite3").write_text("this is no database, whatever its name says" * 100)
    with pytest.raises(FailedPrecondition) as error:
        Store.open(f"sqlite:///{tmp_path}/x.sqlite3")
    assert "x.sqlite3" in error.value.message

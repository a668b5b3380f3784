"""Admission in the store, on both databases: shares, priorities, retries, needs, timeouts, pauses, the migration."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from autopack_kit.db import migrate
from autopack_kit.errors import FailedPrecondition
from autopack_orchestrator.adapters.store import MIGRATIONS, Store
from autopack_orchestrator.core.model import BatchState, EventKind, NewEvent, RetryOn, RetryPolicy, Run, RunState
from sqlalchemy import create_engine, make_url, text

from tests.integration.orchestrator.stored import end, submit

NOTE = NewEvent(EventKind.WARNING, "note", {"about": "x"})
HOUR = timedelta(hours=1)


async def claim(store: Store, limit: int = 1000, **limits: int) -> Run | None:
    return await store.claim("me", limit=limit, **limits)


async def claim_all(store: Store, limit: int = 1000, **limits: int) -> list[Run]:
    claimed = []
    while (run := await claim(store, limit, **limits)) is not None:
        claimed.append(run)
    return claimed


async def one(store: Store, limit: int = 1000) -> Run:
    run = await claim(store, limit)
    assert run is not None
    return run


async def state_of(store: Store, run_id: str) -> RunState:
    return (await store.get_run("default", run_id)).state


async def test_one_run_of_another_tenant_starts_in_the_next_free_slot(store: Store) -> None:
    await submit(store, "many", 100, tenant="a", priority=10)
    held = [await one(store, 3) for _ in range(3)]
    await submit(store, "few", 1, tenant="b")
    await end(store, held[0])
    assert (await one(store, 3)).tenant == "b"
    await end(store, held[1])
    assert (await one(store, 3)).tenant == "a"


async def test_tenants_take_turns_when_each_has_as_many_at_work(store: Store) -> None:
    for tenant in "abc":
        await submit(store, f"of-{tenant}", 10, tenant=tenant)
    order = []
    for _ in range(9):
        run = await one(store, 1)
        order.append(run.tenant)
        await end(store, run)
    assert order == list("abc" * 3)


async def test_limits_of_tenant_and_repository_hold_beside_those_of_batch_and_engine(store: Store) -> None:
    await submit(store, "a1", 9, tenant="a", repository="/x")
    await submit(store, "a2", 9, tenant="a", repository="/y")
    await submit(store, "b1", 9, tenant="b", repository="/x", most=1)
    claimed = await claim_all(store, per_tenant=4, per_repository=3)
    assert Counter(run.batch_id for run in claimed) == {"a1": 2, "a2": 2, "b1": 1}
    await end(store, next(run for run in claimed if run.batch_id == "a1"))
    assert (await claim(store, 5, per_tenant=4, per_repository=3) or claimed[0]).batch_id in ("a1", "a2")


async def test_a_higher_priority_goes_ahead_and_one_that_has_waited_long_is_not_passed(store: Store) -> None:
    now = datetime.now(UTC)
    await submit(store, "old", create_time=now - 4 * HOUR, priority=-10)
    await submit(store, "low", create_time=now - timedelta(minutes=5))
    await submit(store, "high", create_time=now, priority=1)
    assert [run.batch_id for run in await claim_all(store)] == ["old", "high", "low"]


async def test_full_batches_are_passed_in_order_whatever_the_lanes(store: Store) -> None:
    chosen = random.Random(7)
    for number in range(12):
        most, agent = chosen.randint(1, 3), chosen.choice(["", "claude"])
        await submit(store, f"b{number:02}", 4, most=most, agent=agent, tenant="t", repository=f"/{number % 3}")
    claimed = await claim_all(store, 17)
    batches = [run.batch_id for run in claimed]
    assert batches == sorted(batches)  # each batch up to its limit, the oldest first
    assert len(claimed) == 17


async def test_two_engines_never_exceed_a_limit_or_take_a_run_twice(store: Store, url: str) -> None:
    second = await asyncio.to_thread(Store.open, url)
    for tenant in "abcd":
        await submit(store, f"of-{tenant}", 10, tenant=tenant)

    async def take(number: int) -> Run | None:
        return await (store, second)[number % 2].claim(f"engine-{number % 2}", limit=12, per_tenant=4)

    claimed = [run for run in await asyncio.gather(*(take(number) for number in range(24))) if run]
    assert len({run.run_id for run in claimed}) == len(claimed) == 12
    assert set(Counter(run.tenant for run in claimed).values()) == {3}
    await second.close()


async def test_a_throttled_agent_waits_and_others_go_on(store: Store) -> None:
    await submit(store, "a", 4, agent="claude")
    await submit(store, "b", 2)
    held = [await one(store) for _ in range(4)]
    assert await store.throttle("claude", 8) == 2
    assert await store.throttle("claude", 8) == 2  # the same overload, seen by another run
    await store.requeue(held[0], 2, "branch", NOTE, counts=False)
    assert [run.batch_id for run in await claim_all(store)] == ["b", "b"]
    await end(store, held[1])
    await end(store, held[2])
    assert (await one(store)).run_id == "a.r0"


# ---- retries ----


async def test_a_retry_waits_for_its_time_and_then_keeps_its_place(store: Store) -> None:
    await submit(store, "one", queue_timeout=HOUR, retry=RetryPolicy(3, (RetryOn.FAILED,)))
    run = await store.requeue(await one(store), 2, "one/r0-2", NOTE, wait=HOUR)
    assert (run.state, run.counted, run.excused, run.activity) == (RunState.QUEUED, 2, 0, "waits for its retry")
    assert run.not_before is not None
    assert run.not_before > datetime.now(UTC) + HOUR / 2
    await store.tick()
    assert await claim(store) is None
    await submit(store, "two")
    run = await store.requeue(await one(store), 2, "two/r0-2", NOTE, wait=timedelta(microseconds=1), counts=False)
    assert (run.counted, run.excused) == (1, 1)
    await submit(store, "three")
    await store.tick()
    run = await one(store)
    assert (run.run_id, run.not_before, run.activity, run.attempt) == ("two.r0", None, "", 2)


async def test_a_failed_run_is_queued_again_on_request_and_once_per_request_id(store: Store) -> None:
    await submit(store, "one", 2)
    first, second = [await one(store) for _ in range(2)]
    for refused in (first.run_id, second.run_id):
        with pytest.raises(FailedPrecondition) as error:
            await store.retry("default", refused, "")
        assert (error.value.reason, error.value.metadata["state"]) == ("RUN_NOT_RETRYABLE", "preparing")
    await end(store, second)
    await end(store, first, RunState.FAILED)
    assert (await store.get_batch("default", "one")).state is BatchState.FAILED
    again = await asyncio.gather(*(store.retry("default", first.run_id, "req") for _ in range(8)))
    assert {(run.state, run.attempt, run.branch) for run in again} == {(RunState.QUEUED, 2, "autopack/one/r0-2")}
    assert again[0].result.error is None
    assert again[0].start_time is None
    batch = await store.get_batch("default", "one")
    assert (batch.state, batch.end_time) == (BatchState.ACTIVE, None)
    with pytest.raises(FailedPrecondition):
        await store.retry("default", second.run_id, "")
    await end(store, await one(store))
    assert (await store.get_batch("default", "one")).state is BatchState.SUCCEEDED
    messages = [event.message for event in await store.events_after("one", 0)]
    assert messages.count("r0 failed -> queued") == 1
    assert "batch active again" in messages


async def test_a_cancelled_run_that_is_tried_again_is_not_cancelled_any_more(store: Store) -> None:
    await submit(store, "one")
    await store.request_cancel("default", batch_id="one")
    run = await store.retry("default", "one.r0", "")
    assert (run.state, run.cancel_requested) == (RunState.QUEUED, False)
    assert (await one(store)).run_id == "one.r0"


# ---- needs ----


async def test_runs_begin_when_all_that_they_need_have_succeeded(store: Store) -> None:
    await submit(store, "one", {"a": (), "b": (), "c": ("a", "b"), "d": ("c",)})
    first = await claim_all(store)
    assert [run.name for run in first] == ["a", "b"]
    await end(store, first[0])
    assert await claim(store) is None
    await end(store, first[1])
    (third,) = await claim_all(store)
    assert third.name == "c"
    await end(store, third)
    assert [run.name for run in await claim_all(store)] == ["d"]


async def test_a_failure_ends_all_that_need_it_and_its_retry_queues_them_again(store: Store) -> None:
    await submit(store, "one", {"a": (), "b": ("a",), "c": ("b",), "free": ()})
    held = {run.name: run for run in await claim_all(store)}
    await end(store, held["a"], RunState.FAILED)
    for name, needed in (("b", "a"), ("c", "b")):
        run = await store.get_run("default", f"one.{name}")
        assert run.state is RunState.FAILED
        assert run.result.error is not None
        assert (run.result.error.reason, needed in run.result.error.message) == ("DEPENDENCY_FAILED", True)
        assert run.end_time is not None
    with pytest.raises(FailedPrecondition) as error:
        await store.retry("default", "one.c", "")
    assert error.value.reason == "NEEDS_NOT_SUCCEEDED"
    assert "one.b" in error.value.remedy
    await end(store, held["free"])
    assert (await store.get_batch("default", "one")).state is BatchState.FAILED
    await store.retry("default", "one.a", "")
    assert (await store.get_batch("default", "one")).runs_by_state == {"queued": 3, "succeeded": 1}
    assert (await store.get_run("default", "one.b")).attempt == 1  # it never began
    for name in "abc":
        run = await one(store)
        assert run.name == name
        await end(store, run)
    assert (await store.get_batch("default", "one")).state is BatchState.SUCCEEDED


async def test_a_run_that_was_cancelled_while_its_attempt_ended_is_not_tried_again(store: Store) -> None:
    await submit(store, "one", {"a": (), "b": ("a",)}, retry=RetryPolicy(3, (RetryOn.FAILED,)))
    run = await one(store)
    await store.request_cancel("default", batch_id="one", run_id="one.a")
    event = NewEvent(EventKind.WARNING, "again", {})
    again = await store.requeue(run, 2, "autopack/one/a-2", event, wait=timedelta(minutes=5))
    assert (again.state, again.end_time is not None) == (RunState.CANCELLED, True)
    assert (await store.get_run("default", "one.b")).state is RunState.FAILED
    assert (await store.get_batch("default", "one")).state is not BatchState.ACTIVE


async def test_a_retry_leaves_ended_what_also_needs_another_that_failed_until_that_is_retried(store: Store) -> None:
    await submit(store, "one", {"a": (), "b": (), "both": ("a", "b"), "after": ("a", "both"), "only": ("a",)})
    held = {run.name: run for run in await claim_all(store)}
    await end(store, held["a"], RunState.FAILED)
    await end(store, held["b"], RunState.FAILED)
    await store.retry("default", "one.a", "")
    for name in ("a", "only"):
        run = await one(store)
        assert run.name == name
        await end(store, run)
    assert (await store.get_batch("default", "one")).state is BatchState.FAILED  # nothing waits for what never comes
    await store.retry("default", "one.b", "")
    for name in ("b", "both", "after"):
        run = await one(store)
        assert run.name == name
        await end(store, run)
    assert (await store.get_batch("default", "one")).state is BatchState.SUCCEEDED


async def test_cancelling_what_is_needed_ends_those_that_need_it(store: Store) -> None:
    await submit(store, "one", {"a": (), "b": ("a",), "c": ("b",)})
    await store.request_cancel("default", batch_id="one", run_id="one.a")
    assert [await state_of(store, f"one.{name}") for name in "abc"] == [
        RunState.CANCELLED, RunState.FAILED, RunState.FAILED,
    ]  # fmt: skip
    assert (await store.get_batch("default", "one")).state is BatchState.FAILED
    await submit(store, "two", {"a": (), "b": ("a",)})
    await store.request_cancel("default", batch_id="two")
    assert (await store.get_batch("default", "two")).runs_by_state == {"cancelled": 2}


# ---- waiting for too long ----


async def test_a_run_that_waits_for_its_turn_for_too_long_ends_and_others_do_not(store: Store) -> None:
    long_ago = datetime.now(UTC) - HOUR
    await submit(store, "late", {"a": (), "b": ("a",)}, create_time=long_ago, queue_timeout=HOUR / 2)
    await submit(store, "patient", create_time=long_ago)
    await submit(store, "new", {"a": (), "b": ("a",)}, queue_timeout=2 * HOUR)
    await store.tick()
    run = await store.get_run("default", "late.a")
    assert run.state is RunState.TIMED_OUT
    assert run.result.error is not None
    assert run.result.error.reason == "QUEUE_TIMEOUT"
    assert await state_of(store, "late.b") is RunState.FAILED
    assert (await store.get_batch("default", "late")).state is BatchState.FAILED
    assert [run.run_id for run in await claim_all(store)] == ["patient.r0", "new.a"]
    await store.tick()
    again = await store.retry("default", "late.a", "")
    await store.tick()
    assert await state_of(store, again.run_id) is RunState.QUEUED  # its wait has begun anew


async def test_a_pause_is_told_to_those_that_wait_and_seen_until_it_is_over(store: Store) -> None:
    await submit(store, "waits")
    await submit(store, "works")
    run = await one(store)
    assert run.run_id == "waits.r0"
    await store.pause("me", "the disk is full", tell=True)
    waiting = await store.get_batch("default", "works")
    assert waiting.waiting_reason == "the disk is full"
    assert (await store.get_batch("default", "waits")).waiting_reason == ""
    told = [event for event in await store.events_after("works", 0) if event.kind is EventKind.WARNING]
    assert [(event.message, event.attributes) for event in told] == [("the disk is full", {"about": "intake"})]
    await store.pause("me", "", tell=False)
    assert (await store.get_batch("default", "works")).waiting_reason == ""


# ---- the migration ----


async def test_runs_of_the_version_before_go_on(url: str, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    shutil.copy(MIGRATIONS / "0001_initial.py", before)
    await asyncio.to_thread(migrate, url, name="orchestrator", migrations=before)
    await asyncio.to_thread(_fill_as_before, url)
    store = await asyncio.to_thread(Store.open, url)
    try:
        batch = await store.get_batch("default", "old")
        assert (batch.priority, batch.retry, batch.queue_timeout) == (0, RetryPolicy(), None)
        runs = {run.name: run for run in await store.all_runs("default", "old")}
        assert (runs["done"].counted, runs["lost"].counted) == (1, 2)
        assert runs["done"].spec.max_attempts == 2
        assert [run.name for run in await claim_all(store, 3)] == ["waits", "agent"]  # one is at work already
        assert await store.throttle("claude", 9) == 1
        assert (await store.retry("default", "old.lost", "")).attempt == 3
    finally:
        await store.close()


def _fill_as_before(url: str) -> None:
    states = {"done": "succeeded", "lost": "lost", "works": "running", "waits": "queued", "agent": "queued"}
    engine = create_engine(make_url(url))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET search_path TO orchestrator"))
        connection.execute(
            text(
                "INSERT INTO batches VALUES ('old', 'default', 'batch', NULL, '', '/repo', '0', 'active', 9, '{}', "
                "1000, NULL, 1)"
            )
        )
        for position, (name, state) in enumerate(states.items()):
            agent = '{"name": "claude", "arguments": []}' if name == "agent" else "null"
            spec = f'{{"name": "{name}", "intention": {{"title": "x"}}, "agent": {agent}, "max_attempts": 2}}'
            values = {
                "run_id": f"old.{name}", "batch_id": "old", "tenant": "default", "name": name, "position": position,
                "spec": spec, "state": state, "activity": "", "attempt": 2 if name == "lost" else 1,
                "branch": f"autopack/old/{name}", "base_commit": "0", "lease_owner": "", "lease_epoch": 1,
                "cancel_requested": False, "created_at": 1000, "result": "{}",
            }  # fmt: skip
            columns = ", ".join(values)
            marks = ", ".join(f":{name}" for name in values)
            connection.execute(text(f"INSERT INTO runs ({columns}) VALUES ({marks})"), values)
    engine.dispose()

"""What counts once, and where it is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.core.estimate import ModelClass
from autopack_telemetry.core.model import (
    PhaseRecord,
    Price,
    RunSummary,
    Session,
    Signal,
    Tokens,
    UsageRecord,
    UsageRole,
)

HOUR = 3600 * 1_000_000


def told(usage_id: str, signal: Signal = Signal.LOG, output: int = 10, **fields: object) -> UsageRecord:
    record = UsageRecord("r", usage_id, HOUR, Tokens(output=output), agent="a", session_id="s", signal=signal)
    return replace(record, **fields)  # type: ignore[arg-type]


async def summary(store: SqlStore, run_id: str = "r") -> RunSummary:
    found = await store.summary("t", run_id)
    assert found is not None
    return found


async def listed(store: SqlStore, run_id: str | None = None, *, unattributed: bool = False) -> list[Session]:
    return await store.sessions("t", run_id, unattributed=unattributed, before=None, limit=100)


async def test_signals_of_a_session_are_counted_once_and_their_difference_is_told(store: SqlStore) -> None:
    await store.record_usage("t", [told("m", Signal.METRIC, 25)], 1)
    assert (await summary(store)).tokens.output == 25
    await store.record_usage("t", [told("l1"), told("l2"), told("x", Signal.SPAN, 20)], 1)
    found = await summary(store)
    assert (found.tokens.output, found.usage_records) == (20, 2)
    (warning,) = found.warnings
    assert all(part in warning for part in ("'s'", "log 20", "span 20", "metric 25", "log counts"))
    (session,) = await listed(store, "r")
    assert session.mismatch
    assert [(one.signal, one.tokens.output) for one in session.reported] == [
        (Signal.LOG, 20), (Signal.SPAN, 20), (Signal.METRIC, 25),
    ]  # fmt: skip
    assert (session.first_time, session.last_time) == (HOUR, HOUR)


async def test_response_that_a_forked_session_tells_again_counts_once(store: SqlStore) -> None:
    first = told("u1", response_id="msg_1")
    fork = told("u2", response_id="msg_1", session_id="fork", run_id="other", time=2 * HOUR)
    assert await store.record_usage("t", [fork], 1) == (1, 0)
    assert await store.record_usage("t", [first, fork], 1) == (0, 2)
    assert (await summary(store)).usage_records == 1  # the earlier call, whichever came first
    assert await store.summary("t", "other") is None


async def test_equal_ids_of_responses_of_different_size_are_two_calls(store: SqlStore) -> None:
    """Some servers number their responses with three digits."""
    await store.record_usage(
        "t", [told("u1", response_id="chatcmpl-7"), told("u2", response_id="chatcmpl-7", output=9)], 1
    )
    assert (await summary(store)).tokens.output == 19


async def test_two_agents_with_one_session_id_are_two_sessions(store: SqlStore) -> None:
    await store.record_usage("t", [told("1"), told("2", Signal.METRIC, 7, agent="b")], 1)
    found = await summary(store)
    assert (found.tokens.output, found.warnings) == (17, ())
    assert {(one.agent, one.signal) for one in await listed(store, "r")} == {("a", Signal.LOG), ("b", Signal.METRIC)}


async def test_shadows_enter_no_estimate(store: SqlStore) -> None:
    doctor = [told(f"{n}", Signal.METRIC, 100, role=UsageRole.DOCTOR) for n in range(3)]
    await store.record_usage("t", doctor, 1)
    await store.record_usage("t", [told("l", output=7, role=UsageRole.DOCTOR)], 1)
    for run_id in ("r", None):
        assert await store.doctor_calls("t", run_id, ModelClass.UNKNOWN, 100) == [7]


async def test_usage_of_no_run_is_shown_and_moves_when_its_session_is_registered(store: SqlStore) -> None:
    strays = [told(f"{n}", run_id="") for n in range(3)]
    await store.record_usage("t", [*strays, told("elsewhere", run_id="", session_id="z"), told("0", phase_id="p")], 1)
    before = await summary(store)
    assert (before.tokens.output, len(before.warnings)) == (10, 1)
    assert before.warnings[0].startswith("2 sessions of no run")
    assert {one.session_id for one in await listed(store, unattributed=True)} == {"s", "z"}
    assert await store.register_session("t", "a", "s", "r", "agent", 2) == 2  # one of the three was known
    after = await summary(store)
    assert (after.tokens.output, after.usage_records) == (30, 3)
    assert [one.session_id for one in await listed(store, unattributed=True)] == ["z"]
    assert await store.record_usage("t", [told("3", run_id="")], 3) == (1, 0)
    assert (await summary(store)).tokens.output == 40


async def test_usage_that_no_sessions_time_overlaps_is_no_warning_of_a_run(store: SqlStore) -> None:
    await store.record_usage("t", [told("1"), told("2", run_id="", session_id="z", time=9 * HOUR)], 1)
    assert (await summary(store)).warnings == ()


async def test_series_that_is_told_again_counts_its_largest(store: SqlStore) -> None:
    for output in (5, 9, 7):
        await store.record_usage("t", [told("series", Signal.METRIC, output, cumulative=True)], 1)
    found = await summary(store)
    assert (found.tokens.output, found.usage_records) == (9, 1)


async def test_cost_is_what_was_reported_else_what_a_price_list_says_else_not_known(url: str) -> None:
    prices: Callable[[UsageRecord], Price | None] = lambda one: Price(700, "list", "7") if one.model else None  # noqa: E731
    store = await asyncio.to_thread(SqlStore.open, url, queue_rows=1_000, price=prices)
    records = [
        told("1", model="m", reported_cost_microusd=50),
        told("2", model="m"),
        told("3", reported_cost_microusd=0),
        told("4"),
    ]
    await store.record_usage("t", records, 1)
    found = await summary(store)
    await store.close()
    assert (found.cost_microusd, found.reported_cost_microusd, found.records_without_cost) == (750, 50, 1)
    assert found.price_lists == ("list 7",)


async def test_old_records_go_and_what_is_known_of_their_run_goes_last(store: SqlStore) -> None:
    await store.record_usage("t", [told(f"{n}") for n in range(10)], 100)
    await store.record_phases("t", [PhaseRecord("r", "old")], 100)
    await store.record_usage("t", [told("late")], 200)
    await store.register_session("t", "a", "kept", "r", "", 100)
    deleted = 0
    while chunk := await store.prune(150):
        deleted += chunk
    found = await summary(store)
    assert (found.phases, found.usage_records) == (0, 1)
    assert [one.session_id for one in await listed(store)] == ["s"]
    assert deleted == 12  # ten calls, a phase, and the registration of a session that told nothing
    while await store.prune(300):
        pass
    assert await store.summary("t", "r") is None
    assert await listed(store) == []

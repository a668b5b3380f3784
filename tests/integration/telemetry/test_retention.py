"""Old records go, whatever other records say of their time."""

from __future__ import annotations

import pytest
from autopack_telemetry.adapters.retention import CHUNK_ROWS, EVERY_SECONDS, prune_chunk
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.adapters.tables import USAGE
from autopack_telemetry.core.model import PhaseRecord, RunRecord, Tokens, UsageRecord
from sqlalchemy import select

HOUR = int(EVERY_SECONDS) * 1_000_000
YEAR = 365 * 24 * HOUR
NOW = 1_764_000_100_000_000


async def record(store: SqlStore, name: str, count: int, arrived: int) -> None:
    """Calls of a run of that name, which arrived at one time."""
    calls = [UsageRecord(name, f"{name}-{n}", NOW, Tokens(output=1)) for n in range(count)]
    await store.record_usage("t", calls, arrived)


async def left(store: SqlStore) -> set[str]:
    """Runs that have usage."""
    query = select(USAGE.c.run_id).distinct()
    return set(await store._database.read(lambda connection: connection.scalars(query).all()))


async def prune(store: SqlStore, before: int, **bounds: int) -> None:
    while await store._database.write(lambda connection: prune_chunk(connection, before, **bounds)):
        pass


async def test_records_of_the_future_do_not_keep_old_ones_alive(store: SqlStore) -> None:
    await record(store, "ahead", CHUNK_ROWS + 1, NOW + YEAR)
    await record(store, "old", CHUNK_ROWS + 1, NOW - YEAR)
    await record(store, "new", 1, NOW)
    for run in ("ahead", "old"):
        await store.record_phases("t", [PhaseRecord(run, "phase")], NOW - YEAR)
        await store.record_runs("t", [RunRecord(run, task="task")], NOW - YEAR)
    while await store.prune(NOW - HOUR):
        pass
    assert await left(store) == {"ahead", "new"}
    assert [run.run_id for run in await store.runs("t", ["ahead", "old"])] == ["ahead"]
    while await store.prune(NOW + 2 * YEAR):
        pass
    assert await left(store) == set()
    assert await store.runs("t", ["ahead", "old"]) == []


@pytest.mark.parametrize("skew", [-YEAR, YEAR])
async def test_a_clock_that_was_a_year_off_for_a_while_does_not_stop_retention(store: SqlStore, skew: int) -> None:
    for hour in range(6):
        await record(store, f"{hour}", 20, NOW + hour * HOUR + (skew if hour == 2 else 0))
    await prune(store, NOW + 3 * HOUR + 1, limit=5, window=1_000)
    assert await left(store) == ({"4", "5"} if skew < 0 else {"2", "4", "5"})


async def test_every_part_of_a_large_table_has_its_turn(store: SqlStore) -> None:
    await record(store, "ahead", 40, NOW + YEAR)
    for number in range(30):
        await record(store, f"old-{number}", 1, NOW - YEAR)
        await record(store, f"new-{number}", 9, NOW + YEAR)
    gone, before = [], len(await left(store))
    for hour in range(40):  # 340 ids are 34 or 35 windows of ten
        await prune(store, NOW + hour * HOUR, limit=10, window=10)
        gone.append(before - len(await left(store)))
    assert gone[0] <= 2
    assert gone[-1] == 30
    assert {run.partition("-")[0] for run in await left(store)} == {"ahead", "new"}


async def test_nothing_recorded_is_nothing_deleted(store: SqlStore) -> None:
    assert await store.prune(NOW) == 0

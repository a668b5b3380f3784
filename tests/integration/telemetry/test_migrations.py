"""From every revision that ever was, with data in it, to the newest; by one process or by four at once."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from autopack_kit.db import Database, differences, migrate
from autopack_telemetry.adapters.store import MIGRATIONS, SqlStore
from autopack_telemetry.adapters.tables import METADATA
from autopack_telemetry.core.estimate import ModelClass
from autopack_telemetry.core.model import Signal, Tokens, UsageRecord
from sqlalchemy import Connection, text

REVISIONS = sorted(MIGRATIONS.glob("0*.py"))

PHASE = {
    "tenant": "t", "run_id": "r", "phase_id": "agent", "kind": "agent", "attempt": 1, "started_at": 1_000,
    "duration": 5, "outcome": "succeeded", "hardening_triggered": True, "doctor_skipped": True,
    "avoided_tokens": 15_000,
    "avoided_n": 4, "avoided_source": "global", "drift_z": -0.5, "recorded_at": 7,
}  # fmt: skip
USAGE = {
    "tenant": "t", "run_id": "r", "phase_id": "agent", "agent": "a", "provider": "p", "model": "m", "role": "doctor",
    "model_class": "strong", "input": 1, "cache_read": 2, "cache_write": 3, "output": 4, "reasoning": 1, "total": 10,
    "failed": False, "recorded_at": 7,
}  # fmt: skip
COSTS = [None, 0, 10**12]


def old(directory: Path, count: int) -> Path:
    """The first ``count`` revisions, as an older version had them."""
    directory.mkdir()
    for path in REVISIONS[:count]:
        shutil.copy(path, directory)
    return directory


def fill(connection: Connection) -> None:
    """Rows as the first version wrote them, but for columns that were renamed since."""
    for table, rows in (
        ("phases", [PHASE]),
        ("usage", [{**USAGE, "usage_id": f"u{n}", "time": n, "cost_microusd": cost} for n, cost in enumerate(COSTS)]),
    ):
        names = list(rows[0])
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
        connection.execute(text(statement), rows)


async def made(url: str, migrations: Path) -> None:
    """A database of the first version, with data."""
    database = await asyncio.to_thread(Database.open, url, name="telemetry", migrations=migrations)
    await database.write(fill)
    await database.close()


def bring_up(url: str) -> tuple[str, ...]:
    return migrate(url, name="telemetry", migrations=MIGRATIONS)


async def check(url: str) -> None:
    """What the first version recorded is told as it was, and new records go beside it."""
    assert differences(url, name="telemetry", metadata=METADATA) == []
    store = await asyncio.to_thread(SqlStore.open, url, queue_rows=1_000)
    await store.record_usage("t", [UsageRecord("r", "new", 9, Tokens(5), agent="a", signal=Signal.LOG)], 9)
    summary = await store.summary("t", "r")
    phases = await store.phases("t", "r", 0, 10)
    doctor = await store.doctor_calls("t", None, ModelClass.STRONG, 10)
    costs = await store._database.read(lambda c: rows(c, "SELECT reported_cost_microusd FROM usage ORDER BY id"))
    await store.close()
    assert summary is not None
    assert summary.tokens == Tokens(3 + 5, 6, 9, 12, 3)
    assert (summary.cost_microusd, summary.reported_cost_microusd, summary.records_without_cost) == (10**12, 10**12, 2)
    assert [(phase.phase_id, phase.drift_z, phase.warnings) for _, phase in phases] == [("agent", -0.5, None)]
    assert phases[0][1].avoided is not None
    assert doctor == [10, 10, 10]
    assert costs == [(None,), (0,), (10**12,), (None,)]


def rows(connection: Connection, statement: str) -> list[Any]:
    return [tuple(row) for row in connection.execute(text(statement))]


@pytest.mark.parametrize("count", range(1, len(REVISIONS)))
async def test_database_of_an_older_version_keeps_what_it_has(url: str, tmp_path: Path, count: int) -> None:
    await made(url, old(tmp_path / "first", 1))
    before = await asyncio.to_thread(migrate, url, name="telemetry", migrations=old(tmp_path / "old", count))
    assert len(before) == count - 1
    assert len(bring_up(url)) == len(REVISIONS) - count
    assert bring_up(url) == ()
    await check(url)


@pytest.mark.long
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "with data"])
async def test_four_processes_at_once_migrate_it_once(url: str, tmp_path: Path, filled: bool) -> None:
    if filled:
        await made(url, old(tmp_path / "first", 1))
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        done = await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(processes, bring_up, url) for _ in range(4))
        )
    assert sorted(map(len, done)) == [0, 0, 0, len(REVISIONS) - filled]
    if filled:
        await check(url)
    else:
        assert differences(url, name="telemetry", metadata=METADATA) == []


async def test_revision_that_fails_leaves_the_database_as_it_was(url: str, tmp_path: Path) -> None:
    await made(url, old(tmp_path / "first", 1))
    broken = old(tmp_path / "broken", len(REVISIONS))
    last = broken / REVISIONS[-1].name
    # Its last statement, after all others have been done.
    last.write_text(last.read_text() + '    op.execute("SELECT no_such_thing")\n')
    with pytest.raises(Exception, match="no_such_thing"):
        await asyncio.to_thread(migrate, url, name="telemetry", migrations=broken)
    assert len(bring_up(url)) == len(REVISIONS) - 1
    await check(url)

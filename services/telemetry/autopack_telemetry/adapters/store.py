"""Telemetry in SQL: the same statements on SQLite and PostgreSQL, sums made by the database and never cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from autopack_kit.db import Database, insert
from sqlalchemy import Connection, func, select

from autopack_telemetry.adapters import sessions, usage
from autopack_telemetry.adapters.chunks import chunks
from autopack_telemetry.adapters.listing import list_sessions
from autopack_telemetry.adapters.measures import measure_runs
from autopack_telemetry.adapters.retention import prune_chunk
from autopack_telemetry.adapters.rows import phase_from_row, phase_to_row, run_from_row, run_to_row, usage_to_row
from autopack_telemetry.adapters.summary import OTHER_PATTERNS, summarize
from autopack_telemetry.adapters.tables import DOCTOR_CALL, PHASES, RUNS, USAGE
from autopack_telemetry.adapters.usage import PriceOf
from autopack_telemetry.core.compare.model import RunMeasures
from autopack_telemetry.core.estimate import ModelClass
from autopack_telemetry.core.model import PhaseRecord, RunRecord, RunSummary, Session, UsageRecord

__all__ = ["MIGRATIONS", "OTHER_PATTERNS", "PriceOf", "SqlStore"]

MIGRATIONS = Path(__file__).parent.parent / "migrations"
INLINE_ROWS = 50
"""Records up to this number are made into rows at once, more in a thread: that takes longer than a millisecond."""

_PHASE_KEY = ("tenant", "run_id", "phase_id")
_RUN_KEY = ("tenant", "run_id")


class SqlStore:
    """:class:`autopack_telemetry.core.store.Store` in a database.

    Args:
        database: open and migrated; closed with the store.
        price: of a call; None for "not known".
    """

    def __init__(self, database: Database, *, price: PriceOf | None = None) -> None:
        self._database = database
        self._price = price

    @classmethod
    def open(cls, url: str, *, queue_rows: int, price: PriceOf | None = None) -> Self:
        """Opens and migrates the database; blocks. Errors as :meth:`autopack_kit.db.Database.open`."""
        database = Database.open(url, name="telemetry", migrations=MIGRATIONS, capacity=queue_rows)
        return cls(database, price=price)

    async def record_phases(self, tenant: str, phases: Sequence[PhaseRecord], now: int) -> int:
        """Replaces by key, in one transaction."""
        rows = {(phase.run_id, phase.phase_id): phase_to_row(tenant, phase, now) for phase in phases}

        def work(connection: Connection) -> None:
            connection.execute(_once(connection, _replace_phases), list(rows.values()))

        if rows:
            await self._database.write(work, weight=len(rows))
        return len(rows)

    async def record_usage(self, tenant: str, records: Sequence[UsageRecord], now: int) -> tuple[int, int]:
        """Adds what is new, in one transaction; what else there is to do is done once for all records."""
        # A list of prices that is not loaded yet takes its time for the first record.
        if len(records) <= INLINE_ROWS and getattr(self._price, "ready", True):
            rows = self._usage_rows(tenant, records, now)
        else:
            rows = await asyncio.to_thread(self._usage_rows, tenant, records, now)

        def work(connection: Connection) -> int:
            return usage.add(connection, sessions.place(connection, tenant, rows, now), self._price)

        recorded = await self._database.write(work, weight=len(rows)) if rows else 0
        return recorded, len(rows) - recorded

    async def record_runs(self, tenant: str, runs: Sequence[RunRecord], now: int) -> int:
        """Fills in what is known, in one transaction."""
        rows = [run_to_row(tenant, run, now) for run in runs]

        def work(connection: Connection) -> None:
            connection.execute(_once(connection, _fill_in_runs), rows)

        if rows:
            await self._database.write(work, weight=len(rows))
        return len({run.run_id for run in runs})

    async def register_session(
        self, tenant: str, agent: str, session_id: str, run_id: str, phase_id: str, now: int, *, bound: bool = False
    ) -> int:
        """Registers and moves, in one transaction."""
        key = (run_id, agent, session_id)
        return await self._database.write(
            lambda connection: sessions.register(connection, tenant, key, phase_id, now, bound=bound, price=self._price)
        )

    async def sessions(
        self, tenant: str, run_id: str | None, *, unattributed: bool, before: int | None, limit: int
    ) -> list[Session]:
        """A page by key."""
        of_run = "" if unattributed else run_id
        return await self._database.read(lambda connection: list_sessions(connection, tenant, of_run, before, limit))

    async def runs(self, tenant: str, run_ids: Sequence[str]) -> list[RunRecord]:
        """Those that are known, in the order of their ids."""

        def work(connection: Connection) -> list[RunRecord]:
            found = []
            for part in chunks(sorted(set(run_ids))):
                query = select(RUNS).where(RUNS.c.tenant == tenant, RUNS.c.run_id.in_(part)).order_by(RUNS.c.run_id)
                found += [run_from_row(row) for row in connection.execute(query)]
            return found

        return await self._database.read(work)

    async def measures(self, tenant: str, run_ids: Sequence[str]) -> tuple[list[RunMeasures], int]:
        """Sums by run, made by the database."""
        return await self._database.read(lambda connection: measure_runs(connection, tenant, run_ids))

    async def summary(self, tenant: str, run_id: str) -> RunSummary | None:
        """One snapshot of all sums."""
        return await self._database.read(lambda connection: summarize(connection, tenant, run_id))

    async def phases(self, tenant: str, run_id: str, after: int, limit: int) -> list[tuple[int, PhaseRecord]]:
        """A page by key."""
        query = (
            select(PHASES)
            .where(PHASES.c.tenant == tenant, PHASES.c.run_id == run_id, PHASES.c.id > after)
            .order_by(PHASES.c.id)
            .limit(limit)
        )

        def work(connection: Connection) -> list[tuple[int, PhaseRecord]]:
            return [(row.id, phase_from_row(row)) for row in connection.execute(query)]

        return await self._database.read(work)

    async def doctor_calls(self, tenant: str, run_id: str | None, model_class: ModelClass, limit: int) -> list[int]:
        """The last ones by their time, by an index that holds nothing else."""
        query = select(USAGE.c.model_class, USAGE.c.total).where(USAGE.c.tenant == tenant, DOCTOR_CALL)
        any_class = model_class is ModelClass.UNKNOWN
        if run_id is not None:
            # Of a run all classes are read: asked for one, a planner may walk through that class of all runs.
            query = query.where(USAGE.c.run_id == run_id)
        elif not any_class:
            query = query.where(USAGE.c.model_class == model_class.value)
        query = query.order_by(USAGE.c.time.desc(), USAGE.c.id.desc()).limit(limit)
        found = await self._database.read(lambda connection: connection.execute(query).all())
        return [row.total for row in found if any_class or row.model_class == model_class.value]

    async def prune(self, before: int) -> int:
        """Deletes a chunk of what arrived before a time; see :func:`.retention.prune_chunk`."""
        return await self._database.write(lambda connection: prune_chunk(connection, before))

    @property
    def waiting(self) -> int:
        """Rows that are not committed yet."""
        return self._database.waiting

    def watch(self, observe: Callable[[float], None]) -> None:
        """Tells ``observe`` the seconds of each transaction from now on, on a thread of its own."""
        self._database.watch_commits(observe)

    async def unready(self) -> str:
        """Why the database cannot be worked with; empty if it can."""
        return await self._database.unready(lambda connection: connection.scalar(select(RUNS.c.id).limit(1)))

    async def close(self) -> None:
        """Writes what waits and closes the database."""
        await self._database.close()

    def _usage_rows(self, tenant: str, records: Sequence[UsageRecord], now: int) -> list[dict[str, Any]]:
        price = self._price
        return [usage_to_row(tenant, record, price(record) if price else None, now) for record in records]


_statements: dict[tuple[str, str], Any] = {}


def _once(connection: Connection, make: Callable[[Connection], Any]) -> Any:
    """The statement that was made first: making one of thirty columns takes ten times as long as executing it."""
    key = (connection.dialect.name, make.__name__)
    if key not in _statements:
        _statements[key] = make(connection)
    return _statements[key]


def _replace_phases(connection: Connection) -> Any:
    statement = insert(connection, PHASES)
    columns = [column.name for column in PHASES.columns if column.name not in (*_PHASE_KEY, "id")]
    return statement.on_conflict_do_update(
        index_elements=_PHASE_KEY, set_={name: statement.excluded[name] for name in columns}
    )


def _fill_in_runs(connection: Connection) -> Any:
    statement = insert(connection, RUNS)
    columns = [column.name for column in RUNS.columns if column.name not in (*_RUN_KEY, "id")]
    known = {name: func.coalesce(statement.excluded[name], RUNS.c[name]) for name in columns}
    return statement.on_conflict_do_update(index_elements=_RUN_KEY, set_=known)

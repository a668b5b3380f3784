"""Telemetry in SQL: the same statements on SQLite and PostgreSQL, sums made by the database and never cut short."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autopack_kit.db import Database, insert
from sqlalchemy import ColumnElement, Connection, Row, func, select

from autopack_telemetry.adapters.rows import phase_from_row, phase_to_row, usage_to_row
from autopack_telemetry.adapters.tables import PHASES, USAGE
from autopack_telemetry.core.estimate import EstimateSource, ModelClass
from autopack_telemetry.core.model import (
    Avoided,
    PhaseOutcome,
    PhaseRecord,
    RunSummary,
    Tokens,
    UsageRecord,
    UsageRole,
)

__all__ = ["MIGRATIONS", "OTHER_PATTERNS", "SqlStore"]

MIGRATIONS = Path(__file__).parent.parent / "migrations"
MAX_PATTERNS = 1_000
"""Patterns that a summary names; a run that sends made-up names must not outgrow a message."""
OTHER_PATTERNS = "(other)"
"""Stands for the patterns beyond the limit, so that none is lost from the sum."""

_TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
_PHASE_KEY = ("tenant", "run_id", "phase_id")
_USAGE_KEY = ("tenant", "run_id", "usage_id")


class SqlStore:
    """:class:`autopack_telemetry.core.store.Store` in a database.

    Args:
        database: open and migrated; closed with the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, *, queue_rows: int) -> SqlStore:
        """Opens and migrates the database; blocks. Errors as :meth:`autopack_kit.db.Database.open`."""
        return cls(Database.open(url, name="telemetry", migrations=MIGRATIONS, capacity=queue_rows))

    async def record_phases(self, tenant: str, phases: Sequence[PhaseRecord], now: int) -> int:
        """Replaces by key, in one transaction."""
        rows = {(phase.run_id, phase.phase_id): phase_to_row(tenant, phase, now) for phase in phases}

        def work(connection: Connection) -> None:
            statement = insert(connection, PHASES)
            columns = [column.name for column in PHASES.columns if column.name not in (*_PHASE_KEY, "id")]
            replace = statement.on_conflict_do_update(
                index_elements=_PHASE_KEY, set_={name: statement.excluded[name] for name in columns}
            )
            connection.execute(replace, list(rows.values()))

        if rows:
            await self._database.write(work, weight=len(rows))
        return len(rows)

    async def record_usage(self, tenant: str, records: Sequence[UsageRecord], now: int) -> tuple[int, int]:
        """Adds what is new, in one transaction."""
        rows = [usage_to_row(tenant, record, now) for record in records]

        def work(connection: Connection) -> int:
            statement = insert(connection, USAGE).on_conflict_do_nothing(index_elements=_USAGE_KEY)
            return connection.execute(statement, rows).rowcount

        recorded = await self._database.write(work, weight=len(rows)) if rows else 0
        return recorded, len(rows) - recorded

    async def summary(self, tenant: str, run_id: str) -> RunSummary | None:
        """One snapshot of all sums."""
        return await self._database.read(lambda connection: _summary(connection, tenant, run_id))

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
        """The last ones by an index: of a run in the order of recording, of all runs by their time."""
        query = select(USAGE.c.total).where(
            USAGE.c.tenant == tenant,
            USAGE.c.role == UsageRole.DOCTOR.value,
            USAGE.c.failed.is_(False),
            USAGE.c.total > 0,
        )
        if model_class is not ModelClass.UNKNOWN:
            query = query.where(USAGE.c.model_class == model_class.value)
        if run_id is None:
            query = query.order_by(USAGE.c.time.desc(), USAGE.c.id.desc())
        else:
            query = query.where(USAGE.c.run_id == run_id).order_by(USAGE.c.id.desc())
        return await self._database.read(lambda connection: list(connection.scalars(query.limit(limit))))

    async def close(self) -> None:
        """Writes what waits and closes the database."""
        await self._database.close()


def _summary(connection: Connection, tenant: str, run_id: str) -> RunSummary | None:
    phases = (PHASES.c.tenant == tenant, PHASES.c.run_id == run_id)
    sums = connection.execute(_phase_sums().where(*phases)).one()
    usage = _usage(connection, tenant, run_id)
    if not sums.phases and not usage:
        return None
    doctor = usage.get(UsageRole.DOCTOR.value)
    return RunSummary(
        run_id=run_id,
        phases=sums.phases,
        phases_by_outcome=_outcomes(connection, phases),
        tokens=sum(map(_tokens, usage.values()), Tokens()),
        doctor_tokens=_tokens(doctor) if doctor is not None else Tokens(),
        usage_records=sum(row.records for row in usage.values()),
        cost_microusd=sum(_whole(row.cost) for row in usage.values()),
        records_without_cost=sum(row.records - row.priced for row in usage.values()),
        hardening_triggered=sums.triggered,
        mitigated=sums.mitigated,
        patterns=_patterns(connection, phases, sums.patterns),
        doctor_calls=sums.called,
        doctor_skipped=sums.skipped,
        avoided=_avoided(connection, phases),
        context_bytes=_whole(sums.context_bytes),
        duration=_whole(sums.duration),
    )


def _phase_sums() -> Any:
    triggered = PHASES.c.hardening_triggered.is_(True)
    return select(
        func.count().label("phases"),  # one row per phase, by the unique index
        func.count().filter(triggered).label("triggered"),
        func.count().filter(triggered, PHASES.c.mitigated.is_(True)).label("mitigated"),
        func.count().filter(PHASES.c.doctor_called.is_(True)).label("called"),
        func.count().filter(PHASES.c.doctor_skipped.is_(True)).label("skipped"),
        func.count().filter(PHASES.c.pattern_id != "").label("patterns"),
        func.sum(PHASES.c.context_bytes).label("context_bytes"),
        func.sum(PHASES.c.duration).label("duration"),
    )


def _outcomes(connection: Connection, phases: Sequence[ColumnElement[bool]]) -> dict[PhaseOutcome, int]:
    query = select(PHASES.c.outcome, func.count().label("phases")).where(*phases).group_by(PHASES.c.outcome)
    return {PhaseOutcome(row.outcome): row.phases for row in connection.execute(query)}


def _patterns(connection: Connection, phases: Sequence[ColumnElement[bool]], total: int) -> dict[str, int]:
    count = func.count().label("phases")
    query = (
        select(PHASES.c.pattern_id, count)
        .where(*phases, PHASES.c.pattern_id != "")
        .group_by(PHASES.c.pattern_id)
        .order_by(count.desc(), PHASES.c.pattern_id)
        .limit(MAX_PATTERNS)
    )
    named = {row.pattern_id: row.phases for row in connection.execute(query)}
    other = total - sum(named.values())
    return named | {OTHER_PATTERNS: other} if other else named


def _avoided(connection: Connection, phases: Sequence[ColumnElement[bool]]) -> tuple[Avoided, ...]:
    """Per source: a measured median and a constant are different kinds of number and are never added."""
    query = (
        select(
            PHASES.c.avoided_source.label("source"),
            func.count().label("phases"),
            func.sum(PHASES.c.avoided_tokens).label("tokens"),
            func.sum(PHASES.c.avoided_n).label("n"),
        )
        .where(*phases, PHASES.c.avoided_source.is_not(None))
        .group_by(PHASES.c.avoided_source)
    )
    found = {EstimateSource(row.source): row for row in connection.execute(query)}
    return tuple(
        Avoided(source, found[source].phases, _whole(found[source].tokens), _whole(found[source].n))
        for source in EstimateSource
        if source in found
    )


def _usage(connection: Connection, tenant: str, run_id: str) -> dict[str, Row[Any]]:
    query = (
        select(
            USAGE.c.role,
            func.count().label("records"),
            func.count(USAGE.c.cost_microusd).label("priced"),
            func.sum(USAGE.c.cost_microusd).label("cost"),
            *(func.sum(USAGE.c[name]).label(name) for name in _TOKENS),
        )
        .where(USAGE.c.tenant == tenant, USAGE.c.run_id == run_id)
        .group_by(USAGE.c.role)
    )
    return {row.role: row for row in connection.execute(query)}


def _tokens(row: Row[Any]) -> Tokens:
    return Tokens(*(_whole(getattr(row, name)) for name in _TOKENS))


def _whole(value: Any) -> int:
    """A sum: NULL over no value, and NUMERIC on PostgreSQL."""
    return int(value or 0)

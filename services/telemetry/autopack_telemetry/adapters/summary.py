"""The sums of a run, made by the database over all that was recorded for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from autopack_telemetry.adapters.rows import TOKENS, run_from_row
from autopack_telemetry.adapters.tables import PHASES, RUNS, USAGE
from autopack_telemetry.adapters.warnings import warnings_of
from autopack_telemetry.core.estimate import EstimateSource
from autopack_telemetry.core.model import Avoided, PhaseOutcome, RunSummary, Tokens, UsageRole

__all__ = ["OTHER_PATTERNS", "summarize"]

MAX_PATTERNS = 1_000
"""Patterns that a summary names; a run that sends made-up names must not outgrow a message."""
OTHER_PATTERNS = "(other)"
"""Stands for the patterns beyond the limit, so that none is lost from the sum."""
DOCTOR_PREFIX = "doctor_"
_DERIVED = (USAGE.c.reported_cost_microusd.is_(None), USAGE.c.cost_microusd.is_not(None))
_PRICE_LIST = USAGE.c.price_source + " " + USAGE.c.price_version


def summarize(connection: Connection, tenant: str, run_id: str) -> RunSummary | None:
    """The sums of a run; None if nothing was recorded for it."""
    phases = (PHASES.c.tenant == tenant, PHASES.c.run_id == run_id)
    sums = connection.execute(_phase_sums().where(*phases)).one()
    usage = _usage(connection, tenant, run_id)
    run = connection.execute(select(RUNS).where(RUNS.c.tenant == tenant, RUNS.c.run_id == run_id)).one_or_none()
    if not sums.phases and not usage.records and run is None:
        return None
    return RunSummary(
        run_id=run_id,
        phases=sums.phases,
        phases_by_outcome=_outcomes(connection, phases),
        tokens=_tokens(usage),
        doctor_tokens=_tokens(usage, DOCTOR_PREFIX),
        usage_records=usage.records,
        cost_microusd=_whole(usage.cost),
        records_without_cost=usage.records - usage.priced,
        hardening_triggered=sums.triggered,
        mitigated=sums.mitigated,
        patterns=_patterns(connection, phases, sums.patterns),
        doctor_calls=sums.called,
        doctor_skipped=sums.skipped,
        avoided=_avoided(connection, phases),
        context_bytes=_whole(sums.context_bytes),
        duration=_whole(sums.duration),
        reported_cost_microusd=_whole(usage.reported),
        price_lists=_price_lists(connection, tenant, run_id, usage),
        warnings=warnings_of(connection, tenant, run_id),
        run=None if run is None else run_from_row(run),
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


def _counted(tenant: str, run_id: str) -> tuple[ColumnElement[bool], ...]:
    return USAGE.c.tenant == tenant, USAGE.c.run_id == run_id, USAGE.c.shadow.is_(False)


def _usage(connection: Connection, tenant: str, run_id: str) -> Row[Any]:
    """What counts, in one row: SQLite sorts all calls to group them, which takes longer than to sum them up."""
    cost = func.coalesce(USAGE.c.reported_cost_microusd, USAGE.c.cost_microusd)
    doctor = USAGE.c.role == UsageRole.DOCTOR.value
    query = select(
        func.count().label("records"),
        func.count(cost).label("priced"),
        func.sum(cost).label("cost"),
        func.sum(USAGE.c.reported_cost_microusd).label("reported"),
        func.min(_PRICE_LIST).filter(*_DERIVED).label("first_list"),
        func.max(_PRICE_LIST).filter(*_DERIVED).label("last_list"),
        *(func.sum(USAGE.c[name]).label(name) for name in TOKENS),
        *(func.sum(USAGE.c[name]).filter(doctor).label(DOCTOR_PREFIX + name) for name in TOKENS),
    ).where(*_counted(tenant, run_id))
    return connection.execute(query).one()


def _price_lists(connection: Connection, tenant: str, run_id: str, usage: Row[Any]) -> tuple[str, ...]:
    """The lists that costs were derived from; most runs have one or none, which their sums tell."""
    if usage.first_list == usage.last_list:
        return () if usage.first_list is None else (usage.first_list,)
    query = select(_PRICE_LIST).distinct().where(*_counted(tenant, run_id), *_DERIVED)
    return tuple(sorted(connection.scalars(query)))


def _tokens(row: Row[Any], prefix: str = "") -> Tokens:
    """The tokens of a row that has sums of them."""
    return Tokens(*(_whole(getattr(row, prefix + name)) for name in TOKENS))


def _whole(value: Any) -> int:
    """A sum: NULL over no value, and NUMERIC on PostgreSQL."""
    return int(value or 0)

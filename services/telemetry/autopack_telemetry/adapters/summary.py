"""The sums of a run, made by the database over all that was recorded for it."""

from __future__ import annotations

from collections import Counter
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


def summarize(connection: Connection, tenant: str, run_id: str) -> RunSummary | None:
    """The sums of a run; None if nothing was recorded for it."""
    phases = (PHASES.c.tenant == tenant, PHASES.c.run_id == run_id)
    groups = connection.execute(_GROUPS.where(*phases)).all()
    usage = _usage(connection, tenant, run_id)
    run = connection.execute(select(RUNS).where(RUNS.c.tenant == tenant, RUNS.c.run_id == run_id)).one_or_none()
    if not groups and not usage.records and run is None:
        return None
    return RunSummary(
        run_id=run_id,
        phases=_total(groups, "phases"),
        phases_by_outcome=_outcomes(groups),
        tokens=_tokens(usage),
        doctor_tokens=_tokens(usage, DOCTOR_PREFIX),
        usage_records=usage.records,
        cost_microusd=_whole(usage.cost),
        records_without_cost=usage.records - usage.priced,
        hardening_triggered=_total(groups, "triggered"),
        mitigated=_total(groups, "mitigated"),
        patterns=_patterns(connection, phases, _total(groups, "patterns")),
        doctor_calls=_total(groups, "called"),
        doctor_skipped=_total(groups, "skipped"),
        avoided=_avoided(groups),
        context_bytes=_total(groups, "context_bytes"),
        duration=_total(groups, "duration"),
        reported_cost_microusd=_whole(usage.reported_cost),
        price_lists=_price_lists(connection, tenant, run_id) if usage.priced > usage.reported else (),
        warnings=warnings_of(connection, tenant, run_id),
        run=None if run is None else run_from_row(run),
    )


_TRIGGERED = PHASES.c.hardening_triggered.is_(True)
# In the order of an index, which is then read once and in which nothing is left to sort.
_GROUPS = select(
    PHASES.c.outcome,
    PHASES.c.avoided_source,
    func.count().label("phases"),  # one row per phase, by the unique index
    func.count().filter(_TRIGGERED).label("triggered"),
    func.count().filter(_TRIGGERED, PHASES.c.mitigated.is_(True)).label("mitigated"),
    func.count().filter(PHASES.c.doctor_called.is_(True)).label("called"),
    func.count().filter(PHASES.c.doctor_skipped.is_(True)).label("skipped"),
    func.count().filter(PHASES.c.pattern_id != "").label("patterns"),
    func.sum(PHASES.c.context_bytes).label("context_bytes"),
    func.sum(PHASES.c.duration).label("duration"),
    func.sum(PHASES.c.avoided_tokens).label("tokens"),
    func.sum(PHASES.c.avoided_n).label("n"),
).group_by(PHASES.c.outcome, PHASES.c.avoided_source)


def _total(groups: Sequence[Row[Any]], name: str) -> int:
    return sum(_whole(getattr(group, name)) for group in groups)


def _outcomes(groups: Sequence[Row[Any]]) -> dict[PhaseOutcome, int]:
    found = Counter[PhaseOutcome]()
    for group in groups:
        found[PhaseOutcome(group.outcome)] += group.phases
    return dict(found)


def _patterns(connection: Connection, phases: Sequence[ColumnElement[bool]], total: int) -> dict[str, int]:
    if not total:
        return {}
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


def _avoided(groups: Sequence[Row[Any]]) -> tuple[Avoided, ...]:
    """Per source: a measured median and a constant are different kinds of number and are never added."""
    found = []
    for source in EstimateSource:
        mine = [group for group in groups if group.avoided_source == source.value]
        if mine:
            found.append(Avoided(source, *(_total(mine, name) for name in ("phases", "tokens", "n"))))
    return tuple(found)


def _counted(tenant: str, run_id: str) -> tuple[ColumnElement[bool], ...]:
    return USAGE.c.tenant == tenant, USAGE.c.run_id == run_id, USAGE.c.shadow.is_(False)


def _usage(connection: Connection, tenant: str, run_id: str) -> Row[Any]:
    """What counts, in one row: SQLite sorts all calls to group them, which takes longer than to sum them up."""
    cost = func.coalesce(USAGE.c.reported_cost_microusd, USAGE.c.cost_microusd)
    doctor = USAGE.c.role == UsageRole.DOCTOR.value
    query = select(
        func.count().label("records"),
        func.count(cost).label("priced"),
        func.count(USAGE.c.reported_cost_microusd).label("reported"),
        func.sum(cost).label("cost"),
        func.sum(USAGE.c.reported_cost_microusd).label("reported_cost"),
        *(func.sum(USAGE.c[name]).label(name) for name in TOKENS),
        *(func.sum(USAGE.c[name]).filter(doctor).label(DOCTOR_PREFIX + name) for name in TOKENS),
    ).where(*_counted(tenant, run_id))
    return connection.execute(query).one()


def _price_lists(connection: Connection, tenant: str, run_id: str) -> tuple[str, ...]:
    """The lists that costs were derived from."""
    derived = (USAGE.c.reported_cost_microusd.is_(None), USAGE.c.cost_microusd.is_not(None))
    query = select(USAGE.c.price_source, USAGE.c.price_version).distinct().where(*_counted(tenant, run_id), *derived)
    return tuple(sorted(f"{source} {version}" for source, version in connection.execute(query)))


def _tokens(row: Row[Any], prefix: str = "") -> Tokens:
    """The tokens of a row that has sums of them."""
    return Tokens(*(_whole(getattr(row, prefix + name)) for name in TOKENS))


def _whole(value: Any) -> int:
    """A sum: NULL over no value, and NUMERIC on PostgreSQL."""
    return int(value or 0)

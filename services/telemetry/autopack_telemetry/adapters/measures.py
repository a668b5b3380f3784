"""What was measured of many runs at once: one statement per table and batch of runs, sums made by the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, select

from autopack_telemetry.adapters.chunks import chunks
from autopack_telemetry.adapters.rows import run_from_row
from autopack_telemetry.adapters.tables import PHASES, RUNS, USAGE
from autopack_telemetry.core.compare.model import RunMeasures
from autopack_telemetry.core.estimate import EstimateSource
from autopack_telemetry.core.model import Avoided, PhaseOutcome, RunRecord, UsageRole

__all__ = ["measure_runs"]

MICRO = 1_000_000


def measure_runs(connection: Connection, tenant: str, run_ids: Sequence[str]) -> tuple[list[RunMeasures], int]:
    """The measures of these runs, those of which nothing is known left out; and tokens of no run in their time."""
    found: dict[str, RunMeasures] = {}
    for part in chunks(run_ids):
        query = select(RUNS).where(RUNS.c.tenant == tenant, RUNS.c.run_id.in_(part))
        records = {row.run_id: run_from_row(row) for row in connection.execute(query)}
        found |= _measured(connection, tenant, part, records)
    runs = list(found.values())
    return runs, _unattributed(connection, tenant, runs)


def _measured(
    connection: Connection, tenant: str, part: Sequence[str], records: dict[str, RunRecord]
) -> dict[str, RunMeasures]:
    found = {run_id: RunMeasures(record) for run_id, record in records.items()}

    def of(run_id: str) -> RunMeasures:
        return found.get(run_id, RunMeasures(RunRecord(run_id)))

    for row in connection.execute(_usage_query(tenant, part)):
        found[row.run_id] = _with_usage(of(row.run_id), row)
    for row in connection.execute(_model_query(tenant, part)):  # the one with the most tokens comes last, and stays
        found[row.run_id] = replace(of(row.run_id), used_models={**of(row.run_id).used_models, row.role: row.model})
    for row in connection.execute(_mismatch_query(tenant, part)):
        found[row.run_id] = replace(of(row.run_id), mismatched_sessions=row.sessions)
    for row in connection.execute(_phase_query(tenant, part)):
        found[row.run_id] = _with_phases(of(row.run_id), row)
    for row in connection.execute(_outcome_query(tenant, part)):
        found[row.run_id] = replace(of(row.run_id), outcome=PhaseOutcome(row.outcome))
    for row in connection.execute(_avoided_query(tenant, part)):
        item = Avoided(EstimateSource(row.avoided_source), row.phases, int(row.tokens or 0), int(row.n or 0))
        found[row.run_id] = replace(of(row.run_id), avoided=(*of(row.run_id).avoided, item))
    return {run_id: _with_record(measures) for run_id, measures in found.items()}


def _unattributed(connection: Connection, tenant: str, runs: Sequence[RunMeasures]) -> int:
    """Tokens of calls that belong to no run, from the first start of these runs to their last end."""
    starts = [run.record.started_at for run in runs if run.record.started_at is not None]
    if not starts:
        return 0
    ends = [(run.record.started_at or 0) + int(MICRO * (run.seconds or 0)) for run in runs]
    query = select(func.sum(USAGE.c.total)).where(
        USAGE.c.tenant == tenant, USAGE.c.run_id == "", ~USAGE.c.shadow, USAGE.c.time.between(min(starts), max(ends))
    )
    return int(connection.scalar(query) or 0)


def _usage_query(tenant: str, runs: Sequence[str]) -> Any:
    doctor = USAGE.c.role == UsageRole.DOCTOR.value
    # What the sender says, else what a price list says: as in the summary of a run.
    cost = func.coalesce(USAGE.c.reported_cost_microusd, USAGE.c.cost_microusd)
    return (
        select(
            USAGE.c.run_id,
            func.sum(USAGE.c.total).label("total"),
            func.sum(case((doctor, USAGE.c.total), else_=0)).label("doctor"),
            func.count().label("records"),
            func.count().filter(doctor).label("doctor_calls"),
            func.count(cost).label("priced"),
            func.sum(cost).label("cost"),
        )
        .where(*_of(USAGE, tenant, runs), ~USAGE.c.shadow)
        .group_by(USAGE.c.run_id)
    )


def _model_query(tenant: str, runs: Sequence[str]) -> Any:
    tokens = func.sum(USAGE.c.total)
    return (
        select(USAGE.c.run_id, USAGE.c.role, USAGE.c.model)
        .where(*_of(USAGE, tenant, runs), ~USAGE.c.shadow, USAGE.c.model != "")
        .group_by(USAGE.c.run_id, USAGE.c.role, USAGE.c.model)
        .order_by(USAGE.c.run_id, tokens, USAGE.c.model)
    )


def _mismatch_query(tenant: str, runs: Sequence[str]) -> Any:
    """Sessions of which one signal tells another total than another does."""
    signals = (
        select(USAGE.c.run_id, USAGE.c.agent, USAGE.c.session_id, func.sum(USAGE.c.total).label("total"))
        .where(*_of(USAGE, tenant, runs), USAGE.c.session_id != "")
        .group_by(USAGE.c.run_id, USAGE.c.agent, USAGE.c.session_id, USAGE.c.signal)
        .subquery()
    )
    sessions = (
        select(signals.c.run_id)
        .group_by(signals.c.run_id, signals.c.agent, signals.c.session_id)
        .having(func.min(signals.c.total) < func.max(signals.c.total))
        .subquery()
    )
    return select(sessions.c.run_id, func.count().label("sessions")).group_by(sessions.c.run_id)


def _phase_query(tenant: str, runs: Sequence[str]) -> Any:
    end = PHASES.c.started_at + func.coalesce(PHASES.c.duration, 0)
    return (
        select(
            PHASES.c.run_id,
            func.count().label("phases"),
            func.count().filter(PHASES.c.doctor_called).label("called"),
            func.count().filter(PHASES.c.doctor_skipped).label("skipped"),
            func.sum(PHASES.c.retries).label("retries"),
            (func.max(end) - func.min(PHASES.c.started_at)).label("span"),
            func.sum(PHASES.c.duration).label("duration"),
        )
        .where(*_of(PHASES, tenant, runs))
        .group_by(PHASES.c.run_id)
    )


def _outcome_query(tenant: str, runs: Sequence[str]) -> Any:
    """The outcome of the last phase that has one: of the last attempt, in the order of the first recording."""
    place = func.row_number().over(
        partition_by=PHASES.c.run_id, order_by=(func.coalesce(PHASES.c.attempt, 1).desc(), PHASES.c.id.desc())
    )
    without = (PhaseOutcome.UNSPECIFIED.value, PhaseOutcome.SKIPPED.value)
    ordered = (
        select(PHASES.c.run_id, PHASES.c.outcome, place.label("place"))
        .where(*_of(PHASES, tenant, runs), PHASES.c.outcome.not_in(without))
        .subquery()
    )
    return select(ordered.c.run_id, ordered.c.outcome).where(ordered.c.place == 1)


def _avoided_query(tenant: str, runs: Sequence[str]) -> Any:
    return (
        select(
            PHASES.c.run_id,
            PHASES.c.avoided_source,
            func.count().label("phases"),
            func.sum(PHASES.c.avoided_tokens).label("tokens"),
            func.sum(PHASES.c.avoided_n).label("n"),
        )
        .where(*_of(PHASES, tenant, runs), PHASES.c.avoided_source.is_not(None))
        .group_by(PHASES.c.run_id, PHASES.c.avoided_source)
    )


def _of(table: Any, tenant: str, runs: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    return table.c.tenant == tenant, table.c.run_id.in_(runs)


def _with_usage(measures: RunMeasures, row: Row[Any]) -> RunMeasures:
    total, doctor = int(row.total or 0), int(row.doctor or 0)
    return replace(
        measures,
        total_tokens=total,
        agent_tokens=total - doctor,
        doctor_tokens=doctor,
        usage_records=row.records,
        unpriced_records=row.records - row.priced,
        cost_microusd=int(row.cost or 0),
        doctor_calls=row.doctor_calls,
    )


def _with_phases(measures: RunMeasures, row: Row[Any]) -> RunMeasures:
    time = row.span if row.span is not None else row.duration
    return replace(
        measures,
        phases=row.phases,
        doctor_calls=row.called,
        doctor_skips=row.skipped,
        retries=int(row.retries) if row.retries is not None else None,
        seconds=float(time) / MICRO if time is not None else None,
    )


def _with_record(measures: RunMeasures) -> RunMeasures:
    """What the run's own record says goes before what its phases add up to."""
    record = measures.record
    return replace(
        measures,
        retries=measures.retries if record.retries is None else record.retries,
        seconds=measures.seconds if record.duration is None else record.duration / MICRO,
        outcome=measures.outcome if record.outcome is PhaseOutcome.UNSPECIFIED else record.outcome,
    )

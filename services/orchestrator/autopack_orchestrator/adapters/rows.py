"""Rows to values and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from autopack_orchestrator.core.codec import dumps, loads
from autopack_orchestrator.core.model import (
    Batch,
    BatchState,
    Budget,
    Event,
    EventKind,
    Run,
    RunResult,
    RunSpec,
    RunState,
)

__all__ = ["batch_from_row", "event_from_row", "from_micros", "run_from_row", "to_micros"]

Row = Mapping[str, Any]


def to_micros(value: datetime) -> int:
    """Microseconds since 1970."""
    return round(value.timestamp() * 1_000_000)


def from_micros(value: int | None) -> datetime | None:
    """The instant, in UTC."""
    return None if value is None else datetime.fromtimestamp(value / 1_000_000, UTC)


def _instant(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1_000_000, UTC)


def run_from_row(row: Row) -> Run:
    """A run."""
    return Run(
        run_id=row["run_id"],
        batch_id=row["batch_id"],
        tenant=row["tenant"],
        name=row["name"],
        position=row["position"],
        spec=loads(row["spec"], RunSpec),
        state=RunState(row["state"]),
        activity=row["activity"],
        attempt=row["attempt"],
        branch=row["branch"],
        base_commit=row["base_commit"],
        lease_epoch=row["lease_epoch"],
        cancel_requested=bool(row["cancel_requested"]),
        create_time=_instant(row["created_at"]),
        start_time=from_micros(row["started_at"]),
        end_time=from_micros(row["ended_at"]),
        result=loads(row["result"], RunResult),
    )


def batch_from_row(row: Row, runs_by_state: dict[str, int]) -> Batch:
    """A batch with its counts."""
    return Batch(
        batch_id=row["batch_id"],
        tenant=row["tenant"],
        name=row["name"],
        repository=row["repository"],
        base_commit=row["base_commit"],
        state=BatchState(row["state"]),
        max_concurrent_runs=row["max_concurrent_runs"],
        budget=loads(row["budget"], Budget),
        create_time=_instant(row["created_at"]),
        end_time=from_micros(row["ended_at"]),
        last_sequence=row["last_sequence"],
        runs_by_state=runs_by_state,
    )


def event_from_row(row: Row) -> Event:
    """An event."""
    return Event(
        sequence=row["sequence"],
        batch_id=row["batch_id"],
        run_id=row["run_id"],
        time=_instant(row["time"]),
        kind=EventKind(row["kind"]),
        message=row["message"],
        attributes=loads(row["attributes"], dict[str, str]),
    )


def run_values(run: Run) -> dict[str, Any]:
    """The row of a new run, without its lease."""
    return {
        "run_id": run.run_id,
        "batch_id": run.batch_id,
        "tenant": run.tenant,
        "name": run.name,
        "position": run.position,
        "spec": dumps(run.spec),
        "state": run.state.value,
        "activity": run.activity,
        "attempt": run.attempt,
        "branch": run.branch,
        "base_commit": run.base_commit,
        "lease_owner": "",
        "lease_epoch": run.lease_epoch,
        "cancel_requested": run.cancel_requested,
        "created_at": to_micros(run.create_time),
        "result": dumps(run.result),
    }

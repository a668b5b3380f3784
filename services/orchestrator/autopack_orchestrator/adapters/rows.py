"""Rows to values and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from autopack_orchestrator.core.admission import lane_of, rank
from autopack_orchestrator.core.codec import dumps, loads
from autopack_orchestrator.core.model import (
    Batch,
    BatchState,
    Budget,
    Event,
    EventKind,
    RetryPolicy,
    Run,
    RunResult,
    RunSpec,
    RunState,
)

__all__ = [
    "batch_from_row",
    "batch_values",
    "event_from_row",
    "from_micros",
    "instant",
    "run_from_row",
    "run_values",
    "to_micros",
]

Row = Mapping[str, Any]


def to_micros(value: datetime) -> int:
    """Microseconds since 1970."""
    return round(value.timestamp() * 1_000_000)


def from_micros(value: int | None) -> datetime | None:
    """The instant, in UTC."""
    return None if value is None else datetime.fromtimestamp(value / 1_000_000, UTC)


def instant(value: int) -> datetime:
    """The instant, in UTC."""
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
        create_time=instant(row["created_at"]),
        start_time=from_micros(row["started_at"]),
        end_time=from_micros(row["ended_at"]),
        result=loads(row["result"], RunResult),
        not_before=from_micros(row["not_before"]),
        counted=row["counted"],
        excused=row["excused"],
    )


def batch_from_row(row: Row, runs_by_state: dict[str, int], pause: str = "") -> Batch:
    """A batch with its counts; ``pause`` is why nothing starts just now."""
    waits = bool(runs_by_state.get(RunState.QUEUED.value))
    return Batch(
        batch_id=row["batch_id"],
        tenant=row["tenant"],
        name=row["name"],
        repository=row["repository"],
        base_commit=row["base_commit"],
        state=BatchState(row["state"]),
        max_concurrent_runs=row["max_concurrent_runs"],
        budget=loads(row["budget"], Budget),
        create_time=instant(row["created_at"]),
        end_time=from_micros(row["ended_at"]),
        last_sequence=row["last_sequence"],
        runs_by_state=runs_by_state,
        priority=row["priority"],
        retry=loads(row["retry"], RetryPolicy),
        queue_timeout=None if row["queue_timeout"] is None else timedelta(microseconds=row["queue_timeout"]),
        waiting_reason=pause if waits else "",
    )


def event_from_row(row: Row) -> Event:
    """An event."""
    return Event(
        sequence=row["sequence"],
        batch_id=row["batch_id"],
        run_id=row["run_id"],
        time=instant(row["time"]),
        kind=EventKind(row["kind"]),
        message=row["message"],
        attributes=loads(row["attributes"], dict[str, str]),
    )


def batch_values(batch: Batch, request_id: str, request_hash: str) -> dict[str, Any]:
    """The row of a new batch."""
    return {
        "batch_id": batch.batch_id,
        "tenant": batch.tenant,
        "name": batch.name,
        "request_id": request_id or None,
        "request_hash": request_hash,
        "repository": batch.repository,
        "base_commit": batch.base_commit,
        "state": batch.state.value,
        "max_concurrent_runs": batch.max_concurrent_runs,
        "budget": dumps(batch.budget),
        "created_at": to_micros(batch.create_time),
        "last_sequence": 0,
        "priority": batch.priority,
        "retry": dumps(batch.retry),
        "queue_timeout": None if batch.queue_timeout is None else batch.queue_timeout // timedelta(microseconds=1),
    }


def run_values(run: Run, batch: Batch) -> dict[str, Any]:
    """The row of a new run, without its lease."""
    waits = bool(run.spec.needs)
    deadline = None if batch.queue_timeout is None or waits else to_micros(run.create_time + batch.queue_timeout)
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
        "gate": "needs" if waits else "open",
        "lane": lane_of(run.tenant, batch.repository, run.spec).key(),
        "rank": rank(run.create_time, batch.priority),
        "not_before": None,
        "queue_deadline": deadline,
        "counted": run.counted,
        "excused": run.excused,
        "retry_request": "",
    }

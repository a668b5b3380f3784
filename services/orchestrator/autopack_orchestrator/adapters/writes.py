"""What one transaction changes: leases, events and ends, each inside a transaction that the caller opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from autopack_orchestrator.adapters import queries
from autopack_orchestrator.adapters.rows import to_micros
from autopack_orchestrator.adapters.tables import BATCHES, EVENTS, RUNS
from autopack_orchestrator.core.codec import dumps
from autopack_orchestrator.core.model import (
    TERMINAL,
    BatchState,
    EventKind,
    NewEvent,
    Run,
    RunResult,
    RunState,
)
from autopack_orchestrator.core.states import LEASED, batch_state
from autopack_orchestrator.errors import LeaseLost

__all__ = ["NOT_WAITING", "add_all", "add_events", "cancel", "changes", "end_batch", "lease", "state_event", "stored"]


#: Columns of a run that nobody waits with any more.
NOT_WAITING: Mapping[str, Any] = MappingProxyType({"gate": "", "not_before": None, "queue_deadline": None})


def changes(to: RunState | None, activity: str | None, result: RunResult | None, now: int) -> dict[str, Any]:
    """The columns of a run that a change writes."""
    values: dict[str, Any] = {}
    if activity is not None:
        values["activity"] = activity
    if result is not None:
        values["result"] = dumps(result)
    if to is not None:
        values["state"] = to.value
        if to not in LEASED:
            values["lease_owner"] = ""
        if to in TERMINAL:
            values |= {"ended_at": now, "activity": "", **NOT_WAITING}
    return values


def lease(connection: Connection, run: Run, owner: str, expected: RunState) -> Run:
    """Lease a run that is in state ``expected`` to ``owner``, under a new epoch.

    Raises:
        LeaseLost: it is not in that state under that epoch any more.
    """
    queries.lock_batch(connection, run.batch_id)
    now = to_micros(datetime.now(UTC))
    values: dict[str, Any] = {"lease_owner": owner, "lease_epoch": run.lease_epoch + 1}
    events = []
    if expected is RunState.QUEUED:
        values |= {"state": RunState.PREPARING.value, "activity": "", **NOT_WAITING}
        values["started_at"] = func.coalesce(RUNS.c.started_at, now)
        events.append(state_event(run, RunState.PREPARING, run.attempt, None))
    changed = connection.execute(
        update(RUNS)
        .where(RUNS.c.run_id == run.run_id, RUNS.c.state == expected.value, RUNS.c.lease_epoch == run.lease_epoch)
        .values(values)
    )
    if changed.rowcount != 1:
        raise LeaseLost(f"{run.run_id} was taken by somebody else")
    add_events(connection, run.batch_id, run.run_id, events)
    return stored(connection, run)


def cancel(connection: Connection, run: Run, now: int) -> None:
    """Ask for the end of a run; a queued one ends at once."""
    values: dict[str, Any] = {"cancel_requested": True}
    events = [NewEvent(EventKind.CANCEL_REQUESTED, "cancelling was asked for", {})]
    if run.state is RunState.QUEUED:
        values |= changes(RunState.CANCELLED, None, None, now)
        events.append(state_event(run, RunState.CANCELLED, run.attempt, None))
    connection.execute(update(RUNS).where(RUNS.c.run_id == run.run_id).values(values))
    add_events(connection, run.batch_id, run.run_id, events)


def add_events(connection: Connection, batch_id: str, run_id: str, events: Sequence[NewEvent]) -> None:
    """Store events of one run, or of the batch where ``run_id`` is empty."""
    add_all(connection, batch_id, [(run_id, event) for event in events])


def add_all(connection: Connection, batch_id: str, events: Sequence[tuple[str, NewEvent]]) -> None:
    """Number the events: the batch's row is locked by the update, so that numbers are taken in order of commit."""
    if not events:
        return
    connection.execute(
        update(BATCHES)
        .where(BATCHES.c.batch_id == batch_id)
        .values(last_sequence=BATCHES.c.last_sequence + len(events))
    )
    last = connection.execute(select(BATCHES.c.last_sequence).where(BATCHES.c.batch_id == batch_id)).scalar_one()
    now = to_micros(datetime.now(UTC))
    rows = [
        {
            "batch_id": batch_id,
            "sequence": last - len(events) + index,
            "run_id": run_id,
            "time": now,
            "kind": event.kind.value,
            "message": event.message,
            "attributes": dumps(event.attributes),
        }
        for index, (run_id, event) in enumerate(events, start=1)
    ]
    connection.execute(insert(EVENTS), rows)


def end_batch(connection: Connection, batch_id: str, now: int) -> None:
    """Write the batch's state once all of its runs have ended."""
    state = batch_state(queries.counts(connection, [batch_id])[batch_id])
    if state is BatchState.ACTIVE:
        return
    ended = connection.execute(
        update(BATCHES)
        .where(BATCHES.c.batch_id == batch_id, BATCHES.c.state == BatchState.ACTIVE.value)
        .values(state=state.value, ended_at=now)
    )
    if ended.rowcount == 1:
        event = NewEvent(EventKind.STATE, f"batch {state.value}", {"from": "active", "to": state.value})
        add_events(connection, batch_id, "", [event])


def stored(connection: Connection, run: Run) -> Run:
    """The run as it is stored now; nothing ever deletes one."""
    now = queries.first_run(connection, RUNS.c.run_id == run.run_id)
    if now is None:
        raise LeaseLost("the run is gone")
    return now


def state_event(run: Run, to: RunState, attempt: int, result: RunResult | None) -> NewEvent:
    """A run changes its state."""
    reason = result.error.reason if result is not None and result.error is not None else ""
    why = f": {result.error.message}" if result is not None and result.error is not None else ""
    return NewEvent(
        EventKind.STATE,
        f"{run.name} {run.state.value} -> {to.value}{why}",
        {"from": run.state.value, "to": to.value, "attempt": str(attempt), "reason": reason},
    )

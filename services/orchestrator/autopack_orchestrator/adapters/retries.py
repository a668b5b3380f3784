"""Runs that are queued again on request, each inside a transaction that the caller opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from autopack_orchestrator.adapters import queries, queue, writes
from autopack_orchestrator.adapters.rows import from_micros, run_from_row
from autopack_orchestrator.adapters.tables import BATCHES, NEEDS, RUNS
from autopack_orchestrator.core.admission import rank
from autopack_orchestrator.core.codec import dumps
from autopack_orchestrator.core.model import TERMINAL, BatchState, EventKind, NewEvent, Run, RunResult, RunState
from autopack_orchestrator.core.names import branch
from autopack_orchestrator.errors import needs_first, run_not_found, run_not_retryable

__all__ = ["names", "retry"]

DEPENDENCY_FAILED = "DEPENDENCY_FAILED"


def names(connection: Connection, batch_id: str) -> list[str]:
    """The names of a batch's runs."""
    return list(connection.execute(select(RUNS.c.name).where(RUNS.c.batch_id == batch_id)).scalars())


def retry(connection: Connection, run: Run, request_id: str, now: int) -> Run:
    """Queue a run again, with those that ended because they need it.

    Raises:
        FailedPrecondition: it succeeded, has not ended, or needs one that ended without success.
        NotFound: it is gone.
    """
    queries.lock_batch(connection, run.batch_id)
    row = connection.execute(select(RUNS).where(RUNS.c.run_id == run.run_id)).mappings().first()
    if row is None:
        raise run_not_found(run.run_id)
    if request_id and row["retry_request"] == request_id:
        return run_from_row(dict(row))
    run = run_from_row(dict(row))
    if run.state not in TERMINAL or run.state is RunState.SUCCEEDED:
        raise run_not_retryable(run)
    needed = queue.unmet(connection, [run.run_id]).get(run.run_id, [])
    if ended := [name for name, state in needed if state in TERMINAL]:
        raise needs_first(run, ended)
    attempt = run.attempt + 1
    taken = names(connection, run.batch_id)
    values = {"retry_request": request_id, "branch": branch(run.batch_id, run.name, attempt, taken)}
    _queue(connection, run, attempt, [name for name, _ in needed], now, values)
    events = [_queued_again(run, attempt)]
    for dependent in _ended_with(connection, run):
        _queue(connection, dependent, dependent.attempt, list(dependent.spec.needs), now, {})  # it never began
        events.append(_queued_again(dependent, dependent.attempt))
    _open_batch(connection, run.batch_id, events)
    return writes.stored(connection, run)


def _queue(
    connection: Connection, run: Run, attempt: int, waits_for: Sequence[str], now: int, values: dict[str, Any]
) -> None:
    priority = connection.execute(select(BATCHES.c.priority).where(BATCHES.c.batch_id == run.batch_id)).scalar_one()
    queued = from_micros(now)
    assert queued is not None
    fields = {
        "state": RunState.QUEUED.value,
        "activity": f"waits for {', '.join(waits_for)}" if waits_for else "",
        "attempt": attempt,
        "cancel_requested": False,
        "started_at": None,  # its wall time begins anew
        "ended_at": None,
        "result": dumps(RunResult()),
        "gate": queue.NEEDS_GATE if waits_for else queue.OPEN,
        "rank": rank(queued, priority),  # behind those that waited already
        "queue_deadline": None if waits_for else queue.deadline(connection, run.batch_id, now),
        "counted": 1,
        "excused": 0,
    }
    connection.execute(update(RUNS).where(RUNS.c.run_id == run.run_id).values(fields | values))


def _ended_with(connection: Connection, run: Run) -> list[Run]:
    """The runs that ended only because they need this one, or one of them, and that can begin after it."""
    found: dict[str, Run] = {}
    ids = [run.run_id]
    while ids:
        query = (
            select(RUNS)
            .join(NEEDS, NEEDS.c.run_id == RUNS.c.run_id)
            .where(NEEDS.c.needed == ids.pop(), RUNS.c.state == RunState.FAILED.value)
            .order_by(RUNS.c.position)
        )
        for row in connection.execute(query).mappings().all():
            one = run_from_row(dict(row))
            error = one.result.error
            if one.run_id not in found and error is not None and error.reason == DEPENDENCY_FAILED:
                found[one.run_id] = one
                ids.append(one.run_id)
    _leave_ended(connection, run, found)
    return list(found.values())


def _leave_ended(connection: Connection, run: Run, found: dict[str, Run]) -> None:
    """Forget those that also need one which has ended without success and is not queued again: they could never begin.
    They are queued with that one when it is retried."""
    blocked = True
    while blocked and found:
        again = {run.name, *(one.name for one in found.values())}
        blocked = False
        for waiting, needed in queue.unmet(connection, list(found)).items():
            if any(state in TERMINAL and name not in again for name, state in needed):
                del found[waiting]
                blocked = True


def _queued_again(run: Run, attempt: int) -> tuple[str, NewEvent]:
    return run.run_id, writes.state_event(run, RunState.QUEUED, attempt, None)


def _open_batch(connection: Connection, batch_id: str, events: list[tuple[str, NewEvent]]) -> None:
    ended = select(BATCHES.c.state).where(BATCHES.c.batch_id == batch_id)
    before = connection.execute(ended).scalar_one()
    if before != BatchState.ACTIVE.value:
        active = {"state": BatchState.ACTIVE.value, "ended_at": None}
        connection.execute(update(BATCHES).where(BATCHES.c.batch_id == batch_id).values(active))
        events.append(("", NewEvent(EventKind.STATE, "batch active again", {"from": before, "to": "active"})))
    writes.add_all(connection, batch_id, events)

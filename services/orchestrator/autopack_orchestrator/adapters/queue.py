"""The queue in the tables: who may start next, who waits no more, and what the end of a run means to others.

Each function works inside a transaction that the caller opened. None reads more than the heads of the queues: what a
claim costs depends on limits, tenants and repositories, not on how many runs wait.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, tuple_, update

from autopack_orchestrator.adapters import queries, writes
from autopack_orchestrator.adapters.rows import run_from_row, to_micros
from autopack_orchestrator.adapters.tables import BATCHES, NEEDS, PAUSES, RUNS, THROTTLES, TURNS
from autopack_orchestrator.core.admission import Busy, Head, Lane, Limits, choose
from autopack_orchestrator.core.model import NewEvent, Run, RunError, RunResult, RunState
from autopack_orchestrator.core.names import run_id
from autopack_orchestrator.core.retry import Throttle

__all__ = [
    "add_needs",
    "deadline",
    "due",
    "end_overdue",
    "let_in",
    "next_run",
    "overdue_batches",
    "pause",
    "queued_again",
    "settle",
    "throttle",
    "unmet",
    "waiting_batches",
]

CLAIM_LOCK = 0x4155_5443
"""Key of PostgreSQL's advisory lock ("AUTC"): two engines that count and then claim would exceed a limit."""
OVERDUE_AT_ONCE = 500  # runs whose queue timeout ends in one transaction; the rest in the next
LET_IN_AT_ONCE = 1000  # runs whose wait for a retry ends in one transaction; the rest in the next
DEPENDENCY_FAILED = "DEPENDENCY_FAILED"
MAX_POSITION = (1 << 31) - 1  # of the column
#: Values of the column "gate".
OPEN, LATER, NEEDS_GATE = "open", "later", "needs"


# ---- who may start ----


def next_run(connection: Connection, limit: int, per_tenant: int | None, per_repository: int | None) -> Run | None:
    """The queued run that may start next, by the rule of :mod:`..core.admission`; its tenant has had its turn then.

    One dispatcher decides at a time: on SQLite there is one writer, on PostgreSQL an advisory lock until the commit.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(CLAIM_LOCK)))
    busy = _busy(connection)
    if busy.total >= limit:
        return None
    limits = Limits(limit, per_tenant, per_repository, _agents(connection))
    turns: dict[str, int] = {row.tenant: row.turn for row in connection.execute(select(TURNS))}
    head = choose(_lanes(connection), partial(_head, connection), busy, turns, limits)
    if head is None:
        return None
    tenant, turn = head.lane.tenant, max(turns.values(), default=0) + 1
    if tenant in turns:
        connection.execute(update(TURNS).where(TURNS.c.tenant == tenant).values(turn=turn))
    else:
        connection.execute(insert(TURNS).values(tenant=tenant, turn=turn))
    return queries.first_run(connection, RUNS.c.run_id == head.run_id)


def _busy(connection: Connection) -> Busy:
    query = (
        select(RUNS.c.batch_id, BATCHES.c.max_concurrent_runs, RUNS.c.lane, func.count())
        .join(BATCHES, BATCHES.c.batch_id == RUNS.c.batch_id)
        .where(RUNS.c.state.in_(queries.WORKED_ON))
        .group_by(RUNS.c.batch_id, BATCHES.c.max_concurrent_runs, RUNS.c.lane)
    )
    rows = connection.execute(query)
    return Busy.of((batch, most, Lane.of_key(lane), count) for batch, most, lane, count in rows)


def _lanes(connection: Connection) -> list[Lane]:
    """The lanes in which a run waits for its turn, each found by one step of the index."""
    waiting = RUNS.c.gate == OPEN
    lanes = select(func.min(RUNS.c.lane).label("lane")).where(waiting).cte("lanes", recursive=True)
    following = select(func.min(RUNS.c.lane)).where(waiting, RUNS.c.lane > lanes.c.lane).scalar_subquery()
    lanes = lanes.union_all(select(following).where(lanes.c.lane.is_not(None)))
    keys = connection.execute(select(lanes.c.lane).where(lanes.c.lane.is_not(None))).scalars()
    return [Lane.of_key(key) for key in keys]


def _head(connection: Connection, lane: Lane, full: Collection[str]) -> Head | None:
    """The first run of a lane whose batch is not full. A batch's runs stand together, and are passed in one step."""
    columns = (RUNS.c.run_id, RUNS.c.batch_id, RUNS.c.rank, RUNS.c.position)
    query = (
        select(*columns)
        .where(RUNS.c.gate == OPEN, RUNS.c.lane == lane.key())
        .order_by(RUNS.c.rank, RUNS.c.batch_id, RUNS.c.position)
        .limit(1)
    )
    row = connection.execute(query).first()
    while row is not None and row.batch_id in full:
        # With the highest position: SQLite seeks the first row that is not less, and would step through the batch.
        last = (row.rank, row.batch_id, MAX_POSITION)
        row = connection.execute(query.where(tuple_(RUNS.c.rank, RUNS.c.batch_id, RUNS.c.position) > last)).first()
    return None if row is None else Head(row.run_id, row.batch_id, lane, row.rank, row.position)


# ---- overloaded agents ----


def _agents(connection: Connection) -> dict[str, int]:
    now = datetime.now(UTC)
    return {row.agent: _throttle(row).limit(now) for row in connection.execute(select(THROTTLES))}


def throttle(connection: Connection, agent: str, most: int) -> int:
    """An agent's provider is overloaded: returns how many of its runs may be at work now. ``most`` may be anyway."""
    now = datetime.now(UTC)
    row = connection.execute(select(THROTTLES).where(THROTTLES.c.agent == agent).with_for_update()).first()
    known = None if row is None else _throttle(row)
    if known is not None and known.limit(now) >= most:  # it has recovered since
        known = None
    cut = Throttle.cut(known, _busy(connection).agents[agent], now)
    values = {"runs": cut.runs, "changed_at": to_micros(cut.changed)}
    if row is None:
        connection.execute(insert(THROTTLES).values(agent=agent, **values))
    else:
        connection.execute(update(THROTTLES).where(THROTTLES.c.agent == agent).values(**values))
    return cut.limit(now)


def _throttle(row: Any) -> Throttle:
    return Throttle(row.runs, datetime.fromtimestamp(row.changed_at / 1_000_000, UTC))


# ---- what time brings ----


def due(connection: Connection, now: int) -> bool:
    """Whether a run waits for nothing but for its retry to be let in."""
    query = select(RUNS.c.run_id).where(RUNS.c.gate == LATER, RUNS.c.not_before <= now).limit(1)
    return connection.execute(query).first() is not None


def let_in(connection: Connection, now: int) -> None:
    """The runs whose wait for a retry is over wait for their turn; some of them, if they are many.

    What somebody else changes just now is left for the next time: this holds no batch, and must not wait for a run.
    """
    query = select(RUNS.c.run_id).where(RUNS.c.gate == LATER, RUNS.c.not_before <= now).limit(LET_IN_AT_ONCE)
    ids = list(connection.execute(query.with_for_update(skip_locked=True)).scalars())
    if ids:
        connection.execute(update(RUNS).where(RUNS.c.run_id.in_(ids)).values(gate=OPEN, activity=""))


def overdue_batches(connection: Connection, now: int) -> list[str]:
    """Batches with runs that have waited for their turn for longer than they may."""
    # Neither by gate nor DISTINCT: the databases would look through all that wait. Who does not wait has no deadline.
    query = select(RUNS.c.batch_id).where(RUNS.c.queue_deadline <= now).order_by(RUNS.c.queue_deadline)
    return sorted(set(connection.execute(query.limit(OVERDUE_AT_ONCE)).scalars()))


def end_overdue(connection: Connection, batch_id: str, now: int) -> None:
    """End the runs of a batch that have waited for too long."""
    queries.lock_batch(connection, batch_id)
    query = (
        select(RUNS)
        .where(RUNS.c.batch_id == batch_id, RUNS.c.queue_deadline <= now)
        .order_by(RUNS.c.position)
        .limit(OVERDUE_AT_ONCE)
    )
    timeout = connection.execute(select(BATCHES.c.queue_timeout).where(BATCHES.c.batch_id == batch_id)).scalar_one()
    message = f"It waited for its turn for {timedelta(microseconds=timeout or 0)}, which is its queue_timeout."
    remedy = "Allow more runs at once, give the batch a higher priority or more time, and retry the run."
    error = RunError("QUEUE_TIMEOUT", message, (remedy,))
    ended = [run_from_row(dict(row)) for row in connection.execute(query).mappings().all()]
    _end_waiting(connection, batch_id, [(run, error) for run in ended], RunState.TIMED_OUT, now)
    for run in ended:
        settle(connection, run, RunState.TIMED_OUT, now)
    writes.end_batch(connection, batch_id, now)


def _end_waiting(
    connection: Connection, batch_id: str, runs: Iterable[tuple[Run, RunError]], state: RunState, now: int
) -> None:
    """End runs that nobody works on."""
    events: list[tuple[str, NewEvent]] = []
    for run, error in runs:
        result = RunResult(error=error)
        values = writes.changes(state, None, result, now)
        connection.execute(update(RUNS).where(RUNS.c.run_id == run.run_id).values(values))
        events.append((run.run_id, writes.state_event(run, state, run.attempt, result)))
    writes.add_all(connection, batch_id, events)


# ---- runs that need others ----


def add_needs(connection: Connection, runs: Iterable[Run]) -> None:
    """Write down who waits for whom."""
    rows = [
        {"needed": run_id(run.batch_id, name), "run_id": run.run_id}
        for run in runs
        for name in dict.fromkeys(run.spec.needs)
    ]
    if rows:
        connection.execute(insert(NEEDS), rows)


def unmet(connection: Connection, run_ids: Collection[str]) -> dict[str, list[tuple[str, RunState]]]:
    """Of these runs, those that need others which have not succeeded, each with them and their states."""
    query = (
        select(NEEDS.c.run_id, RUNS.c.name, RUNS.c.state)
        .join(RUNS, RUNS.c.run_id == NEEDS.c.needed)
        .where(NEEDS.c.run_id.in_(run_ids), RUNS.c.state != RunState.SUCCEEDED.value)
        .order_by(RUNS.c.position)
    )
    found: dict[str, list[tuple[str, RunState]]] = {}
    for waiting, name, state in connection.execute(query):
        found.setdefault(waiting, []).append((name, RunState(state)))
    return found


def settle(connection: Connection, run: Run, state: RunState, now: int) -> None:
    """A run has ended in ``state``: those that need it may wait for their turn now, or end with it, and so on."""
    ended = [(run, state)]
    while ended:
        needed, how = ended.pop()
        query = (
            select(RUNS)
            .join(NEEDS, NEEDS.c.run_id == RUNS.c.run_id)
            .where(NEEDS.c.needed == needed.run_id, RUNS.c.gate == NEEDS_GATE)
            .order_by(RUNS.c.position)
        )
        dependents = [run_from_row(dict(row)) for row in connection.execute(query).mappings().all()]
        if not dependents:
            continue
        if how is RunState.SUCCEEDED:
            _let_begin(connection, dependents, now)
            continue
        error = RunError(
            DEPENDENCY_FAILED,
            f"It needs {needed.name}, which ended as {how.value}.",
            (f"Retry that one (`autopack runs retry {needed.run_id}`): this one is queued again with it.",),
        )
        _end_waiting(connection, run.batch_id, [(one, error) for one in dependents], RunState.FAILED, now)
        ended += [(one, RunState.FAILED) for one in dependents]


def _let_begin(connection: Connection, dependents: list[Run], now: int) -> None:
    waiting = unmet(connection, [one.run_id for one in dependents])
    free = [one for one in dependents if one.run_id not in waiting]
    if free:
        values = {"gate": OPEN, "activity": "", "queue_deadline": deadline(connection, free[0].batch_id, now)}
        connection.execute(update(RUNS).where(RUNS.c.run_id.in_([one.run_id for one in free])).values(values))


def queued_again(connection: Connection, run: Run, start: int, now: int) -> None:
    """The next attempt of a run waits for its turn, from ``start`` on; one cancelled meanwhile ends instead."""
    if run.cancel_requested:
        values = writes.changes(RunState.CANCELLED, None, None, now)
        writes.add_events(
            connection, run.batch_id, run.run_id, [writes.state_event(run, RunState.CANCELLED, run.attempt, None)]
        )
    else:
        values = {"queue_deadline": deadline(connection, run.batch_id, start)}
    connection.execute(update(RUNS).where(RUNS.c.run_id == run.run_id).values(values))
    if run.cancel_requested:
        settle(connection, run, RunState.CANCELLED, now)
        writes.end_batch(connection, run.batch_id, now)


def deadline(connection: Connection, batch_id: str, start: int) -> int | None:
    """When a run that waits for its turn since ``start`` has waited for too long."""
    timeout = connection.execute(select(BATCHES.c.queue_timeout).where(BATCHES.c.batch_id == batch_id)).scalar_one()
    return None if timeout is None else start + timeout


# ---- pauses ----


def pause(connection: Connection, owner: str, reason: str, now: int) -> None:
    """``owner`` starts nothing for ``reason``; empty = it does again."""
    connection.execute(delete(PAUSES).where(PAUSES.c.owner == owner))
    if reason:
        connection.execute(insert(PAUSES).values(owner=owner, reason=reason, seen_at=now))


def waiting_batches(connection: Connection, limit: int) -> list[str]:
    """Batches whose runs wait for their turn."""
    query = select(RUNS.c.batch_id).where(RUNS.c.gate == OPEN).distinct().limit(limit)
    return sorted(connection.execute(query).scalars())

"""Questions to the tables, each inside a transaction that the caller opened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, tuple_

from autopack_orchestrator.adapters.rows import batch_from_row, event_from_row, run_from_row, to_micros
from autopack_orchestrator.adapters.tables import BATCHES, EVENTS, PAUSES, RUNS
from autopack_orchestrator.core.model import TERMINAL, Batch, Event, Run, RunState
from autopack_orchestrator.core.states import LEASED

__all__ = ["batches", "counts", "events", "first_run", "lock_batch", "pause_reason", "runs", "unfinished"]

MAX_PAGE_BYTES = 8 << 20
"""Stored size of a page of runs; results differ from 200 bytes to a megabyte, and a message holds 16 MiB."""
PAUSE_LASTS_US = 60_000_000
"""A pause is renewed every few seconds; an engine that was killed in one must not seem to go on with it."""
WORKED_ON = [state.value for state in LEASED]


def batches(
    connection: Connection,
    tenant: str,
    *,
    batch_id: str | None = None,
    after: tuple[int, str] | None = None,
    limit: int = 1,
) -> list[Batch]:
    """Batches with their counts, newest first; ``after`` is the (creation, id) of the last one seen."""
    query = select(BATCHES).where(BATCHES.c.tenant == tenant)
    if batch_id is not None:
        query = query.where(BATCHES.c.batch_id == batch_id)
    if after is not None:
        query = query.where(tuple_(BATCHES.c.created_at, BATCHES.c.batch_id) < after)
    query = query.order_by(BATCHES.c.created_at.desc(), BATCHES.c.batch_id.desc()).limit(limit)
    rows = connection.execute(query).mappings().all()
    by_state = counts(connection, [row["batch_id"] for row in rows])
    pause = pause_reason(connection)
    return [batch_from_row(dict(row), by_state[row["batch_id"]], pause) for row in rows]


def counts(connection: Connection, batch_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Runs by state of each batch."""
    result: dict[str, dict[str, int]] = {batch_id: {} for batch_id in batch_ids}
    if not batch_ids:
        return result
    query = (
        select(RUNS.c.batch_id, RUNS.c.state, func.count())
        .where(RUNS.c.batch_id.in_(batch_ids))
        .group_by(RUNS.c.batch_id, RUNS.c.state)
    )
    for batch_id, state, count in connection.execute(query):
        result[batch_id][state] = count
    return result


def unfinished(connection: Connection) -> dict[str, int]:
    """How many runs are in each state that is not the last, of all tenants; by an index."""
    states = [state.value for state in RunState if state not in TERMINAL]
    query = select(RUNS.c.state, func.count()).where(RUNS.c.state.in_(states)).group_by(RUNS.c.state)
    found = dict.fromkeys(states, 0)
    for state, count in connection.execute(query):
        found[state] = count
    return found


def first_run(connection: Connection, *conditions: Any) -> Run | None:
    """The run that fulfils the conditions."""
    row = connection.execute(select(RUNS).where(*conditions)).mappings().first()
    return None if row is None else run_from_row(dict(row))


def runs(
    connection: Connection,
    tenant: str,
    *,
    batch_id: str,
    states: Sequence[RunState],
    after: tuple[int, str, int] | None,
    limit: int,
) -> tuple[list[Run], bool]:
    """Runs, newest batch first, in the order of the batch, and whether there are more.

    A page ends after ``limit`` runs, or earlier when it would not fit into a message.
    """
    query = select(RUNS).where(RUNS.c.tenant == tenant)
    if batch_id:
        query = query.where(RUNS.c.batch_id == batch_id)
    if states:
        query = query.where(RUNS.c.state.in_([state.value for state in states]))
    if after is not None:
        created, batch, position = after
        query = query.where(
            or_(
                tuple_(RUNS.c.created_at, RUNS.c.batch_id) < (created, batch),
                and_(RUNS.c.created_at == created, RUNS.c.batch_id == batch, RUNS.c.position > position),
            )
        )
    query = query.order_by(RUNS.c.created_at.desc(), RUNS.c.batch_id.desc(), RUNS.c.position).limit(limit + 1)
    found: list[Run] = []
    size = 0
    with connection.execute(query) as result:
        for row in result.mappings():
            size += len(row["result"])
            if len(found) == limit or (found and size > MAX_PAGE_BYTES):
                return found, True
            found.append(run_from_row(dict(row)))
    return found, False


def events(connection: Connection, batch_id: str, sequence: int, limit: int) -> list[Event]:
    """The events of a batch after a number, in order."""
    query = (
        select(EVENTS)
        .where(EVENTS.c.batch_id == batch_id, EVENTS.c.sequence > sequence)
        .order_by(EVENTS.c.sequence)
        .limit(limit)
    )
    return [event_from_row(dict(row)) for row in connection.execute(query).mappings()]


def pause_reason(connection: Connection) -> str:
    """Why nothing starts just now; empty if it does."""
    fresh = to_micros(datetime.now(UTC)) - PAUSE_LASTS_US
    row = connection.execute(select(PAUSES.c.reason).where(PAUSES.c.seen_at > fresh).order_by(PAUSES.c.owner)).first()
    return "" if row is None else str(row[0])


def lock_batch(connection: Connection, batch_id: str) -> None:
    """Whatever changes a batch or its runs takes this row first, so that no two transactions wait for each other."""
    connection.execute(select(BATCHES.c.batch_id).where(BATCHES.c.batch_id == batch_id).with_for_update())

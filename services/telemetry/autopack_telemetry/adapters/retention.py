"""What is old enough goes: in small transactions between those of senders, so that none of them waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from autopack_kit.errors import AutopackError
from sqlalchemy import CompoundSelect, Connection, Select, Table, delete, exists, func, select, union

from autopack_telemetry.adapters.tables import PHASES, RUNS, SESSIONS, USAGE

__all__ = ["CHUNK_ROWS", "prune_chunk", "retain"]

CHUNK_ROWS = 2_000
"""Rows of each table that one transaction deletes: some tens of milliseconds."""
WINDOW_IDS = 100_000
"""Ids of usage that one transaction looks through: to pass over as many rows takes some tens of milliseconds."""
EVERY_SECONDS = 3600.0
_EVERY = int(EVERY_SECONDS) * 1_000_000
PAUSE_SECONDS = 0.05
"""Between two transactions: senders come first."""

_log = structlog.get_logger("autopack.telemetry")


async def retain(prune: Callable[[int], Awaitable[int]], keep: int, now: Callable[[], int]) -> None:
    """Deletes what is older than ``keep`` microseconds, now and once an hour, until it is cancelled.

    Args:
        prune: deletes a chunk of what was recorded before a time, and says how much that was.
        keep: how long records are kept.
        now: microseconds since 1970.
    """
    while True:
        try:
            deleted = await prune(now() - keep)
        except AutopackError as error:
            # It is tried again in an hour; until then the database only holds more than it should.
            _log.warning("old records could not be deleted", error=str(error))
            deleted = 0
        await asyncio.sleep(PAUSE_SECONDS if deleted else EVERY_SECONDS)


def prune_chunk(connection: Connection, before: int, limit: int = CHUNK_ROWS, *, window: int = WINDOW_IDS) -> int:
    """Deletes records that arrived before a time, at most some ``limit`` of each table; says how many.

    Each record goes by its own age, by the clock of the server that took it in: what came while that clock was wrong
    goes earlier or later by as much. What is known of a run or session goes only after all that belongs to it.

    Args:
        connection: in a transaction.
        before: microseconds since 1970.
        limit: rows.
        window: ids of usage that are looked through, wherever old usage may be.
    """
    usage = _usage(connection, before, limit, window)
    queries: dict[Table, Select[int] | CompoundSelect[int]] = {
        USAGE: usage,
        PHASES: _phases(before),
        SESSIONS: _sessions(before),
        RUNS: _runs(before),
    }
    deleted = 0
    for table, old in queries.items():
        deleted += connection.execute(delete(table).where(table.c.id.in_(old.limit(limit)))).rowcount
    return deleted


def _usage(connection: Connection, before: int, limit: int, window: int) -> CompoundSelect[int]:
    """Old usage without an index by age, for which each arrival would pay.

    Ids follow the order of arrival, so it is among the lowest. But not where a clock was set back, or where a series
    has grown since: so each hour also another part of all ids is looked through, by turns that the clock tells, for a
    server need not live longer than one of them.
    """
    lowest, highest = ((connection.scalar(select(end(USAGE.c.id))) or 0) // window for end in (func.min, func.max))
    start = (lowest + before // _EVERY % (highest - lowest + 1)) * window
    first = select(USAGE.c.id, USAGE.c.recorded_at).order_by(USAGE.c.id).limit(limit).subquery()
    mine = USAGE.c.id.between(start, start + window - 1)
    turn = select(USAGE.c.id).where(mine, USAGE.c.recorded_at < before).limit(limit).subquery()
    return union(select(first.c.id).where(first.c.recorded_at < before), select(turn.c.id))


def _phases(before: int) -> Select[int]:
    return select(PHASES.c.id).where(PHASES.c.recorded_at < before)


def _sessions(before: int) -> Select[int]:
    mine = (USAGE.c.run_id == SESSIONS.c.run_id, USAGE.c.agent == SESSIONS.c.agent)
    return select(SESSIONS.c.id).where(
        SESSIONS.c.recorded_at < before,
        ~exists().where(USAGE.c.tenant == SESSIONS.c.tenant, *mine, USAGE.c.session_id == SESSIONS.c.session_id),
    )


def _runs(before: int) -> Select[int]:
    return select(RUNS.c.id).where(
        RUNS.c.recorded_at < before,
        *(
            ~exists().where(table.c.tenant == RUNS.c.tenant, table.c.run_id == RUNS.c.run_id)
            for table in (USAGE, PHASES)
        ),
    )

"""What is old enough goes: in small transactions between those of senders, so that none of them waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from autopack_kit.errors import AutopackError
from sqlalchemy import Connection, Select, delete, exists, select

from autopack_telemetry.adapters.tables import PHASES, RUNS, SESSIONS, USAGE

__all__ = ["CHUNK_ROWS", "prune_chunk", "retain"]

CHUNK_ROWS = 2_000
"""Rows of each table that one transaction deletes: some tens of milliseconds."""
EVERY_SECONDS = 3600.0
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


def prune_chunk(connection: Connection, before: int, limit: int = CHUNK_ROWS) -> int:
    """Deletes records that arrived before a time, at most ``limit`` of each table; says how many.

    Each record goes by its own age. What is known of a run or session goes only after all that belongs to it.
    """
    queries = {USAGE: _usage(before, limit), PHASES: _phases(before), SESSIONS: _sessions(before), RUNS: _runs(before)}
    deleted = 0
    for table, old in queries.items():
        deleted += connection.execute(delete(table).where(table.c.id.in_(old.limit(limit)))).rowcount
    return deleted


def _usage(before: int, limit: int) -> Select[int]:
    """Ids follow the order of arrival: the oldest are found without an index, for which each arrival would pay."""
    first = select(USAGE.c.id, USAGE.c.recorded_at).order_by(USAGE.c.id).limit(limit).subquery()
    return select(first.c.id).where(first.c.recorded_at < before)


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

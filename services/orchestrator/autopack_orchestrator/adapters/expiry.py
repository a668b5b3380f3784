"""Batches that were kept long enough: found, hidden at once, and then deleted in pieces.

A batch may have 100,000 events. It is first given to a tenant that no token can have, in one small transaction, so that
nobody sees half of it; what a deletion that was interrupted leaves is found there again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autopack_kit.db import Database
from sqlalchemy import Connection, delete, or_, select, update

from autopack_orchestrator.adapters import queries
from autopack_orchestrator.adapters.rows import instant, to_micros
from autopack_orchestrator.adapters.tables import BATCHES, EVENTS, NEEDS, OBJECTS, RUNS
from autopack_orchestrator.core.model import TERMINAL, BatchState

__all__ = ["REMOVED", "Ended", "Expiry"]

REMOVED = "(removed)"  # parentheses are not allowed in the name of a tenant
ROWS = 1000  # deleted per transaction: milliseconds in which nobody else writes
_ENDED = [state.value for state in TERMINAL]


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch that has ended; ``hidden`` if its deletion began already."""

    batch_id: str
    end_time: datetime
    hidden: bool


class Expiry:
    """What a collector asks the database, and how it deletes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ended(self) -> list[Ended]:
        """Every batch that has ended, the one that ended first first."""

        def work(connection: Connection) -> list[Ended]:
            query = select(BATCHES.c.batch_id, BATCHES.c.ended_at, BATCHES.c.tenant)
            query = query.where(BATCHES.c.state != BatchState.ACTIVE.value, BATCHES.c.ended_at.is_not(None))
            rows = connection.execute(query.order_by(BATCHES.c.ended_at, BATCHES.c.batch_id))
            return [Ended(batch_id, instant(ended), tenant == REMOVED) for batch_id, ended, tenant in rows]

        return await self._database.read(work)

    async def batch_ids(self) -> set[str]:
        """The ids of all batches."""
        return await self._database.read(lambda found: set(found.execute(select(BATCHES.c.batch_id)).scalars()))

    async def bases(self) -> set[str]:
        """The commits that batches start from."""
        query = select(BATCHES.c.base_commit).distinct()
        return await self._database.read(lambda found: set(found.execute(query).scalars()))

    async def recent_runs(self, quiet: timedelta) -> set[str]:
        """Ids of the runs that have not ended, or ended less than ``quiet`` ago: their worktrees are still looked
        after."""
        since = to_micros(datetime.now(UTC) - quiet)
        query = select(RUNS.c.run_id).where(or_(RUNS.c.state.not_in(_ENDED), RUNS.c.ended_at > since))
        return await self._database.read(lambda found: set(found.execute(query).scalars()))

    async def attempts(self, batch_id: str) -> list[tuple[str, int]]:
        """Name and last attempt of those runs of a batch that have ended."""
        query = select(RUNS.c.name, RUNS.c.attempt).where(RUNS.c.batch_id == batch_id, RUNS.c.state.in_(_ENDED))
        rows = await self._database.read(lambda found: found.execute(query).all())
        return [(name, attempt) for name, attempt in rows]

    async def hide(self, ended: Ended) -> bool:
        """Take a batch out of everybody's sight; False if one of its runs was queued again meanwhile."""

        def work(connection: Connection) -> bool:
            queries.lock_batch(connection, ended.batch_id)
            hidden = connection.execute(
                update(BATCHES)
                .where(
                    BATCHES.c.batch_id == ended.batch_id,
                    BATCHES.c.state != BatchState.ACTIVE.value,
                    BATCHES.c.ended_at == to_micros(ended.end_time),
                )
                .values(tenant=REMOVED, request_id=None)
            )
            if hidden.rowcount == 1:
                connection.execute(update(RUNS).where(RUNS.c.batch_id == ended.batch_id).values(tenant=REMOVED))
            return hidden.rowcount == 1

        return await self._database.write(work)

    async def objects(self, batch_id: str) -> list[str]:
        """Keys of what the runs of a batch left in the object store."""
        query = select(OBJECTS.c.key).join(RUNS, RUNS.c.run_id == OBJECTS.c.run_id).where(RUNS.c.batch_id == batch_id)
        return await self._database.read(lambda found: list(found.execute(query).scalars()))

    async def delete(self, batch_id: str) -> None:
        """Delete a hidden batch and all that is about it."""
        while await self._database.write(lambda connection: _delete_events(connection, batch_id)):
            pass
        while await self._database.write(lambda connection: _delete_runs(connection, batch_id)):
            pass
        gone = delete(BATCHES).where(BATCHES.c.batch_id == batch_id, BATCHES.c.tenant == REMOVED)
        await self._database.write(lambda connection: connection.execute(gone))


def _delete_events(connection: Connection, batch_id: str) -> bool:
    """A piece of the events; whether there were any."""
    some = select(EVENTS.c.sequence).where(EVENTS.c.batch_id == batch_id).order_by(EVENTS.c.sequence).limit(ROWS)
    numbers = list(connection.execute(some).scalars())
    if numbers:
        gone = EVENTS.c.batch_id == batch_id, EVENTS.c.sequence <= numbers[-1]
        connection.execute(delete(EVENTS).where(*gone))
    return bool(numbers)


def _delete_runs(connection: Connection, batch_id: str) -> bool:
    """Runs of a hidden batch with what refers to them; whether there were any. A batch has 1,000 at most."""
    some = select(RUNS.c.run_id).where(RUNS.c.batch_id == batch_id, RUNS.c.tenant == REMOVED).limit(ROWS)
    ids = list(connection.execute(some).scalars())
    if ids:
        connection.execute(delete(NEEDS).where(or_(NEEDS.c.run_id.in_(ids), NEEDS.c.needed.in_(ids))))
        connection.execute(delete(OBJECTS).where(OBJECTS.c.run_id.in_(ids)))
        connection.execute(delete(RUNS).where(RUNS.c.run_id.in_(ids)))
    return bool(ids)

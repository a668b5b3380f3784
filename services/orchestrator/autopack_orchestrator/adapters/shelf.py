"""Which objects a run's attempts have left, in the store's database: what is not listed here does not exist."""

from __future__ import annotations

from dataclasses import dataclass

from autopack_kit.db import Database
from sqlalchemy import Connection, func, insert, select

from autopack_orchestrator.adapters import queries
from autopack_orchestrator.adapters.tables import OBJECTS, RUNS
from autopack_orchestrator.core.model import Run
from autopack_orchestrator.errors import LeaseLost

__all__ = ["Entry", "Shelf"]

ENTRIES_PER_READ = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One object.

    Attributes:
        start: of a piece of a log, the offset of its first byte; else 0.
    """

    start: int
    size: int
    sha256: str
    key: str

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.start + self.size


class Shelf:
    """The list of objects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, run: Run, kind: str, entry: Entry) -> None:
        """List an object of the run's current attempt.

        Raises:
            LeaseLost: somebody else holds the run; nothing was listed.
        """

        def work(connection: Connection) -> None:
            held = select(RUNS.c.run_id).where(
                RUNS.c.run_id == run.run_id,
                RUNS.c.lease_epoch == run.lease_epoch,
                RUNS.c.state.in_(queries.WORKED_ON),
            )
            if connection.execute(held.with_for_update(read=True)).first() is None:
                raise LeaseLost(f"{run.run_id} is not held under epoch {run.lease_epoch} any more")
            where = (OBJECTS.c.run_id == run.run_id, OBJECTS.c.attempt == run.attempt, OBJECTS.c.kind == kind)
            if connection.execute(select(OBJECTS.c.key).where(*where, OBJECTS.c.start == entry.start)).first() is None:
                values = {"start": entry.start, "size": entry.size, "sha256": entry.sha256, "key": entry.key}
                connection.execute(insert(OBJECTS).values(run_id=run.run_id, attempt=run.attempt, kind=kind, **values))

        await self._database.write(work)

    async def after(self, run_id: str, attempt: int, kind: str, offset: int) -> list[Entry]:
        """The next objects of a kind that have bytes at or after an offset, in order."""
        query = (
            select(OBJECTS.c.start, OBJECTS.c.size, OBJECTS.c.sha256, OBJECTS.c.key)
            .where(
                OBJECTS.c.run_id == run_id,
                OBJECTS.c.attempt == attempt,
                OBJECTS.c.kind == kind,
                OBJECTS.c.start + OBJECTS.c.size > offset,
            )
            .order_by(OBJECTS.c.start)
            .limit(ENTRIES_PER_READ)
        )
        return await self._database.read(lambda found: [Entry(*row) for row in found.execute(query)])

    async def size(self, run_id: str, attempt: int, kind: str) -> int:
        """Bytes of all objects of a kind."""
        query = select(func.max(OBJECTS.c.start + OBJECTS.c.size)).where(
            OBJECTS.c.run_id == run_id, OBJECTS.c.attempt == attempt, OBJECTS.c.kind == kind
        )
        return await self._database.read(lambda found: found.execute(query).scalar() or 0)

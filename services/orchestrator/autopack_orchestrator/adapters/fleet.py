"""Who of a cluster is alive, and the leases of those who are not.

An owner is alive while the number of its row grows: whoever wants to know looks at it twice and measures the time in
between on its own monotonic clock, so that no two clocks are ever compared. An owner whose row was removed holds
nothing any more and hears of it at its next beat.
"""

from __future__ import annotations

from dataclasses import dataclass

from autopack_kit.db import Database
from sqlalchemy import Connection, delete, insert, select, update

from autopack_orchestrator.adapters import queries, writes
from autopack_orchestrator.adapters.rows import run_from_row
from autopack_orchestrator.adapters.tables import RUNS, WORKERS
from autopack_orchestrator.core.model import EventKind, NewEvent, Run, RunState
from autopack_orchestrator.errors import LeaseLost

__all__ = ["ADMITTED", "Fleet", "Member"]

ADMITTED = "admitted"
"""The owner of a run that may start and that no worker has taken yet."""
PREFIX = "cluster-"
"""Begins the names of owners that are in the table; those of a local engine are not, and are nobody's business here."""


@dataclass(frozen=True, slots=True)
class Member:
    """One owner, as it was seen.

    Attributes:
        capacity: runs that it works on at once at most; 0 for a dispatcher.
        beat: grows while it is alive.
    """

    owner: str
    host: str
    capacity: int
    beat: int


class Fleet:
    """The owners of one cluster, in the database of its store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def join(self, owner: str, host: str, capacity: int) -> None:
        """Be alive from now on; an owner that was here before keeps its leases."""

        def work(connection: Connection) -> None:
            if not _beat(connection, owner, capacity):
                connection.execute(insert(WORKERS).values(owner=owner, host=host, capacity=capacity, beat=1))

        await self._database.write(work)

    async def beat(self, owner: str, capacity: int) -> bool:
        """Stay alive; False if the owner was given up meanwhile."""
        return await self._database.write(lambda connection: _beat(connection, owner, capacity))

    async def leave(self, owner: str) -> None:
        """Be no owner any more; what it still holds is everybody's."""
        await self._database.write(lambda found: found.execute(delete(WORKERS).where(WORKERS.c.owner == owner)))

    async def members(self) -> list[Member]:
        """Everybody who is thought to be alive."""

        def work(connection: Connection) -> list[Member]:
            return [Member(*row) for row in connection.execute(select(WORKERS).order_by(WORKERS.c.owner))]

        return await self._database.read(work)

    async def give_up(self, member: Member) -> bool:
        """Declare an owner dead unless it has moved since it was seen; whether this was the call that did."""

        def work(connection: Connection) -> bool:
            dead = delete(WORKERS).where(WORKERS.c.owner == member.owner, WORKERS.c.beat == member.beat)
            return connection.execute(dead).rowcount == 1

        return await self._database.write(work)

    async def orphans(self) -> list[Run]:
        """Runs that are leased to an owner who is not alive."""

        def work(connection: Connection) -> list[Run]:
            query = select(RUNS).where(
                RUNS.c.state.in_(queries.WORKED_ON),
                RUNS.c.lease_owner.startswith(PREFIX),
                RUNS.c.lease_owner.not_in(select(WORKERS.c.owner)),
            )
            return [run_from_row(dict(row)) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def take(self, run_id: str, owner: str, host: str) -> Run | None:
        """Lease an admitted run to a worker; None if it is not to be had, or the worker was given up.

        A job may come twice, late, or for a run that was cancelled or is worked on: this is what decides.
        """

        def work(connection: Connection) -> Run | None:
            # Shared with other takers; whoever gives this owner up waits, and sees the run among its orphans.
            alive = select(WORKERS.c.owner).where(WORKERS.c.owner == owner).with_for_update(read=True)
            if connection.execute(alive).first() is None:
                return None
            run = queries.first_run(connection, RUNS.c.run_id == run_id, RUNS.c.lease_owner == ADMITTED)
            if run is None or run.state is not RunState.PREPARING:
                return None
            try:
                taken = writes.lease(connection, run, owner, RunState.PREPARING)
            except LeaseLost:
                return None
            words = f"taken by the worker on {host}"
            event = NewEvent(EventKind.STATE, words, {"host": host, "attempt": str(run.attempt)})
            writes.add_events(connection, run.batch_id, run.run_id, [event])
            return taken

        return await self._database.write(work)


def _beat(connection: Connection, owner: str, capacity: int) -> bool:
    values = {"capacity": capacity, "beat": WORKERS.c.beat + 1}
    return connection.execute(update(WORKERS).where(WORKERS.c.owner == owner).values(values)).rowcount == 1

"""The only truth about batches and runs: every change is one guarded transaction together with its events.

A run that is worked on is leased: claiming and adopting it increases ``lease_epoch``, and every later write names the
epoch that it believes in. A writer that was overtaken changes nothing and is told so (:class:`LeaseLost`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autopack_kit.db import Database
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from autopack_orchestrator.adapters import queries, queue, retries, writes
from autopack_orchestrator.adapters.queue_store import QueueStore
from autopack_orchestrator.adapters.rows import batch_values, instant, run_from_row, run_values, to_micros
from autopack_orchestrator.adapters.tables import BATCHES, RUNS
from autopack_orchestrator.core.model import (
    TERMINAL,
    Batch,
    Event,
    EventKind,
    NewEvent,
    Run,
    RunResult,
    RunState,
)
from autopack_orchestrator.core.states import ALLOWED
from autopack_orchestrator.errors import (
    IdTaken,
    LeaseLost,
    batch_not_found,
    request_id_reused,
    run_not_found,
)

__all__ = ["MIGRATIONS", "Store"]

EVENTS_PER_READ = 500  # a watcher that is far behind catches up in pieces of about 100 KiB
RUNS_PER_READ = 500
MIGRATIONS = Path(__file__).parent.parent / "migrations"
_ENDED = [state.value for state in TERMINAL]


class Store(QueueStore):
    """Batches, runs and events in one database."""

    @classmethod
    def open(cls, url: str) -> Store:
        """Open (and migrate) the database. Blocks."""
        return cls(Database.open(url, name="orchestrator", migrations=MIGRATIONS))

    @property
    def database(self) -> Database:
        """Where it keeps everything, for those that keep something beside it."""
        return self._database

    async def close(self) -> None:
        """Write what waits and close."""
        await self._database.close()

    # ---- creating ----

    async def create_batch(self, batch: Batch, runs: Sequence[Run], request_id: str, request_hash: str) -> Batch:
        """Store a batch and its runs; a known ``request_id`` with the same hash returns the batch that exists.

        Raises:
            AlreadyExists: the request id was used for something else.
            IdTaken: the batch's id is another batch's; draw another.
        """

        def work(connection: Connection) -> None:
            connection.execute(insert(BATCHES).values(batch_values(batch, request_id, request_hash)))
            connection.execute(insert(RUNS), [run_values(run, batch) for run in runs])
            queue.add_needs(connection, runs)
            message = f"batch of {len(runs)} run{'s' * (len(runs) != 1)} created"
            writes.add_events(connection, batch.batch_id, "", [NewEvent(EventKind.STATE, message, {"to": "active"})])

        try:
            await self._database.write(work, weight=len(runs))
        except IntegrityError as error:
            existing = await self.find_request(batch.tenant, request_id, request_hash) if request_id else None
            if existing is None:
                raise IdTaken(batch.batch_id) from error
            return existing
        return await self.get_batch(batch.tenant, batch.batch_id)

    async def find_request(self, tenant: str, request_id: str, request_hash: str) -> Batch | None:
        """The batch that a request id stands for.

        Raises:
            AlreadyExists: it stands for another content.
        """

        def work(connection: Connection) -> tuple[str, str] | None:
            row = connection.execute(
                select(BATCHES.c.batch_id, BATCHES.c.request_hash).where(
                    BATCHES.c.tenant == tenant, BATCHES.c.request_id == request_id
                )
            ).first()
            return None if row is None else (row[0], row[1])

        found = await self._database.read(work)
        if found is None:
            return None
        if found[1] != request_hash:
            raise request_id_reused(request_id)
        return await self.get_batch(tenant, found[0])

    # ---- reading ----

    async def get_batch(self, tenant: str, batch_id: str) -> Batch:
        """One batch.

        Raises:
            NotFound: not in this tenant.
        """
        found = (
            await self._database.read(lambda connection: queries.batches(connection, tenant, batch_id=batch_id))
            if _may_exist(batch_id)
            else []
        )
        if not found:
            raise batch_not_found(batch_id)
        return found[0]

    async def list_batches(self, tenant: str, after: tuple[int, str] | None, limit: int) -> list[Batch]:
        """Batches, newest first; ``after`` is the (creation in microseconds, id) of the last one seen."""
        return await self._database.read(
            lambda connection: queries.batches(connection, tenant, after=after, limit=limit)
        )

    async def get_run(self, tenant: str, run_id: str) -> Run:
        """One run.

        Raises:
            NotFound: not in this tenant.
        """

        def work(connection: Connection) -> Run | None:
            return queries.first_run(connection, RUNS.c.run_id == run_id, RUNS.c.tenant == tenant)

        run = await self._database.read(work) if _may_exist(run_id) else None
        if run is None:
            raise run_not_found(run_id)
        return run

    async def list_runs(
        self,
        tenant: str,
        *,
        batch_id: str = "",
        states: Sequence[RunState] = (),
        after: tuple[int, str, int] | None = None,
        limit: int,
    ) -> tuple[list[Run], bool]:
        """Runs, newest batch first, in the order of the batch, and whether there are more.

        ``after`` is (creation, batch, position) of the last one seen. A page may have fewer than ``limit`` runs
        although there are more: large results end it early.
        """
        if not _may_exist(batch_id):
            return [], False
        return await self._database.read(
            lambda connection: queries.runs(
                connection, tenant, batch_id=batch_id, states=states, after=after, limit=limit
            )
        )

    async def all_runs(self, tenant: str, batch_id: str) -> list[Run]:
        """Every run of a batch."""
        found: list[Run] = []
        more = True
        while more:
            after = (to_micros(found[-1].create_time), batch_id, found[-1].position) if found else None
            page, more = await self.list_runs(tenant, batch_id=batch_id, after=after, limit=RUNS_PER_READ)
            found += page
        return found

    async def events_after(self, batch_id: str, sequence: int) -> list[Event]:
        """The next events of a batch, in order, at most :data:`EVENTS_PER_READ`."""
        return await self._database.read(
            lambda connection: queries.events(connection, batch_id, sequence, EVENTS_PER_READ)
        )

    # ---- working on a run ----

    async def claim(
        self, owner: str, *, limit: int, per_tenant: int | None = None, per_repository: int | None = None
    ) -> Run | None:
        """Take the next queued run that may start, and lease it to ``owner``; by the rule of :mod:`..core.admission`.

        Args:
            limit: runs at once at most, of all engines on this database together; a batch has its own limit too.
            per_tenant: of one tenant.
            per_repository: on one repository.

        Raises:
            LeaseLost: it was cancelled or claimed by another process in between; ask again.
        """

        def work(connection: Connection) -> Run | None:
            run = queue.next_run(connection, limit, per_tenant, per_repository)
            return None if run is None else writes.lease(connection, run, owner, RunState.QUEUED)

        run = await self._database.write(work)
        if run is not None:
            self._wake(run.batch_id)
        return run

    async def adopt(self, run: Run, owner: str) -> Run:
        """Take over a run whose owner is gone.

        Raises:
            LeaseLost: somebody else was faster.
        """
        return await self._database.write(lambda connection: writes.lease(connection, run, owner, run.state))

    async def held_by(self, owner: str) -> list[Run]:
        """The runs that are leased to ``owner`` and not ended."""

        def work(connection: Connection) -> list[Run]:
            query = select(RUNS).where(RUNS.c.lease_owner == owner, RUNS.c.state.in_(queries.WORKED_ON))
            return [run_from_row(dict(row)) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def update(
        self,
        run: Run,
        *,
        to: RunState | None = None,
        activity: str | None = None,
        result: RunResult | None = None,
        base_commit: str | None = None,
        attempt: int | None = None,
        again: Mapping[str, Any] = MappingProxyType({}),
        events: Iterable[NewEvent] = (),
    ) -> Run:
        """Change a leased run and add its events; a change of state adds its own event.

        Raises:
            LeaseLost: the lease is not ``run``'s any more, or the state may not follow; nothing was written.
        """
        if to is not None and to not in ALLOWED[run.state]:
            raise LeaseLost(f"{run.run_id} is {run.state.value} and cannot become {to.value}")
        now = to_micros(datetime.now(UTC))
        values = writes.changes(to, activity, result, now)
        chosen = (("attempt", attempt), ("base_commit", base_commit))
        values |= {name: value for name, value in chosen if value is not None} | dict(again)
        written = list(events)
        if to is not None:
            written.append(writes.state_event(run, to, attempt or run.attempt, result))

        def work(connection: Connection) -> Run:
            queries.lock_batch(connection, run.batch_id)
            guard = (
                RUNS.c.run_id == run.run_id,
                RUNS.c.lease_epoch == run.lease_epoch,
                RUNS.c.state == run.state.value,
            )
            if values:
                held = connection.execute(update(RUNS).where(*guard).values(values)).rowcount == 1
            else:
                held = connection.execute(select(RUNS.c.run_id).where(*guard)).first() is not None
            if not held:
                raise LeaseLost(f"{run.run_id} is not held under epoch {run.lease_epoch} any more")
            writes.add_events(connection, run.batch_id, run.run_id, written)
            if to is RunState.QUEUED:
                queue.queued_again(connection, writes.stored(connection, run), again.get("not_before") or now, now)
            if to in TERMINAL:
                queue.settle(connection, run, to, now)
                writes.end_batch(connection, run.batch_id, now)
            return writes.stored(connection, run)

        changed = await self._database.write(work, weight=1 + len(written))
        if written:
            self._wake(run.batch_id)
        return changed

    async def requeue(
        self,
        run: Run,
        attempt: int,
        branch: str,
        event: NewEvent,
        *,
        wait: timedelta = timedelta(0),
        counts: bool = True,
    ) -> Run:
        """Queue the next attempt of a leased run; what was known of the last one is forgotten, but for its events.

        Args:
            wait: it does not start before this has passed.
            counts: whether the attempt counts against ``max_attempts``.

        Raises:
            LeaseLost: as :meth:`update`.
        """
        waits = wait > timedelta(0)
        again = {
            "branch": branch,
            "gate": queue.LATER if waits else queue.OPEN,
            "not_before": to_micros(datetime.now(UTC) + wait) if waits else None,
            "counted": run.counted + counts,
            "excused": run.excused + (not counts),
        }
        activity = "waits for its retry" if waits else ""
        return await self.update(
            run,
            to=RunState.QUEUED,
            activity=activity,
            result=RunResult(),
            attempt=attempt,
            again=again,
            events=[event],
        )

    async def retry(self, tenant: str, run_id: str, request_id: str) -> Run:
        """Queue an ended run again, with those that ended because they need it; the same request id does it once.

        Raises:
            NotFound: not in this tenant.
            FailedPrecondition: it succeeded, has not ended, or needs one that ended without success.
        """
        run = await self.get_run(tenant, run_id)
        now = to_micros(datetime.now(UTC))
        queued = await self._database.write(lambda connection: retries.retry(connection, run, request_id, now))
        self._wake(run.batch_id)
        return queued

    async def note(self, run: Run, event: NewEvent) -> None:
        """Add an event to a run that somebody else may hold."""
        await self._database.write(lambda found: writes.add_events(found, run.batch_id, run.run_id, [event]))
        self._wake(run.batch_id)

    # ---- what a run needs to know of its batch ----

    async def names(self, batch_id: str) -> list[str]:
        """The names of a batch's runs."""
        return await self._database.read(lambda connection: retries.names(connection, batch_id))

    async def started(self, batch_id: str) -> dict[str, datetime]:
        """The runs of a batch that have begun, and when."""

        def work(connection: Connection) -> dict[str, datetime]:
            query = select(RUNS.c.run_id, RUNS.c.started_at)
            query = query.where(RUNS.c.batch_id == batch_id, RUNS.c.started_at.is_not(None))
            return {run_id: instant(started) for run_id, started in connection.execute(query)}

        return await self._database.read(work)

    async def heads(self, batch_id: str, names: Sequence[str]) -> dict[str, str]:
        """The commits that these runs of a batch have made."""

        def work(connection: Connection) -> dict[str, str]:
            query = select(RUNS).where(RUNS.c.batch_id == batch_id, RUNS.c.name.in_(names))
            found = [run_from_row(dict(row)) for row in connection.execute(query).mappings()]
            return {run.name: run.result.head_commit for run in found}

        return await self._database.read(work)

    # ---- cancelling ----

    async def request_cancel(self, tenant: str, *, batch_id: str, run_id: str = "") -> None:
        """Ask for the end of a run, or of all runs of a batch. Queued ones end at once, others when they are told."""

        def work(connection: Connection) -> None:
            queries.lock_batch(connection, batch_id)
            conditions = [RUNS.c.batch_id == batch_id, RUNS.c.tenant == tenant, RUNS.c.state.not_in(_ENDED)]
            if run_id:
                conditions.append(RUNS.c.run_id == run_id)
            rows = connection.execute(
                select(RUNS).where(*conditions, RUNS.c.cancel_requested.is_(False)).order_by(RUNS.c.position)
            ).mappings()
            now = to_micros(datetime.now(UTC))
            runs = [run_from_row(dict(row)) for row in rows.all()]
            for run in runs:
                writes.cancel(connection, run, now)
            for run in runs:
                if run.state is RunState.QUEUED:
                    queue.settle(connection, run, RunState.CANCELLED, now)
            writes.end_batch(connection, batch_id, now)

        await self._database.write(work)
        self._wake(batch_id)

    async def cancel_requested(self, run_ids: Sequence[str]) -> set[str]:
        """Of these runs, those whose cancelling was asked for."""

        def work(connection: Connection) -> set[str]:
            query = select(RUNS.c.run_id).where(RUNS.c.run_id.in_(run_ids), RUNS.c.cancel_requested.is_(True))
            return set(connection.execute(query).scalars())

        return await self._database.read(work) if run_ids else set()


def _may_exist(identifier: str) -> bool:
    """PostgreSQL refuses NUL in text; nothing that is stored has one."""
    return "\0" not in identifier

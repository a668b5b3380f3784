"""The only truth about batches and runs: every change is one guarded transaction together with its events.

A run that is worked on is leased: claiming and adopting it increases ``lease_epoch``, and every later write names the
epoch that it believes in. A writer that was overtaken changes nothing and is told so (:class:`LeaseLost`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autopack_kit.db import Database
from sqlalchemy import Connection, and_, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from autopack_orchestrator.adapters.rows import batch_from_row, event_from_row, run_from_row, run_values, to_micros
from autopack_orchestrator.adapters.tables import BATCHES, EVENTS, RUNS
from autopack_orchestrator.core.codec import dumps
from autopack_orchestrator.core.model import (
    TERMINAL,
    Batch,
    BatchState,
    Event,
    EventKind,
    NewEvent,
    Run,
    RunResult,
    RunState,
)
from autopack_orchestrator.core.states import ALLOWED, LEASED, batch_state
from autopack_orchestrator.errors import LeaseLost, batch_not_found, request_id_reused, run_not_found

__all__ = ["Store"]

EVENTS_PER_READ = 500  # a watcher that is far behind catches up in pieces of about 100 KiB
_ENDED = [state.value for state in TERMINAL]
_WORKED_ON = [state.value for state in LEASED]


class Store:
    """Batches, runs and events in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @classmethod
    def open(cls, url: str) -> Store:
        """Open (and migrate) the database. Blocks."""
        migrations = Path(__file__).parent.parent / "migrations"
        return cls(Database.open(url, name="orchestrator", migrations=migrations))

    async def close(self) -> None:
        """Write what waits and close."""
        await self._database.close()

    # ---- creating ----

    async def create_batch(self, batch: Batch, runs: Sequence[Run], request_id: str, request_hash: str) -> Batch:
        """Store a batch and its runs; a known ``request_id`` with the same hash returns the batch that exists.

        Raises:
            AlreadyExists: the request id was used for something else.
        """

        def work(connection: Connection) -> None:
            values = {
                "batch_id": batch.batch_id,
                "tenant": batch.tenant,
                "name": batch.name,
                "request_id": request_id or None,
                "request_hash": request_hash,
                "repository": batch.repository,
                "base_commit": batch.base_commit,
                "state": batch.state.value,
                "max_concurrent_runs": batch.max_concurrent_runs,
                "budget": dumps(batch.budget),
                "created_at": to_micros(batch.create_time),
                "last_sequence": 0,
            }
            connection.execute(insert(BATCHES).values(values))
            connection.execute(insert(RUNS), [run_values(run) for run in runs])
            message = f"batch of {len(runs)} runs created"
            _add_events(connection, batch.batch_id, "", [NewEvent(EventKind.STATE, message, {"to": "active"})])

        try:
            await self._database.write(work, weight=len(runs))
        except IntegrityError:
            existing = await self.find_request(batch.tenant, request_id, request_hash) if request_id else None
            if existing is None:
                raise  # the id of the batch itself was drawn twice; the caller draws again
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
        batches = await self._batches(BATCHES.c.batch_id == batch_id, tenant=tenant, limit=1)
        if not batches:
            raise batch_not_found(batch_id)
        return batches[0]

    async def list_batches(self, tenant: str, after: tuple[int, str] | None, limit: int) -> list[Batch]:
        """Batches, newest first; ``after`` is the (creation in microseconds, id) of the last one seen."""
        condition = True if after is None else tuple_(BATCHES.c.created_at, BATCHES.c.batch_id) < after
        return await self._batches(condition, tenant=tenant, limit=limit)

    async def _batches(self, condition: Any, *, tenant: str, limit: int) -> list[Batch]:
        def work(connection: Connection) -> list[Batch]:
            query = (
                select(BATCHES)
                .where(condition, BATCHES.c.tenant == tenant)
                .order_by(BATCHES.c.created_at.desc(), BATCHES.c.batch_id.desc())
                .limit(limit)
            )
            rows = connection.execute(query).mappings().all()
            counts = _counts(connection, [row["batch_id"] for row in rows])
            return [batch_from_row(dict(row), counts[row["batch_id"]]) for row in rows]

        return await self._database.read(work)

    async def get_run(self, tenant: str, run_id: str) -> Run:
        """One run.

        Raises:
            NotFound: not in this tenant.
        """

        def work(connection: Connection) -> Run | None:
            return _first_run(connection, RUNS.c.run_id == run_id, RUNS.c.tenant == tenant)

        run = await self._database.read(work)
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
    ) -> list[Run]:
        """Runs, newest batch first, in the order of the batch; ``after`` is (creation, batch, position) of the last."""

        def work(connection: Connection) -> list[Run]:
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
            query = query.order_by(RUNS.c.created_at.desc(), RUNS.c.batch_id.desc(), RUNS.c.position).limit(limit)
            return [run_from_row(dict(row)) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def events_after(self, batch_id: str, sequence: int) -> list[Event]:
        """The next events of a batch, in order, at most :data:`EVENTS_PER_READ`."""

        def work(connection: Connection) -> list[Event]:
            query = (
                select(EVENTS)
                .where(EVENTS.c.batch_id == batch_id, EVENTS.c.sequence > sequence)
                .order_by(EVENTS.c.sequence)
                .limit(EVENTS_PER_READ)
            )
            return [event_from_row(dict(row)) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    # ---- working on a run ----

    async def claim(self, owner: str, *, limit: int) -> Run | None:
        """Take the next queued run that may start, and lease it to ``owner``.

        A run may start when fewer than ``limit`` runs are worked on in all, and fewer than its batch allows. The oldest
        batch comes first, then the order of the batch.
        """

        def work(connection: Connection) -> Run | None:
            busy: dict[str, int] = dict(
                connection.execute(
                    select(RUNS.c.batch_id, func.count()).where(RUNS.c.state.in_(_WORKED_ON)).group_by(RUNS.c.batch_id)
                )
                .tuples()
                .all()
            )
            if sum(busy.values()) >= limit:
                return None
            limits = select(BATCHES.c.batch_id, BATCHES.c.max_concurrent_runs).where(BATCHES.c.batch_id.in_(busy))
            full = [batch for batch, most in connection.execute(limits).tuples() if busy[batch] >= most]
            query = (
                select(RUNS)
                .where(RUNS.c.state == RunState.QUEUED.value, RUNS.c.batch_id.not_in(full))
                .order_by(RUNS.c.created_at, RUNS.c.position)
                .limit(1)
            )
            row = connection.execute(query).mappings().first()
            return None if row is None else _lease(connection, run_from_row(dict(row)), owner, RunState.QUEUED)

        run = await self._database.write(work)
        if run is not None:
            self._wake(run.batch_id)
        return run

    async def adopt(self, run: Run, owner: str) -> Run:
        """Take over a run whose owner is gone.

        Raises:
            LeaseLost: somebody else was faster.
        """

        def work(connection: Connection) -> Run:
            return _lease(connection, run, owner, run.state)

        return await self._database.write(work)

    async def held_by(self, owner: str) -> list[Run]:
        """The runs that are leased to ``owner`` and not ended."""

        def work(connection: Connection) -> list[Run]:
            query = select(RUNS).where(RUNS.c.lease_owner == owner, RUNS.c.state.in_(_WORKED_ON))
            return [run_from_row(dict(row)) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def update(
        self,
        run: Run,
        *,
        to: RunState | None = None,
        activity: str | None = None,
        result: RunResult | None = None,
        attempt: int | None = None,
        branch: str | None = None,
        events: Iterable[NewEvent] = (),
    ) -> Run:
        """Change a leased run and add its events; a change of state adds its own event.

        Raises:
            LeaseLost: the lease is not ``run``'s any more, or the state may not follow; nothing was written.
        """
        if to is not None and to not in ALLOWED[run.state]:
            raise LeaseLost(f"{run.run_id} is {run.state.value} and cannot become {to.value}")
        values: dict[str, Any] = {}
        now = to_micros(datetime.now(UTC))
        if to is not None:
            values["state"] = to.value
            values["lease_owner"] = RUNS.c.lease_owner if to in LEASED else ""
            if to in TERMINAL:
                values["ended_at"] = now
                values["activity"] = ""
        if activity is not None and "activity" not in values:
            values["activity"] = activity
        if result is not None:
            values["result"] = dumps(result)
        values |= {name: value for name, value in (("attempt", attempt), ("branch", branch)) if value is not None}
        written = list(events)
        if to is not None:
            written.append(_state_event(run, to, attempt or run.attempt, result))

        def work(connection: Connection) -> Run:
            guard = (
                RUNS.c.run_id == run.run_id,
                RUNS.c.lease_epoch == run.lease_epoch,
                RUNS.c.state == run.state.value,
            )
            if values:
                changed = connection.execute(update(RUNS).where(*guard).values(values)).rowcount
                held = changed == 1
            else:
                held = connection.execute(select(RUNS.c.run_id).where(*guard)).first() is not None
            if not held:
                raise LeaseLost(f"{run.run_id} is not held under epoch {run.lease_epoch} any more")
            _add_events(connection, run.batch_id, run.run_id, written)
            if to in TERMINAL:
                _end_batch(connection, run.batch_id, now)
            return _must(_first_run(connection, RUNS.c.run_id == run.run_id))

        changed_run = await self._database.write(work, weight=1 + len(written))
        if written:
            self._wake(run.batch_id)
        return changed_run

    async def requeue(self, run: Run, attempt: int, branch: str, event: NewEvent) -> Run:
        """Queue the next attempt of a leased run; what was known of the last one is forgotten, but for its events.

        Raises:
            LeaseLost: as :meth:`update`.
        """
        return await self.update(
            run, to=RunState.QUEUED, activity="", result=RunResult(), attempt=attempt, branch=branch, events=[event]
        )

    # ---- cancelling ----

    async def request_cancel(self, tenant: str, *, batch_id: str, run_id: str = "") -> None:
        """Ask for the end of a run, or of all runs of a batch. Queued ones end at once, others when they are told."""

        def work(connection: Connection) -> None:
            conditions = [RUNS.c.batch_id == batch_id, RUNS.c.tenant == tenant, RUNS.c.state.not_in(_ENDED)]
            if run_id:
                conditions.append(RUNS.c.run_id == run_id)
            rows = connection.execute(
                select(RUNS).where(*conditions, RUNS.c.cancel_requested.is_(False)).order_by(RUNS.c.position)
            ).mappings()
            now = to_micros(datetime.now(UTC))
            for row in rows.all():
                run = run_from_row(dict(row))
                values: dict[str, Any] = {"cancel_requested": True}
                events = [NewEvent(EventKind.CANCEL_REQUESTED, "cancelling was asked for", {})]
                if run.state is RunState.QUEUED:
                    values |= {"state": RunState.CANCELLED.value, "ended_at": now}
                    events.append(_state_event(run, RunState.CANCELLED, run.attempt, None))
                connection.execute(update(RUNS).where(RUNS.c.run_id == run.run_id).values(values))
                _add_events(connection, batch_id, run.run_id, events)
            _end_batch(connection, batch_id, now)

        await self._database.write(work)
        self._wake(batch_id)

    async def cancel_requested(self, run_ids: Sequence[str]) -> set[str]:
        """Of these runs, those whose cancelling was asked for."""

        def work(connection: Connection) -> set[str]:
            query = select(RUNS.c.run_id).where(RUNS.c.run_id.in_(run_ids), RUNS.c.cancel_requested.is_(True))
            return set(connection.execute(query).scalars())

        return await self._database.read(work) if run_ids else set()

    # ---- watching ----

    def watch(self, batch_id: str) -> tuple[asyncio.Event, Callable[[], None]]:
        """An event that is set whenever this process writes events of a batch, and the call that gives it back."""
        changed = asyncio.Event()
        self._watchers[batch_id].add(changed)

        def release() -> None:
            self._watchers[batch_id].discard(changed)
            if not self._watchers[batch_id]:
                del self._watchers[batch_id]

        return changed, release

    def _wake(self, batch_id: str) -> None:
        for changed in self._watchers.get(batch_id, ()):
            changed.set()


def _lease(connection: Connection, run: Run, owner: str, expected: RunState) -> Run:
    now = to_micros(datetime.now(UTC))
    values: dict[str, Any] = {"lease_owner": owner, "lease_epoch": run.lease_epoch + 1}
    events = []
    if expected is RunState.QUEUED:
        values["state"] = RunState.PREPARING.value
        values["started_at"] = func.coalesce(RUNS.c.started_at, now)
        events.append(_state_event(run, RunState.PREPARING, run.attempt, None))
    changed = connection.execute(
        update(RUNS)
        .where(RUNS.c.run_id == run.run_id, RUNS.c.state == expected.value, RUNS.c.lease_epoch == run.lease_epoch)
        .values(values)
    )
    if changed.rowcount != 1:
        raise LeaseLost(f"{run.run_id} was taken by somebody else")
    _add_events(connection, run.batch_id, run.run_id, events)
    return _must(_first_run(connection, RUNS.c.run_id == run.run_id))


def _add_events(connection: Connection, batch_id: str, run_id: str, events: Sequence[NewEvent]) -> None:
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
        for index, event in enumerate(events, start=1)
    ]
    connection.execute(insert(EVENTS), rows)


def _end_batch(connection: Connection, batch_id: str, now: int) -> None:
    """Write the batch's state once all of its runs have ended."""
    state = batch_state(_counts(connection, [batch_id])[batch_id])
    if state is BatchState.ACTIVE:
        return
    ended = connection.execute(
        update(BATCHES)
        .where(BATCHES.c.batch_id == batch_id, BATCHES.c.state == BatchState.ACTIVE.value)
        .values(state=state.value, ended_at=now)
    )
    if ended.rowcount == 1:
        event = NewEvent(EventKind.STATE, f"batch {state.value}", {"from": "active", "to": state.value})
        _add_events(connection, batch_id, "", [event])


def _counts(connection: Connection, batch_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    result: dict[str, dict[str, int]] = {batch_id: {} for batch_id in batch_ids}
    if not batch_ids:
        return result
    query = (
        select(RUNS.c.batch_id, RUNS.c.state, func.count())
        .where(RUNS.c.batch_id.in_(batch_ids))
        .group_by(RUNS.c.batch_id, RUNS.c.state)
    )
    for batch_id, state, count in connection.execute(query).tuples():
        result[batch_id][state] = count
    return result


def _first_run(connection: Connection, *conditions: Any) -> Run | None:
    row = connection.execute(select(RUNS).where(*conditions)).mappings().first()
    return None if row is None else run_from_row(dict(row))


def _must(run: Run | None) -> Run:
    if run is None:
        raise LeaseLost("the run is gone")
    return run


def _state_event(run: Run, to: RunState, attempt: int, result: RunResult | None) -> NewEvent:
    reason = result.error.reason if result is not None and result.error is not None else ""
    why = f": {result.error.message}" if result is not None and result.error is not None else ""
    return NewEvent(
        EventKind.STATE,
        f"{run.name} {run.state.value} -> {to.value}{why}",
        {"from": run.state.value, "to": to.value, "attempt": str(attempt), "reason": reason},
    )

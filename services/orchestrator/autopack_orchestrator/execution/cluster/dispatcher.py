"""The dispatcher: says which runs may start, has them delivered, and queues those whose worker is gone again.

Any number of dispatchers may work on one store. Each decision is a transaction: admission under PostgreSQL's advisory
lock, giving a worker up only if it has not moved, taking a run over only under the epoch that was read.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import dataclass, field

import structlog
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters.fleet import ADMITTED, PREFIX, Fleet, Member
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.model import Run, RunState
from autopack_orchestrator.errors import LeaseLost
from autopack_orchestrator.execution.cluster.jobs import Jobs
from autopack_orchestrator.execution.cluster.timing import check_timing, host_name
from autopack_orchestrator.execution.rounds import Rounds, claim_next
from autopack_orchestrator.execution.run import Worker
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["ClusterEngine"]

TICK_S = 0.5  # how soon a batch of another replica is seen, and a worker that went silent
RECONCILE_S = 1.0  # how soon an admitted run without a job has one, and one that was cancelled before a worker had it

_log = structlog.get_logger("autopack.orchestrator")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen, and since when by this process's monotonic clock."""

    what: int
    since: float


@dataclass(slots=True)
class ClusterEngine:
    """Admission and take-over for workers on any host.

    Attributes:
        worker: used only to end runs whose worker is gone.
        settings: with the limits of tenants and repositories. Runs at once are as many as the workers offer.
    """

    store: Store
    worker: Worker
    jobs: Jobs
    settings: OrchestratorSettings
    fleet: Fleet = field(init=False)
    owner: str = field(default_factory=lambda: f"{PREFIX}{uuid.uuid4().hex}")
    _beats: dict[str, _Seen] = field(default_factory=dict)
    _untaken: dict[str, _Seen] = field(default_factory=dict)
    _rounds: Rounds = field(default_factory=Rounds)
    _reconcile_at: float = 0.0

    def __post_init__(self) -> None:
        check_timing(self.settings)
        self.fleet = Fleet(self.store.database)

    def start(self) -> None:
        """Begin to dispatch."""
        self._rounds.begin(self._serve(), "autopack-dispatcher")

    def wake(self) -> None:
        """Look for work now."""
        self._rounds.wake()

    async def stop(self) -> None:
        """Stop dispatching; workers go on with what they have."""
        await self._rounds.stop()

    async def _serve(self) -> None:
        opened = False
        while not self._rounds.stopping:
            try:
                if not opened:
                    await self.jobs.open()
                    opened = True
                await self._round()
            except AutopackError as error:
                _log.error("the dispatcher could not work; it tries again", error=str(error))
            except Exception:
                _log.exception("the dispatcher could not work; it tries again")
            await self._rounds.pause(TICK_S)
        with contextlib.suppress(AutopackError):  # whoever sees that we are silent does it
            await self.fleet.leave(self.owner)
        if opened:
            await self.jobs.close()

    async def _round(self) -> None:
        if not await self.fleet.beat(self.owner, 0):
            await self.fleet.join(self.owner, host_name(), 0)
        await self.store.tick()
        members = await self.fleet.members()
        await self._bury(members)
        await self._admit(sum(member.capacity for member in members))
        if time.monotonic() >= self._reconcile_at:
            await self._reconcile()
            self._reconcile_at = time.monotonic() + RECONCILE_S

    async def _bury(self, members: list[Member]) -> None:
        """Give up who was silent for too long, and take over what nobody alive holds."""
        now, stale = time.monotonic(), self.settings.stale_after.total_seconds()
        self._beats = {one.owner: _since(self._beats.get(one.owner), one.beat, now) for one in members}
        for member in members:
            silent = now - self._beats[member.owner].since
            if silent >= stale and await self.fleet.give_up(member):
                _log.warning("a worker is given up", host=member.host, owner=member.owner, silent_s=round(silent, 1))
        for run in await self.fleet.orphans():
            await self._take_over(run, "Its worker is gone.")

    async def _take_over(self, run: Run, why: str) -> None:
        try:
            held = await self.store.adopt(run, self.owner)
        except LeaseLost:  # another dispatcher was faster, or it has ended
            return
        await self.jobs.cancel(run.run_id)
        context = await self.worker.context(held)
        await self.worker.lose(context, why, excused=run.state is RunState.PREPARING)

    async def _admit(self, capacity: int) -> None:
        while not self._rounds.stopping:
            run = await claim_next(self.store, ADMITTED, capacity, self.settings)
            if run is None:
                return
            await self.jobs.submit(run.run_id)

    async def _reconcile(self) -> None:
        """Deliver what was admitted and not taken: its job may never have been made, or died with a worker."""
        for run in await self.store.held_by(self.owner):  # its end could not be written
            await self._take_over(run, "Its worker is gone.")
        admitted = await self.store.held_by(ADMITTED)
        now, stale = time.monotonic(), self.settings.stale_after.total_seconds()
        self._untaken = {run.run_id: _since(self._untaken.get(run.run_id), run.lease_epoch, now) for run in admitted}
        for run in admitted:
            if run.cancel_requested:
                await self._take_over(run, "It was cancelled.")
                continue
            if now - self._untaken[run.run_id].since >= stale:
                await self.jobs.cancel(run.run_id)
                del self._untaken[run.run_id]
            await self.jobs.submit(run.run_id)


def _since(before: _Seen | None, what: int, now: float) -> _Seen:
    return before if before is not None and before.what == what else _Seen(what, now)

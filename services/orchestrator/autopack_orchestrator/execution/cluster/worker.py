"""A worker: takes the runs that are delivered to it, and ends them by itself when it is out of touch.

Its lease on all of its runs is one number that it increases every second. When that has not worked for the time of the
fence, by the monotonic clock, it ends what its runs have started: ``stale_after`` later than its last success somebody
else may begin them anew. If the worker itself is gone, each run's supervisor ends it after the same time; if it stands
still, a watchdog kills it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from autopack_kit.errors import AutopackError, FailedPrecondition

from autopack_orchestrator.adapters.fleet import PREFIX, Fleet
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.errors import LeaseLost
from autopack_orchestrator.execution.active import ActiveRuns
from autopack_orchestrator.execution.archive import Archive
from autopack_orchestrator.execution.cluster.jobs import Jobs
from autopack_orchestrator.execution.cluster.timing import check_timing, host_name, standstill_s
from autopack_orchestrator.execution.cluster.watchdog import Watchdog
from autopack_orchestrator.execution.context import Stop
from autopack_orchestrator.execution.directory import identity, lock
from autopack_orchestrator.execution.intake import Intake
from autopack_orchestrator.execution.rounds import Rounds
from autopack_orchestrator.execution.run import Worker
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["WorkerEngine"]

BEAT_S = 1.0  # also how soon a cancel is seen
FENCE_LOOK_S = 0.25
RETRY_S = 1.0
BEAT_FILE = "worker.beat"  # its time is that of the last success: for probes, as a worker listens nowhere

_log = structlog.get_logger("autopack.orchestrator")


@dataclass(slots=True)
class WorkerEngine:
    """Carries out at most ``settings.max_concurrent_runs`` delivered runs at once."""

    store: Store
    worker: Worker
    jobs: Jobs
    root: Path
    settings: OrchestratorSettings
    archive: Archive
    fleet: Fleet = field(init=False)
    _active: ActiveRuns = field(init=False)
    _watchdog: Watchdog = field(init=False)
    _slots: asyncio.Semaphore = field(init=False)
    _intake: Intake = field(init=False)
    _rounds: Rounds = field(default_factory=Rounds)
    _owner: str = ""
    _room: bool = True
    _fenced: bool = False
    _renewed: float = 0.0
    _taking: set[asyncio.Task[asyncio.Task[None] | None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        check_timing(self.settings)
        self.fleet = Fleet(self.store.database)
        self._active = ActiveRuns(self.worker, self.wake, self.archive)
        self._watchdog = Watchdog(standstill_s(self.settings))
        self._slots = asyncio.Semaphore(self.settings.max_concurrent_runs)
        self._intake = Intake(self.store, self.root, self.settings)

    def start(self) -> None:
        """Begin to work.

        Raises:
            FailedPrecondition: ``WORKER_DIRECTORY_IN_USE``: another process works in this directory.
        """
        locked = lock(self.root)
        if locked is None:
            raise FailedPrecondition(
                f"Another worker or orchestrator works in {self.root}.",
                reason="WORKER_DIRECTORY_IN_USE",
                remedy="Give each worker of a host a directory of its own: AUTOPACK_DATA_DIR.",
                metadata={"path": str(self.root)},
            )
        self._owner = PREFIX + identity(self.root)
        self._rounds.begin(self._serve(locked), "autopack-worker")

    def wake(self) -> None:
        """Look around now."""
        self._rounds.wake()

    async def stop(self) -> None:
        """Take nothing new, leave what is at work some time to end, and give the rest back."""
        await self._rounds.stop()

    async def _serve(self, locked: int) -> None:
        try:
            while not self._rounds.stopping:
                try:
                    leftovers = await self._begin()
                    break
                except AutopackError as error:
                    _log.error("the worker cannot begin; it tries again", error=str(error))
                    await self._rounds.pause(RETRY_S)
            else:
                return
            await self._work(leftovers)
        finally:
            await self.jobs.close()
            os.close(locked)

    async def _begin(self) -> frozenset[str]:
        """Take up what the process before this one held; returns the worktrees that are garbage."""
        await self.jobs.open()
        self._renewed = time.monotonic()
        await self.fleet.join(self._owner, host_name(), 0)
        held = await self.store.held_by(self._owner)
        leftovers = await asyncio.to_thread(self.worker.leftovers, held)
        await self._active.adopt(held, self._owner)
        return leftovers

    async def _work(self, leftovers: frozenset[str]) -> None:
        tasks = [
            asyncio.create_task(self.worker.collect_garbage(leftovers), name="autopack-gc"),
            asyncio.create_task(self._watch_fence(), name="autopack-fence"),
        ]
        serving = asyncio.create_task(
            self.jobs.serve(self._deliver, self.settings.max_concurrent_runs), name="autopack-jobs"
        )
        drained: float | None = None
        while drained is None or (len(self._active) and time.monotonic() < drained):
            await self._round()
            if self._rounds.stopping and drained is None:
                drained = time.monotonic() + self.settings.worker_drain.total_seconds()
                await _end(serving)
                # What is being taken just now is at work a moment later: nobody may leave before that.
                await asyncio.gather(*self._taking, return_exceptions=True)
            await self._rounds.pause(BEAT_S)
            self._active.reap()
        ending = asyncio.ensure_future(self._active.end_all(Stop.FENCED if self._fenced else Stop.RELEASE))
        while not ending.done():  # what they changed is kept, which may take longer than silence is borne
            await self._round()
            await asyncio.wait([ending], timeout=BEAT_S)
        await _end(*tasks)
        self._watchdog.stop()
        with contextlib.suppress(AutopackError):  # whoever sees that we are silent does it
            await self.fleet.leave(self._owner)

    async def _round(self) -> None:
        try:
            self._room = not self._rounds.stopping and await self._intake.is_open(self._owner)
            await self._renew()
            await self._active.adopt_abandoned(self._owner)
            for run_id in await self.store.cancel_requested(self._active.ids):
                self._active.interrupt(run_id, Stop.CANCEL)
        except AutopackError as error:
            _log.error("the worker is out of touch", error=str(error))
        except Exception:
            _log.exception("the worker goes on")

    async def _renew(self) -> None:
        began = time.monotonic()
        capacity = self.settings.max_concurrent_runs if self._room else len(self._active)
        if await self.fleet.beat(self._owner, capacity):
            self._renewed = began
            (self.root / BEAT_FILE).touch()
        else:
            await self._fence("it was given up by the others")
            await self.fleet.join(self._owner, host_name(), 0)
            self._renewed = began
        if self._fenced:
            await self._lose_fenced()

    async def _watch_fence(self) -> None:
        grace = self.settings.cluster_fence_grace.total_seconds()
        while True:
            self._watchdog.moving()
            await asyncio.sleep(FENCE_LOOK_S)
            silent = time.monotonic() - self._renewed
            if silent > grace and not self._fenced:
                await self._fence(f"the database was not reached for {silent:.1f} s")

    async def _fence(self, why: str) -> None:
        """End everything: nobody may rely on this worker holding its runs."""
        self._fenced = True
        if len(self._active):
            _log.warning("the worker ends its runs", reason=why, runs=len(self._active))
        await self._active.kill_all()

    async def _lose_fenced(self) -> None:
        """In touch again: those of the runs that nobody has taken yet are queued again at once."""
        await self._active.end_all(Stop.FENCED)
        for run in await self.store.held_by(self._owner):
            with contextlib.suppress(LeaseLost):
                context = await self.worker.context(await self.store.adopt(run, self._owner))
                await self.worker.lose(context, "Its worker was out of touch and ended it.")
        self._fenced = False

    async def _deliver(self, run_id: str) -> None:
        async with self._slots:
            # The job may be lost at any moment; what was taken is worked on.
            taking = asyncio.create_task(self._take(run_id))
            self._taking.add(taking)
            taking.add_done_callback(self._taking.discard)
            task = await asyncio.shield(taking)
            if task is not None:
                await asyncio.wait([task])

    async def _take(self, run_id: str) -> asyncio.Task[None] | None:
        if (
            self._rounds.stopping
            or self._fenced
            or not self._room
            or len(self._active) >= self.settings.max_concurrent_runs
        ):
            return None  # it is delivered again, also to others
        try:
            run = await self.fleet.take(run_id, self._owner, host_name())
            if run is None:
                return None
            task = await self._active.begin(run, adopted=False)
        except BaseException:  # it may be ours by now, and nobody is at it
            self._active.abandoned = True
            raise
        if self._fenced:  # since it was taken
            self._active.interrupt(run_id, Stop.FENCED)
        return task


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            _log.error("a task of the worker failed", exc_info=result)

"""The local engine: takes queued runs from the store, carries them out with bounded concurrency, and takes up those
whose process is gone.

One engine works per directory: it holds a lock file there, and whoever gets the lock after it takes up its runs. Others
(a second command on the same machine) serve reads and submit; their runs are carried out by whoever holds the lock.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.execution.active import ActiveRuns
from autopack_orchestrator.execution.context import Stop
from autopack_orchestrator.execution.directory import identity, lock
from autopack_orchestrator.execution.intake import Intake
from autopack_orchestrator.execution.rounds import Rounds, claim_next
from autopack_orchestrator.execution.run import Worker
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["LocalEngine"]

TICK_S = 0.5  # how soon a cancel or a batch of another process is seen; one small query each
LOCK_RETRY_S = 1.0

_log = structlog.get_logger("autopack.orchestrator")


@dataclass(slots=True)
class LocalEngine:
    """Bounded concurrency in one process.

    Attributes:
        settings: with the limits of what is at work at once, and of what the machine must have left.
    """

    store: Store
    worker: Worker
    root: Path
    settings: OrchestratorSettings
    _intake: Intake = field(init=False)
    _active: ActiveRuns = field(init=False)
    _rounds: Rounds = field(default_factory=Rounds)
    _collecting: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._intake = Intake(self.store, self.root, self.settings)
        self._active = ActiveRuns(self.worker, self.wake)

    def start(self) -> None:
        """Begin to work, in a task of its own."""
        self._rounds.begin(self._serve(), "autopack-engine")

    def wake(self) -> None:
        """Look for work now."""
        self._rounds.wake()

    async def stop(self) -> None:
        """Hand every run off: agents work on until somebody takes them up, or their time without one is over."""
        await self._rounds.stop()

    async def _serve(self) -> None:
        while not self._rounds.stopping:
            try:
                locked = await asyncio.to_thread(lock, self.root)
            except OSError as error:  # a disk that is full or read-only for a moment must not end the engine
                _log.error("the engine's lock cannot be used", path=str(self.root), error=str(error))
                locked = None
            if locked is None:
                await self._rounds.pause(LOCK_RETRY_S)
                continue
            try:
                await self._work(await asyncio.to_thread(identity, self.root))
            except AutopackError as error:
                _log.error("the engine begins anew", error=str(error))
                await self._rounds.pause(LOCK_RETRY_S)
            except Exception:
                _log.exception("the engine begins anew")
                await self._rounds.pause(LOCK_RETRY_S)
            finally:
                await self._end_all(Stop.HAND_OFF)
                os.close(locked)

    async def _work(self, owner: str) -> None:
        held = await self.store.held_by(owner)
        # What is garbage is decided before anything new is made; removing it must not keep runs waiting.
        leftovers = await asyncio.to_thread(self.worker.leftovers, held)
        await self._active.adopt(held, owner)
        self._collecting = asyncio.create_task(self.worker.collect_garbage(leftovers), name="autopack-gc")
        self._collecting.add_done_callback(_report_collector)
        while not self._rounds.stopping:
            room = await self._intake.is_open(owner)  # first: it tells of a disk on which nothing can be stored
            await self.store.tick()
            if room:
                await self._claim(owner)
            await self._rounds.pause(TICK_S)
            self._active.reap()
            await self._active.adopt_abandoned(owner)
            for run_id in await self.store.cancel_requested(self._active.ids):
                self._active.interrupt(run_id, Stop.CANCEL)

    async def _claim(self, owner: str) -> None:
        limit = self.settings.max_concurrent_runs
        while len(self._active) < limit and not self._rounds.stopping:
            run = await claim_next(self.store, owner, limit, self.settings)
            if run is None:
                return
            await self._active.begin(run, adopted=False)

    async def _end_all(self, why: Stop) -> None:
        if self._collecting is not None:
            self._collecting.cancel()
        await self._active.end_all(why)
        if self._collecting is not None:
            await asyncio.gather(self._collecting, return_exceptions=True)


def _report_collector(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("leftovers were not removed; the next start tries again", exc_info=error)

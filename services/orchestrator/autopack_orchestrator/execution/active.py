"""The runs that one process works on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from autopack_kit.trace_context import begin_trace

from autopack_orchestrator.adapters import supervisor
from autopack_orchestrator.core.model import Run
from autopack_orchestrator.core.states import LEASED
from autopack_orchestrator.errors import LeaseLost
from autopack_orchestrator.execution.archive import Archive
from autopack_orchestrator.execution.context import RunContext, Stop
from autopack_orchestrator.execution.run import Worker

__all__ = ["ActiveRuns"]

ADOPT_AGAIN_S = 5.0

_log = structlog.get_logger("autopack.orchestrator")


@dataclass(slots=True)
class _Active:
    context: RunContext
    task: asyncio.Task[None]


@dataclass(slots=True)
class ActiveRuns:
    """Tasks that carry runs out, and why they are interrupted.

    Attributes:
        ended: called when one is over.
        archive: where others read what runs leave; None where they read it on this machine.
        abandoned: one could not begin, or its end could not be written, for example because the database was read-only
            for a moment; its lease is still held.
    """

    worker: Worker
    ended: Callable[[], None]
    archive: Archive | None = None
    abandoned: bool = False
    _runs: dict[str, _Active] = field(default_factory=dict)
    _adopt_after: float = 0.0

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def ids(self) -> list[str]:
        """The runs at work."""
        return list(self._runs)

    async def begin(self, run: Run, *, adopted: bool) -> asyncio.Task[None]:
        """Carry out a run that was leased; returns the task."""
        if (before := self._runs.get(run.run_id)) is not None:  # an earlier attempt still removes its worktree
            await asyncio.wait([before.task])
        context = await self.worker.context(run)
        task = asyncio.create_task(self._carry_out(context, adopted), name=f"autopack-run-{run.run_id}")
        task.add_done_callback(lambda _: self.ended())
        self._runs[run.run_id] = _Active(context, task)
        return task

    async def _carry_out(self, context: RunContext, adopted: bool) -> None:
        begin_trace(context.run.run_id)
        async with self.archive.keeping(context) if self.archive is not None else contextlib.nullcontext():
            await self.worker.carry_out(context, adopted=adopted)

    async def adopt(self, held: Sequence[Run], owner: str) -> None:
        """Take up those runs that nobody here is at."""
        try:
            for run in held:
                if run.run_id not in self._runs:
                    with contextlib.suppress(LeaseLost):
                        await self.begin(await self.worker.store.adopt(run, owner), adopted=True)
        except BaseException:
            self.abandoned = True
            raise

    async def adopt_abandoned(self, owner: str) -> None:
        """Take up what was abandoned, but not again and again: a run whose end cannot be written is not worth it."""
        if not self.abandoned or time.monotonic() < self._adopt_after:
            return
        self._adopt_after = time.monotonic() + ADOPT_AGAIN_S
        held = await self.worker.store.held_by(owner)  # if it fails, they are still to be taken up
        self.abandoned = False
        await self.adopt(held, owner)

    def reap(self) -> None:
        """Forget what is over."""
        for run_id, active in list(self._runs.items()):
            if active.task.done():
                del self._runs[run_id]
                self.abandoned |= active.context.stop in (None, Stop.CANCEL) and active.context.run.state in LEASED
                if not active.task.cancelled() and (error := active.task.exception()) is not None:
                    _log.error("a run's task failed", run_id=run_id, exc_info=error)

    def interrupt(self, run_id: str, why: Stop) -> None:
        """Interrupt one run."""
        # What is ending only has its work to keep and its worktree to remove: half of that is worse than all of it.
        active = self._runs[run_id]
        if active.context.stop is None and not active.context.ending:
            active.context.stop = why
            active.task.cancel()

    async def end_all(self, why: Stop) -> None:
        """Interrupt everything and wait until it is over."""
        for run_id in self._runs:
            self.interrupt(run_id, why)
        await asyncio.gather(*(active.task for active in self._runs.values()), return_exceptions=True)
        self.reap()

    async def kill_all(self) -> None:
        """End every process of every run, whatever its task waits for just now, such as a database that is away."""
        directories = [active.context.directory for active in self._runs.values()]
        for run_id in self._runs:
            self.interrupt(run_id, Stop.FENCED)
        results = await asyncio.gather(*map(supervisor.end_all, directories), return_exceptions=True)
        for directory, result in zip(directories, results, strict=True):
            if isinstance(result, Exception):
                _log.error("a run's processes could not be ended", directory=str(directory), exc_info=result)

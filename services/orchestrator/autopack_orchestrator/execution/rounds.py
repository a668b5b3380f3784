"""What every engine has: one task that goes round until it is stopped, and asks the store for the next run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field

from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.model import Run
from autopack_orchestrator.errors import LeaseLost
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["Rounds", "claim_next"]


@dataclass(slots=True)
class Rounds:
    """The task of an engine.

    Attributes:
        stopping: it has been asked to end; what is looked at between two steps.
    """

    stopping: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[None, None, None], name: str) -> None:
        """Work in a task of its own."""
        self._task = asyncio.create_task(work, name=name)

    def wake(self) -> None:
        """End the pause now."""
        self._wake.set()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until something wakes it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def stop(self) -> None:
        """Ask the task to end, and wait until it has."""
        self.stopping = True
        self.wake()
        if self._task is not None:
            await self._task


async def claim_next(store: Store, owner: str, limit: int, settings: OrchestratorSettings) -> Run | None:
    """Lease the run that is next, if ``limit`` and those of tenants and repositories let one start.

    Raises:
        Unavailable: the store cannot be used.
    """
    while True:
        with contextlib.suppress(LeaseLost):  # cancelled, or claimed by another process, while we looked
            return await store.claim(
                owner,
                limit=limit,
                per_tenant=settings.max_concurrent_runs_per_tenant,
                per_repository=settings.max_concurrent_runs_per_repository,
            )

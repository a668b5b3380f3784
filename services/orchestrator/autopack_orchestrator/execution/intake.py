"""Whether runs may start at all: not on a machine that has no room for them. It goes on by itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters.machine import look
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.guard import pause_reason
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["Intake"]

LOOK_S = 5.0  # a disk does not fill in less, and a look costs microseconds
RENEW_S = 15.0  # a pause that is not renewed for a minute counts no more

_log = structlog.get_logger("autopack.orchestrator")


@dataclass(slots=True)
class Intake:
    """The guard in front of the queue. What is at work goes on; what waits is told once per pause why."""

    store: Store
    root: Path
    settings: OrchestratorSettings
    _reason: str = ""
    _told: str = ""
    _looked: float = 0.0
    _renewed: float = 0.0

    async def is_open(self, owner: str) -> bool:
        """Whether runs may start now."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S or not self._looked:
            self._looked = now
            self._reason = await asyncio.to_thread(self._look)
            if bool(self._reason) != bool(self._told):
                await self._tell(owner, now, first=True)
            elif self._reason and now - self._renewed >= RENEW_S:
                await self._tell(owner, now, first=False)
        return not self._reason

    async def _tell(self, owner: str, now: float, *, first: bool) -> None:
        """Store the pause or its end. A full disk, which is one reason for it, may refuse that, until the next look."""
        if first:
            _log.info("intake goes on") if not self._reason else _log.warning("intake paused", reason=self._reason)
        try:
            await self.store.pause(owner, self._reason, tell=first and bool(self._reason))
        except AutopackError as error:
            _log.warning("the pause of the intake could not be stored", error=str(error))
        else:
            self._told, self._renewed = self._reason, now

    def _look(self) -> str:
        try:
            machine = look(
                self.root,
                least_disk=self.settings.min_free_disk_bytes,
                least_memory=self.settings.min_free_memory_bytes,
            )
        except OSError as error:  # a directory that cannot be looked at is no place for another run
            return f"no run is started: the data directory cannot be looked at: {error.strerror}"
        return pause_reason(machine, paused=bool(self._told))

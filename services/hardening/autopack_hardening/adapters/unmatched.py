"""Counts failures that nothing explains, behind the callers' backs: an answer does not wait for the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from autopack_kit.commands import Command

from autopack_hardening.adapters.storage import Storage
from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.model import Ending, Failure
from autopack_hardening.core.templates import READ_BYTES, unexplained

__all__ = ["Recorder"]

MAX_WAITING = 64
"""Failures, of at most 64 KiB each; more at once are a storm of the same one."""
_MICROSECONDS = 1_000_000

_log = structlog.get_logger("autopack.hardening")


@dataclass(frozen=True, slots=True)
class _Failed:
    tenant: str
    command: Command | None
    ending: Ending
    output: bytes
    core: Diagnostician


class Recorder:
    """Writes one failure after the other. For one event loop.

    Args:
        storage: where to.
        clock: seconds since 1970.
    """

    def __init__(self, storage: Storage, *, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._clock = clock
        self._queue: asyncio.Queue[_Failed] = asyncio.Queue(MAX_WAITING)

    def note(self, tenant: str, failure: Failure, core: Diagnostician) -> None:
        """Takes a failure; drops it with a warning if too many wait."""
        output = failure.output[-READ_BYTES:]
        try:
            self._queue.put_nowait(_Failed(tenant, failure.command, failure.ending, output, core))
        except asyncio.QueueFull:
            _log.warning("unmatched failure not counted", error=f"{MAX_WAITING} are waiting")

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            failed = await self._queue.get()
            try:
                await self._write(failed)
            except Exception as error:  # neither the database nor one odd failure may end the counting of all others
                _log.warning("unmatched failure not counted", error=str(error) or repr(error))
            finally:
                self._queue.task_done()

    async def drained(self) -> None:
        """Waits until nothing waits."""
        await self._queue.join()

    async def _write(self, failed: _Failed) -> None:
        found = await asyncio.to_thread(
            unexplained, failed.command, failed.ending, failed.output, failed.core.matcher.is_noise
        )
        if found is not None:
            store = await self._storage.get()
            await store.note(failed.tenant, found, round(self._clock() * _MICROSECONDS))

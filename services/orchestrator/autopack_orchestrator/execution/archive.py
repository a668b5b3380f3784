"""Logs, patches and contexts of runs that anybody of a cluster can read, wherever the run is carried out.

A log grows as numbered pieces, each an object of at most 1 MiB, uploaded every two seconds while there is something
new; a byte of it is found by its offset. A patch and a context are one object each, uploaded before the attempt's end
is written, so that whoever sees the end can read them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from autopack_kit.errors import AutopackError, Unavailable

from autopack_orchestrator.adapters.objects import Objects
from autopack_orchestrator.adapters.shelf import Entry, Shelf
from autopack_orchestrator.core.model import Run
from autopack_orchestrator.errors import StoreFailed
from autopack_orchestrator.execution.context import RunContext
from autopack_orchestrator.execution.logs import CHUNK, open_plain

__all__ = ["Archive"]

PIECE_BYTES = 1 << 20
PIECE_S = 2.0
FOLLOW_S = 0.5  # one small query for each that follows
TRIES = 3  # at the end of an attempt, whose result must not wait for a store that is away for long
TRY_AGAIN_S = 1.0
LOG, PATCH, CONTEXT = "log", "patch", "context"

_log = structlog.get_logger("autopack.orchestrator")


@dataclass(frozen=True, slots=True)
class Archive:
    """The objects of all runs."""

    objects: Objects
    shelf: Shelf

    @contextlib.asynccontextmanager
    async def keeping(self, ctx: RunContext) -> AsyncIterator[None]:
        """Upload the log of a run while it is worked on; ``ctx.keep`` uploads the rest."""
        keeper = _Keeper(self, ctx)
        ctx.keeper = keeper.finish
        task = asyncio.create_task(keeper.follow(), name=f"autopack-log-{ctx.run.run_id}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def read_log(
        self, run_id: str, attempt: int, offset: int, *, ended: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[tuple[bytes, int]]:
        """Pieces of a log with their offsets, until ``ended`` and everything was read.

        Args:
            offset: first byte; negative counts from the end.
            ended: whether nothing will be added any more; asked before the last look.

        Raises:
            Unavailable: ``OBJECT_STORE_UNAVAILABLE``, ``OBJECT_CHANGED``.
        """
        position = max(0, await self.log_size(run_id, attempt) + offset) if offset < 0 else offset
        while True:
            over = await ended()
            while entries := await self.shelf.after(run_id, attempt, LOG, position):
                for entry in entries:
                    async for data in self._read(entry, position - entry.start):
                        yield data, position
                        position += len(data)
            if over:
                return
            await asyncio.sleep(FOLLOW_S)

    async def log_size(self, run_id: str, attempt: int) -> int:
        """Bytes of a log that can be read now."""
        return await self.shelf.size(run_id, attempt, LOG)

    async def has_patch(self, run: Run) -> bool:
        """Whether the patch of a run's current attempt can be read."""
        return await self.shelf.size(run.run_id, run.attempt, PATCH) > 0

    async def read_patch(self, run: Run) -> AsyncIterator[bytes]:
        """Pieces of the patch of a run's current attempt; none if there is none.

        Raises:
            Unavailable: as :meth:`read_log`.
        """
        for entry in await self.shelf.after(run.run_id, run.attempt, PATCH, 0):
            async for data in self._read(entry, 0):
                yield data

    async def _read(self, entry: Entry, start: int) -> AsyncIterator[bytes]:
        """The bytes of an object from ``start`` on; one that is read whole is checked before its last piece."""
        digest = hashlib.sha256()
        position = max(0, start)
        while position < entry.size:
            end = min(entry.size, position + PIECE_BYTES)
            data = await self.objects.get(entry.key, position, end)
            digest.update(data)
            position += len(data)
            if len(data) == 0 or (start <= 0 and position == entry.size and digest.hexdigest() != entry.sha256):
                raise _changed(entry)
            for begin in range(0, len(data), CHUNK):
                yield data[begin : begin + CHUNK]


@dataclass(slots=True)
class _Keeper:
    """What of one run was uploaded."""

    archive: Archive
    ctx: RunContext
    _sent: int = -1
    _warned: bool = False
    _uploading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def follow(self) -> None:
        """Upload what is new in the log, until cancelled."""
        while True:
            await asyncio.sleep(PIECE_S)
            try:
                await self._log()
            except (AutopackError, OSError) as error:
                if not self._warned:
                    with contextlib.suppress(StoreFailed):  # the database is away too: it is said when it is back
                        await self.ctx.warn("log", f"The log could not be uploaded yet: {error}")
                        self._warned = True

    async def finish(self) -> None:
        """Upload everything else. A store that is away costs the log and the patch, never the run's result."""
        for left in reversed(range(TRIES)):
            try:
                await self._log()
                await self._file(PATCH, self.ctx.layout.patch(self.ctx.run))
                await self._file(CONTEXT, self.ctx.directory / "context.txt")
                return
            except (AutopackError, OSError) as error:
                _log.warning("objects could not be uploaded", run_id=self.ctx.run.run_id, error=str(error))
                if not left:
                    await self.ctx.warn("log", f"The log or the patch could not be uploaded: {error}")
                    return
            await asyncio.sleep(TRY_AGAIN_S)

    async def _log(self) -> None:
        run, path = self.ctx.run, self.ctx.layout.log(self.ctx.run.batch_id, self.ctx.run.name, self.ctx.run.attempt)
        async with self._uploading:
            if self._sent < 0:  # whoever held the run before may have uploaded a part
                self._sent = await self.archive.log_size(run.run_id, run.attempt)
            while data := await asyncio.to_thread(_read_at, path, self._sent):
                key = f"{_prefix(run)}/log-{self._sent:012d}"
                await self.archive.objects.put(key, data)
                entry = Entry(self._sent, len(data), hashlib.sha256(data).hexdigest(), key)
                self._sent = -1  # should this fail, only the list knows whether it is in it
                await self.archive.shelf.add(run, LOG, entry)
                self._sent = entry.end

    async def _file(self, kind: str, path: Path) -> None:
        run = self.ctx.run
        found = await asyncio.to_thread(_digest, path)
        if found is None:
            return
        size, digest = found
        key = f"{_prefix(run)}/{kind}"
        await self.archive.objects.put_file(key, path)
        await self.archive.shelf.add(run, kind, Entry(0, size, digest, key))


def _prefix(run: Run) -> str:
    """Nobody else writes below it: the epoch is one holder's."""
    return f"{run.batch_id}/{run.name}/attempt-{run.attempt}/epoch-{run.lease_epoch}"


def _read_at(path: Path, offset: int) -> bytes:
    try:
        with open_plain(path) as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)
    except FileNotFoundError:
        return b""


def _digest(path: Path) -> tuple[int, str] | None:
    try:
        with open_plain(path) as file:
            digest = hashlib.sha256()
            while data := file.read(PIECE_BYTES):
                digest.update(data)
            return file.tell(), digest.hexdigest()
    except FileNotFoundError:
        return None


def _changed(entry: Entry) -> Unavailable:
    return Unavailable(
        f"The object {entry.key!r} is not what was uploaded.",
        reason="OBJECT_CHANGED",
        remedy="Find out who writes into the object store; only the workers of the cluster may.",
        metadata={"key": entry.key},
    )

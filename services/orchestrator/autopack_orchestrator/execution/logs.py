"""Reading what a run printed and changed, in pieces, while it is still being written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

__all__ = ["CHUNK", "read_file", "tail_file"]

CHUNK = 64 << 10
FOLLOW_S = 0.25  # a person reads no faster


async def read_file(path: Path) -> AsyncIterator[bytes]:
    """A file that does not change any more."""
    async for data, _ in tail_file(path, 0, ended=_at_once):
        yield data


async def tail_file(
    path: Path, offset: int, *, ended: Callable[[], Awaitable[bool]]
) -> AsyncIterator[tuple[bytes, int]]:
    """Pieces of a growing file with their offsets, until ``ended`` and the end of the file is reached.

    Args:
        path: may not exist yet.
        offset: first byte; negative counts from the end.
        ended: whether nothing will be added any more. It is asked before the last read, so that nothing is missed.
    """
    while True:
        over = await ended()
        if await asyncio.to_thread(path.exists):
            break
        if over:
            return
        await asyncio.sleep(FOLLOW_S)
    with await asyncio.to_thread(path.open, "rb") as file:
        size = path.stat().st_size
        position = max(0, size + offset) if offset < 0 else offset
        file.seek(position)
        while True:
            over = over or await ended()
            while data := await asyncio.to_thread(file.read, CHUNK):
                yield data, position
                position += len(data)
            if over:
                return
            await asyncio.sleep(FOLLOW_S)


async def _at_once() -> bool:
    return True

"""Reading what a run printed and changed, in pieces, while it is still being written."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from autopack_orchestrator.errors import not_a_plain_file

__all__ = ["CHUNK", "open_plain", "read_file", "tail_file"]

CHUNK = 64 << 10
FOLLOW_S = 0.25  # a person reads no faster


def open_plain(path: Path, *, append: bool = False) -> BinaryIO:
    """Open a log or a patch of a run, which an agent of the same user can replace by something else. Blocks briefly.

    Without O_NONBLOCK a named pipe would hold the thread until somebody opens its other end.

    Raises:
        FailedPrecondition: ``NOT_A_PLAIN_FILE``.
        OSError: as open(2), FileNotFoundError included.
    """
    access = os.O_WRONLY | os.O_APPEND | os.O_CREAT if append else os.O_RDONLY
    try:
        descriptor = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link, a pipe nobody reads, a directory
            raise not_a_plain_file(path.name) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_a_plain_file(path.name)
    return os.fdopen(descriptor, "ab" if append else "rb")


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

    Raises:
        FailedPrecondition: ``NOT_A_PLAIN_FILE``.
    """
    while True:
        over = await ended()
        if await asyncio.to_thread(os.path.lexists, path):
            break
        if over:
            return
        await asyncio.sleep(FOLLOW_S)
    with await asyncio.to_thread(open_plain, path) as file:
        size = os.fstat(file.fileno()).st_size
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

"""What is read of an output, however long it is: its beginning and its end, and where the end begins."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from autopack_client.mitigate import Ran
from autopack_client.proof import MAX_HEAD_BYTES, MAX_TAIL_BYTES, Ended
from autopack_kit.errors import FailedPrecondition

__all__ = ["Output", "ended_of", "read_log", "read_stream"]

CHUNK = 64 << 10


@dataclass(frozen=True, slots=True)
class Output:
    """Bounded parts of an output.

    Attributes:
        tail: all of it, or its end, at most 1 MiB.
        head: the beginning of a longer one, at most 8 KiB.
        first_line: number of the first line of ``tail`` in the whole, from 1; 0 = not known, or ``tail`` is the whole.
    """

    tail: bytes
    head: bytes = b""
    first_line: int = 0


def read_stream(stream: BinaryIO) -> Output:
    """Reads to the end, in bounded memory."""
    head, kept, size = b"", deque[bytes](), 0
    lines = 1
    while chunk := stream.read(CHUNK):
        head += chunk[: MAX_HEAD_BYTES - len(head)]
        kept.append(chunk)
        size += len(chunk)
        while size - len(kept[0]) >= MAX_TAIL_BYTES:
            size -= len(kept[0])
            lines += kept.popleft().count(b"\n")
    rest = b"".join(kept)
    dropped = rest[:-MAX_TAIL_BYTES]
    lines += dropped.count(b"\n")
    if lines == 1 and not dropped and size <= MAX_TAIL_BYTES:
        return Output(rest)
    return Output(rest[-MAX_TAIL_BYTES:], head, lines)


def read_log(path: Path) -> Output:
    """A file with an output.

    Raises:
        FailedPrecondition: ``LOG_UNREADABLE``.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            file.seek(0)  # a pipe that nobody writes must not be waited for
            return read_stream(file)
    except OSError as error:
        raise FailedPrecondition(
            f"{path} cannot be read: {error.strerror or error}.",
            reason="LOG_UNREADABLE",
            remedy="Name a readable file, or pipe the output into this command.",
        ) from error


def ended_of(ran: Ran) -> Ended:
    """How a command ended, with what it printed. Blocking."""
    output = read_log(ran.output)
    is_signal = ran.exit_code < 0
    return Ended(
        command=ran.command,
        exit_code=None if is_signal or ran.timed_out else ran.exit_code,
        signal=-ran.exit_code if is_signal and not ran.timed_out else None,
        timed_out=ran.timed_out,
        started=ran.started,
        output=output.tail,
        head=output.head,
        # What is read of a longer one is the end, which stands behind what was dropped.
        first_line=output.first_line + ran.lines_off,
    )

"""What is alive: looked up in /proc, never asked of the code under test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

__all__ = ["HANG_LIMIT_S", "alive", "descriptors", "end_marked", "marked", "parent", "supervisors", "until"]

HANG_LIMIT_S = 60.0  # protection against hanging; on a loaded machine everything here takes a few seconds
PAUSE_S = 0.05
_MARKERS = (b"AUTOPACK_RUN_DIR=", b"AUTOPACK_EXEC_DIR=")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # ended meanwhile
        return b""


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    return _read(pid, "stat").rpartition(b")")[2].split()[:1] not in ([], [b"Z"], [b"X"])


def marked(below: Path) -> dict[int, str]:
    """The living processes of runs: those with a run's marker below a directory, pid -> command line."""
    wanted = tuple(marker + os.fsencode(below) + b"/" for marker in _MARKERS)
    found = {}
    for pid in _pids():
        if any(entry.startswith(wanted) for entry in _read(pid, "environ").split(b"\0")) and alive(pid):
            found[pid] = _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
    return found


def supervisors(below: Path) -> list[int]:
    """The living supervisors, whose only argument is an execution's directory below ``below``."""
    prefix = os.fsencode(below) + b"/"
    found = []
    for pid in _pids():
        words = _read(pid, "cmdline").split(b"\0")
        if len(words) > 2 and b"supervisor" in words[-3] and words[-2].startswith(prefix) and alive(pid):
            found.append(pid)
    return found


def parent(pid: int) -> int:
    """The parent of a living process."""
    return int(_read(pid, "stat").rpartition(b")")[2].split()[1])


def descriptors(pid: int) -> int:
    """Open descriptors of a process, but for its databases: their pools open connections as they are needed."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += ".sqlite3" not in os.readlink(entry)
    return found


def end_marked(below: Path) -> None:
    """End what a failed test left: supervisors first, or they would report it."""
    for pid in (*supervisors(below), *marked(below)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


async def until(
    condition: Callable[[], object] | Callable[[], Awaitable[object]], what: str, limit_s: float = HANG_LIMIT_S
) -> None:
    """Wait for a condition; an error that says what never came to be."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return
        assert loop.time() < end, f"after {limit_s:g} s still not: {what}"
        await asyncio.sleep(PAUSE_S)

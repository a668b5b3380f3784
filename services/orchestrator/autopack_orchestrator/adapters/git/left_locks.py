"""Lock files that a git which was killed has left in a mirror of ours: nobody else would ever remove them.

Whoever holds the lock of a mirror (:mod:`.lock`) knows that no git of ours is at work on its metadata: such a git would
hold it too. What remains are the gits of agents in their worktrees, which hold a lock file for milliseconds. So a file
that stays in the way for longer belongs to nobody. The user's own repositories are never touched.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import time
from pathlib import Path

import structlog

__all__ = ["lift"]

STALE_S = 10.0  # git itself waits a second for the list of references, and not at all for its configuration
STALE_SHALLOW_S = 600.0  # a fetch of an agent that deepens its history holds this one while it transfers
PAUSE_S = 0.1
_IN_THE_WAY = (
    re.compile(r"Unable to create '([^'\n]+\.lock)': File exists"),
    re.compile(r"could not lock config file ([^\n]+): File exists"),
)
_log = structlog.get_logger(__name__)


async def lift(stderr: str, cwd: Path, held: int) -> bool:
    """Whether a lock file that a command complained about is out of the way, so that it should be tried again.

    Waits until the file is old enough, or gone.

    Args:
        stderr: what git said.
        cwd: what relative paths are relative to.
        held: descriptor of the mirror's lock, which tells the mirror.
    """
    path = _named(stderr, cwd)
    if path is None or not await asyncio.to_thread(_is_ours, path, held):
        return False
    limit = STALE_SHALLOW_S if path.name == "shallow.lock" else STALE_S
    while (left := await asyncio.to_thread(_left, path, limit)) > 0:
        if left > STALE_S:
            return False
        await asyncio.sleep(min(PAUSE_S, left))
    _log.warning("git_lock_removed", path=str(path))
    return True


def _named(stderr: str, cwd: Path) -> Path | None:
    for pattern in _IN_THE_WAY:
        if found := pattern.search(stderr):
            name = found[1].removesuffix(".lock") + ".lock"
            return cwd / name
    return None


def _is_ours(path: Path, held: int) -> bool:
    """Whether it lies in the mirror of the lock that is held, or beside it in the mirror's trusted directory; an agent
    may have put links there."""
    lock = Path(os.readlink(f"/proc/self/fd/{held}"))
    return any(path.parent.resolve().is_relative_to(lock.with_suffix(suffix)) for suffix in (".git", ".trusted"))


def _left(path: Path, limit: float) -> float:
    """Seconds until the file may be removed; 0 when it is gone, or was removed now."""
    try:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            return float("inf")
        if (left := limit - (time.time() - status.st_mtime)) > 0:
            return left
        path.unlink()
    except FileNotFoundError:
        pass
    return 0.0

"""Who works in a directory: one process at a time, and under the same name as the one before it."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

__all__ = ["identity", "lock"]


def identity(root: Path) -> str:
    """Who leases runs: one name per directory, so that the next process knows which runs were this one's."""
    path = root / "engine.id"
    if not path.exists():  # the engine's lock is held, so nobody else makes it; renamed, so that it is never half there
        temporary = path.with_suffix(".new")
        temporary.write_text(uuid.uuid4().hex)
        temporary.rename(path)
    return path.read_text()


def lock(root: Path, name: str = "engine.lock") -> int | None:
    """A lock (the engine's unless named otherwise) as a descriptor, or None while another process holds it.

    Raises:
        OSError: the directory cannot be used, for example because the disk is full.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor

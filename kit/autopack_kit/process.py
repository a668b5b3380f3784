"""This process, protected from others of the same user."""

from __future__ import annotations

import ctypes
import os

import structlog

__all__ = ["protect_memory"]

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_log = structlog.get_logger("autopack.process")


def protect_memory() -> None:
    """Keep other processes of this user out of this one's environment, memory and open files (/proc, ptrace).

    What a run starts has the same user. Also no core file holds a key afterwards; debuggers and profilers need root.
    Children that execute another program are not affected. Where the kernel refuses, a warning says so.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning("memory not protected", error=os.strerror(ctypes.get_errno()))

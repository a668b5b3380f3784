"""Ends a worker that stands still: one that is stopped or hangs can end nothing by itself, and keeps its agents alive.

``python watchdog.py PID SECONDS``: kills its parent PID after SECONDS without a byte on standard input; ends with it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

__all__ = ["Watchdog", "main"]

CHUNK = 4096


class Watchdog:
    """The worker's side: a process that is told every moment that this one moves."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None

    def moving(self) -> None:
        """Say so; starts the process when it is not there. Blocks for milliseconds at most."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(self._limit_s)],
                stdin=subprocess.PIPE,
                start_new_session=True,  # whatever stops or interrupts the worker's group must not reach it
                cwd="/",
                env={},
            )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b".")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait()  # it was killed just now: the next call starts another

    def stop(self) -> None:
        """End the process."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()


def main(parent: int, limit_s: float) -> int:
    """Watch until the parent ends, or end it."""
    handle = os.pidfd_open(parent)
    if os.getppid() != parent:  # it has ended already, and its number may be another's
        return 0
    while select.select([0], [], [], limit_s)[0]:
        if not os.read(0, CHUNK):
            return 0
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))

"""Deleting directories that runs have written into: read-only, closed, or deeper than any program expects."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["delete_tree"]

REMOVE_ATTEMPTS = 50
REMOVE_PAUSE_S = (
    0.1  # a git that outlived a killed orchestrator may still be writing: it ends when its directory is gone
)


def delete_tree(path: Path) -> None:
    """Like ``rm -rf``, also for read-only directories (module caches) and while somebody still writes. Blocks.

    Raises:
        OSError: it could not be deleted within five seconds.
    """
    for attempt in range(1, REMOVE_ATTEMPTS + 1):
        try:
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.exists():
                shutil.rmtree(path, onerror=_make_writable)
            return
        except RecursionError:  # one `mkdir -p` makes a tree that is deeper than Python's stack
            _remove_deep(path)
        except OSError:
            if attempt == REMOVE_ATTEMPTS:
                raise
            time.sleep(REMOVE_PAUSE_S)
    raise OSError(f"{path} could not be deleted: it is nested too deeply, and `rm -rf` did not delete it either")


def _make_writable(function: Callable[[str], object], name: str, error: object) -> None:
    """Open what is closed to its owner, and do again what failed."""
    if not isinstance(error, tuple) or isinstance(error[1], FileNotFoundError):
        return
    closed = not os.access(name, os.R_OK | os.X_OK)
    for directory in (os.path.dirname(name), name):
        if os.path.isdir(directory) and not os.path.islink(directory):
            os.chmod(directory, stat.S_IRWXU)
    if function in (os.unlink, os.rmdir):
        function(name)
    elif closed and os.access(name, os.R_OK | os.X_OK):  # it could not be looked into
        shutil.rmtree(name, onerror=_make_writable)
    else:
        raise error[1]


def _remove_deep(path: Path) -> None:
    """By programs that keep no directory open for each level. What they leave is tried again."""
    for words in (("chmod", "-R", "u+rwX"), ("rm", "-rf")):
        subprocess.run(
            [*words, "--", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip

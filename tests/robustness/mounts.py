"""File systems that only one test sees: the test runs again in a process with a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["again_with_own_mounts", "mount_small_disk"]

_INSIDE = "AUTOPACK_TEST_OWN_MOUNTS"
_UNSHARE = ("unshare", "--mount", "--propagation", "private")
_LIMIT_S = 170  # below the limit of a test


def again_with_own_mounts(request: pytest.FixtureRequest) -> bool:
    """True inside; else the test has run inside, and the caller has nothing more to do. Skipped where it cannot."""
    if os.environ.get(_INSIDE):
        return True
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system (root may)")
    node = f"{request.path}::{request.node.name}"
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", node]
    done = subprocess.run(
        [*_UNSHARE, sys.executable, *words],
        env={**os.environ, _INSIDE: "1"},
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return False


def mount_small_disk(directory: Path, size: str) -> None:
    """A disk of this size (as tmpfs(5): ``64m``), gone with the process."""
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "autopack-test", str(directory)], check=True)

"""File systems and networks that only one test sees: it runs again in a process with namespaces of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["again_with_own_mounts", "again_with_own_network", "mount_small_disk"]

_INSIDE = "AUTOPACK_TEST_OWN_NAMESPACES"
_MOUNTS = ("unshare", "--mount", "--propagation", "private")
_NETWORK = ("unshare", "--net")
_LIMIT_S = 170  # below the limit of a test


def again_with_own_mounts(request: pytest.FixtureRequest) -> bool:
    """True inside; else the test has run inside, and the caller has nothing more to do. Skipped where it cannot."""
    return _again(request, _MOUNTS, "this user may not mount a file system (root may)")


def again_with_own_network(request: pytest.FixtureRequest) -> bool:
    """The same with a network in which there is nothing yet but a loopback that is down."""
    return _again(request, _NETWORK, "this user may not make a network (root may)")


def _again(request: pytest.FixtureRequest, unshare: tuple[str, ...], else_skip: str) -> bool:
    if os.environ.get(_INSIDE):
        return True
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip(else_skip)
    node = f"{request.path}::{request.node.name}"
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", node]
    done = subprocess.run(
        [*unshare, sys.executable, *words],
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

"""The lock of ``diagnose --fix`` on file systems that lock no directory."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest
from autopack_cli.fixing import alone
from autopack_client import AutopackError


def test_where_no_directory_can_be_locked_it_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:  # as Linux does for NFS: flock(2), a descriptor that is not open for writing
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone(tmp_path):
        done = True
    assert done


def test_one_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(AutopackError, match="Another"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass

"""A machine to break: one data directory, one user's repository, and servers that are real processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:  # the parts of this suite import each other as tests.robustness.NAME
    sys.path.insert(0, ROOT)

from tests.robustness.machine import Machine  # noqa: E402


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine without a server yet; at the end nothing that was started on it stays alive."""
    machine = Machine.make(tmp_path)
    try:
        yield machine
    finally:
        machine.close()

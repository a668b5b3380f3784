"""Benchmarks: ``make bench`` prints every number beside what it must beat, measured in the same run where possible."""

from __future__ import annotations

import os

__all__ = ["FULL", "full"]

FULL = "BENCH_FULL"
"""The variable that ``--full`` sets: also what takes minutes or gigabytes."""


def full() -> bool:
    """Whether everything is measured, however long it takes."""
    return bool(os.environ.get(FULL))

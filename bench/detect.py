"""What a detection of this project's own tree costs, warm: the walk, the parsing and the ranking.

``run()`` gives the rows for ``make bench``; as a program it prints them.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import autopack_toolchain

__all__ = ["run"]

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 15
Row = tuple[str, float, str, str]


def run() -> list[Row]:
    """Rows of (name, value, unit, note)."""
    with autopack_toolchain.DirectoryTree(ROOT) as tree:
        files = len(tree.paths)
    whole, walk = [], []
    autopack_toolchain.detect(ROOT)  # warm: registry, imports and the page cache
    for _ in range(ROUNDS):
        start = time.perf_counter()
        detection = autopack_toolchain.detect(ROOT)
        whole.append((time.perf_counter() - start) * 1000)
        start = time.perf_counter()
        autopack_toolchain.DirectoryTree(ROOT).close()
        walk.append((time.perf_counter() - start) * 1000)
    note = f"this project, {files} files, {len(detection.projects)} projects, median of {ROUNDS}"
    return [
        ("toolchain.detect", round(statistics.median(whole), 2), "ms", note),
        ("toolchain.detect, of which the walk", round(statistics.median(walk), 2), "ms", note),
    ]


if __name__ == "__main__":
    for name, value, unit, remark in run():
        print(f"{name:40} {value:10.2f} {unit:4} {remark}")

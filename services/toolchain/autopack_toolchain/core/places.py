"""Directories of large trees: which of many count, and what lies below one, without a look at all of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

__all__ = ["MAX_DIRECTORIES", "nearest", "under"]

MAX_DIRECTORIES = 1000
"""Projects of one ecosystem that are looked at: five times what an answer lists; the largest tree surveyed has 285."""


def nearest(directories: Iterable[str]) -> list[str]:
    """At most :data:`MAX_DIRECTORIES` of the directories, those nearest to the root, sorted by name."""
    found = set(directories)
    if len(found) > MAX_DIRECTORIES:
        found = set(sorted(found, key=lambda d: (d != ".", d.count("/"), d))[:MAX_DIRECTORIES])
    return sorted(found)


def under(paths: Sequence[str], directory: str) -> Sequence[str]:
    """Those of the sorted paths that lie below a directory (not the directory itself)."""
    if directory == ".":
        return [path for path in paths if path != "."] if "." in paths[:1] else paths
    # "0" is the character after "/", so that this is the first path behind all that begin with "directory/".
    return paths[bisect_left(paths, f"{directory}/") : bisect_left(paths, f"{directory}0")]

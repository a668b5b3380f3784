"""Which directories of a tree are looked into: one rule for whoever walks a disk and whoever is sent the list of files.

A directory is left out if

* its name is that of installed dependencies, caches or version control (``PruneRules.never``),
* an entry in it marks it as an environment, a cache or another repository (``PruneRules.boundaries``),
* its name is one that tools often write to (``build``, ``dist``: ``PruneRules.generic``) and an entry in it marks it as
  their output, or git tracks nothing in it,
* or a ``.gitignore`` of the tree matches it, unless git tracks something in it.

Patterns are matched against directories only: a tree of 27,000 files takes seconds if each file is matched. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from autopack_kit.gitignore import IgnoreFile, Verdict, parse_ignore_file

__all__ = ["IGNORE_FILE", "MAX_IGNORE_BYTES", "Place", "PruneRules", "Pruner"]

IGNORE_FILE = ".gitignore"

MAX_IGNORE_BYTES = 64 << 10
"""Bytes of one ignore file that is read; the longest template that is handed around has 10 KiB."""

MAX_IGNORE_LINES = 5_000
"""Lines of ignore files that are compiled for one tree: half a second at most."""

MAX_IGNORE_WORK = 5_000_000
"""Questions to expressions in one tree: seconds at most. A tree of 13,000 directories with the usual 20 has 260,000."""

_RECENT_FILES = 128
_RECENT_BYTES = 16 << 10
"""Ignore files that stay compiled between walks, and up to which size: some megabytes at most."""


@dataclass(frozen=True, slots=True)
class PruneRules:
    """Names that decide.

    Attributes:
        never: directories that are never entered.
        generic: directories that hold generated or vendored files in some repositories and sources in others.
        marks: entries that mark a generic directory as generated or vendored.
        boundaries: entries that mark any directory but the root as none of this tree's own.
    """

    never: frozenset[str] = frozenset()
    generic: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()
    boundaries: frozenset[str] = frozenset()


class Place(NamedTuple):
    """A directory on the way down: its name, its path with a slash at the end (the root: empty), and what holds there.

    A tuple, because a large tree has ten thousand of them.
    """

    name: str = ""
    path: str = ""
    is_generic: bool = False
    is_ignored: bool = False
    ignores: tuple[_Asked, ...] = ()


class Pruner:
    """The rule for one tree.

    Args:
        rules: the names.
        tracked: whether git tracks a file below this directory (path without slash at the end); None = it is not known.

    Attributes:
        exhausted: whether some patterns were not applied, because they are too many or too costly.
    """

    def __init__(self, rules: PruneRules, tracked: Callable[[str], bool | None]) -> None:
        self._rules = rules
        self._tracked = tracked
        self._lines = MAX_IGNORE_LINES
        self._work = MAX_IGNORE_WORK
        self.exhausted = False

    def below(self, place: Place, name: str) -> Place | None:
        """The directory ``name`` of ``place``; None if it is left out, whatever it contains."""
        if name in self._rules.never:
            return None
        path = place.path + name
        is_generic = name in self._rules.generic
        is_ignored = place.is_ignored or (bool(place.ignores) and self._is_ignored(place, path, name))
        if is_generic or is_ignored:
            tracked = self._tracked(path)
            if tracked is False or (tracked is None and is_ignored):
                return None
        return Place(name, f"{path}/", is_generic, is_ignored, place.ignores)

    def admits(self, place: Place, names: Collection[str]) -> bool:
        """Whether a directory with entries of these names is one of the tree's own."""
        if not place.path:
            return True
        if not self._rules.boundaries.isdisjoint(names):
            return False
        return not place.is_generic or self._rules.marks.isdisjoint(names)

    def with_ignore_file(self, place: Place, content: bytes) -> Place:
        """The same directory with the patterns of its ``.gitignore``."""
        lines = content.count(b"\n") + 1
        if lines > self._lines or len(content) > MAX_IGNORE_BYTES:
            self.exhausted = True
            return place
        self._lines -= lines
        text = content.decode("utf-8", "replace")
        file = _recent(text) if len(content) <= _RECENT_BYTES else parse_ignore_file(text)
        return place._replace(ignores=(*place.ignores, _Asked(len(place.path), file, {}))) if file else place

    def _is_ignored(self, place: Place, path: str, name: str) -> bool:
        """The last pattern that matches decides; those of deeper files come after those of files above."""
        for ignores in reversed(place.ignores):
            verdict = self._ask(ignores, path[ignores.start :], name)
            if verdict is not None:
                return verdict[1]
        return False

    def _ask(self, ignores: _Asked, path: str, name: str) -> Verdict | None:
        file = ignores.file
        if name not in ignores.known:
            ignores.known[name] = file.names.last(name) if self._affords(file.names.cost) else None
        found = ignores.known[name]
        if path.count("/") <= file.depth and self._affords(file.paths.cost):
            other = file.paths.last(path)
            found = max(found, other) if found and other else found or other
        return found

    def _affords(self, cost: int) -> bool:
        self._work -= cost
        self.exhausted = self.exhausted or self._work < 0
        return self._work >= 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """An ignore file during one walk; a tree has few different names, so what was said about one is kept."""

    start: int
    file: IgnoreFile
    known: dict[str, Verdict | None]


_recent = lru_cache(maxsize=_RECENT_FILES)(parse_ignore_file)

"""One pruned, bounded walk of a directory tree that cannot leave its root.

Every directory is opened relative to the open directory above it, without following symbolic links, so that nothing
that changes during the walk can lead it elsewhere. What is left out says :mod:`autopack_kit.pruning`. Of git nothing
runs: which files it tracks is read from its index, and only if some directory is in question.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from autopack_kit.gitindex import MAX_INDEX_BYTES, CorruptIndex, tracked_directories
from autopack_kit.pruning import IGNORE_FILE, MAX_IGNORE_BYTES, Place, Pruner, PruneRules

__all__ = ["Listing", "Walk", "WalkBudget", "is_text", "open_below", "open_directory", "read_regular"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_GITDIR = b"gitdir: "
_GITDIR_BYTES = 4096 + len(_GITDIR) + 1
"""Bytes at most of a ``.git`` file: one path."""

MAX_ENTRIES = 200_000
"""Entries of one directory that are looked at: one of millions must not be held in memory."""

_NAME = attrgetter("name")

CLOCK_STEPS = 32
"""Directories between two looks at the clock, which costs as much as entering one on some machines."""


@dataclass(frozen=True, slots=True)
class WalkBudget:
    """What one walk may cost.

    Attributes:
        max_files: files listed at most.
        max_depth: levels of directories at most; deeper ones are not entered.
        max_seconds: wall time at most.
    """

    max_files: int
    max_depth: int
    max_seconds: float


class Listing(NamedTuple):
    """One directory, while it is open.

    Attributes:
        prefix: its path with a slash at the end; empty for the root.
        files: regular files.
        others: everything else, directories included. Names that are not UTF-8 are in neither.
    """

    prefix: str
    files: Sequence[os.DirEntry[str]]
    others: Sequence[os.DirEntry[str]]


@dataclass(slots=True)
class Walk:
    """A walk below ``root``; iterating over it walks, once.

    Args:
        root: descriptor of the root, which stays open and belongs to the caller.
        root_path: the same as a path, for a ``.git`` file with a relative path.
        rules: which directories are left out.
        budget: what it may cost.
        index_roots: directories, without links, below which the index may be read that a ``.git`` *file* names. One
            that lies elsewhere is not looked at: whoever wrote the file may not be allowed to.

    Attributes:
        stopped: which limit ended the walk, in words; empty if none did.
        too_deep: the first directory that was too deep; empty if there is none.
        unreadable: directories that could not be entered or listed.
        not_text: entries left out because their names are not UTF-8.
        patterns_exhausted: whether some patterns of ignore files were not applied.
        tracked: directories that an ignore file matches, entered because git tracks something in them; of nested ones
            the topmost.
    """

    root: int
    root_path: Path
    rules: PruneRules
    budget: WalkBudget
    index_roots: Sequence[Path] = ()
    stopped: str = ""
    too_deep: str = ""
    unreadable: list[str] = field(default_factory=list)
    not_text: int = 0
    tracked: list[str] = field(default_factory=list)
    _pruner: Pruner = field(init=False)
    _telling: frozenset[str] = field(init=False)
    _deadline: float = 0.0
    _count: int = 0
    _steps: int = 0
    _index: frozenset[str] | None = None
    _index_is_read: bool = False

    def __post_init__(self) -> None:
        self._pruner = Pruner(self.rules, self._is_tracked)
        self._telling = self.rules.boundaries | self.rules.marks | {IGNORE_FILE}

    @property
    def patterns_exhausted(self) -> bool:
        """See the class."""
        return self._pruner.exhausted

    def __iter__(self) -> Iterator[Listing]:
        """Every directory, those above first, sorted by name; the files of each in any order.

        Raises:
            OSError: the root cannot be listed.
        """
        self._deadline = time.monotonic() + self.budget.max_seconds
        # The directories that are open, from the root down, each with what is still to be entered of it.
        held: list[tuple[int, Iterator[Place]]] = []
        try:
            listing, below = self._list(self.root, Place())
            yield listing
            held.append((self.root, iter(below)))
            while held and not self._is_over():
                above, left = held[-1]
                place = next(left, None)
                if place is None:
                    self._close(held.pop()[0])
                elif len(held) > self.budget.max_depth:
                    self.too_deep = self.too_deep or place.path[:-1]
                elif (descriptor := self._open(above, place)) is not None:
                    held.append((descriptor, iter(())))
                    listing, below = self._list(descriptor, place)
                    yield listing
                    held[-1] = (descriptor, iter(below))
        finally:
            for descriptor, _ in held:
                self._close(descriptor)

    def _open(self, above: int, place: Place) -> int | None:
        try:
            return os.open(place.name, _DIRECTORY, dir_fd=above)
        except OSError:  # gone, replaced by a link, or not readable: told to the caller
            self.unreadable.append(place.path[:-1])
            return None

    def _close(self, descriptor: int) -> None:
        if descriptor != self.root:
            os.close(descriptor)

    def _list(self, descriptor: int, place: Place) -> tuple[Listing, list[Place]]:
        """A directory, and which directories of it are to be entered; both empty if it is none of the tree's own."""
        files: list[os.DirEntry[str]] = []
        others: list[os.DirEntry[str]] = []
        telling: list[str] = []
        entries = self._entries(descriptor, place)
        for entry in entries:
            name = entry.name
            if name in self._telling:
                telling.append(name)
            if not (name.isascii() or is_text(name)):
                self.not_text += 1
            elif entry.is_file(follow_symlinks=False):
                files.append(entry)
            else:
                others.append(entry)
        if telling:
            if not self._pruner.admits(place, telling):
                return Listing(place.path, [], []), []
            if IGNORE_FILE in telling and (content := read_regular(descriptor, (IGNORE_FILE,), MAX_IGNORE_BYTES)):
                place = self._pruner.with_ignore_file(place, content)
        room = self.budget.max_files - self._count
        if len(files) > room:
            self.stopped = f"{self.budget.max_files:,} files"
            files = sorted(files, key=_NAME)[:room]
        elif len(entries) > MAX_ENTRIES:
            self.stopped = f"{MAX_ENTRIES:,} entries of one directory"
        self._count += len(files)
        others.sort(key=_NAME)
        return Listing(place.path, files, others), self._below(place, others)

    def _below(self, place: Place, entries: list[os.DirEntry[str]]) -> list[Place]:
        """The directories among the entries that are to be entered."""
        below: list[Place] = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and (inner := self._pruner.below(place, entry.name)):
                below.append(inner)
                if inner.is_ignored and not place.is_ignored:
                    self.tracked.append(inner.path[:-1])
        return below

    def _entries(self, descriptor: int, place: Place) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(descriptor) as found:
                return list(islice(found, MAX_ENTRIES + 1))
        except OSError:  # some of /proc opens and cannot be listed
            if not place.path:
                raise
            self.unreadable.append(place.path[:-1])
            return []

    def _is_over(self) -> bool:
        if not self._steps % CLOCK_STEPS and not self.stopped and time.monotonic() > self._deadline:
            self.stopped = f"{self.budget.max_seconds:g} seconds"
        self._steps += 1
        return bool(self.stopped)

    def _is_tracked(self, directory: str) -> bool | None:
        if not self._index_is_read:
            self._index_is_read = True
            self._index = self._read_index()
        return None if self._index is None else directory in self._index

    def _read_index(self) -> frozenset[str] | None:
        data = read_regular(self.root, (".git", "index"), MAX_INDEX_BYTES)
        if data is None:
            data = self._index_of_worktree()
        try:
            return None if data is None else tracked_directories(data)
        except CorruptIndex:  # then it is not known what is tracked, as where there is no repository
            return None

    def _index_of_worktree(self) -> bytes | None:
        """The index of a linked worktree or a submodule, whose ``.git`` is a file that says where it lies."""
        content = read_regular(self.root, (".git",), _GITDIR_BYTES)
        if content is None or not content.startswith(_GITDIR):
            return None
        named = os.fsdecode(content.removeprefix(_GITDIR).rstrip(b"\r\n"))
        if "\0" in named:
            return None
        directory = Path(os.path.normpath(self.root_path / named))
        root = next((root for root in self.index_roots if directory.is_relative_to(root)), None)
        if root is None:
            return None
        try:
            above = os.open(root, _DIRECTORY)
        except OSError:
            return None
        try:
            return read_regular(above, (*directory.relative_to(root).parts, "index"), MAX_INDEX_BYTES)
        finally:
            os.close(above)


def open_directory(root: int, parts: Sequence[str]) -> int:
    """The directory of ``parts`` below an open directory; no link is followed on the way, nor at its end.

    Raises:
        OSError: it is not there, is not reached without a link, is no directory, or may not be opened.
    """
    return open_below(root, parts, _DIRECTORY)


def open_below(root: int, parts: Sequence[str], flags: int = _FILE) -> int:
    """A descriptor of ``parts``, at least one, below an open directory, as :func:`open_directory` reaches it.

    Args:
        flags: of ``open``; by default a file is opened for reading, and a FIFO does not block.

    Raises:
        OSError: it is not there, is not reached without a link, or may not be opened.
    """
    above = root
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=above)
            if above != root:
                os.close(above)
            above = below
        return os.open(parts[-1], flags, dir_fd=above)
    finally:
        if above != root:
            os.close(above)


def read_regular(root: int, parts: Sequence[str], limit: int) -> bytes | None:
    """The content of a regular file below an open directory; None if it is none, or larger than ``limit`` bytes."""
    try:
        descriptor = open_below(root, parts)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            return None
        chunks: list[bytes] = []
        left = limit + 1  # the file may grow while it is read
        while left > 0 and (chunk := os.read(descriptor, min(left, max(found.st_size + 1, 1 << 14)))):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks) if left > 0 else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def is_text(name: str) -> bool:
    """Whether a name is UTF-8: others cannot be sent."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True

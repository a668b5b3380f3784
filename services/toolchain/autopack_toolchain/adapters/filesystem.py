"""A directory on disk as a :class:`~..core.tree.FileTree`: one pruned, bounded walk that cannot leave its root.

Files are opened as the walk opens directories: relative to the open root, without following links, non-blocking; they
must be regular.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autopack_kit.walk import Walk, WalkBudget, open_directory, read_regular

from ..core.model import DetectionWarning
from ..core.registry import Registry, default_registry
from ..core.tree import MAX_CONTENT_BYTES, MAX_DEPTH, FileStat, kind_of_mode, patterns_exhausted, too_deep
from ..errors import PathNotAllowed, SourceNotADirectory, SourceNotFound, SourceNotReadable

__all__ = ["Budget", "DirectoryTree", "open_allowed"]

MAX_LISTED = 20
"""Unreadable directories that are named one by one."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one walk may cost.

    Attributes:
        max_files: files listed at most. The largest tree surveyed has 27,674.
        max_depth: levels of directories at most; deeper ones are not entered.
        max_seconds: wall time at most. A tree of 27,000 files takes well below one second.
    """

    max_files: int = 200_000
    max_depth: int = MAX_DEPTH
    max_seconds: float = 10.0


class DirectoryTree:
    """The files below ``root``, listed once when it is made; a context manager that holds the root open.

    Args:
        root: the directory; the path to it may contain links unless ``anchor`` is given.
        budget: what the walk may cost.
        registry: what is pruned.
        anchor: a directory above ``root``, both resolved, from which ``root`` is reached without following any link.
        index_roots: directories, resolved, in which the index of a linked worktree may be read.

    Raises:
        OSError: the root cannot be opened.
    """

    def __init__(
        self,
        root: Path,
        budget: Budget | None = None,
        registry: Registry | None = None,
        *,
        anchor: Path | None = None,
        index_roots: Sequence[Path] = (),
    ) -> None:
        budget = budget or Budget()
        registry = registry or default_registry()
        self._root = os.open(anchor or root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if anchor is not None and root != anchor:
                above = self._root
                self._root = open_directory(above, root.relative_to(anchor).parts)
                os.close(above)
            limits = WalkBudget(budget.max_files, budget.max_depth, budget.max_seconds)
            walk = Walk(self._root, Path(os.path.realpath(root)), registry.prune_rules, limits, index_roots)
            self.irregular: dict[str, str] = {}
            self.paths = tuple(sorted(self._list(walk, registry)))
        except BaseException:
            self.close()
            raise
        self.warnings = tuple(_limits(walk))

    def __enter__(self) -> DirectoryTree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the root; the paths stay, the contents are gone."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def stat(self, path: str) -> FileStat | None:
        """Size and mode of a regular file, also of one that may not be read."""
        *directories, name = path.split("/")
        try:
            above = open_directory(self._root, directories) if directories else self._root
            try:
                found = os.stat(name, dir_fd=above, follow_symlinks=False)
            finally:
                if above != self._root:
                    os.close(above)
        except OSError:  # gone, not permitted, or reached through a link: for detection it is a file without content
            return None
        return None if kind_of_mode(found.st_mode) else FileStat(found.st_size, found.st_mode)

    def read(self, path: str, limit: int = MAX_CONTENT_BYTES) -> bytes | None:
        """The content, if the file is regular, readable and no larger than ``limit`` bytes."""
        return read_regular(self._root, path.split("/"), limit)

    def _list(self, walk: Walk, registry: Registry) -> list[str]:
        paths: list[str] = []
        for listing in walk:
            prefix = listing.prefix
            paths += [prefix + entry.name for entry in listing.files]
            for entry in listing.others:
                if entry.name in registry.manifest_names and (kind := _kind(entry)):
                    self.irregular[prefix + entry.name] = kind
        return paths


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        return kind_of_mode(entry.stat(follow_symlinks=False).st_mode)
    except OSError:  # gone since it was listed: nothing to tell
        return ""


def _limits(walk: Walk) -> Iterator[DetectionWarning]:
    if walk.stopped:
        message = f"The walk stopped after {walk.stopped}: files are missing; detect a subdirectory."
        yield DetectionWarning("TREE_TRUNCATED", message)
    if walk.too_deep:
        yield too_deep(walk.too_deep, walk.budget.max_depth)
    if walk.not_text:
        message = f"{walk.not_text:,} entries were left out because their names are not UTF-8; rename them."
        yield DetectionWarning("NAME_NOT_UTF8", message)
    if walk.patterns_exhausted:
        yield patterns_exhausted()
    for path in walk.unreadable[:MAX_LISTED]:
        message = f"{path} could not be entered; check its permissions."
        yield DetectionWarning("DIRECTORY_NOT_READ", message, (path,))


def open_allowed(path: str, roots: Sequence[Path], budget: Budget) -> DirectoryTree:
    """The directory ``path``, if links and all it lies under one of ``roots``.

    Raises:
        PathNotAllowed: it lies elsewhere; told without a look at whether it exists.
        SourceNotFound, SourceNotADirectory, SourceNotReadable: what its name says.
    """
    target = Path(os.path.realpath(path))
    real = [_real(root) for root in roots]
    anchor = next((root for root in real if target.is_relative_to(root)), None)
    if anchor is None:
        raise PathNotAllowed(path, [str(root) for root in roots])
    try:
        return DirectoryTree(target, budget, anchor=anchor, index_roots=real)
    except FileNotFoundError:
        raise SourceNotFound(path) from None
    except NotADirectoryError:
        raise SourceNotADirectory(path) from None
    except OSError:
        raise SourceNotReadable(path) from None


def _real(root: Path) -> Path:
    return Path(os.path.realpath(root))

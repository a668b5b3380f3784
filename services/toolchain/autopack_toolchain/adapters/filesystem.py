"""A directory on disk as a :class:`~..core.tree.FileTree`: one pruned, bounded walk that cannot leave its root.

Every directory is opened relative to the open directory above it, without following symbolic links, so that nothing
that changes during the walk can lead it elsewhere. Files are opened the same way, non-blocking, and must be regular.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..core.model import DetectionWarning
from ..core.registry import Registry, default_registry
from ..core.tree import MAX_CONTENT_BYTES, FileStat, kind_of_mode
from ..errors import PathNotAllowed, SourceNotADirectory, SourceNotFound, SourceNotReadable

__all__ = ["Budget", "DirectoryTree", "open_allowed"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


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
    max_depth: int = 32
    max_seconds: float = 10.0


class DirectoryTree:
    """The files below ``root``, listed once when it is made; a context manager that holds the root open.

    Args:
        root: the directory; the path to it may contain links unless ``anchor`` is given.
        budget: what the walk may cost.
        registry: what is pruned.
        anchor: a directory above ``root``, both resolved, from which ``root`` is reached without following any link.

    Raises:
        OSError: the root cannot be opened.
    """

    def __init__(
        self, root: Path, budget: Budget | None = None, registry: Registry | None = None, *, anchor: Path | None = None
    ) -> None:
        self._budget = budget or Budget()
        self._registry = registry or default_registry()
        self._deadline = time.monotonic() + self._budget.max_seconds
        self._paths: list[str] = []
        self._stopped = ""
        self._unnamed = 0
        self._deep = ""
        self.irregular: dict[str, str] = {}
        self._unreadable: list[str] = []
        self._root = os.open(anchor or root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in root.relative_to(anchor).parts if anchor else ():
                below = os.open(part, _DIRECTORY, dir_fd=self._root)
                os.close(self._root)
                self._root = below
            self._walk(self._root, "", 0)
        except BaseException:
            self.close()
            raise
        self.paths = tuple(sorted(self._paths))
        self.warnings = tuple(self._limits())

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
        """Size and mode of a regular file."""
        with self._opened(path) as found:
            return found[1] if found else None

    def read(self, path: str, limit: int = MAX_CONTENT_BYTES) -> bytes | None:
        """The content, if the file is regular, readable and no larger than ``limit`` bytes."""
        with self._opened(path) as found:
            if found is None or found[1].size > limit:
                return None
            descriptor = found[0]
            chunks: list[bytes] = []
            left = limit + 1  # the file may grow while it is read
            while left > 0 and (chunk := os.read(descriptor, min(left, 1 << 16))):
                chunks.append(chunk)
                left -= len(chunk)
            return b"".join(chunks) if left > 0 else None

    def _walk(self, descriptor: int, prefix: str, depth: int) -> None:
        try:
            with os.scandir(descriptor) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:  # some of /proc opens and cannot be listed
            if not prefix:
                raise
            self._unreadable.append(prefix.removesuffix("/"))
            return
        if prefix and any(entry.name in self._registry.boundary_files for entry in listed):
            return
        below = []
        for entry in listed:
            if self._is_over():
                return
            path = prefix + entry.name
            if not _is_text(path):
                self._unnamed += 1
            elif entry.is_file(follow_symlinks=False):
                self._paths.append(path)
            else:
                if self._registry.is_manifest(entry.name):
                    self._note_irregular(descriptor, entry.name, path)
                if entry.is_dir(follow_symlinks=False) and entry.name not in self._registry.pruned_directories:
                    below.append(entry.name)
        for name in below:
            if self._is_over():
                return
            self._enter(descriptor, name, prefix, depth)

    def _enter(self, above: int, name: str, prefix: str, depth: int) -> None:
        if depth >= self._budget.max_depth:
            self._deep = self._deep or prefix + name
            return
        try:
            descriptor = os.open(name, _DIRECTORY, dir_fd=above)
        except OSError:  # gone, replaced by a link, or not readable: told in a warning
            self._unreadable.append(prefix + name)
            return
        try:
            self._walk(descriptor, f"{prefix}{name}/", depth + 1)
        finally:
            os.close(descriptor)

    def _note_irregular(self, descriptor: int, name: str, path: str) -> None:
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:  # gone since it was listed: nothing to tell
            return
        if kind := kind_of_mode(found.st_mode):
            self.irregular[path] = kind

    def _is_over(self) -> bool:
        if not self._stopped and len(self._paths) >= self._budget.max_files:
            self._stopped = f"{self._budget.max_files:,} files"
        elif not self._stopped and time.monotonic() > self._deadline:
            self._stopped = f"{self._budget.max_seconds:g} seconds"
        return bool(self._stopped)

    def _limits(self) -> Iterator[DetectionWarning]:
        if self._stopped:
            message = f"The walk stopped after {self._stopped}: files are missing; detect a subdirectory."
            yield DetectionWarning("TREE_TRUNCATED", message)
        if self._deep:
            message = (
                f"{self._deep} is over {self._budget.max_depth} levels deep and was not entered; detect it by itself."
            )
            yield DetectionWarning("TREE_TOO_DEEP", message, (self._deep,))
        if self._unnamed:
            message = f"{self._unnamed:,} entries were left out because their names are not UTF-8; rename them."
            yield DetectionWarning("NAME_NOT_UTF8", message)
        for path in self._unreadable[:MAX_LISTED]:
            message = f"{path} could not be entered; check its permissions."
            yield DetectionWarning("DIRECTORY_NOT_READ", message, (path,))

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[int, FileStat] | None]:
        """An open descriptor of a regular file below the root, reached without following any link."""
        held: list[int] = []
        try:
            *directories, name = path.split("/")
            above = self._root
            for part in directories:
                above = os.open(part, _DIRECTORY, dir_fd=above)
                held.append(above)
            held.append(os.open(name, _FILE, dir_fd=above))
            found = os.fstat(held[-1])
            opened = (held[-1], FileStat(found.st_size, found.st_mode)) if stat.S_ISREG(found.st_mode) else None
        except OSError:  # gone, not permitted, or replaced by a link: for detection it is a file without content
            opened = None
        try:
            yield opened
        finally:
            for descriptor in reversed(held):
                os.close(descriptor)


def open_allowed(path: str, roots: Sequence[Path], budget: Budget) -> DirectoryTree:
    """The directory ``path``, if links and all it lies under one of ``roots``.

    Raises:
        PathNotAllowed: it lies elsewhere; told without a look at whether it exists.
        SourceNotFound, SourceNotADirectory, SourceNotReadable: what its name says.
    """
    target = Path(os.path.realpath(path))
    anchor = next((root for root in map(_real, roots) if target.is_relative_to(root)), None)
    if anchor is None:
        raise PathNotAllowed(path, [str(root) for root in roots])
    try:
        return DirectoryTree(target, budget, anchor=anchor)
    except FileNotFoundError:
        raise SourceNotFound(path) from None
    except NotADirectoryError:
        raise SourceNotADirectory(path) from None
    except OSError:
        raise SourceNotReadable(path) from None


def _real(root: Path) -> Path:
    return Path(os.path.realpath(root))


def _is_text(path: str) -> bool:
    """Whether the name is UTF-8: others cannot be sent in an answer."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

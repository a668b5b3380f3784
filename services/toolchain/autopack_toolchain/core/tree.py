"""The file tree as detection sees it, whoever holds the bytes."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .model import DetectionWarning

__all__ = ["MAX_CONTENT_BYTES", "MAX_DEPTH", "FileStat", "FileTree", "kind_of_mode", "patterns_exhausted", "too_deep"]

MAX_CONTENT_BYTES = 1 << 20
"""Bytes at most of one file that is read. The largest hand-written manifest in 66 surveyed repositories has 90 KiB."""

MAX_DEPTH = 32
"""Levels of directories that are entered, unless a setting says otherwise."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """Size in bytes and POSIX mode of a regular file."""

    size: int
    mode: int

    @property
    def executable(self) -> bool:
        """Whether its owner may execute it."""
        return bool(self.mode & stat.S_IXUSR)


class FileTree(Protocol):
    """A bounded view of a directory: regular files only, vendored directories left out.

    The same files give the same paths and bytes whether they come from a disk or from a snapshot.
    """

    @property
    def paths(self) -> Sequence[str]:
        """Paths of all regular files, relative, with forward slashes, sorted."""

    @property
    def irregular(self) -> Mapping[str, str]:
        """Entries that carry the name of a manifest and are no regular file: path -> what it is ("a FIFO")."""

    @property
    def warnings(self) -> Sequence[DetectionWarning]:
        """Limits that were reached and entries that were left out."""

    def stat(self, path: str) -> FileStat | None:
        """Size and mode, or None if the file is gone."""

    def read(self, path: str, limit: int = MAX_CONTENT_BYTES) -> bytes | None:
        """The whole content; None if it is not known, not readable or larger than ``limit`` bytes."""


def kind_of_mode(mode: int) -> str:
    """What an entry is, for a message; empty for a regular file (also when the mode carries no type)."""
    return _KINDS.get(stat.S_IFMT(mode), "")


_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
}


def too_deep(directory: str, max_depth: int) -> DetectionWarning:
    """A warning: this directory was not entered."""
    message = f"{directory} is over {max_depth} levels deep and was not entered; detect it by itself."
    return DetectionWarning("TREE_TOO_DEEP", message, (directory,))


def patterns_exhausted() -> DetectionWarning:
    """A warning: ignored directories were entered."""
    message = (
        "The .gitignore files have too many patterns: some were not applied, so that files may be listed that git "
        "ignores; merge or remove patterns."
    )
    return DetectionWarning("TOO_MANY_IGNORE_PATTERNS", message)

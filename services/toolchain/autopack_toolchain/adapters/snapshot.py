"""A snapshot sent by a client as a :class:`~..core.tree.FileTree`, under the same rules as a directory on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..core.model import DetectionWarning
from ..core.registry import Registry, default_registry
from ..core.tree import MAX_CONTENT_BYTES, FileStat, kind_of_mode

__all__ = ["SnapshotFile", "SnapshotTree"]


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file: relative normalised path, size in bytes, POSIX mode, and the content if it was sent."""

    path: str
    size: int
    mode: int = 0o100644
    content: bytes | None = None


class SnapshotTree:
    """The files of a snapshot without those that a walk of the same directory would not have entered."""

    def __init__(
        self,
        files: Iterable[SnapshotFile],
        *,
        truncated: bool = False,
        max_depth: int = 32,
        registry: Registry | None = None,
    ) -> None:
        registry = registry or default_registry()
        every = {file.path: file for file in files}
        boundaries = {
            path.rpartition("/")[0]
            for path in every
            if "/" in path and path.rpartition("/")[2] in registry.boundary_files
        }
        self._files: dict[str, SnapshotFile] = {}
        self.irregular: dict[str, str] = {}
        for path in sorted(every):
            if not _is_entered(path, registry, boundaries, max_depth):
                continue
            if kind := kind_of_mode(every[path].mode):
                if registry.is_manifest(path.rpartition("/")[2]):
                    self.irregular[path] = kind
            else:
                self._files[path] = every[path]
        self.paths = tuple(self._files)
        message = "The sender truncated the snapshot: files are missing; send fewer directories, or a subdirectory."
        self.warnings = (DetectionWarning("TREE_TRUNCATED", message),) if truncated else ()

    def stat(self, path: str) -> FileStat | None:
        """Size and mode as the sender gave them; the size of the content where it is there."""
        file = self._files.get(path)
        if file is None:
            return None
        return FileStat(file.size if file.content is None else len(file.content), file.mode)

    def read(self, path: str, limit: int = MAX_CONTENT_BYTES) -> bytes | None:
        """The content, if it was sent and is no larger than ``limit`` bytes; an empty file needs none."""
        file = self._files.get(path)
        if file is None:
            return None
        content = b"" if file.content is None and file.size == 0 else file.content
        return content if content is not None and len(content) <= limit else None


def _is_entered(path: str, registry: Registry, boundaries: set[str], max_depth: int) -> bool:
    parts = path.split("/")[:-1]
    if len(parts) > max_depth or not registry.pruned_directories.isdisjoint(parts):
        return False
    if not boundaries:
        return True
    return boundaries.isdisjoint("/".join(parts[: n + 1]) for n in range(len(parts)))

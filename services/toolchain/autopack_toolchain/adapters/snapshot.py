"""A snapshot sent by a client as a :class:`~..core.tree.FileTree`, under the same rules as a directory on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from autopack_kit.pruning import IGNORE_FILE, Place, Pruner, PruneRules

from ..core.model import DetectionWarning
from ..core.registry import Registry, default_registry
from ..core.tree import MAX_CONTENT_BYTES, MAX_DEPTH, FileStat, kind_of_mode, patterns_exhausted, too_deep

__all__ = ["SnapshotFile", "SnapshotTree"]


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file: relative normalised path, size in bytes, POSIX mode, and the content if it was sent."""

    path: str
    size: int
    mode: int = 0o100644
    content: bytes | None = None


class SnapshotTree:
    """The files of a snapshot without those that a walk of the same directory would not have entered.

    Args:
        files: in any order.
        truncated: whether the sender left out files because of a limit.
        tracked: directories that hold files tracked by git although an ignore file matches them.
        max_depth: levels of directories at most.
        registry: what is pruned.
    """

    def __init__(
        self,
        files: Iterable[SnapshotFile],
        *,
        truncated: bool = False,
        tracked: Iterable[str] = (),
        max_depth: int = MAX_DEPTH,
        registry: Registry | None = None,
    ) -> None:
        registry = registry or default_registry()
        listed = _Listed(registry.prune_rules, frozenset(tracked), max_depth)
        listed.walk(_grown(files, max_depth), Place(), 0)
        self._files: dict[str, SnapshotFile] = {}
        self.irregular: dict[str, str] = {}
        for file in sorted(listed.files, key=lambda file: file.path):
            if kind := kind_of_mode(file.mode):
                if registry.is_manifest(file.path.rpartition("/")[2]):
                    self.irregular[file.path] = kind
            else:
                self._files[file.path] = file
        self.paths = tuple(self._files)
        self.warnings = tuple(_limits(listed, truncated=truncated))

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


class _Directory:
    """A directory of the snapshot; one that holds nothing is not there."""

    __slots__ = ("below", "files")

    def __init__(self) -> None:
        self.files: dict[str, SnapshotFile] = {}
        self.below: dict[str, _Directory] = {}


def _grown(files: Iterable[SnapshotFile], max_depth: int) -> _Directory:
    """The root; of what is too deep only the first directory that is."""
    root = _Directory()
    for file in files:
        *directories, name = file.path.split("/")
        at = root
        for directory in directories[: max_depth + 1]:
            at = at.below.setdefault(directory, _Directory())
        if len(directories) <= max_depth:
            at.files[name] = file
    return root


class _Listed:
    """What a walk would have listed, in any order."""

    def __init__(self, rules: PruneRules, tracked: frozenset[str], max_depth: int) -> None:
        self.files: list[SnapshotFile] = []
        self.too_deep = ""
        self.max_depth = max_depth
        self.pruner = Pruner(rules, self._is_tracked)
        self._tracked = tracked

    def walk(self, directory: _Directory, place: Place, depth: int) -> None:
        """Takes the files of a directory and of those below it that a walk would have entered."""
        if depth > self.max_depth:
            self.too_deep = self.too_deep or place.path[:-1]
            return
        if not self.pruner.admits(place, {*directory.files, *directory.below}):
            return
        ignores = directory.files.get(IGNORE_FILE)
        if ignores is not None and ignores.content and not kind_of_mode(ignores.mode):
            place = self.pruner.with_ignore_file(place, ignores.content)
        self.files += directory.files.values()
        for name in sorted(directory.below):
            inner = self.pruner.below(place, name)
            if inner is not None:
                self.walk(directory.below[name], inner, depth + 1)

    def _is_tracked(self, directory: str) -> bool | None:
        """What was sent of a tracked directory was sent because it is tracked; of others it is not known."""
        while directory and self._tracked:
            if directory in self._tracked:
                return True
            directory = directory.rpartition("/")[0]
        return None


def _limits(listed: _Listed, *, truncated: bool) -> Iterator[DetectionWarning]:
    if truncated:
        message = "The sender truncated the snapshot: files are missing; send fewer directories, or a subdirectory."
        yield DetectionWarning("TREE_TRUNCATED", message)
    if listed.too_deep:
        yield too_deep(listed.too_deep, listed.max_depth)
    if listed.pruner.exhausted:
        yield patterns_exhausted()

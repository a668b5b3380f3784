"""Snapshots of a directory, for services that share no disk with the caller."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import pathspec
from autopack_api.common.v1.common_pb2 import SnapshotFile, WorkspaceSnapshot
from autopack_api.toolchain.v1.toolchain_pb2 import GetSnapshotSpecResponse
from autopack_kit.pruning import PruneRules
from autopack_kit.walk import Listing, Walk, WalkBudget, read_regular

__all__ = ["snapshot"]

MAX_SECONDS = 60.0
"""Wall time of one walk at most; over it the snapshot is truncated. 50,000 files take a second."""

MAX_TRACKED_DIRECTORIES = 1_000
"""As the contract says. Of more, the others are left out by the service; no repository is known to have ten."""

_UNLIMITED_DEPTH = 64
"""For a service that names no limit: deep enough for any repository, and within the limit of open files."""


def snapshot(path: str | os.PathLike[str], spec: GetSnapshotSpecResponse) -> WorkspaceSnapshot:
    """The files of a directory as ``ToolchainService.GetSnapshotSpec`` asks: all paths, the content of some.

    What is left out is what the service would leave out, had it the directory itself. Nothing outside the directory is
    read, because no symbolic link is followed; only the index of git is read where a ``.git`` file says that it lies.
    Deterministic: sorted by path. Blocking; call it in a thread from asyncio.

    Args:
        path: the root.
        spec: what the service asked for.

    Raises:
        OSError: the root cannot be listed. A file that cannot be read is sent without content.
    """
    real = Path(path).resolve(strict=True)
    root = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        walk = _walk(root, real, spec)
        wanted = _Wanted(spec.content_patterns)
        entries = sorted((entry for listing in walk for entry in _entries(listing, wanted)), key=_path)
        tracked = walk.tracked[:MAX_TRACKED_DIRECTORIES]
        result = WorkspaceSnapshot(truncated=bool(walk.stopped), tracked_directories=sorted(tracked))
        _fill(result, root, entries, wanted, spec)
        return result
    finally:
        os.close(root)


def _walk(root: int, path: Path, spec: GetSnapshotSpecResponse) -> Walk:
    rules = PruneRules(
        frozenset(spec.pruned_directories),
        frozenset(spec.generic_directories),
        frozenset(spec.generic_marks),
        frozenset(spec.boundary_files),
    )
    # One level more than the service looks at, so that it can tell that there is more.
    depth = spec.max_depth + 1 if spec.max_depth else _UNLIMITED_DEPTH
    # The caller reads with rights of its own; what an index lists is used only to decide which directories are sent.
    return Walk(root, path, rules, WalkBudget(spec.max_files, depth, MAX_SECONDS), [Path("/")])


class _Wanted:
    """Which paths match the patterns of the service."""

    def __init__(self, patterns: Iterable[str]) -> None:
        # RE2: patterns of a server are no reason to trust them with time.
        self._spec = pathspec.GitIgnoreSpec.from_lines(patterns, backend="re2")

    def __contains__(self, path: str) -> bool:
        # No pattern of the library goes past a line end, though the name of a directory may have one.
        return self._spec.match_file(path.replace("\n", " "))


def _entries(listing: Listing, wanted: _Wanted) -> Iterator[SnapshotFile]:
    """Files, and what bears the name of a manifest without being one: only that is worth a warning."""
    for entry in (*listing.files, *(e for e in listing.others if listing.prefix + e.name in wanted)):
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            continue
        yield SnapshotFile(path=listing.prefix + entry.name, size=found.st_size, mode=found.st_mode)


def _fill(
    result: WorkspaceSnapshot,
    root: int,
    entries: list[SnapshotFile],
    wanted: _Wanted,
    spec: GetSnapshotSpecResponse,
) -> None:
    """Adds the entries, with the content of those that are wanted as long as there is room."""
    room = spec.max_total_bytes
    for entry in entries:
        if len(result.files) >= spec.max_files:
            result.truncated = True
            break
        if stat.S_ISREG(entry.mode) and entry.size <= spec.max_content_bytes and entry.path in wanted:
            content = read_regular(root, entry.path.split("/"), min(spec.max_content_bytes, room))
            if content is not None:
                entry.content = content
                room -= len(content)
            elif entry.size > room:
                result.truncated = True  # there was no room left for a file that matters
        result.files.append(entry)


def _path(entry: SnapshotFile) -> str:
    return entry.path

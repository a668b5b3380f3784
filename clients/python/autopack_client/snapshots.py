"""Snapshots of a directory, for services that share no disk with the caller."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pathspec
from autopack_api.common.v1.common_pb2 import SnapshotFile, WorkspaceSnapshot
from autopack_api.toolchain.v1.toolchain_pb2 import GetSnapshotSpecResponse

__all__ = ["snapshot"]


def snapshot(path: str | os.PathLike[str], spec: GetSnapshotSpecResponse) -> WorkspaceSnapshot:
    """The files of a directory as ``ToolchainService.GetSnapshotSpec`` asks: all paths, the content of some.

    Nothing outside the directory is read, because no symbolic link is followed.
    Deterministic: sorted by path. Blocking; call it in a thread from asyncio.

    Args:
        path: the root.
        spec: what the service asked for.

    Raises:
        OSError: the root cannot be listed. A file that cannot be read is sent without content.
    """
    root = Path(path).resolve(strict=True)
    wanted = pathspec.GitIgnoreSpec.from_lines(spec.content_patterns)
    result = WorkspaceSnapshot()
    budget = spec.max_total_bytes
    for entry in sorted(_walk(root, frozenset(spec.pruned_directories), spec.max_files), key=lambda item: item.path):
        regular = stat.S_ISREG(entry.mode)
        matches = wanted.match_file(entry.path)
        if not regular and not matches:
            continue  # only something that bears the name of a manifest is worth a warning
        if len(result.files) >= spec.max_files:
            result.truncated = True
            break
        if regular and matches and entry.size <= min(spec.max_content_bytes, budget):
            content = _read(root / entry.path, spec.max_content_bytes)
            if content is not None and len(content) <= budget:
                entry.content = content
                budget -= len(content)
        elif regular and matches and entry.size <= spec.max_content_bytes:
            result.truncated = True  # there was no room left for a file that matters
        result.files.append(entry)
    return result


def _walk(root: Path, pruned: frozenset[str], limit: int) -> Iterator[SnapshotFile]:
    """Entries in any order, directories included, at most a little more than ``limit`` of them."""
    pending, count = [""], 0
    while pending and count <= limit:
        directory = pending.pop()
        try:
            children = sorted(os.scandir(root / directory), key=lambda child: child.name)
        except OSError:
            if not directory:
                raise
            continue  # a directory that this user may not list holds nothing that could be sent
        for child in children:
            relative = f"{directory}{child.name}"
            if child.is_dir(follow_symlinks=False):
                if child.name not in pruned:
                    pending.append(relative + "/")
            else:
                count += 1
            if (status := _status(child)) is not None and _is_text(relative):
                yield SnapshotFile(path=relative, size=status.st_size, mode=status.st_mode)


def _status(child: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return child.stat(follow_symlinks=False)
    except OSError:  # gone meanwhile
        return None


def _is_text(path: str) -> bool:
    """Whether the name can travel: a name that is no UTF-8 cannot be a manifest's."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(path: Path, limit: int) -> bytes | None:
    try:
        # The file may have become a FIFO or a link since it was looked at.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            content = file.read(limit + 1)
    except OSError:
        return None
    return content if len(content) <= limit else None

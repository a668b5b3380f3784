"""Byte-for-byte copies of the files that a mitigation may change, so that undoing it leaves no trace.

Git alone cannot promise that: it converts line ends and runs filters on the way in and out, and knows nothing of
ignored files. It restores what no copy was made of. Blocking: from asyncio, call it in a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autopack_client.mitigate_git import inside

__all__ = ["Copy", "changed_copies", "keep", "modes_of", "put_back", "remove_created", "set_modes"]

MAX_COPIED_BYTES = 64 << 20
"""Bytes of all copies together: some lock files of the largest kind. Beyond it git restores."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A path as it was.

    Attributes:
        content: of a regular file, or the target of a symbolic link; None = nothing was there.
        mode: permissions and type, as ``st_mode``.
        times: of access and change, in nanoseconds.
    """

    content: bytes | None
    mode: int = 0
    times: tuple[int, int] = (0, 0)


def keep(workspace: Path, paths: Iterable[str]) -> dict[str, Copy]:
    """Copies of ``paths``; those that lead out of the workspace, are no files, or would be too much, are left out."""
    found: dict[str, Copy] = {}
    left = MAX_COPIED_BYTES
    for path in dict.fromkeys(paths):
        place = _place(workspace, path)
        copy = _copy(place, left) if place is not None else None
        if copy is not None:
            found[path] = copy
            left -= len(copy.content or b"")
    return found


def modes_of(workspace: Path, paths: Iterable[str]) -> dict[str, int]:
    """The permissions of regular files; of what git restores it knows no more than whether it may be executed."""
    found = {}
    for path in paths:
        with suppress(OSError):
            mode = os.lstat(workspace / path).st_mode
            if stat.S_ISREG(mode):
                found[path] = stat.S_IMODE(mode)
    return found


def set_modes(workspace: Path, modes: Mapping[str, int]) -> None:
    """Gives regular files their permissions back; never through a link."""
    for path, mode in modes.items():
        place = _place(workspace, path)
        if place is None:
            continue
        with suppress(OSError):
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)


def changed_copies(workspace: Path, copies: Mapping[str, Copy]) -> list[str]:
    """The paths that are no longer as they were kept, sorted."""
    changed = []
    for path, before in copies.items():
        place = _place(workspace, path)
        now = _copy(place, MAX_COPIED_BYTES) if place is not None else None
        if now is None or (now.content, now.mode) != (before.content, before.mode):
            changed.append(path)
    return sorted(changed)


def put_back(workspace: Path, copies: Mapping[str, Copy]) -> list[str]:
    """Brings every path back to its copy, with its permissions and times; returns those that had changed.

    Raises:
        OSError: one could not be written; all others were.
    """
    changed = changed_copies(workspace, copies)
    failed: OSError | None = None
    for path in changed:
        try:
            place = _place(workspace, path)
            if place is not None:
                _write(place, copies[path])
        except OSError as error:
            failed = error
    if failed is not None:
        raise failed
    return changed


def remove_created(workspace: Path, paths: Iterable[str]) -> list[str]:
    """Removes what a mitigation created; directories end in ``/``. Returns what could not be removed."""
    left = []
    for path in paths:
        place = inside(workspace, path.rstrip("/"))
        if place is None or place == workspace:
            left.append(path)
        elif place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
        if place is not None and os.path.lexists(place):
            left.append(path)
    return left


def _place(workspace: Path, path: str) -> Path | None:
    """Where ``path`` stands; a link is named, not followed, and only what is above it must stay inside."""
    if not path or path.endswith("/"):
        return None
    parent = inside(workspace, os.path.dirname(path) or ".")
    return parent / os.path.basename(path) if parent is not None else None


def _copy(place: Path, most: int) -> Copy | None:
    try:
        status = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return Copy(None)
    times = (status.st_atime_ns, status.st_mtime_ns)
    if stat.S_ISLNK(status.st_mode):
        return Copy(os.fsencode(os.readlink(place)), status.st_mode, times)
    if not stat.S_ISREG(status.st_mode) or status.st_size > most:
        return None
    with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        content = file.read(most + 1)
    return Copy(content, status.st_mode, times) if len(content) <= most else None


def _write(place: Path, copy: Copy) -> None:
    if copy.content is None:
        with suppress(FileNotFoundError, IsADirectoryError):
            place.unlink()
        return
    if not place.parent.is_dir() and os.path.lexists(place.parent):
        place.parent.unlink()  # a file that was put in the place of the directory
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)  # and a directory in the place of the file
    # Beside it and then in its place: whatever is there now, a link for example, is not written through.
    with tempfile.TemporaryDirectory(prefix=".autopack-undo-", dir=place.parent) as directory:
        new = Path(directory) / "file"
        if stat.S_ISLNK(copy.mode):
            new.symlink_to(os.fsdecode(copy.content))
        else:
            new.write_bytes(copy.content)
            new.chmod(stat.S_IMODE(copy.mode))
            os.utime(new, ns=copy.times)
        os.replace(new, place)

"""Untracked files of the user's, such as ``.env``, copied into a worktree by an allow-list; no link is followed."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from autopack_kit.errors import FailedPrecondition

from .command import run_git
from .records import Workspace, save
from .source import Source

__all__ = ["copy_untracked"]

MAX_FILES = 1000
MAX_BYTES = 64 << 20
MAX_INCLUDE_BYTES = 64 << 10
MAX_LINES = 500
LIST_TIMEOUT_S = 120.0  # every directory of the repository is looked into
INCLUDE = ".worktreeinclude"


async def copy_untracked(
    source: Source, workspace: Workspace, globs: Sequence[str], *, include: bool
) -> tuple[Workspace, tuple[str, ...]]:
    """Copy the untracked files that a glob (as in ``.gitignore``) matches; returns the workspace that knows of them,
    and what was left out.

    They are recorded before they are written: a copy that no result may have is never there unrecorded.

    Args:
        source: the user's repository.
        workspace: the worktree.
        globs: from the batch.
        include: whether ``.worktreeinclude`` in the repository's top directory names more.

    Raises:
        FailedPrecondition: TOO_MANY_COPIES, more than 1,000 files or 64 MiB.
    """
    if source.bare:
        return workspace, ()
    patterns = [*globs, *(await asyncio.to_thread(_include, source.path) if include else ())]
    if not patterns:
        return workspace, ()
    words = ("ls-files", "--others", "--ignored", "-z", *(f"--exclude={pattern}" for pattern in patterns))
    listed = await run_git(*words, cwd=source.path, user_config=True, timeout_s=LIST_TIMEOUT_S)
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    chosen, skipped = await asyncio.to_thread(_choose, source.path, workspace.path, names)
    workspace = save(workspace, private=tuple(chosen))
    await asyncio.to_thread(_copy, source.path, workspace.path, chosen)
    return workspace, skipped


def _include(top: Path) -> list[str]:
    try:
        handle = os.open(top / INCLUDE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    with os.fdopen(handle, "rb") as file:
        text = file.read(MAX_INCLUDE_BYTES).decode("utf-8", "replace") if stat.S_ISREG(os.fstat(handle).st_mode) else ""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")][:MAX_LINES]


def _choose(top: Path, worktree: Path, names: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Plain files that nothing in the worktree stands in the way of, within the limits."""
    chosen, skipped, total = [], [], 0
    for name in names:
        if os.path.lexists(worktree / name):
            continue  # the commit has it
        if not _is_plain(top, name) or not _may_be_written(worktree, name):
            skipped.append(name)
            continue
        chosen.append(name)
        total += (top / name).lstat().st_size
        if len(chosen) > MAX_FILES or total > MAX_BYTES:
            raise FailedPrecondition(
                f"The untracked files to copy are more than {MAX_FILES}, or more than {MAX_BYTES >> 20} MiB.",
                reason="TOO_MANY_COPIES",
                remedy="Make the globs of `copy_untracked` and .worktreeinclude narrower.",
            )
    return chosen, tuple(skipped)


def _is_plain(top: Path, name: str) -> bool:
    path = top / name
    try:
        return stat.S_ISREG(path.lstat().st_mode) and path.parent.resolve() == (top.resolve() / name).parent
    except OSError:
        return False


def _may_be_written(worktree: Path, name: str) -> bool:
    """Whether no file or link of the commit is where a directory must be."""
    for parent in Path(name).parents:
        directory = worktree / parent
        if os.path.lexists(directory) and (directory.is_symlink() or not directory.is_dir()):
            return False
    return True


def _copy(top: Path, worktree: Path, names: Sequence[str]) -> None:
    budget = MAX_BYTES
    for name in names:
        target = worktree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        reading = os.open(top / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(reading, "rb") as source:
            mode = stat.S_IMODE(os.fstat(reading).st_mode) & 0o700
            writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode | stat.S_IWUSR)
            with os.fdopen(writing, "wb") as copy:
                while budget > 0 and (data := source.read(min(budget, 1 << 20))):  # it may grow meanwhile
                    copy.write(data)
                    budget -= len(data)
        shutil.copystat(top / name, target, follow_symlinks=False)
        target.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)

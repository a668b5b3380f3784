"""Named tasks that a project's own people run: make targets, package scripts, just recipes, tox environments, ...

Files are read, never evaluated. A file that cannot be understood is a warning, and gives no task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..workspace import Workspace
from .make import MAKEFILES, read_make
from .model import Task
from .npm import read_npm

__all__ = ["Task", "read_tasks"]

Reader = Callable[[Workspace, str], Iterator[Task]]

_READERS: tuple[tuple[frozenset[str], Reader], ...] = (
    (frozenset(MAKEFILES), read_make),
    (frozenset({"package.json"}), read_npm),
)
"""Readers by the names of files beside which they have something to read."""


def read_tasks(workspace: Workspace, directories: Iterable[str]) -> list[Task]:
    """The tasks that can be called in the given directories and in the root, by directory, then by tool."""
    found: list[Task] = []
    for directory in sorted({".", *directories}):
        found += workspace.once("tasks", directory, lambda directory: list(_read(workspace, directory)))
    return found


def _read(workspace: Workspace, directory: str) -> Iterator[Task]:
    names = workspace.names(directory)
    for triggers, reader in _READERS:
        if not triggers.isdisjoint(names):
            yield from reader(workspace, directory)

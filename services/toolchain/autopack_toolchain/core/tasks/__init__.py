"""Named tasks that a project's own people run: make targets, package scripts, just recipes, tox environments, ...

Files are read, never evaluated. A file that cannot be understood is a warning, and gives no task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..workspace import Workspace
from .cargo import CARGO_FILES, read_cargo
from .composer import read_composer
from .deno import DENO_FILES, read_deno
from .invoke import read_invoke
from .just import JUSTFILES, read_just
from .mage import read_mage
from .make import MAKEFILES, read_make
from .mise import MISE_DIRECTORIES, MISE_FILES, read_mise
from .mix import read_mix
from .model import Task
from .nox import read_nox
from .npm import read_npm
from .python_scripts import read_hatch, read_pdm, read_pixi, read_poe
from .rake import RAKEFILES, read_rake
from .scripts import read_scripts, script_task
from .taskfile import TASKFILES, read_taskfile
from .tox import TOX_FILES, read_tox

__all__ = ["Task", "read_tasks", "script_task"]

Reader = Callable[[Workspace, str], Iterator[Task]]

_BY_NAME: tuple[tuple[frozenset[str], Reader], ...] = (
    (frozenset(MAKEFILES), read_make),
    (frozenset({"package.json"}), read_npm),
    (frozenset(JUSTFILES), read_just),
    (frozenset(TASKFILES), read_taskfile),
    (frozenset({"pyproject.toml", "poe_tasks.toml"}), read_poe),
    (frozenset({"pyproject.toml"}), read_pdm),
    (frozenset(TOX_FILES), read_tox),
    (frozenset({"noxfile.py"}), read_nox),
    (frozenset({"pyproject.toml", "hatch.toml"}), read_hatch),
    (frozenset({"pyproject.toml", "pixi.toml"}), read_pixi),
    (frozenset({"tasks.py"}), read_invoke),
    (frozenset({"composer.json"}), read_composer),
    (frozenset(DENO_FILES), read_deno),
    (frozenset(RAKEFILES), read_rake),
    (frozenset({"mix.exs"}), read_mix),
)
"""Readers by the names of the files beside the project, of which one must be there."""

_BY_PLACE: tuple[tuple[tuple[str, ...], tuple[str, ...], Reader], ...] = (
    (MISE_FILES, MISE_DIRECTORIES, read_mise),
    (CARGO_FILES, (), read_cargo),
    (("magefile.go",), ("magefiles",), read_mage),
)
"""Readers by relative paths of files and of directories, of which one must be there."""


def read_tasks(workspace: Workspace, directories: Iterable[str]) -> list[Task]:
    """The tasks that can be called in the given directories and in the root, by directory, then by tool."""
    found: list[Task] = []
    for directory in sorted({".", *directories}):
        found += workspace.once("tasks", directory, lambda directory: list(_read(workspace, directory)))
    return found


def _read(workspace: Workspace, directory: str) -> Iterator[Task]:
    names = workspace.names(directory)
    for triggers, reader in _BY_NAME:
        if not triggers.isdisjoint(names):
            yield from reader(workspace, directory)
    for files, directories, reader in _BY_PLACE:
        if any(workspace.has(directory, file) for file in files) or any(
            workspace.names(_below(directory, place)) for place in directories
        ):
            yield from reader(workspace, directory)
    yield from read_scripts(workspace, directory)


def _below(directory: str, place: str) -> str:
    return place if directory == "." else f"{directory}/{place}"

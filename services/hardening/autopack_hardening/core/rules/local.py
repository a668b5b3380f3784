"""Which modules are the project's own: those are found by running in the right place, never by installing."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from autopack_hardening.core.names import canonical, matches
from autopack_hardening.core.rules.context import Context
from autopack_hardening.core.workspace import Workspace

__all__ = ["is_declared", "is_own", "likely_roots", "python_roots"]


def likely_roots(context: Context) -> frozenset[str]:
    """Directories that Python projects import from: the cwd, each Python project, and ``src`` in any of them."""
    places = {context.cwd, "."} | {one.workdir for one in context.failure.projects if one.ecosystem == "python"}
    return frozenset(posixpath.normpath(posixpath.join(place, sub)) for place in places for sub in (".", "src"))


def python_roots(module: str, workspace: Workspace) -> list[str]:
    """Directories from which the top-level ``module`` is importable, as a package with ``__init__`` or as a file.

    A directory without ``__init__.py`` (``docker/`` full of scripts) does not count: any folder name would be a module.
    """
    if not module.isidentifier():
        return []
    names = (f"{module}/__init__.py", f"{module}/__main__.py", f"{module}.py")
    found = {place for name in names for place in workspace.directories_with(name)}
    # A package inside a package is imported by its dotted name only: backend/app/utils.py is no module "utils".
    return sorted(place for place in found if posixpath.join(place, "__init__.py") not in workspace.files)


def is_own(module: str, context: Context) -> bool:
    """Whether the dotted ``module`` is the project's or the standard library's, and so nothing that is installed.

    A file of that name in a far corner (``examples/flask.py``) says nothing about a module that is declared.
    """
    top = module.partition(".")[0]
    if top in context.names.standard_library:
        return True
    roots = python_roots(top, context.workspace)
    if not roots or not likely_roots(context).isdisjoint(roots):
        return bool(roots)
    return not is_declared(context.names.distributions(module), context)


def is_declared(candidates: Iterable[str], context: Context) -> bool:
    """Whether any Python project declares one of the ``candidates``, at the base commit or since."""
    candidates = tuple(candidates)
    return any(
        matches(candidates, canonical(dependency.name))
        for project in context.failure.projects
        if project.ecosystem == "python"
        for dependency in project.dependencies
    )

"""Which modules are the project's own: those are found by running in the right place, never by installing."""

from __future__ import annotations

import posixpath

from autopack_hardening.core.rules.context import Context
from autopack_hardening.core.workspace import Workspace

__all__ = ["likely_roots", "python_roots"]


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

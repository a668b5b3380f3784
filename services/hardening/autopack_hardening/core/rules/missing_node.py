"""node_missing_dep: a package, or a program of a package, that package.json declares is not installed."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.names import is_node_package, node_package
from autopack_hardening.core.rules.context import Context, Finding, distinct
from autopack_hardening.core.rules.installing import Wanted, install

__all__ = ["node_missing_dep"]


def node_missing_dep(hits: Sequence[Hit], context: Context) -> Finding | None:
    """Explains an import or a program that no installed package provides.

    Relative and absolute paths, ``node:`` modules, aliases and the project's own workspaces are no packages. Captures
    read: ``specifier`` (of an import), ``program``.
    """
    wanted = [
        *_packages(distinct(hits, "specifier"), context),
        *_programs(distinct(hits, "program"), context),
    ]
    wanted.sort(key=lambda one: one.hit.line, reverse=True)
    return install(context, "node", wanted)


def _packages(specifiers: dict[str, Hit], context: Context) -> list[Wanted]:
    found: dict[str, Wanted] = {}
    for specifier, hit in specifiers.items():
        name = node_package(specifier)
        if name and name not in context.names.node_builtins and not specifier.endswith(".node"):
            found.setdefault(name, Wanted(name, (name,), hit))
    return list(found.values())


def _programs(programs: dict[str, Hit], context: Context) -> list[Wanted]:
    found = []
    for path, hit in programs.items():
        name = posixpath.basename(path)
        candidates = (*context.names.node_programs.get(name, ()), name)
        if is_node_package(name):
            found.append(Wanted(name, candidates, hit))
    return found

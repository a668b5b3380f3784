"""What is missing in Node: a package, or a program of one."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.names import is_node_package, node_package
from autopack_hardening.core.rules.context import Context, distinct
from autopack_hardening.core.rules.installing import Wanted

__all__ = ["node_wanted"]


def node_wanted(hits: Sequence[Hit], context: Context) -> list[Wanted]:
    """What the captures ask for, the deciding one first.

    Relative and absolute paths, ``node:`` modules, aliases and the project's own workspaces are no packages.
    """
    wanted = [
        *_packages(distinct(hits, "specifier") | distinct(hits, "distribution"), context),
        *_programs(distinct(hits, "program"), context),
    ]
    wanted.sort(key=lambda one: one.hit.position, reverse=True)
    return wanted


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

"""Targets of makefiles."""

from __future__ import annotations

from collections.abc import Iterator

from ..workspace import Workspace
from .makefile import Makefile, Rule, read_makefile
from .model import Task, bodies, unique

__all__ = ["MAKEFILES", "read_make"]

MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
"""The order in which GNU make looks for them."""


def read_make(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per explicit target with a plain name, and one for ``make`` alone."""
    name = next(name for name in MAKEFILES if name in workspace.names(directory))
    made = read_makefile(workspace, directory, name)
    goal = made.default_goal
    if goal:
        rule = made.rules[goal]
        yield Task("make", "", rule.path, rule.line, directory, ("make",), needs=(goal,))
    for target, rule in made.rules.items():
        needs = unique((need for need in rule.needs if need in made.rules), target)
        lines = bodies(_recipe(made, target, rule))
        yield Task("make", target, rule.path, rule.line, directory, ("make", target), lines, needs, rule.description)


def _recipe(made: Makefile, target: str, rule: Rule) -> Iterator[str]:
    first = rule.needs[0] if rule.needs else ""
    local = {"@": target, "<": first, "^": " ".join(rule.needs), **rule.variables}
    for line in rule.recipe:
        # A canned recipe expands to a line that may carry prefixes of its own.
        yield made.expander.expand(line, local).strip().lstrip("@-+ \t")

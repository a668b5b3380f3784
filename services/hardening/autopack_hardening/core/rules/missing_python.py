"""What is missing in Python: a module, a plugin, a program of a distribution."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.names import canonical
from autopack_hardening.core.rules.context import Context, distinct
from autopack_hardening.core.rules.installing import Wanted
from autopack_hardening.core.rules.local import is_declared, is_own

__all__ = ["python_wanted"]


def python_wanted(hits: Sequence[Hit], context: Context) -> list[Wanted]:
    """What the captures ask for, the deciding one first; not the project's own, nor (once) the standard library's."""
    wanted = [
        *_modules(distinct(hits, "module"), context),
        *(Wanted(name, (canonical(name),), hit) for name, hit in distinct(hits, "distribution").items()),
        *_options(distinct(hits, "option"), context),
        *_fixtures(distinct(hits, "fixture"), context),
        *_programs(distinct(hits, "program"), context),
    ]
    wanted.sort(key=lambda one: one.hit.position, reverse=True)
    return wanted


def _modules(modules: dict[str, Hit], context: Context) -> list[Wanted]:
    return [
        Wanted(module, context.names.distributions(module), hit)
        for module, hit in modules.items()
        if not is_own(module, context) and _may_be_distribution(module, context)
    ]


def _may_be_distribution(module: str, context: Context) -> bool:
    """Python names the whole path only when the parent package is there: then a version is wrong, nothing is missing.

    Namespace packages (``google.cloud``) are the exception, and so is a distribution declared under the dotted name.
    """
    if "." not in module or context.names.is_namespace(module) or "-m" in context.words:
        return True
    return is_declared((canonical(module),), context)


def _options(options: dict[str, Hit], context: Context) -> list[Wanted]:
    """Plugins of the pytest options that were refused; an option that is in no map is a typing error, not a plugin."""
    found = []
    for text, hit in options.items():
        for word in text.split():
            option = word.partition("=")[0]
            plugins = context.names.pytest_options.get(option, ())
            if plugins:
                found.append(Wanted(option, plugins, hit))
    return found


def _fixtures(fixtures: dict[str, Hit], context: Context) -> list[Wanted]:
    """Plugins of the fixtures that were not found; any other is one that the project forgot to write."""
    known = context.names.pytest_fixtures
    return [Wanted(name, known[name], hit) for name, hit in fixtures.items() if name in known]


def _programs(programs: dict[str, Hit], context: Context) -> list[Wanted]:
    """Programs of declared distributions; any other unknown program is no matter of Python."""
    found = []
    for path, hit in programs.items():
        name = posixpath.basename(path)
        candidates = context.names.python_programs.get(name, (canonical(name),))
        if is_declared(candidates, context):
            found.append(Wanted(name, candidates, hit))
    return found

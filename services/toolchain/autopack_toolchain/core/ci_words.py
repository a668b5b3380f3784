"""The words of a line of CI as they can be called anywhere: without what only CI fills in or made before."""

from __future__ import annotations

import posixpath
import re

from .classify import Classifier
from .model import StepKind
from .programs import Programs
from .shell import PLACEHOLDER
from .workspace import Workspace

__all__ = ["by_name", "has_expression", "local_words", "usual_name"]

_BY_INSTALL = ("vendor/bin", "node_modules/.bin")
"""Where INSTALL itself puts programs."""

_EARLIER = frozenset({"--no-build"})
_EARLIER_VALUES = frozenset({"--installpkg"})
"""Options that count on what an earlier line of the job has built."""

_ENVIRONMENTS = {"tox": frozenset({"-e", "-f"}), "nox": frozenset({"-s", "-e", "--session"})}
"""Options that choose environments, by tool."""

_EXPRESSION = re.compile(rf"{PLACEHOLDER}|\$\([^)]{{0,200}}\)|\$\{{\w{{1,60}}\}}|\$\w{{1,60}}")
_VARIABLE = re.compile(r"\$[({]?\w|`")


def usual_name(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Wrappers by the name that they have on this system: ``./mvnw`` for ``mvnw.cmd``."""
    if not argv or not argv[0].endswith((".cmd", ".bat")):
        return argv
    name = argv[0].replace("\\", "/").rpartition(".")[0]
    return (name if "/" in name else f"./{name}", *argv[1:])


def by_name(workspace: Workspace, programs: Programs, directory: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """A known program by its name where CI has put it into a directory of its own: ``bin/golangci-lint``."""
    directories, _, name = argv[0].rpartition("/")
    if not directories or name not in programs.programs or directories.lstrip("./").startswith(_BY_INSTALL):
        return argv
    there = directory != "?" and workspace.has(directory, posixpath.normpath(argv[0]))
    return argv if there or directories == "." else (name, *argv[1:])


def has_expression(word: str) -> bool:
    """Whether only CI or a shell can fill in a part of a word."""
    return PLACEHOLDER in word or bool(_VARIABLE.search(word))


def local_words(argv: tuple[str, ...], directory: str, classifier: Classifier) -> tuple[tuple[str, ...], bool]:
    """The words that can be called in a fresh clone, and whether something that CI fills in was left out."""
    completed = _completed(argv, directory, classifier)
    kept, filled = _without_expressions(completed)
    alone: list[str] = []
    for word in kept:
        if alone and alone[-1] in _EARLIER_VALUES:
            alone.pop()
        elif word not in _EARLIER:
            alone.append(word)
    return tuple(alone), filled or completed != argv


def _without_expressions(argv: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    """The words without those that only CI or a shell can fill in, nor the options that they are values of."""
    kept: list[str] = []
    for word in argv:
        if not has_expression(word):
            kept.append(word)
        elif (
            kept and kept[-1].startswith("-") and "=" not in kept[-1] and kept[-1] != "--" and not word.startswith("-")
        ):
            kept.pop()
    return tuple(kept), len(kept) < len(argv)


def _completed(argv: tuple[str, ...], directory: str, classifier: Classifier) -> tuple[str, ...]:
    """The words of a call of tox or nox with an environment that can be called anywhere, where CI fills in the Python.

    ``tox -e ci-py$(...)`` is ``ci-py``, tox's name for the Python at hand; of ``${{ matrix.tox }}`` nothing is left,
    and ``py`` is taken where it runs tests. Else all environments would run.
    """
    tool = next((word for word in argv if word in _ENVIRONMENTS), "")
    for place, word in enumerate(argv[:-1]) if tool else ():
        value = argv[place + 1]
        if word not in _ENVIRONMENTS[tool] or not has_expression(value):
            continue
        starts = _EXPRESSION.match(value) is not None
        name = _EXPRESSION.sub("", value).strip("-.")
        if tool == "tox":
            name = f"py-{name}" if name and starts else name or "py"
            runs = [use for use in classifier.uses(("tox", "-e", name), directory) if use.kind is StepKind.TEST]
            if name == "py" and not any(use.runner for use in runs):
                continue
        if name and not has_expression(name):
            return (*argv[:place], "-e" if tool == "tox" else word, name, *argv[place + 2 :])
    return argv

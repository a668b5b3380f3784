"""What shell text is read into: simple commands, directories, and the state that changes while commands run."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

__all__ = ["PLACEHOLDER", "UNKNOWN", "Simple", "State", "directory_after", "directory_of"]

PLACEHOLDER = "__CI_EXPRESSION__"
"""Stands in shell text for an expression of a CI system, whose value is not known here."""

UNKNOWN = "?"
"""A directory that is not known."""

MAX_VARIABLES = 500
"""Variables at most that are kept: they are copied at each assignment, and the largest workflows set some fifty."""

MAX_VALUE = 1000
"""Characters at most of a variable that is kept: ``x=$x$x`` doubles it."""

MAX_STACK = 40
"""Directories at most that ``pushd`` has left: people push one."""

_OF_ROOT = re.compile(
    r"(?:\$\{?(?:GITHUB_WORKSPACE|CI_PROJECT_DIR|BUILD_SOURCESDIRECTORY|BUILD_REPOSITORY_LOCALPATH|TRAVIS_BUILD_DIR"
    r"|CIRCLE_WORKING_DIRECTORY|SYSTEM_DEFAULTWORKINGDIRECTORY)\}?|\$\(git rev-parse --show-toplevel\))(?=/|$)"
)


@dataclass(frozen=True, slots=True)
class Simple:
    """One simple command.

    Attributes:
        argv: its words; where they are not exact, substitutions stand in them as they were written.
        env: literal assignments before the command, and literal exports before that.
        cwd: the directory relative to that in which the text starts, after the ``cd``s so far: ``""`` = unchanged,
            ``"/x"`` = x below the root of the repository, :data:`UNKNOWN` = not known.
        line: line in the text, from 0.
        literal: whether it can be run as ``argv``: no expansion is left in it, and it reads no here-document or file.
        guarded: whether it stands behind a condition: if, case, ``||``, a loop that was not unrolled, ``test ... &&``.
        piped: whether it is a part of a pipeline.
        text: its source in one line.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    line: int
    literal: bool
    guarded: bool
    piped: bool
    text: str


def directory_of(start: str, cwd: str) -> str:
    """The directory from the root of the repository, where a text that starts in ``start`` has :attr:`Simple.cwd`.

    ``"."`` is the root; :data:`UNKNOWN` where it is not known or lies outside.
    """
    if UNKNOWN in (start, cwd):
        return UNKNOWN
    path = posixpath.normpath(cwd[1:] or "." if cwd.startswith("/") else posixpath.join(start, cwd))
    return UNKNOWN if path == ".." or path.startswith(("../", "/")) else path


def directory_after(start: str, target: str) -> str:
    """The directory from the root after ``cd target`` in ``start``; :data:`UNKNOWN` where only a shell could tell."""
    exact = PLACEHOLDER not in target and not any(char in target for char in "$`*?~")
    return directory_of(start, _joined("", target, exact))


def _joined(cwd: str, target: str, literal: bool) -> str:
    """The directory after ``cd target``."""
    if match := _OF_ROOT.match(target):
        below = target[match.end() :]
        path = posixpath.normpath("/" + below.lstrip("/"))
        return UNKNOWN if any(char in below for char in "$`*?") or PLACEHOLDER in below else path
    if not literal or cwd == UNKNOWN or target.startswith("/"):
        return UNKNOWN
    path = posixpath.normpath(posixpath.join(cwd, target))
    return "" if path == "." else path


@dataclass(slots=True)
class State:
    """What changes while commands run; mappings are replaced, never changed, so that a copy costs nothing."""

    cwd: str
    previous: str
    stack: tuple[str, ...]
    variables: Mapping[str, str | None]
    exported: Mapping[str, str]

    def copy(self) -> State:
        """The same state, which changes on its own."""
        return State(self.cwd, self.previous, self.stack, self.variables, self.exported)

    def set(self, name: str, value: str | None, *, export: bool = False) -> None:
        """A variable, None = to something unknown."""
        if name not in self.variables and len(self.variables) >= MAX_VARIABLES:
            return
        if value is not None and len(value) > MAX_VALUE:
            value = None
        self.variables = {**self.variables, name: value}
        if name in self.exported or export:
            self.exported = {key: kept for key, kept in self.exported.items() if key != name}
            if value is not None:
                self.exported = {**self.exported, name: value}

    def unset(self, names: Collection[str]) -> None:
        """Forgets variables."""
        self.variables = {name: value for name, value in self.variables.items() if name not in names}
        self.exported = {name: value for name, value in self.exported.items() if name not in names}

    def change_directory(self, argv: list[str], literal: bool) -> None:
        """Runs ``cd``, ``pushd`` or ``popd``; ``literal`` = its words are exact."""
        words = [word for word in argv[1:] if word == "-" or not word.startswith("-")]
        before = self.cwd
        if argv[0] == "popd":
            self.cwd = self.stack[-1] if self.stack else UNKNOWN
            self.stack = self.stack[:-1]
        elif words[:1] == ["-"]:
            self.cwd = self.previous
        else:
            self.cwd = _joined(before, words[0] if words else "~", literal and bool(words))
        if argv[0] == "pushd":
            self.stack = (*self.stack[-MAX_STACK:], before)
        self.previous = before

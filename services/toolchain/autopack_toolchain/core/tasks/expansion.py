"""Variables of makefiles, expanded as far as the file alone tells their value.

What it does not tell stays visible as shell: ``$(shell go env GOPATH)`` becomes ``$(go env GOPATH)``, another function
``${foreach}``, a variable of the environment ``${HOME}``. A variable that is never set is empty, as for make itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["Expander"]

MAX_DEPTH = 12
"""Variables within variables that are followed; hand-written files surveyed need 6."""

MAX_REFERENCES = 50_000
"""References at most that are expanded in one makefile: values that double at each level end here."""

MAX_EXPANDED = 4 << 20
"""Characters at most that expansion produces for one makefile: four times the largest file that is read."""

_AUTOMATIC = {"MAKE": "make", "CURDIR": ".", "PWD": ".", "MFLAGS": "", "MAKEFLAGS": "", "RM": "rm -f", "SHELL": "sh"}
"""Variables that make sets itself. The directory of the call is ".": that is where the shell lines run."""

_ENVIRONMENT = frozenset(
    {"HOME", "PATH", "USER", "CI", "TMPDIR", "TMP", "TEMP", "GOPATH", "GOBIN", "GOROOT", "VIRTUAL_ENV", "CONDA_PREFIX"}
    | {"JAVA_HOME", "LANG", "HOSTNAME", "EDITOR", "GITHUB_TOKEN"}
)
"""Variables that the environment usually sets, so that "never set here" does not mean empty."""

_FUNCTIONS = frozenset(
    {"abspath", "addprefix", "addsuffix", "and", "basename", "call", "dir", "error", "eval", "file", "filter"}
    | {"filter-out", "findstring", "firstword", "flavor", "foreach", "guile", "if", "info", "intcmp", "join"}
    | {"lastword", "let", "notdir", "or", "origin", "patsubst", "realpath", "shell", "sort", "strip", "subst"}
    | {"suffix", "value", "warning", "wildcard", "word", "wordlist", "words"}
)

_WHICH = re.compile(r"^(?:which|command -v|type -p|type -P)[ \t]+([\w.+-]+)(?:[ \t]|$)")
_UNAME = re.compile(r"^uname(?:[ \t]+-s)?$")
_CLOSING = {"(": ")", "{": "}"}


class Expander:
    """Expands text with the variables of one makefile, within a budget for the whole file."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self._references = MAX_REFERENCES
        self._characters = MAX_EXPANDED

    def expand(self, text: str, local: Mapping[str, str] | None = None, depth: int = 0) -> str:
        """``text`` with its variables replaced; ``local`` are those of one target and stand before the others."""
        if "$" not in text:
            return text
        parts: list[str] = []
        place = 0
        while (at := text.find("$", place)) >= 0:
            parts.append(text[place:at])
            value, place = self._reference(text, at + 1, local or {}, depth)
            parts.append(value)
        parts.append(text[place:])
        expanded = "".join(parts)
        self._characters -= len(expanded)
        return expanded

    def _reference(self, text: str, at: int, local: Mapping[str, str], depth: int) -> tuple[str, int]:
        """The value of the reference whose ``$`` stands before ``at``, and where the text goes on."""
        opening = text[at : at + 1]
        if opening == "$" or not opening:
            return "$", at + 1
        if opening not in _CLOSING:
            return self._variable(opening, local, depth), at + 1
        end = _closing(text, at, opening)
        if end < 0:
            return text[at - 1 :], len(text)
        return self._inner(text[at + 1 : end], local, depth), end + 1

    def _inner(self, inner: str, local: Mapping[str, str], depth: int) -> str:
        if depth >= MAX_DEPTH:
            return "${_}"
        function, _, arguments = inner.partition(" ")
        if function in _FUNCTIONS and arguments:
            return self._function(function, arguments.strip(), local, depth)
        name = self.expand(inner, local, depth + 1)
        return "${_}" if "$" in name else self._variable(name, local, depth)

    def _variable(self, name: str, local: Mapping[str, str], depth: int) -> str:
        self._references -= 1
        if depth >= MAX_DEPTH or self._references < 0 or self._characters < 0:
            return "${_}"
        name, colon, _ = name.partition(":")
        value = local.get(name, self.variables.get(name))
        if value is None:
            return f"${{{name}}}" if name in _ENVIRONMENT or not name.isidentifier() else _AUTOMATIC.get(name, "")
        self._characters -= len(value)
        return f"${{{name}}}" if colon else self.expand(value, local, depth + 1)

    def _function(self, function: str, arguments: str, local: Mapping[str, str], depth: int) -> str:
        self._references -= 1
        if depth >= MAX_DEPTH or self._references < 0:
            return "${_}"
        if "MAKEFILE_LIST" in arguments:  # the common ways to say "the directory of this makefile"
            return "./" if function == "dir" else "."
        match function:
            case "shell":
                command = self.expand(arguments, local, depth + 1).strip()
                if command == "pwd":
                    return "."
                if _UNAME.match(command):
                    return "Linux"
                found = _WHICH.match(command)
                return found[1] if found else f"$({command})"
            case "strip" | "abspath" | "realpath" | "firstword":
                return self.expand(arguments, local, depth + 1).strip()
            case "or":
                options = (self.expand(option, local, depth + 1).strip() for option in arguments.split(","))
                return next((option for option in options if option), "")
            case _:
                return f"${{{function.replace('-', '_')}}}"


def _closing(text: str, at: int, opening: str) -> int:
    """Where the bracket that opens at ``at`` closes; -1 if it does not."""
    closing, level, start = _CLOSING[opening], 0, at
    while (end := text.find(closing, start)) >= 0:
        level += text.count(opening, start, end) - 1
        if not level:
            return end
        start = end + 1
    return -1

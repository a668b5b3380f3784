"""Targets of magefiles, found by the shape of their lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import re2

from ..workspace import Workspace, join
from .model import MAX_TASKS, Task, bodies, unique
from .text import MAX_FILES, command_line

__all__ = ["read_mage"]

MAX_CALL_LINES = 20
"""Lines at most over which the arguments of one call go."""

_TARGET = re.compile(r"^func (?:\((?:\w+ )?\*?(\w+)\) )?([A-Z]\w*)\(([^()]*)\) *(?:error *)?\{")
_DEFAULT = re.compile(r"^var Default = (?:(\w+)\.)?(\w+)")
_VARIABLE = re.compile(r'^\s*(?:var |const )?(\w+)\s*=\s*"([^"]*)"$')
_CALL = re.compile(r"\b(?:sh\.(?:Run\w*|Output\w*|Exec)|exec\.Command|run\w*)\((.*)$")
_DEPENDS = re.compile(r"\bmg\.(?:Serial)?(?:Ctx)?Deps\(([^()]*)")
_WORD = re2.compile(r'"((?:[^"\\]|\\.)*)"|`([^`]*)`|(\w[\w.]*(?:\(\))?)')


@dataclass(slots=True)
class _Found:
    path: str
    line: int
    required: tuple[str, ...]
    lines: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)


def read_mage(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per exported function, ``namespace:name`` for methods, and one for ``mage`` alone."""
    paths = [join(directory, "magefile.go")] if workspace.has(directory, "magefile.go") else []
    below = join(directory, "magefiles")
    paths += [join(below, name) for name in sorted(workspace.names(below)) if name.endswith(".go")]
    found: dict[str, _Found] = {}
    default = ""
    for path in paths[:MAX_FILES]:
        lines = workspace.lines(path)
        default = next((_name(m[1], m[2]) for line in lines if (m := _DEFAULT.match(line))), default)
        _read(path, lines, found)
    if default in found:
        first = found[default]
        yield Task("mage", "", first.path, first.line, directory, ("mage",), needs=(default,))
    for name, item in list(found.items())[:MAX_TASKS]:
        argv = ("mage", name)
        needs = unique((need for need in item.needs if need in found), name)
        commands = bodies(item.lines)
        yield Task("mage", name, item.path, item.line, directory, argv, commands, needs, required=item.required)


def _read(path: str, lines: list[str], found: dict[str, _Found]) -> None:
    known = {match[1]: match[2] for line in lines if (match := _VARIABLE.match(line))}
    current: _Found | None = None
    for number, line in enumerate(lines):
        if match := _TARGET.match(line):
            current = found.setdefault(_name(match[1], match[2]), _Found(path, number + 1, _required(match[3])))
        elif line.startswith(("}", "func ")):
            current = None
        elif current is not None:
            if match := _CALL.search(line):
                current.lines.append(_command(_arguments(match[1], lines[number + 1 : number + MAX_CALL_LINES]), known))
            for names in _DEPENDS.findall(line):
                current.needs += [_name(*name.strip().rpartition(".")[::2]) for name in names.split(",")]


def _name(space: str | None, function: str) -> str:
    """How mage prints a target; on the command line it ignores case."""
    return ":".join(word[0].lower() + word[1:] for word in (space, function) if word)


def _required(parameters: str) -> tuple[str, ...]:
    """Names of parameters; all but a context are given on the command line."""
    names = [part.split() for part in parameters.split(",") if part.strip()]
    return tuple(words[0] for words in names if "context.Context" not in words and "*" not in words[-1])


def _arguments(first: str, following: Iterable[str]) -> str:
    """The arguments of a call, up to the line where its brackets close."""
    text, level = first, 1 + first.count("(") - first.count(")")
    for line in following:
        if level <= 0:
            break
        text += f" {line.strip()}"
        level += line.count("(") - line.count(")")
    return text


def _command(arguments: str, known: Mapping[str, str]) -> str:
    """The words of a call from the first that is known; an environment or an output stands before them."""
    words = [text or raw or known.get(name, "${_}") for text, raw, name in _WORD.findall(arguments)]
    start = next((n for n, word in enumerate(words) if word != "${_}"), len(words))
    return command_line(words[start:])

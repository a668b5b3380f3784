"""Targets of magefiles, found by the shape of their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

import re2

from ..workspace import Workspace, join
from .model import MAX_TASKS, Task, bodies, unique
from .text import MAX_FILES, command_line

__all__ = ["read_mage"]

_FUNCTION = re.compile(r"^func (?:\((?:\w+ )?\*?(\w+)\) )?([A-Z]\w*)\(([^()]*)\)")
_DEFAULT = re.compile(r"^var Default = (?:(\w+)\.)?(\w+)")
_CALL = re.compile(r"""\bsh\.(?:Run\w*|Output\w*|Exec)\((.*)$""")
_DEPENDS = re.compile(r"\bmg\.(?:Serial)?(?:Ctx)?Deps\(([^()]*)")
_STRING = re2.compile(r'"((?:[^"\\]|\\.)*)"|`([^`]*)`|(\w[\w.]*(?:\(\))?)')


def read_mage(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per exported function, ``namespace:name`` for methods, and one for ``mage`` alone."""
    paths = [join(directory, "magefile.go")] if workspace.has(directory, "magefile.go") else []
    below = join(directory, "magefiles")
    paths += [join(below, name) for name in sorted(workspace.names(below)) if name.endswith(".go")]
    found: dict[str, tuple[str, int, list[str], list[str]]] = {}
    default = ""
    for path in paths[:MAX_FILES]:
        lines: list[str] = []
        needs: list[str] = []
        for number, line in enumerate(workspace.lines(path), 1):
            if match := _FUNCTION.match(line):
                lines, needs = [], []
                # Only these arguments can be given on the command line, and a context needs none.
                found.setdefault(_name(match[1], match[2]), (path, number, lines, needs))
            elif line.startswith("}") or line.startswith("func "):
                lines, needs = [], []
            elif match := _DEFAULT.match(line):
                default = _name(match[1], match[2])
            else:
                if match := _CALL.search(line):
                    lines.append(_command(line, match[1]))
                for names in _DEPENDS.findall(line):
                    needs += [_name(*_parts(name)) for name in names.split(",") if name.strip()]
    if default in found:
        path, number, _, _ = found[default]
        yield Task("mage", "", path, number, directory, ("mage",), needs=(default,))
    for name, (path, number, commands, others) in list(found.items())[:MAX_TASKS]:
        yield Task("mage", name, path, number, directory, ("mage", name), bodies(commands), unique(others, name))


def _name(space: str | None, function: str) -> str:
    """How mage prints a target; on the command line it ignores case."""
    words = [word[0].lower() + word[1:] for word in (space, function) if word]
    return ":".join(words)


def _parts(name: str) -> tuple[str, str]:
    space, _, function = name.strip().rpartition(".")
    return space, function or "_"


def _command(line: str, arguments: str) -> str:
    """The words of a call; a variable among them is ``${_}``. Options of the call itself come first."""
    skipped = 1 if re.search(r"sh\.(?:RunWith|OutputWith|RunWithV)\(", line) else 0
    words = [text or raw or "${_}" for text, raw, _ in _STRING.findall(arguments)]
    return command_line(words[skipped:])

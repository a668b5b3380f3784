"""A named task of a project: what people type, and what runs then."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..workspace import Workspace

__all__ = [
    "MAX_BODIES",
    "MAX_BODY",
    "MAX_TASKS",
    "Task",
    "bodies",
    "first_line",
    "header_lines",
    "key_lines",
    "readable",
    "script",
    "unique",
    "within",
]

MAX_TASKS = 500
"""Tasks at most of one tool in one directory; the largest hand-written file surveyed defines about 300."""

MAX_BODIES = 200
"""Shell lines at most of one task; what a task is for shows long before."""

MAX_BODY = 16_384
"""Characters at most of one shell line; a longer one is data."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task as its tool knows it.

    Attributes:
        tool: ``"make"``, ``"npm-script"``, ``"just"``, ``"tox"``, ... (see :mod:`.`).
        name: name of the task within its tool and directory; empty for the call of the tool without a name
            (``make``, ``tox``), whose ``needs`` are then what runs.
        path: file of the definition, relative to the root of the source.
        line: line of the definition, from 1; 0 = not known.
        directory: where the tool is called.
        argv: how it is called there, without the prefix of a package manager.
        bodies: shell lines it runs, in order. What a file alone cannot tell stands as ``${NAME}`` or ``$(command)``.
        needs: names of tasks of the same tool and directory that run before it, instead of it or after it.
        description: the author's own words, or empty.
        required: names of the arguments without which it cannot be called.
    """

    tool: str
    name: str
    path: str
    line: int
    directory: str
    argv: tuple[str, ...]
    bodies: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    description: str = ""
    required: tuple[str, ...] = ()


def bodies(lines: Iterable[str]) -> tuple[str, ...]:
    """Shell lines within the bounds, empty ones and those that are too long left out."""
    found: list[str] = []
    for line in lines:
        line = line.strip()
        if line and len(line) <= MAX_BODY:
            found.append(line)
            if len(found) == MAX_BODIES:
                break
    return tuple(found)


def script(text: str) -> tuple[str, ...]:
    """A whole shell script as one body, cut after the last line that fits."""
    text = text.strip()
    return bodies([text if len(text) <= MAX_BODY else text[:MAX_BODY].rpartition("\n")[0]])


def readable(workspace: Workspace, path: str) -> bool:
    """Whether a file that another one names is there, and is one whose content a snapshot carries too."""
    return workspace.has(".", path) and workspace.registry.wants_content(path)


def within(directory: str, lines: Iterable[str]) -> list[str]:
    """Shell lines as they run in another directory, relative to the one where the tool is called."""
    directory = directory.strip().rstrip("/")
    if directory in {"", "."}:
        return list(lines)
    return [f"cd {directory} && {line}" for line in lines]


def unique(names: Iterable[str], but: str = "") -> tuple[str, ...]:
    """Names once each, in order, without ``but`` and without empty ones."""
    return tuple(name for name in dict.fromkeys(names) if name and name != but)


def first_line(text: object) -> str:
    """The first line of a description, or empty."""
    return text.strip().partition("\n")[0].strip() if isinstance(text, str) else ""


_KEY = re.compile(r"""^([ \t]*)(?:"([^"]{1,200})"|'([^']{1,200})'|([\w./:@*-]{1,200}))[ \t]*[:=]""")


def header_lines(workspace: Workspace, path: str) -> dict[str, int]:
    """The line of each ``[section]`` of a TOML or INI file, without quotes: ``[tasks."a:b"]`` as ``[tasks.a:b]``."""

    def read(path: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for number, line in enumerate(workspace.lines(path), 1):
            if line.startswith("["):
                name = line.lstrip("[").partition("]")[0].replace('"', "").replace("'", "")
                found.setdefault(f"[{name.strip()}]", number)
        return found

    return workspace.once("headers", path, read)


def key_lines(workspace: Workspace, path: str, after: str = "") -> dict[str, int]:
    """The line of each ``key:``, ``"key":`` or ``key =`` of the table below the line that begins with ``after``.

    The keys are those that stand as far to the right as the first one; the table ends where one stands further left.
    """
    start = workspace.line(path, after) if after else 0
    found: dict[str, int] = {}
    indent: str | None = None
    for number, line in enumerate(workspace.lines(path)[start:], start + 1):
        if match := _KEY.match(line):
            indent = match[1] if indent is None else indent
            if match[1] == indent:
                found.setdefault(match[2] or match[3] or match[4], number)
            elif len(match[1]) < len(indent):
                break
    return found

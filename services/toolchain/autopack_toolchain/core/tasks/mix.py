"""Aliases of mix.exs, found by the shape of its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

import re2

from ..workspace import Workspace, join
from .model import MAX_TASKS, Task, bodies

__all__ = ["read_mix"]

_START = re.compile(r"^\s*(?:defp?\s+aliases\b(?:\(\))?(?:\s+do\b|,\s*do:)?|aliases:\s*\[|@aliases\s*\[)")
_ALIAS = re.compile(r"""^[\s\[]*(?:"([\w.-]+)"|([a-z][\w.]*)):\s*(\S.*)$""")
_STRING = re2.compile(r'"((?:[^"\\]|\\.)*)"')

MAX_LINES = 200
"""Lines at most of a list of aliases; the longest surveyed has 40."""


def read_mix(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per alias. An alias may bear the name of the task it runs, which is then mix's own."""
    path = join(directory, "mix.exs")
    lines = workspace.lines(path)
    start = next((n for n, line in enumerate(lines) if _START.match(line) and "aliases()" not in line[:40]), None)
    start = next((n for n, line in enumerate(lines) if re.match(r"^\s*defp?\s+aliases\b", line)), start)
    if start is None:
        return
    found: dict[str, tuple[int, list[str]]] = {}
    current: list[str] = []
    opened = False
    for number, line in enumerate(lines[start : start + MAX_LINES], start + 1):
        code = _START.sub("", line)
        match = None if opened else _ALIAS.match(code)
        if match:
            current = []
            found.setdefault(match[1] or match[2], (number, current))
            opened = match[3].startswith("[") and not _closes(match[3])
            current += _strings(match[3])
        elif opened:
            current += _strings(code)
            opened = not _closes(code)
        elif number > start + 1 and code.strip() in {"end", "]", "],"}:
            break
    for name, (number, commands) in list(found.items())[:MAX_TASKS]:
        # "cmd" runs a program; everything else is a task of mix.
        shell = [text[4:].strip() if text.startswith("cmd ") else f"mix {text}" for text in commands]
        yield Task("mix", name, path, number, directory, ("mix", name), bodies(shell))


def _strings(code: str) -> list[str]:
    return [text.replace('\\"', '"') for text in _STRING.findall(_code(code))]


def _closes(code: str) -> bool:
    return "]" in _STRING.sub("", _code(code))


def _code(line: str) -> str:
    """A line without its comment; a ``#`` within a string is kept."""
    return line.partition(" # ")[0] if not line.lstrip().startswith("#") else ""

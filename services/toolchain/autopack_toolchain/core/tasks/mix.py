"""Aliases of mix.exs, found by the shape of its list."""

from __future__ import annotations

import re
from collections.abc import Iterator

import re2

from ..workspace import Workspace, join
from .model import MAX_TASKS, Task, bodies

__all__ = ["read_mix"]

MAX_LINES = 300
"""Lines at most of a list of aliases; the longest surveyed has 40."""

_FUNCTION = re.compile(r"^\s*defp?\s+aliases\b")
_INLINE = re.compile(r"^\s*(?:aliases:|@aliases)\s*\[")
_TOKEN = re2.compile(r'#.*|"((?:[^"\\]|\\.)*)"(:?)|([a-z]\w*(?:\.\w+)*):(?:\s|$)|[\[\]]')


def read_mix(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per alias. An alias may bear the name of the task it runs, which is then mix's own."""
    path = join(directory, "mix.exs")
    lines = workspace.lines(path)
    start = next((n for n, line in enumerate(lines) if _FUNCTION.match(line)), None)
    if start is None:
        start = next((n for n, line in enumerate(lines) if _INLINE.match(line)), None)
    if start is None:
        return
    for name, (number, commands) in list(_aliases(lines, start).items())[:MAX_TASKS]:
        # "cmd" runs a program; everything else is a task of mix.
        shell = [text[4:].strip() if text.startswith("cmd ") else f"mix {text}" for text in commands]
        yield Task("mix", name, path, number, directory, ("mix", name), bodies(shell))


def _aliases(lines: list[str], start: int) -> dict[str, tuple[int, list[str]]]:
    """Line and texts of each key of the list that opens in or after the line ``start``."""
    found: dict[str, tuple[int, list[str]]] = {}
    current: list[str] = []
    depth = 0
    for number, line in enumerate(lines[start : start + MAX_LINES], start + 1):
        for match in _TOKEN.finditer(line):
            piece, text, colon, name = match[0], match[1], match[2], match[3]
            if piece in {"[", "]"}:
                depth += 1 if piece == "[" else -1
                if depth <= 0:
                    return found
            elif depth == 1 and (name or colon):
                current = []
                found.setdefault(name or text, (number, current))
            elif depth and text and not colon:
                current.append(text.replace('\\"', '"'))
    return found

"""What several readers of task files share: continued lines, words of a command, shebangs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

__all__ = ["MAX_FILES", "command_line", "is_shell", "joined"]

MAX_FILES = 40
"""Files at most that one task file may include; the largest set surveyed has 16."""

_SHEBANG = re.compile(r"^#![ \t]*(\S+)(?:[ \t]+(.*))?$")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})


def joined(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Lines with continuations appended, with the number of their first line; white space at the start is kept."""
    held: list[str] = []
    start = 0
    for number, line in enumerate(lines, 1):
        if not held:
            start = number
        held.append(line.strip() if held else line.rstrip())
        if held[-1].endswith("\\"):
            # White space alone stays: it may be the tab that marks a recipe.
            held[-1] = held[-1][:-1].rstrip() or held[-1][:-1]
            continue
        yield start, " ".join(held)
        held = []
    if held:
        yield start, " ".join(held)


def is_shell(line: str) -> bool:
    """Whether a first line names a shell as the interpreter."""
    match = _SHEBANG.match(line)
    if match is None:
        return False
    words = [match[1], *(match[2] or "").split()]
    if words[0].endswith("/env"):
        words = [word for word in words[1:] if not word.startswith("-")]
    return bool(words) and words[0].rpartition("/")[2] in _SHELLS


def command_line(words: Iterable[object]) -> str:
    """A shell line from words; shell syntax in them is quoted, but ``${NAME}`` of a reader stays visible."""
    return " ".join(word if "${" in word else shlex.quote(word) for word in map(str, words))

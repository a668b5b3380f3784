"""Finds which expressions occur in an output: one scan for all of them, captures only for those that hit.

RE2 matches in time linear in the text whatever the expression, so no pattern and no log can make it hang.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any

import re2
from autopack_kit.commands import Command

from autopack_hardening.core.model import Failure
from autopack_hardening.core.patterns import Expression, Pattern

__all__ = ["Hit", "Matcher", "command_line"]

# The last occurrences decide; a log with more hits of one expression repeats itself.
MAX_HITS_KEPT = 64
# Past this many hits of one expression the text is no log of one failing command; the scan stops.
MAX_HITS_SEEN = 20_000
EXCERPT_BYTES = 400
# RE2 gives up on a text (and reports no hit) when its automaton outgrows this; the default of 8 MiB is tight for a Set.
SET_MEMORY = 128 << 20
# Captured text goes into messages and map fields; a path is at most 4,096 bytes on Linux, names are far shorter.
MAX_CAPTURE = 1024
# Long enough for any real line; keeps fnmatch, which may be quadratic, trivial.
MAX_COMMAND_LINE = 2048


@dataclass(frozen=True, slots=True)
class Hit:
    """One occurrence of an expression.

    Attributes:
        expression: the expression.
        line: number of the line, from 1.
        excerpt: the line, at most 400 bytes around the occurrence.
        captures: named groups that took part, and the expression's fixed values.
    """

    expression: Expression
    line: int
    excerpt: bytes
    captures: Mapping[str, str]


class Matcher:
    """Compiled patterns. Immutable and safe to share between threads."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = tuple(patterns)
        options = re2.Options()
        options.max_mem = SET_MEMORY
        self._set = re2.Set.SearchSet(options)
        self._owners: list[tuple[int, Expression | None]] = []
        for index, pattern in enumerate(self._patterns):
            for expression in pattern.any:
                self._add(expression.regex, (index, expression))
            for regex in pattern.none:
                self._add(regex, (index, None))
        self._set.Compile()
        self._compiled: list[Any] = [
            None if expression is None else re2.compile(expression.regex) for _, expression in self._owners
        ]

    def _add(self, regex: str, owner: tuple[int, Expression | None]) -> None:
        self._set.Add(regex)
        self._owners.append(owner)

    def hits(self, failure: Failure, text: bytes) -> list[tuple[Pattern, list[Hit]]]:
        """Patterns that occur in ``text`` (normalised) with their hits in the order of the text.

        Of each expression the last 64 hits are kept. Conditions on command and exit code are applied here.
        """
        found = self._set.Match(text) or []
        silenced = {self._owners[number][0] for number in found if self._owners[number][1] is None}
        line = command_line(failure.command)
        hits: dict[int, list[tuple[int, Hit]]] = {}
        for number in sorted(found):
            index, expression = self._owners[number]
            if expression is None or index in silenced or not _applies(expression, line, failure):
                continue
            hits.setdefault(index, []).extend(_occurrences(self._compiled[number], expression, text))
        return [
            (self._patterns[index], [hit for _, hit in sorted(places, key=lambda place: place[0])])
            for index, places in hits.items()
        ]


def command_line(command: Command | None) -> str:
    """The command as patterns see it: words joined by blanks, the program without its directory; empty if unknown."""
    if command is None:
        return ""
    if command.script is not None:
        return command.script.text[:MAX_COMMAND_LINE]
    return " ".join([posixpath.basename(command.argv[0]), *command.argv[1:]])[:MAX_COMMAND_LINE]


def _applies(expression: Expression, line: str, failure: Failure) -> bool:
    code = failure.ending.exit_code
    if expression.exit_codes and code is not None and code not in expression.exit_codes:
        return False
    if not expression.commands or not line:
        return True
    return any(fnmatch.fnmatchcase(line, glob) for glob in expression.commands)


def _occurrences(compiled: Any, expression: Expression, text: bytes) -> list[tuple[int, Hit]]:
    last = deque(islice(compiled.finditer(text), MAX_HITS_SEEN), maxlen=MAX_HITS_KEPT)
    return [(match.start(), _hit(match, expression, text)) for match in last]


def _hit(match: Any, expression: Expression, text: bytes) -> Hit:
    groups = {
        name: value[:MAX_CAPTURE].decode("utf-8", "replace")
        for name, value in match.groupdict().items()
        if value is not None
    }
    # An expression may begin with the line end before the line that matters; the line is where the match ends.
    position = max(match.start(), match.end() - 1)
    start = text.rfind(b"\n", 0, position) + 1
    end = text.find(b"\n", position)
    line = text[start : len(text) if end < 0 else end]
    if len(line) > EXCERPT_BYTES:
        offset = max(0, min(match.start() - start, len(line) - EXCERPT_BYTES))
        line = line[offset : offset + EXCERPT_BYTES]
    number = text.count(b"\n", 0, position) + 1
    return Hit(expression, number, line.strip(), MappingProxyType({**expression.values, **groups}))

"""Finds which expressions occur in an output: one scan for all of them, captures only for those that hit.

RE2 matches in time linear in the text whatever the expression, so no pattern and no log can make it hang.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any

import re2
from autopack_kit.commands import Command

from autopack_hardening.core.model import Failure
from autopack_hardening.core.normalise import Text
from autopack_hardening.core.patterns import Expression, Pattern
from autopack_hardening.core.prefilter import prefilter

__all__ = ["Hit", "Matcher", "Noise", "command_line"]

# The last occurrences decide; a log with more hits of one expression repeats itself.
MAX_HITS_KEPT = 64
# Past this many hits of one expression the text is no log of one failing command; the scan stops.
MAX_HITS_SEEN = 20_000
# Captures are first looked for in the end of a long text, where the occurrences stand that decide.
END_BYTES = 128 << 10
EXCERPT_BYTES = 400
# RE2 gives up on a text (and reports no hit) when its automaton outgrows this; the default of 8 MiB is tight for a Set.
SET_MEMORY = 256 << 20
# Captured text goes into messages and map fields; a path is at most 4,096 bytes on Linux, names are far shorter.
MAX_CAPTURE = 1024
# Long enough for any real line; keeps fnmatch, which may be quadratic, trivial.
MAX_COMMAND_LINE = 2048


@dataclass(frozen=True, slots=True)
class Noise:
    """What is no failure although it reads like one.

    Attributes:
        lines: RE2; a hit on a line that one of these matches does not count: warnings, retries, names of tests.
        recovered: RE2; what stands before the last of these was overcome, and does not count.
    """

    lines: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """One occurrence of an expression, or an ending that suffices alone.

    Attributes:
        confidence: that of the expression.
        position: byte in the normalised text, at which the match ends; -1 for an ending.
        excerpt: the line, at most 400 bytes around the occurrence.
        captures: named groups that took part, and the expression's fixed values.
    """

    confidence: float
    position: int
    excerpt: bytes = b""
    captures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose expression it is: a pattern's, in one of its lists, or (no pattern) a sign of recovery."""

    pattern: int = -1
    expression: Expression | None = None
    required: int = -1


class Matcher:
    """Compiled patterns. Immutable and safe to share between threads.

    Args:
        patterns: to be found.
        noise: what does not count.
        base: found as well, by a set of their own: however large ``patterns`` are, they take nothing away from those.
            Its noise counts, too.
    """

    def __init__(self, patterns: Sequence[Pattern], noise: Noise = Noise(), *, base: Matcher | None = None) -> None:
        self._base = base
        self._patterns: list[Pattern] = list(base._patterns) if base is not None else []
        self._owners: list[_Owner] = list(base._owners) if base is not None else []
        self._regexes: list[str] = list(base._regexes) if base is not None else []
        self._first = len(self._regexes)
        options = re2.Options()
        options.max_mem = SET_MEMORY
        self._set = re2.Set.SearchSet(options)
        # Filled when an expression hits for the first time: most never do in the life of a process.
        self._compiled: dict[int, Any] = {}
        self._unless: dict[str, Any] = dict(base._unless) if base is not None else {}
        for pattern in patterns:
            self._unless |= {one.unless: re2.compile(one.unless) for one in pattern.any if one.unless}
            self._add_pattern(pattern)
        for regex in noise.recovered:
            self._add(regex, _Owner())
        if len(self._owners) > self._first:
            self._set.Compile()
        self._with_ending = [(index, one) for index, one in enumerate(self._patterns) if one.ending is not None]
        self._noise = re2.compile("|".join(f"(?:{line})" for line in noise.lines)) if noise.lines else None
        if self._noise is None and base is not None:
            self._noise = base._noise

    def _add_pattern(self, pattern: Pattern) -> None:
        index = len(self._patterns)
        self._patterns.append(pattern)
        for expression in pattern.any:
            self._add(expression.regex, _Owner(index, expression))
        for number, regex in enumerate(pattern.all):
            self._add(regex, _Owner(index, required=number))
        for regex in pattern.none:
            self._add(regex, _Owner(index))

    def _add(self, regex: str, owner: _Owner) -> None:
        self._set.Add(prefilter(regex))
        self._regexes.append(regex)
        self._owners.append(owner)

    def _reader(self, number: int) -> Any:
        """The expression compiled alone, to read its captures. Two threads may both compile it, and get the same."""
        if self._base is not None and number < self._first:
            return self._base._reader(number)
        found = self._compiled.get(number)
        if found is None:
            found = self._compiled[number] = re2.compile(self._regexes[number])
        return found

    def is_noise(self, line: bytes) -> bool:
        """Whether nothing counts that stands on this line."""
        return self._noise is not None and self._noise.search(line) is not None

    def scan(self, text: bytes) -> list[int]:
        """Numbers of the expressions that may occur: of all that do, and some more, to be confirmed one by one."""
        found = self._base.scan(text) if self._base is not None else []
        if len(self._owners) == self._first:
            return found
        return found + [self._first + number for number in self._set.Match(text) or []]

    def hits(self, failure: Failure, text: Text) -> list[tuple[Pattern, list[Hit]]]:
        """Patterns that occur in ``text`` with their hits in the order of the text; then those whose ending suffices.

        Of each expression the last 64 hits are kept. Conditions on command and exit code, noise and recovery are
        applied here.
        """
        owners = self._found(text.bytes)
        silenced = {one.pattern for _, one in owners if one.expression is None and one.required < 0}
        fulfilled: dict[int, int] = {}
        for _, one in owners:
            if one.required >= 0:
                fulfilled[one.pattern] = fulfilled.get(one.pattern, 0) + 1
        after = self._recovered([number for number, one in owners if one.pattern < 0], text.bytes)
        line = command_line(failure.command)
        hits: dict[int, list[Hit]] = {}
        for number, one in owners:
            if one.expression is None or one.pattern in silenced:
                continue
            pattern = self._patterns[one.pattern]
            if fulfilled.get(one.pattern, 0) < len(pattern.all) or not _applies(pattern, one.expression, line, failure):
                continue
            places = self._occurrences(self._reader(number), one.expression, text, after)
            if places:
                hits.setdefault(one.pattern, []).extend(places)
        result = [(self._patterns[index], sorted(all_, key=lambda hit: hit.position)) for index, all_ in hits.items()]
        return result + self._by_ending(failure, line, set(hits) | silenced)

    def _found(self, text: bytes) -> list[tuple[int, _Owner]]:
        """What occurs. Of a pattern's main expressions only what may: their occurrences are looked up anyway."""
        owners = [(number, self._owners[number]) for number in sorted(self.scan(text))]
        return [
            (number, one)
            for number, one in owners
            if one.expression is not None or self._reader(number).search(text) is not None
        ]

    def _by_ending(self, failure: Failure, line: str, others: set[int]) -> list[tuple[Pattern, list[Hit]]]:
        """Patterns whose ending suffices alone. What they need of the output (``all``) would not be there."""
        return [
            (pattern, [Hit(pattern.ending.confidence, -1)])
            for index, pattern in self._with_ending
            if pattern.ending is not None
            and index not in others
            and pattern.ending.fits(failure.ending)
            and _fits(pattern.commands, line)
        ]

    def _recovered(self, numbers: Sequence[int], text: bytes) -> int:
        """The byte before which everything was overcome."""
        ends = [0]
        for number in numbers:
            ends += [match.end() for match in _last(self._reader(number), text, 1)]
        return max(ends)

    def _occurrences(self, compiled: Any, expression: Expression, text: Text, after: int) -> list[Hit]:
        found = []
        for match in _last(compiled, text.bytes, MAX_HITS_KEPT):
            # An expression may begin with the line end before the line that matters; the line is where the match ends.
            position = max(match.start(), match.end() - 1)
            if position < after:
                continue
            line = text.line_at(position)
            if expression.unless and self._unless[expression.unless].search(line):
                continue
            if self._noise is not None and not expression.noisy and self._noise.search(line):
                continue
            found.append(_hit(match, expression, text, position, line))
        return found


def command_line(command: Command | None) -> str:
    """The command as patterns see it: words joined by blanks, the program without its directory; empty if unknown."""
    if command is None:
        return ""
    if command.script is not None:
        return command.script.text[:MAX_COMMAND_LINE]
    return " ".join([posixpath.basename(command.argv[0]), *command.argv[1:]])[:MAX_COMMAND_LINE]


def _applies(pattern: Pattern, expression: Expression, line: str, failure: Failure) -> bool:
    code = failure.ending.exit_code
    for codes in (pattern.exit_codes, expression.exit_codes):
        if codes and code is not None and code not in codes:
            return False
    return _fits(pattern.commands, line) and _fits(expression.commands, line)


def _fits(globs: Sequence[str], line: str) -> bool:
    """Whether the command line fits one of the globs, and none of those that begin with ``!``."""
    if not line:
        return True
    wanted = [glob for glob in globs if not glob.startswith("!")]
    refused = any(fnmatch.fnmatchcase(line, glob[1:]) for glob in globs if glob.startswith("!"))
    return not refused and (not wanted or any(fnmatch.fnmatchcase(line, glob) for glob in wanted))


def _last(compiled: Any, text: bytes, count: int) -> list[Any]:
    """The last ``count`` matches, of the end of the text if there are any, else of all."""
    if len(text) > 2 * END_BYTES:
        start = text.rfind(b"\n", 0, len(text) - END_BYTES)
        if start >= 0:
            found = list(deque(islice(compiled.finditer(text, start), MAX_HITS_SEEN), maxlen=count))
            if found:
                return found
    return list(deque(islice(compiled.finditer(text), MAX_HITS_SEEN), maxlen=count))


def _hit(match: Any, expression: Expression, text: Text, position: int, line: bytes) -> Hit:
    groups = {
        name: value[:MAX_CAPTURE].decode("utf-8", "replace")
        for name, value in match.groupdict().items()
        if value is not None
    }
    if len(line) > EXCERPT_BYTES:
        start = text.bytes.rfind(b"\n", 0, position) + 1
        offset = max(0, min(match.start() - start, len(line) - EXCERPT_BYTES))
        line = line[offset : offset + EXCERPT_BYTES]
    captures = MappingProxyType({**expression.values, **groups})
    return Hit(expression.confidence, position, line.strip(), captures)

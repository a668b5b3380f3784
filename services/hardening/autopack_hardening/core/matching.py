"""Finds which patterns occur in an output, where, and with which captures."""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import re2
from autopack_kit.commands import Command

from autopack_hardening.core.model import Failure
from autopack_hardening.core.noise import (
    NO_RUN,
    NOTHING,
    Filter,
    Noise,
    Overcome,
    one_command,
    simple_commands,
)
from autopack_hardening.core.normalise import Text
from autopack_hardening.core.patterns import Expression, Pattern
from autopack_hardening.core.scanning import Found, Scanner

__all__ = ["Hit", "Matcher", "command_line"]

# The last occurrences decide; a log with more hits of one expression repeats itself.
MAX_HITS_KEPT = 64
EXCERPT_BYTES = 400
# Captures that tell where something was, not what.
PLACES = frozenset({"path", "file", "line"})
# Captured text goes into messages and map fields; a path is at most 4,096 bytes on Linux, names are far shorter.
MAX_CAPTURE = 1024
# Long enough for any real line; keeps fnmatch, which may be quadratic, trivial.
MAX_COMMAND_LINE = 2048


@dataclass(frozen=True, slots=True)
class Hit:
    """One occurrence of an expression, or an ending that suffices alone.

    Attributes:
        confidence: that of the expression.
        position: byte in the normalised text, at which the match ends; -1 for an ending.
        told: byte on the line that says most: where its first capture begins, else the position.
        excerpt: that line, at most 400 bytes around the occurrence.
        captures: named groups that took part, and the expression's fixed values.
    """

    confidence: float
    position: int
    told: int = -1
    excerpt: bytes = b""
    captures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class _Known:
    """A pattern, with the numbers of the expressions that all, or of which none, may occur beside its main ones."""

    pattern: Pattern
    all: range
    none: range


class Matcher:
    """Compiled patterns. Immutable and safe to share between threads.

    Args:
        patterns: to be found.
        noise: what does not count.
        base: found as well, by a set of their own: however large ``patterns`` are, they take nothing away from those.
            Its noise counts, too.
    """

    def __init__(self, patterns: Sequence[Pattern], noise: Noise = NOTHING, *, base: Matcher | None = None) -> None:
        self._known: list[_Known] = list(base._known) if base is not None else []
        # Whose main expression it is, by its number; and what tells of recovery.
        self._main: dict[int, tuple[int, Expression]] = dict(base._main) if base is not None else {}
        self._recovered: list[int] = list(base._recovered) if base is not None else []
        self._passed: list[int] = list(base._passed) if base is not None else []
        self._failed: list[int] = list(base._failed) if base is not None else []
        self._unless: dict[str, Any] = dict(base._unless) if base is not None else {}
        regexes: list[str] = []
        conditions: set[int] = set()
        first = len(base._scanner) if base is not None else 0
        for pattern in patterns:
            self._unless |= {one.unless: re2.compile(one.unless) for one in pattern.any if one.unless}
            self._main |= {first + len(regexes) + i: (len(self._known), one) for i, one in enumerate(pattern.any)}
            start = first + len(regexes) + len(pattern.any)
            middle, end = start + len(pattern.all), start + len(pattern.all) + len(pattern.none)
            self._known.append(_Known(pattern, range(start, middle), range(middle, end)))
            conditions.update(range(start, end))
            regexes += [*(one.regex for one in pattern.any), *pattern.all, *pattern.none]
        for numbers, more in (
            (self._recovered, [one.regex for one in noise.recovered]),
            (self._passed, [one.regex for one in noise.passed]),
            (self._failed, noise.failed),
        ):
            numbers += range(first + len(regexes), first + len(regexes) + len(more))
            regexes += more
        self._scanner: Scanner = Scanner(regexes, base._scanner if base is not None else None, conditions=conditions)
        self._with_ending = [one for one in self._known if one.pattern.ending is not None]
        self._filter: Filter = base._filter if base is not None and noise == NOTHING else Filter(noise)
        self._signs = {number: sign for sign, number in enumerate(self._recovered)}
        self._verdicts = {number: verdict for verdict, number in enumerate(self._passed)}
        self._survivable = [self._filter.is_survivable(one.pattern.id) for one in self._known]

    def is_noise(self, line: bytes) -> bool:
        """Whether nothing counts that stands on this line."""
        return self._filter.is_noise(line)

    def scan(self, text: bytes) -> list[int]:
        """Numbers of the expressions that may occur: of all that do, and some more."""
        return self._scanner.scan(text)

    def hits(self, failure: Failure, text: Text) -> list[tuple[Pattern, list[Hit]]]:
        """Patterns that occur in ``text`` with their hits in the order of the text; then those whose ending suffices.

        Of each expression the last 64 hits are kept. Conditions on command and exit code, noise and recovery are
        applied here.
        """
        found = Found(self._scanner, text.bytes)
        line = command_line(failure.command)
        commands = _commands(failure.command, line)
        voice = self._filter.voice(commands)
        overcome = self._overcome(found, text.bytes, commands, failure.ending.exit_code)
        hits: dict[int, list[Hit]] = {}
        for number in found.numbers:
            index, expression = self._main.get(number, (-1, None))
            if expression is None or not _applies(self._known[index].pattern, expression, line, failure):
                continue
            before = overcome.before_of(self._known[index].pattern.id, survivable=self._survivable[index])
            places = self._occurrences(found.last(number, MAX_HITS_KEPT), expression, text, before, voice)
            if overcome.run != NO_RUN:
                places = [hit for hit in places if not overcome.is_within(hit.position)]
            if places:
                hits.setdefault(index, []).extend(places)
        result = [
            (self._known[index].pattern, sorted(all_, key=lambda hit: hit.position))
            for index, all_ in hits.items()
            if all(map(found.occurs, self._known[index].all)) and not any(map(found.occurs, self._known[index].none))
        ]
        return result + self._by_ending(failure, line, found, {pattern.id for pattern, _ in result})

    def _overcome(self, found: Found, text: bytes, commands: tuple[str, ...] | None, exit_code: int | None) -> Overcome:
        """What stands before a sign that all was well after all."""
        recovered = [
            (self._signs[number], match.end())
            for number in found.numbers
            if number in self._signs
            for match in found.last(number, 1)
        ]
        ends = [
            (match.end(), match.start(), self._verdicts[number])
            for number in found.numbers
            if number in self._verdicts and (match := found.ends_with(number)) is not None
        ]
        well = self._filter.last_line_is_well(text, commands, exit_code)
        if not (ends or well) or any(map(found.occurs, self._failed)):
            return self._filter.overcome(recovered, 0)
        if not ends:
            return self._filter.overcome(recovered, well)
        end, start, verdict = max(ends)
        begin = self._filter.run_start(verdict, text, start, commands)
        if begin is None:
            return self._filter.overcome(recovered, end)
        return replace(self._filter.overcome(recovered, 0), run=(begin, end))

    def _by_ending(
        self, failure: Failure, line: str, found: Found, others: set[str]
    ) -> list[tuple[Pattern, list[Hit]]]:
        """Patterns whose ending suffices alone. What they need of the output (``all``) would not be there."""
        return [
            (pattern, [Hit(ending.confidence, -1)])
            for one in self._with_ending
            if (pattern := one.pattern).id not in others
            and (ending := pattern.ending) is not None
            and ending.fits(failure.ending)
            and _fits(pattern.commands, line)
            and not any(map(found.occurs, one.none))
        ]

    def _occurrences(
        self, matches: Sequence[Any], expression: Expression, text: Text, before: int, voice: Any | None
    ) -> list[Hit]:
        """Those of the matches that count where they stand; of a command that shows text, what it says itself."""
        found = []
        known, counts = range(0), False
        for match in matches:
            # An expression may begin with the line end before the line that matters; the line is where the match ends.
            position = max(match.start(), match.end() - 1)
            if position < before:
                continue
            if position not in known:  # else of the same line, which may be long
                line = text.line_at(position)
                start = text.bytes.rfind(b"\n", 0, position) + 1
                known, counts = range(start, start + len(line)), self._counts(line, expression, voice)
            if counts:
                found.append(_hit(match, expression, text, position))
        return found

    def _counts(self, line: bytes, expression: Expression, voice: Any | None) -> bool:
        """Whether occurrences of an expression on this line count."""
        if voice is not None and not voice.search(line):
            return False
        if expression.unless and self._unless[expression.unless].search(line):
            return False
        return expression.noisy or not self._filter.is_noise(line)


def command_line(command: Command | None) -> str:
    """The command as patterns see it: words joined by blanks, the program without its directory; empty if unknown."""
    if command is None:
        return ""
    if command.script is not None:
        return command.script.text[:MAX_COMMAND_LINE]
    return " ".join([posixpath.basename(command.argv[0]), *command.argv[1:]])[:MAX_COMMAND_LINE]


def _commands(command: Command | None, line: str) -> tuple[str, ...] | None:
    """What is run, as far as it is understood; None if it is not known."""
    if command is None:
        return None
    if len(line) == MAX_COMMAND_LINE:  # what was cut off is not known
        return ()
    return simple_commands(line) if command.script is not None else one_command(line.split(" "))


def _applies(pattern: Pattern, expression: Expression, line: str, failure: Failure) -> bool:
    code = failure.ending.exit_code
    for codes in (pattern.exit_codes, expression.exit_codes):
        if codes and code is not None and code not in codes:
            return False
    return _fits(pattern.commands, line) and _fits(expression.commands, line)


def _fits(globs: Sequence[str], line: str) -> bool:
    """Whether the command line fits one of the globs, and none of those that begin with ``!``."""
    if not line or not globs:
        return True
    wanted = [glob for glob in globs if not glob.startswith("!")]
    if wanted and not any(_glob(glob)(line) for glob in wanted):
        return False
    return not any(_glob(glob[1:])(line) for glob in globs if glob.startswith("!"))


# fnmatch keeps only 256 of them, and there are more.
@functools.lru_cache(maxsize=4096)
def _glob(glob: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(glob)).match


def _hit(match: Any, expression: Expression, text: Text, position: int) -> Hit:
    groups = {name: value for name, value in match.groupdict().items() if value is not None}
    # Of several lines, the one that says most is that of the first capture; but a place alone says little. Without one
    # it is the line of the last word: an expression may take in line ends behind it.
    numbers = match.re.groupindex
    last = match.start() + max(0, len(match.group().rstrip()) - 1)
    told = min((match.start(numbers[name]) for name in groups.keys() - PLACES), default=last)
    start = text.bytes.rfind(b"\n", 0, told) + 1
    line = text.line_at(told)
    if len(line) > EXCERPT_BYTES:
        offset = max(0, min(match.start() - start, len(line) - EXCERPT_BYTES))
        line = line[offset : offset + EXCERPT_BYTES]
    captured = {name: value[:MAX_CAPTURE].decode("utf-8", "replace") for name, value in groups.items()}
    return Hit(expression.confidence, position, told, line.strip(), MappingProxyType({**expression.values, **captured}))

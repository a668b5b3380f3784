"""One scan of a text for all expressions at once, and a look at their occurrences near what the scan found.

RE2 matches in time linear in the text whatever the expression, so no pattern and no log can make it hang.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any

import re2

from autopack_hardening.core.literals import DIGIT, Need, need
from autopack_hardening.core.prefilter import prefilter

__all__ = ["Found", "Scanner"]

# Past this many hits of one expression the text is no log of one failing command; the scan stops.
MAX_HITS_SEEN = 20_000
# Occurrences are first looked for in the end of a long text, where those stand that decide.
END_BYTES = 128 << 10
# What a tool says at its end, and what a CI system says after it.
VERDICT_BYTES = 8 << 10
# Where more lines than one in so many bytes have its words, an expression is looked for in all of the text: to try it
# on each of them would take longer.
BYTES_A_LINE = 2 << 10
# A text no longer than this is looked at as a whole: that takes less time than to find the lines.
SHORT_BYTES = 2 << 10
# RE2 gives up on a text (and reports no hit) when its automaton outgrows this; the default of 8 MiB is tight for a Set.
SET_MEMORY = 256 << 20

_BLANKS = re.compile(rb"[ \t\n\f\r]*")


class Scanner:
    """Expressions, compiled to be looked for together. Immutable and safe to share between threads.

    Args:
        regexes: RE2; they are known by their numbers, which follow those of ``base``.
        base: expressions that are found as well, by a set of their own: however large these are, they take nothing
            away from those.
        conditions: the numbers of those that are asked for when others occur: without a word to look for, they are no
            part of the scan.
    """

    def __init__(
        self, regexes: Sequence[str], base: Scanner | None = None, *, conditions: Collection[int] = ()
    ) -> None:
        self._base = base
        self._first = len(base) if base is not None else 0
        self._regexes = tuple(regexes)
        self._needs = [need(regex) for regex in regexes]
        # Filled when an expression hits for the first time: most never do in the life of a process.
        self._compiled: dict[str, Any] = {}
        owners: dict[str, list[int]] = {}
        for number, (regex, one) in enumerate(zip(regexes, self._needs, strict=True), self._first):
            for sought in _expressions(one) or ([] if number in conditions else [prefilter(regex)]):
                owners.setdefault(sought, []).append(number)
        self._sought = tuple(owners)
        self._owners = tuple(owners.values())
        self._unscanned = {number for number in conditions if not self._needs[number - self._first].words}
        options = re2.Options()
        options.max_mem = SET_MEMORY
        self._set = re2.Set.SearchSet(options)
        for sought in owners:
            self._set.Add(sought)
        if owners:
            self._set.Compile()

    def __len__(self) -> int:
        return self._first + len(self._regexes)

    def scan(self, text: bytes) -> list[int]:
        """Numbers of the expressions that may occur: of all that do, and some more, to be looked for one by one."""
        return self.scan_with_words(text)[0]

    def scan_with_words(self, text: bytes) -> tuple[list[int], set[str]]:
        """What ``scan`` tells, and the expressions that it found: of words, as ``word_expression`` writes them."""
        numbers, sought = self._base.scan_with_words(text) if self._base is not None else ([], set())
        if not self._owners:
            return numbers, sought
        places = self._set.Match(text) or ()
        own = sorted({number for place in places for number in self._owners[place]})
        return numbers + own, sought.union(self._sought[place] for place in places)

    def is_scanned(self, number: int) -> bool:
        """Whether the scan looks for an expression."""
        if self._base is not None and number < self._first:
            return self._base.is_scanned(number)
        return number not in self._unscanned

    def needs(self, number: int) -> Need:
        """What an expression needs in order to occur."""
        if self._base is not None and number < self._first:
            return self._base.needs(number)
        return self._needs[number - self._first]

    def compiled(self, number: int) -> Any:
        """An expression alone."""
        if self._base is not None and number < self._first:
            return self._base.compiled(number)
        return self.alone(self._regexes[number - self._first])

    def alone(self, regex: str) -> Any:
        """Any expression, compiled once. Two threads may both compile it, and get the same."""
        found = self._compiled.get(regex)
        if found is None:
            found = self._compiled[regex] = re2.compile(regex)
        return found


def _expressions(one: Need) -> list[str]:
    """Expressions for the words that are needed."""
    return [word_expression(word, one.is_folded) for word in sorted(one.words)]


# A few words of some thousand stand in an output; those are asked for again and again.
@functools.lru_cache(maxsize=8192)
def word_expression(word: str, is_folded: bool) -> str:
    """RE2 for a word that an expression needs."""
    escaped: str = re2.escape(word)
    return ("(?i)" if is_folded else "") + escaped.replace(DIGIT, r"\d")


class Found:
    """What occurs in a text. For one thread, and for as long as the text is looked at.

    Attributes:
        numbers: of the expressions that may occur, as the scan tells, in ascending order.
    """

    def __init__(self, scanner: Scanner, text: bytes) -> None:
        self.numbers, self._sought = scanner.scan_with_words(text)
        self._numbers = frozenset(self.numbers)
        self._scanner = scanner
        self._text = text
        end_part = text.rfind(b"\n", 0, len(text) - END_BYTES) + 1 if len(text) > 2 * END_BYTES else 0
        # From where to where to look: in the end alone first, where the occurrences stand that decide.
        self._regions = [(end_part, len(text)), (0, end_part)] if end_part else [(0, len(text))]
        # What was looked for already: several expressions need the same words.
        self._places: dict[tuple[str, int], list[int] | None] = {}
        self._lines: dict[tuple[Need, int], list[tuple[int, int]] | None] = {}

    def occurs(self, number: int) -> bool:
        """Whether an expression occurs."""
        return bool(self.last(number, 1))

    def ends_with(self, number: int) -> Any | None:
        """The last match of an expression that occurs, if at all, in the last lines."""
        if number not in self._numbers:
            return None
        start = self._text.rfind(b"\n", 0, max(0, len(self._text) - VERDICT_BYTES)) + 1
        found = _last_of(self._scanner.compiled(number).finditer(self._text, max(0, start - 1)), 1)
        return found[0] if found else None

    def last(self, number: int, count: int) -> list[Any]:
        """The last ``count`` matches at most, in their order: of a long text's end if there are any, else of all."""
        if number not in self._numbers and self._scanner.is_scanned(number):
            return []
        compiled, one = self._scanner.compiled(number), self._scanner.needs(number)
        by_lines = one.stays_in_line and one.words and len(self._text) > SHORT_BYTES
        for start, end in self._regions:
            lines = self._lines_with_words(one, start, end) if by_lines else None
            if lines is None:
                # An expression may begin with the line end before, and end anywhere.
                found = _last_of(compiled.finditer(self._text, max(0, start - 1)), count)
            else:
                found = self._last_on(lines, compiled, count)
            if found:
                return found
        return []

    def _last_on(self, lines: list[tuple[int, int]], compiled: Any, count: int) -> list[Any]:
        """The last matches on these lines, of which the last one comes first."""
        found: list[Any] = []
        for start, end in lines:
            if on_line := _last_of(compiled.finditer(self._text, start, end), count):
                found += reversed(on_line)
                if len(found) >= count:
                    break
        return found[:count][::-1]

    def _lines_with_words(self, one: Need, start: int, end: int) -> list[tuple[int, int]] | None:
        """From where to where the lines are on which an expression may occur, the last one first; None: too many."""
        key = (one, start)
        if key not in self._lines:
            places = [self._lines_of_word(word, one.is_folded, start, end) for word in one.words]
            known = [lines for lines in places if lines is not None]
            is_few = len(known) == len(places)
            self._lines[key] = [self._line(at) for at in sorted(set().union(*known), reverse=True)] if is_few else None
        return self._lines[key]

    def _line(self, start: int) -> tuple[int, int]:
        """A line; blanks that follow, in empty lines too, may belong to a match on it."""
        end = self._text.find(b"\n", start)
        return start, _end_of_blanks(self._text, end) if end >= 0 else len(self._text)

    def _lines_of_word(self, word: str, is_folded: bool, start: int, end: int) -> list[int] | None:
        sought = word_expression(word, is_folded)
        if sought not in self._sought:
            return []
        key = (sought, start)
        if key not in self._places:
            is_plain = not is_folded and DIGIT not in word
            self._places[key] = (
                self._lines_of_plain(word, start, end) if is_plain else self._lines_of(sought, start, end)
            )
        return self._places[key]

    def _lines_of_plain(self, word: str, start: int, end: int) -> list[int] | None:
        sought = word.encode()
        lines: list[int] = []
        most = 1 + (end - start) // BYTES_A_LINE
        while (at := self._text.rfind(sought, start, end)) >= 0:
            if len(lines) == most:
                return None
            end = self._text.rfind(b"\n", 0, at) + 1
            lines.append(end)
        return lines

    def _lines_of(self, regex: str, start: int, end: int) -> list[int] | None:
        lines: list[int] = []
        most = 1 + (end - start) // BYTES_A_LINE
        line_end = start
        for match in self._scanner.alone(regex).finditer(self._text, start, end):
            at = match.start()
            if at < line_end:  # of one line; to look for its beginning each time would take quadratic time
                continue
            if len(lines) == most:
                return None
            lines.append(self._text.rfind(b"\n", 0, at) + 1)
            line_end = self._text.find(b"\n", at)
            if line_end < 0:
                break
        return lines


def _last_of(matches: Iterable[Any], count: int) -> list[Any]:
    return list(islice(matches, MAX_HITS_SEEN))[-count:]


def _end_of_blanks(text: bytes, start: int) -> int:
    found = _BLANKS.match(text, start)
    return found.end() if found is not None else start

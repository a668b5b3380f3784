"""What every occurrence of an expression contains, read off the expression: words to look for in its stead.

Looking for a thousand plain words at once takes an automaton of few states, which stay in the processor's cache;
looking for the expressions takes one that outgrows it. And an expression that stays within a line needs to be tried on
no other line than those on which one of its words stands.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace

from autopack_hardening.core.telling import DIGIT, worth

__all__ = ["DIGIT", "Need", "need"]

# Characters that a word must have, and how much they must tell; others stand on every second line.
SHORTEST = 3
TELLING = 4
# Characters of a word; longer ones are no rarer, but have more states.
LONGEST = 32
# Words of an expression that is one long list of alternatives.
MAX_WORDS = 64
# Spellings of a part: what has more is looked for by another part.
MAX_SPELLINGS = 32
# A class of more characters is not spelled out.
MAX_CLASS = 4

_INFINITE = 1 << 30
_PLAIN = re.compile(r"""[\w '":,;/<>=!@#%&~`-]+(?![*+?{])""", re.ASCII)
_REPETITION = re.compile(r"(?:([*+?])|\{(\d+)(,?)(\d*)\})\??")
_GROUP = re.compile(r"\?(?:P?<\w+>|([a-zA-Z-]*):|([a-zA-Z-]+)\))")
_ESCAPE = re.compile(r"x\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{2})|([pP])(?:\{\^?\w+\}|\w)|(.)", re.DOTALL)
_NAMED_CLASS = re.compile(r"\[:(\^?)(\w+):\]")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_WIDTHLESS = frozenset("bBAz")
_CLASSES = {"d": False, "w": False, "S": False, "s": True, "D": True, "W": True}
"""The classes that a letter stands for, and whether they hold the end of a line."""
_WITH_LINE_END = ("space", "cntrl", "ascii")
_BLANKS = frozenset(" \t\n\f\r")


@dataclass(frozen=True, slots=True)
class Need:
    """What an expression needs in order to occur.

    Attributes:
        words: every occurrence contains one of them; empty if nothing telling can be said. May have ``DIGIT`` in them.
        is_folded: they are in lower case, and the case of the letters does not matter.
        stays_in_line: an occurrence lies within one line, but for blanks and empty lines before and after it.
    """

    words: frozenset[str] = frozenset()
    is_folded: bool = False
    stays_in_line: bool = False


class _Unknown(Exception):
    """Syntax that is not read here."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an expression.

    Attributes:
        spellings: all that it matches; None if that is too much.
        words: of which its match contains one, if there are no spellings; None if nothing is known.
        heads: of which one starts its match, if there are no spellings.
        tails: of which one ends its match, if there are no spellings.
        is_folded: spellings and words are in lower case, and the case of the letters does not matter.
        crosses: it may match the end of a line.
        is_blank: it matches nothing but blanks and line ends.
        is_optional: it also matches the empty text.
    """

    spellings: frozenset[str] | None = None
    words: frozenset[str] | None = None
    heads: frozenset[str] = frozenset([""])
    tails: frozenset[str] = frozenset([""])
    is_folded: bool = False
    crosses: bool = False
    is_blank: bool = False
    is_optional: bool = False

    @property
    def telling(self) -> frozenset[str] | None:
        """What its match contains."""
        return _minimal(self.spellings) or self.words

    @property
    def starts(self) -> frozenset[str]:
        """What its match starts with."""
        return self.heads if self.spellings is None else self.spellings

    @property
    def ends(self) -> frozenset[str]:
        """What its match ends with."""
        return self.tails if self.spellings is None else self.spellings


_EMPTY = frozenset([""])
_NOTHING = _Part(spellings=_EMPTY, is_blank=True, is_optional=True)
_ANY_DIGIT = _Part(spellings=frozenset([DIGIT]))


# The same patterns are compiled again with some left out, and in every test.
@functools.lru_cache(maxsize=4096)
def need(regex: str) -> Need:
    r"""What the RE2 expression ``regex`` needs; nothing, if it is written in a way that is not understood here.

    >>> need(r"(?m)^(?:error: )?No module named [^\n]{1,80}\s*$")
    Need(words=frozenset({'No module named '}), is_folded=False, stays_in_line=True)
    """
    if DIGIT in regex:
        return Need()
    try:
        parser = _Parser(regex)
        part = parser.alternatives("", is_outermost=True)
        if parser.at < len(regex):
            return Need()
    except (_Unknown, RecursionError):
        return Need()
    words = part.telling or frozenset()
    if not words or min(map(len, words)) < SHORTEST or worth(words) < TELLING:
        return Need(stays_in_line=not part.crosses)
    return Need(frozenset(word[:LONGEST] for word in words), part.is_folded, not part.crosses)


class _Parser:
    """Reads an expression from left to right; ``at`` is where it stands."""

    def __init__(self, regex: str) -> None:
        self.regex = regex
        self.at = 0

    def alternatives(self, flags: str, *, is_outermost: bool = False) -> _Part:
        """Up to a closing bracket or the end."""
        found = []
        while True:
            part, flags = self._sequence(flags, is_outermost)
            found.append(part)
            if not self._took("|"):
                return _any_of(found)

    def _sequence(self, flags: str, is_outermost: bool) -> tuple[_Part, str]:
        """Up to a bar, a closing bracket or the end; and the flags from there on."""
        parts: list[_Part] = []
        while self.at < len(self.regex) and self.regex[self.at] not in "|)":
            part, flags = self._atom(flags)
            while repetition := _REPETITION.match(self.regex, self.at):
                self.at = repetition.end()
                part = _repeated(part, *_counts(repetition))
            parts.append(part)
        return _joined(parts, is_outermost), flags

    def _atom(self, flags: str) -> tuple[_Part, str]:
        if plain := _PLAIN.match(self.regex, self.at):
            self.at = plain.end()
            return _literal(plain[0], flags), flags
        character = self.regex[self.at]
        self.at += 1
        if character == "(":
            return self._group(flags)
        if character == "[":
            return self._class(flags), flags
        if character == ".":
            return _Part(crosses="s" in flags), flags
        if character in "^$":
            return _NOTHING, flags
        return self._escape(flags) if character == "\\" else _literal(character, flags), flags

    def _group(self, flags: str) -> tuple[_Part, str]:
        start = _GROUP.match(self.regex, self.at)
        if start is None and self.regex.startswith("?", self.at):
            raise _Unknown
        inner = flags
        if start is not None:
            self.at = start.end()
            if start[2] is not None:
                return _NOTHING, _changed(flags, start[2])
            inner = _changed(flags, start[1] or "")
        part = self.alternatives(inner)
        if not self._took(")"):
            raise _Unknown
        return part, flags

    def _escape(self, flags: str) -> _Part:
        found = self._escaped()
        letter = found[4]
        if found[3] is not None:
            return _Part(crosses=True)
        if letter in _WIDTHLESS:
            return _NOTHING
        if letter == "d":
            return _ANY_DIGIT
        if letter in _CLASSES:
            return _Part(crosses=_CLASSES[letter], is_blank=letter == "s")
        return _literal(_character(found), flags)

    def _escaped(self) -> re.Match[str]:
        found = _ESCAPE.match(self.regex, self.at)
        if found is None:
            raise _Unknown
        self.at = found.end()
        return found

    def _class(self, flags: str) -> _Part:
        """A class in brackets, spelled out if it is small."""
        if self.regex.startswith("0-9]", self.at):
            self.at += 4
            return _ANY_DIGIT
        is_negated = self._took("^")
        members: set[str] = set()
        is_large = holds_line_end = False
        is_first = True
        while is_first or not self.regex.startswith("]", self.at):
            is_first = False
            low, high, holds_one = self._members()
            holds_line_end = holds_line_end or holds_one
            is_large = is_large or ord(high) - ord(low) >= MAX_CLASS
            if not is_large:
                members.update(map(chr, range(ord(low), ord(high) + 1)))
        self.at += 1
        if is_negated:
            return _Part(crosses=not holds_line_end)
        if is_large or len(members) > MAX_CLASS:
            return _Part(crosses=holds_line_end)
        return _any_of([_literal(member, flags) for member in members])

    def _members(self) -> tuple[str, str, bool]:
        """The first and the last one of some that follow each other, and whether the end of a line is among them."""
        low, holds_line_end = self._member()
        if low is None:
            return "\0", chr(MAX_CLASS), holds_line_end
        high: str | None = low
        if self.regex.startswith("-", self.at) and not self.regex.startswith("-]", self.at):
            self.at += 1
            high, _ = self._member()
        if high is None:
            raise _Unknown
        return low, high, low <= "\n" <= high

    def _member(self) -> tuple[str | None, bool]:
        """A character of a class, or None for a class within it, with whether that holds the end of a line."""
        if self.at >= len(self.regex):
            raise _Unknown
        if named := _NAMED_CLASS.match(self.regex, self.at):
            self.at = named.end()
            return None, (named[2] in _WITH_LINE_END) != bool(named[1])
        character = self.regex[self.at]
        self.at += 1
        if character != "\\":
            return character, False
        found = self._escaped()
        if found[3] is not None:
            raise _Unknown
        if found[4] in _CLASSES:
            return None, _CLASSES[found[4]]
        return _character(found), False

    def _took(self, character: str) -> bool:
        is_there = self.regex.startswith(character, self.at)
        self.at += is_there
        return is_there


def _literal(text: str, flags: str) -> _Part:
    is_folded = "i" in flags
    if is_folded and not text.isascii() and text.lower() != text.upper():
        raise _Unknown
    spelling = frozenset([text.lower() if is_folded else text])
    return _Part(spelling, is_folded=is_folded, crosses="\n" in text, is_blank=_BLANKS.issuperset(text))


def _character(escaped: re.Match[str]) -> str:
    """What a backslash makes of what follows it."""
    code, letter = escaped[1] or escaped[2], escaped[4]
    if code:
        if int(code, 16) > 0x10FFFF:
            raise _Unknown
        return chr(int(code, 16))
    if letter.isalnum() and letter not in _CONTROLS:
        raise _Unknown
    return _CONTROLS.get(letter, letter)


def _changed(flags: str, change: str) -> str:
    on, _, off = change.partition("-")
    return "".join(flag for flag in {*flags, *on} if flag not in off) if change else flags


def _counts(repetition: re.Match[str]) -> tuple[int, int]:
    sign, low, comma, high = repetition.groups()
    if sign:
        return int(sign == "+"), 1 if sign == "?" else _INFINITE
    return int(low), int(high) if high else _INFINITE if comma else int(low)


def _repeated(part: _Part, low: int, high: int) -> _Part:
    if low == high == 1:
        return part
    is_maybe = low == 0
    spellings = None
    if part.spellings is not None and is_maybe and high == 1:
        spellings = part.spellings | _EMPTY
    elif part.spellings is not None and len(part.spellings) == 1 and low == high <= LONGEST:
        spellings = frozenset(spelling * low for spelling in part.spellings)
    return _Part(
        spellings,
        words=None if is_maybe else part.telling,
        heads=_EMPTY if is_maybe else part.starts,
        tails=_EMPTY if is_maybe else part.ends,
        is_folded=part.is_folded,
        crosses=part.crosses,
        is_blank=part.is_blank,
        is_optional=part.is_optional or is_maybe,
    )


def _any_of(parts: list[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    is_folded = any(part.is_folded for part in parts)
    return _Part(
        spellings=_union([part.spellings for part in parts], is_folded, MAX_SPELLINGS),
        words=_union([part.telling for part in parts], is_folded, MAX_WORDS),
        heads=_union([part.starts for part in parts], is_folded, MAX_SPELLINGS) or _EMPTY,
        tails=_union([part.ends for part in parts], is_folded, MAX_SPELLINGS) or _EMPTY,
        is_folded=is_folded,
        crosses=any(part.crosses for part in parts),
        is_blank=all(part.is_blank for part in parts),
        is_optional=any(part.is_optional for part in parts),
    )


def _joined(parts: list[_Part], is_outermost: bool) -> _Part:
    """Parts one after the other."""
    if len(parts) == 1 and not is_outermost:
        return parts[0]
    is_folded = any(part.is_folded for part in parts)
    if is_folded:
        parts = [part if part.is_folded else _folded(part) for part in parts]
    words: frozenset[str] | None = None
    heads: frozenset[str] | None = None
    run = _EMPTY
    for part in parts:
        longer = _followed(run, part.spellings)
        if longer is not None:
            run = longer
            continue
        # Here the run of what is spelled out ends, with as much of this part as is known to start it.
        run = _followed(run, part.starts) or run
        heads = run if heads is None else heads
        words = _better(words, _minimal(run))
        if part.spellings is None:
            words = _better(words, part.words)
        run = part.ends
    return _Part(
        spellings=run if heads is None else None,
        words=None if heads is None else _better(words, _minimal(run)),
        heads=heads or _EMPTY,
        tails=run,
        is_folded=is_folded,
        crosses=any(part.crosses for part in (_without_margins(parts) if is_outermost else parts)),
        is_blank=all(part.is_blank for part in parts),
        is_optional=all(part.is_optional for part in parts),
    )


def _folded(part: _Part) -> _Part:
    """The same in lower case."""
    return replace(
        part,
        spellings=_union([part.spellings], True, MAX_SPELLINGS),
        words=_union([part.words], True, MAX_WORDS),
        heads=_union([part.heads], True, MAX_SPELLINGS) or _EMPTY,
        tails=_union([part.tails], True, MAX_SPELLINGS) or _EMPTY,
        is_folded=True,
    )


def _followed(some: frozenset[str], others: frozenset[str] | None) -> frozenset[str] | None:
    """One of ``some`` followed by one of ``others``; None if these are not known, or if that makes too many."""
    if others is None or len(some) * len(others) > MAX_SPELLINGS:
        return None
    if others == _EMPTY:
        return some
    if some == _EMPTY:
        return others
    return frozenset([one + other for one in some for other in others])


def _without_margins(parts: list[_Part]) -> list[_Part]:
    """Without the blanks that may stand before an occurrence, and those that stand after it."""
    start, end = 0, len(parts)
    while start < end and parts[start].is_blank and parts[start].is_optional:
        start += 1
    while end > start and parts[end - 1].is_blank:
        end -= 1
    return parts[start:end]


def _union(sets: list[frozenset[str] | None], is_folded: bool, most: int) -> frozenset[str] | None:
    """All of them together; None if one is not known, or if they are too many."""
    known = [one for one in sets if one is not None]
    if len(known) < len(sets):
        return None
    found = frozenset().union(*known)
    if is_folded:
        found = frozenset([word.lower() for word in found])
    return found if len(found) <= most else None


def _better(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """The more telling one: whose shortest word tells more, then the one with fewer words."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda words: (worth(words, is_common_told=False), -len(words)))


def _minimal(words: frozenset[str] | None) -> frozenset[str] | None:
    """Without words that contain another one; None if one is blank, which says nothing."""
    if words is None or not all(word and not word.isspace() for word in words):
        return None
    if len(words) == 1:
        return words
    return frozenset([word for word in words if not any(other in word and other != word for other in words)])

"""Text from outside, made safe to put in a prompt: one visible line, escaped, cut where a reader would cut it."""

from __future__ import annotations

import unicodedata

__all__ = ["CUT_MARK", "clean_line", "cut", "escape", "size"]

CUT_MARK = "…"
"""Stands at the end of whatever was cut."""

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_TRANSLATION = str.maketrans(_ESCAPES)

_SHORTEST_SHARE = 0.5
"""A cut at a sentence or clause must keep this share of the room, or a later, rougher cut is better."""

# With the full-width forms of Chinese and Japanese text.
_SENTENCE_ENDS = frozenset(".!?\u3002\uff01\uff1f")
_CLAUSE_ENDS = frozenset(",;:)\u2013\u2014\u3001\uff0c\uff1b\uff1a")

# Characters without a shape of their own that are not of category Cf: variation selectors and fillers. Bytes can be
# smuggled past a reader's eye in a row of them.
_INVISIBLE = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)


def clean_line(text: str) -> str:
    """``text`` as one line of visible characters, in NFC, not yet escaped.

    White space and line ends become one space, so no item can forge a heading; control characters, zero-width and
    bidirectional marks, byte order marks, tag characters and variation selectors go; a lone surrogate becomes U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    visible = "".join(map(_visible, text))
    return " ".join(unicodedata.normalize("NFC", visible).split())


def _visible(char: str) -> str:
    if char.isspace():
        return " "
    category = unicodedata.category(char)
    if category in ("Cc", "Cf") or char in _INVISIBLE:
        return ""
    return "\N{REPLACEMENT CHARACTER}" if category == "Cs" else char


def escape(text: str) -> str:
    """``text`` with ``&``, ``<`` and ``>`` as entities: it cannot close the envelope."""
    return text.translate(_TRANSLATION)


def size(text: str) -> int:
    """Bytes of ``text`` in UTF-8."""
    return len(text.encode())


def cut(line: str, limit: int) -> str:
    """The escaped head of a cleaned ``line`` in at most ``limit`` bytes of UTF-8.

    Cut behind a sentence, else a clause, else a word, else a character (never inside an entity, and before a
    combining mark only where nothing but marks fits), and marked with :data:`CUT_MARK`; empty if not even that fits.
    """
    if size(escape(line)) <= limit:
        return escape(line)
    room = limit - size(CUT_MARK)
    end = _fitting(line, room)
    end = _sentence_or_clause(line, end) or _word(line, end) or _whole_character(line, end)
    head = line[:end].rstrip()
    return escape(head) + CUT_MARK if head else ""


def _fitting(line: str, room: int) -> int:
    """How many leading characters, once escaped, take at most ``room`` bytes."""
    used = 0
    for index, char in enumerate(line):
        used += size(_ESCAPES.get(char, char))
        if used > room:
            return index
    return len(line)


def _sentence_or_clause(line: str, end: int) -> int:
    shortest = int(end * _SHORTEST_SHARE)
    for ends in (_SENTENCE_ENDS, _CLAUSE_ENDS):
        for index in range(end - 1, shortest - 1, -1):
            # "v1.2" and "a,b" are not ends: the next character must be a space, or the mark a wide one.
            if line[index] in ends and (not line[index].isascii() or line[index + 1 : index + 2] in ("", " ")):
                return index + 1
    return 0


def _word(line: str, end: int) -> int:
    if line[end : end + 1] == " ":
        return end
    space = line.rfind(" ", 0, end)
    return space if space >= end * _SHORTEST_SHARE else 0


def _whole_character(line: str, end: int) -> int:
    start = end
    while 0 < start < len(line) and unicodedata.combining(line[start]):
        start -= 1
    return start or end  # a row of marks that fills the room is no text that a cut could spoil

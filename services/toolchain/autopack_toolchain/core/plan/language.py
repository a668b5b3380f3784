"""Whether a text is English, which is the only language with rules here, and what a text in another one asks for by its
form.
"""

from __future__ import annotations

from collections.abc import Sequence

from .blocks import Kind, Line
from .deliverables import Draft
from .knowledge import Knowledge
from .statements import Sense, Statement
from .words import words_of

__all__ = ["foreign_drafts", "foreign_statements", "is_english"]

_SAMPLE = 20_000
"""Characters of a text that are looked at."""

_FOREIGN_SHARE = 0.2
"""Share of letters that are no Latin ones from which on a text is not English: names and signs stay below it."""

_FOREIGN_WORDS = 2
"""A single word of another language may be one of English too ("per line")."""

_BY_LIST = 0.3
_BY_TITLE = 0.2
"""Confidence of what only the form of the text says."""


def is_english(text: str, known: Knowledge) -> bool:
    """Whether the rules apply: Latin letters, and no other language has more of its function words in the text.

    >>> from .knowledge import knowledge
    >>> is_english("Add a retry", knowledge()), is_english("Bitte den Client nicht verändern", knowledge())
    (True, False)
    """
    text = text[:_SAMPLE]
    letters = [char for char in text if char.isalpha()]
    if sum(ord(char) > 0x24F for char in letters) > _FOREIGN_SHARE * len(letters):
        return False
    words = words_of(text)
    english = sum(word in known.words["languages.english"] for word in words)
    others = sum(word in known.words["languages.others"] - known.words["languages.english"] for word in words)
    return english >= others or others < _FOREIGN_WORDS


def foreign_statements(lines: Sequence[Line], known: Knowledge) -> list[Statement]:
    """The lines as statements: what has a word of negation is a non-goal, the rest says nothing by itself."""
    told = (Kind.TEXT, Kind.ITEM, Kind.ROW)
    return [
        Statement(line.text, Sense.NON_GOAL if _negates(line.text, known) else Sense.CONTEXT, index)
        for index, line in enumerate(lines)
        if line.kind in told
    ]


def foreign_drafts(lines: Sequence[Line], indexes: Sequence[int], known: Knowledge) -> list[Draft]:
    """The items of the text's lists, else its first line: how an author of any language writes what is to be done."""
    some = [(index, lines[index]) for index in indexes if not _negates(lines[index].text, known)]
    items = [(index, line) for index, line in some if line.kind in (Kind.ITEM, Kind.ROW) and line.checked is not True]
    if items:
        return [_draft(index, line, _BY_LIST, "list item") for index, line in items]
    first = next(((index, line) for index, line in some if line.kind in (Kind.HEADING, Kind.TEXT)), None)
    return [_draft(*first, _BY_TITLE, "first line")] if first else []


def _negates(text: str, known: Knowledge) -> bool:
    words = frozenset(words_of(text))
    negations = known.words["languages.negations"]
    # Scripts without spaces: the word is a part of the text.
    return not words.isdisjoint(negations) or any(word in text for word in negations if not word.isascii())


def _draft(index: int, line: Line, confidence: float, signal: str) -> Draft:
    return Draft(line.text, "", confidence, signal, index, [index])

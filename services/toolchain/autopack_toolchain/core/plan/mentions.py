"""Paths that stand in a text, and whether the text only points to them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .inline import code_spans
from .knowledge import Knowledge
from .layout import Layout, Match, Resolution
from .signs import COMMAS, ENDS, QUOTES
from .words import words_of

__all__ = ["Mention", "find_mentions"]

MAX_MENTIONS = 100
"""Paths of one statement that are looked at."""

_WORD = re.compile(r"\S+")
_MAX_WORD = 500
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|www\.|mailto:", re.IGNORECASE)
_BETWEEN = frozenset(
    {
        "the",
        "a",
        "an",
        "file",
        "files",
        "module",
        "existing",
        "our",
        "this",
        "that",
        "code",
        "in",
        "of",
        "directory",
        "folder",
        "how",
    }
)
_REFERENCE_WORDS = 4


@dataclass(frozen=True, slots=True)
class Mention:
    """A path in a text.

    Attributes:
        text: as it stands there.
        start, end: where.
        resolution: what it is in the repository.
        reference: the text only points to it ("see ...", "as in ...").
    """

    text: str
    start: int
    end: int
    resolution: Resolution
    reference: bool


def find_mentions(text: str, layout: Layout, known: Knowledge) -> list[Mention]:
    """The paths of a text, in order, each with what it means in the repository."""
    found: list[Mention] = []
    for word, start, in_code in _candidates(text):
        if len(found) >= MAX_MENTIONS:
            break
        if _URL.match(word) or len(word) > _MAX_WORD or ("@" in word.partition("/")[0] and not word.startswith("@")):
            continue
        resolution = layout.resolve(word, in_code=in_code)
        if resolution.match is Match.NOTHING:
            continue
        end = start + len(word)
        found.append(Mention(word, start, end, resolution, _is_reference(text, start, found, known)))
    return found


def _candidates(text: str) -> Iterator[tuple[str, int, bool]]:
    """(word, where it starts, whether in a code span)."""
    at = 0
    for start, end in [*code_spans(text), (len(text), len(text))]:
        for match in _WORD.finditer(text, at, start):
            word, shift = _stripped(match.group())
            if word:
                yield word, match.start() + shift, False
        inner = text[start:end].strip("`")
        offset = start + (end - start - len(inner)) // 2
        if inner.strip() and "\n" not in inner:
            # A command in code names paths too, but its words are no directories.
            alone = len(inner.split()) == 1
            for match in _WORD.finditer(inner):
                word = match.group().strip(QUOTES + ",;")
                if word:
                    yield word, offset + match.start(), alone
        at = end


def _stripped(word: str) -> tuple[str, int]:
    """A word of a sentence without the punctuation around it, and how much was taken off in front."""
    front = len(word) - len(word.lstrip(QUOTES + "(<{*,;:!?"))
    word = word[front:]
    if word.startswith("[") and "]" not in word:
        front, word = front + 1, word[1:]
    word = word.rstrip(QUOTES + f",;:!?>*…{ENDS[0]}{COMMAS}")
    while word and (
        word[-1] == "." or (word[-1] in ")]}" and word.count(word[-1]) > word.count("([{"[")]}".index(word[-1])]))
    ):
        word = word[:-1].rstrip(QUOTES + ",;:!?>")
    return word, front


def _is_reference(text: str, start: int, before: list[Mention], known: Knowledge) -> bool:
    if (
        before
        and before[-1].reference
        and text[before[-1].end : start].strip(" `,()").lower() in ("", "and", "or", "&")
    ):
        return True
    words = list(words_of(text[max(0, start - 100) : start]))
    while words and words[-1] in _BETWEEN and " ".join(words[-2:]) not in known.words["paths.references"]:
        if any(" ".join(words[-n:]) in known.words["paths.references"] for n in range(1, _REFERENCE_WORDS + 1)):
            return True
        words.pop()
    return any(
        " ".join(words[-n:]) in known.words["paths.references"]
        for n in range(1, _REFERENCE_WORDS + 1)
        if len(words) >= n
    )

"""Words, their stems, and phrases of words: matching by whole words, never by substrings.

>>> [token.word for token in tokenize("Don't add `retry()`, e.g. 3x")]
["don't", 'add', 'retry', 'e.g', '3x']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .signs import APOSTROPHE

__all__ = ["Phrases", "Token", "name_words", "stem", "stems", "tokenize", "words_of"]

# One class each, in sequence: linear.
_WORD = re.compile(rf"[^\W_][\w'{APOSTROPHE}+#.-]*")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_MAX_WORD = 100
"""A longer run of letters is data, not a word."""

_STEM_CACHE = 16_384
_VOWELS = frozenset("aeiou")
_KEPT_DOUBLE = frozenset("ls")
# (ending, what replaces it, letters that must remain)
_ENDINGS = (
    ("ings", "", 3), ("ing", "", 3), ("ies", "y", 2), ("ied", "y", 2), ("sses", "ss", 1), ("ches", "ch", 2),
    ("shes", "sh", 2), ("xes", "x", 2), ("ed", "", 3), ("es", "e", 2), ("s", "", 2),
)  # fmt: skip
_NO_PLURAL = ("ss", "us", "is")


@dataclass(frozen=True, slots=True)
class Token:
    """A word in lower case, and where it stands in the text."""

    word: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """The words of a text, in order."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group().rstrip(f".'{APOSTROPHE}-")
        if word and len(word) <= _MAX_WORD:
            found.append(Token(word.lower().replace(APOSTROPHE, "'"), match.start(), match.start() + len(word)))
    return found


def words_of(text: str) -> tuple[str, ...]:
    """The words alone."""
    return tuple(token.word for token in tokenize(text))


@lru_cache(maxsize=_STEM_CACHE)
def stem(word: str) -> str:
    """What the forms of an English word have in common; consistent, not correct.

    >>> [stem(word) for word in ("caching", "caches", "cached", "cache", "retries", "retry", "adding", "status",
    "class")] ['cach', 'cach', 'cach', 'cach', 'retry', 'retry', 'add', 'status', 'class']
    """
    word = word.removesuffix("'s")
    for ending, replacement, rest in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= rest:
            if ending == "s" and word.endswith(_NO_PLURAL):
                break
            word = word[: len(word) - len(ending)] + replacement
            if (
                ending in ("ing", "ings", "ed")
                and len(word) > 3
                and word[-1] == word[-2]
                and word[-1] not in _KEPT_DOUBLE | _VOWELS
            ):
                word = word[:-1]
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def stems(text: str) -> tuple[str, ...]:
    """The stems of the words of a text."""
    return tuple(stem(word) for word in words_of(text))


@lru_cache(maxsize=_STEM_CACHE)
def name_words(name: str) -> tuple[str, ...]:
    """The stems of a name of a file, a directory or an identifier.

    >>> name_words("HTTPClient_retries-v2")
    ('http', 'client', 'retry', 'v', '2')
    """
    return tuple(stem(part.lower()) for part in _PART.findall(name[:_MAX_WORD]))


class Phrases:
    """A set of phrases, found by their first words; the longest wins."""

    def __init__(self, phrases: Iterable[str], *, stemmed: bool = False) -> None:
        self._stemmed = stemmed
        self._by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for phrase in phrases:
            words = stems(phrase) if stemmed else words_of(phrase)
            if words:
                self._by_first.setdefault(words[0], []).append((words, phrase))
        for candidates in self._by_first.values():
            candidates.sort(key=lambda item: -len(item[0]))

    def at(self, words: Sequence[str], index: int) -> tuple[str, int] | None:
        """(phrase, number of its words) that begins at ``index``, or None."""
        if index >= len(words):
            return None
        first = stem(words[index]) if self._stemmed else words[index]
        for phrase, original in self._by_first.get(first, ()):
            part = words[index : index + len(phrase)]
            if tuple(stem(word) for word in part) == phrase if self._stemmed else tuple(part) == phrase:
                return original, len(phrase)
        return None

    def find(self, words: Sequence[str]) -> Iterator[tuple[int, str, int]]:
        """(index, phrase, number of words) of every phrase, none inside of another."""
        index = 0
        while index < len(words):
            found = self.at(words, index)
            if found is not None:
                yield index, *found
            index += found[1] if found else 1

    def any(self, words: Sequence[str]) -> bool:
        """Whether any phrase occurs."""
        return next(self.find(words), None) is not None

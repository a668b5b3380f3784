"""Words of a text that name a directory or a file of the repository: "the HTTP client" is ``src/shop/http_client.py``.

Whole words are compared, as stems, with the words of real names: several words in a row say more than one, a word that the text calls a
module or writes as code says more than another, and words that every repository has say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .clauses import masked
from .inline import code_spans
from .knowledge import Knowledge
from .layout import Layout, parent_of
from .words import name_words, stem, tokenize

__all__ = ["Place", "find_places"]

MAX_PLACES = 3
"""Directories or files that one statement's words may mean; more of them mean none."""

MAX_CANDIDATES = 2_000
"""Names that are compared for one word."""

MAX_IDENTIFIER = 80
"""Characters of an identifier in code; a longer span is an expression."""

_SEVERAL_WORDS = 0.75
_DIRECTORY = 0.5
_FILE = 0.4
_CUE = 0.25
"""Added where the text says "module", "directory" and the like, or writes the word as code."""

_ALSO_NAMED = 0.08
"""Added for each further word of the text that stands in the path."""

_SIDE = 0.5
"""Tests and examples are less likely meant than what they are about."""

_CERTAIN = 0.85


@dataclass(frozen=True, slots=True)
class Place:
    """A directory or file that words of a text name.

    Attributes:
        path: of it.
        directory: whether it is one.
        words: those of the text that name it.
        confidence: from 0 to 1.
    """

    path: str
    directory: bool
    words: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Hit:
    place: Place
    covered: int


def find_places(
    text: str, layout: Layout, known: Knowledge, *, skip: Iterable[str] = (), sides: bool = False
) -> list[Place]:
    """The best places for the words of a text; empty if they name nothing, or too much.

    Args:
        text: a deliverable.
        layout: the repository.
        known: the registry.
        skip: words that are not compared, such as its verb.
        sides: whether tests and examples count as much as the rest.
    """
    return _best(list(_Matcher(text, layout, known, frozenset(map(stem, skip)), sides).hits()))


class _Matcher:
    """The words of one text against the names of a repository."""

    def __init__(self, text: str, layout: Layout, known: Knowledge, skip: frozenset[str], sides: bool) -> None:
        self._layout = layout
        self._known = known
        self._sides = sides
        self._words, self._coded = _words(text)
        self._stems = [stem(word) for word in self._words]
        self._wanted = frozenset(self._stems) - skip - known.words["words.stop"]
        self._directory_cues = frozenset(map(stem, known.words["paths.directory_cues"]))
        self._cues = known.words["paths.cues"] | self._directory_cues

    def hits(self) -> Iterator[_Hit]:
        for index, word in enumerate(self._stems):
            if word not in self._wanted or len(word) < 2:
                continue
            for name, path, directory in self._layout.with_words(word)[:MAX_CANDIDATES]:
                end = index + len(name)
                if tuple(self._stems[index:end]) == name:
                    hit = self._hit(index, end, path, directory)
                    if hit is not None:
                        yield hit

    def _hit(self, index: int, end: int, path: str, directory: bool) -> _Hit | None:
        score = self._base(index, end, directory)
        if not score:
            return None
        parts = {part for piece in path.split("/") for part in name_words(piece.partition(".")[0])}
        covered = len(parts & self._wanted)
        score += _CUE * self._is_cued(index, end, self._cues) + _ALSO_NAMED * max(0, covered - (end - index))
        if not self._sides and self._layout.is_side(path):
            score *= _SIDE
        words = " ".join(self._words[index:end])
        return _Hit(Place(path, directory, words, round(min(_CERTAIN, score), 4)), covered)

    def _base(self, index: int, end: int, directory: bool) -> float:
        """What the words alone are worth; 0 for words that every repository has."""
        generic = self._known.words["paths.generic"]
        said = directory and (self._is_cued(index, end, self._directory_cues))
        if all(word in generic for word in self._stems[index:end]) and not said:
            return 0.0
        if end - index > 1:
            return _SEVERAL_WORDS
        return _DIRECTORY if directory else _FILE

    def _is_cued(self, index: int, end: int, cues: frozenset[str]) -> bool:
        near = {*self._stems[max(0, index - 1) : index], *self._stems[end : end + 1]}
        return index in self._coded or not near.isdisjoint(cues)


def _words(text: str) -> tuple[list[str], set[int]]:
    """The words of a text, identifiers in code split into theirs; and the positions of those that are code."""
    words: list[str] = []
    coded: set[int] = set()
    spans = {start: text[start:end].strip("`") for start, end in code_spans(text)}
    for token in tokenize(masked(text)):
        inner = spans.get(token.start - 1)
        if inner is None:
            words += [part for part in token.word.split("-") if part]
        elif len(inner) <= MAX_IDENTIFIER and "/" not in inner and "." not in inner:
            parts = name_words(inner.removesuffix("()"))
            coded.update(range(len(words), len(words) + len(parts)))
            words += parts
    return words, coded


def _best(hits: list[_Hit]) -> list[Place]:
    """The strongest places; of those with the same strength the one that more of the text speaks for."""
    top = max((hit.place.confidence for hit in hits), default=0.0)
    best = [hit for hit in hits if hit.place.confidence >= top]
    most = max((hit.covered for hit in best), default=0)
    unique = {hit.place.path: hit.place for hit in best if hit.covered == most}
    # A directory and what lies in it: the directory.
    directories = {place.path for place in unique.values() if place.directory}
    places = [place for place in unique.values() if directories.isdisjoint(_above(place.path))]
    if len(places) > MAX_PLACES:
        shallow = min(place.path.count("/") for place in places)
        places = [place for place in places if place.path.count("/") == shallow]
    return sorted(places, key=lambda place: place.path) if len(places) <= MAX_PLACES else []


def _above(path: str) -> list[str]:
    found = []
    while path != ".":
        path = parent_of(path)
        found.append(path)
    return found

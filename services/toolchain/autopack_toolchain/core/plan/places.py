"""Words of a text that name a directory or a file of the repository: "the HTTP client" is ``src/shop/http_client.py``.

Whole words are compared, as stems, with the words of real names: several words in a row say more than one, a word that
    the text calls a module or writes as code says more than another, and words that every repository has say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .clauses import masked
from .deliverables import object_of
from .inline import code_spans
from .knowledge import Knowledge
from .layout import Layout
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
_LEAST = 0.4
"""What is less sure is no guess but noise."""

_CUE = 0.25
"""Added where the text says "module", "directory" and the like, or writes the word as code."""

_ALSO_NAMED = 0.08
"""Added for each further word of the text that stands in the path."""

_WHOLE = 0.2
"""Added where every word of the object stands in the path: "the Redis online store" is ``online_stores/redis.py``."""

_TEXT_CUES = frozenset({"file", "page", "guide", "doc", "document", "chapter"})
_BEHIND = 0.15
"""Added behind "to the", "in the" and the like."""

_PLACES = frozenset({"in", "into", "to", "inside", "within", "under", "of", "for"})
_NEAR_TOP = 0.3
"""Places of other words count if they are not much less sure than the surest."""

_SUBORDINATE = re.compile(
    r"\b(?:so that|that|which|because|when|whenever|if|while|where|unless|until|since)\b", re.IGNORECASE
)
_SHORT_CLAUSE = 12
"""Characters of a main clause that names a place at least."""

_SIDE = 0.5
"""Tests and examples are less likely meant than what they are about."""

_CERTAIN = 0.85
_ADDRESS = re.compile(r"\S*(?:://|@)\S*")
_IDENTIFIER = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]|[^_]_[^_]")
"""Inside of a word: CamelCase or snake_case."""


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
    """A place, the words of the text for it, and how many words of the text and around it stand in its path."""

    place: Place
    start: int
    end: int
    covered: int
    context: int


def find_places(
    text: str, layout: Layout, known: Knowledge, *, skip: Iterable[str] = (), context: str = ""
) -> list[Place]:
    """The best places for the words of a text; empty if they name nothing, or too much.

    Args:
        text: a deliverable.
        layout: the repository.
        known: the registry.
        skip: words that are not compared, such as its verb.
        context: what stands around it, such as its title: of several places with the same name it decides.
    """
    around = frozenset(map(stem, _words(context)[0]))
    for part in dict.fromkeys((_main_clause(text), text)):
        places = _best(list(_Matcher(part, layout, known, frozenset(map(stem, skip)), around).hits()))
        if places:
            return places
    return []


def _main_clause(text: str) -> str:
    """ "Fix the store so that it respects the view" is about the store."""
    found = _SUBORDINATE.search(masked(text))
    return text[: found.start()] if found and found.start() > _SHORT_CLAUSE else text


class _Matcher:
    """The words of one text against the names of a repository."""

    def __init__(
        self, text: str, layout: Layout, known: Knowledge, skip: frozenset[str], context: frozenset[str]
    ) -> None:
        self._layout = layout
        self._known = known
        self._context = context - known.words["words.stop"]
        self._words, self._coded = _words(text)
        self._stems = [stem(word) for word in self._words]
        self._skip = skip
        self._head = frozenset(object_of(text, known)[0])
        self._wanted = frozenset(self._stems) - skip - known.words["words.stop"]
        self._directory_cues = frozenset(map(stem, known.words["paths.directory_cues"]))
        self._cues = known.words["paths.cues"] | self._directory_cues

    def hits(self) -> Iterator[_Hit]:
        """Every name whose words stand in the text in a row, also a directory and a file in it ("HTTP client")."""
        for index, word in enumerate(self._stems):
            if word in self._skip or len(word) < 2:
                continue
            for name, path, directory in self._layout.with_words(word)[:MAX_CANDIDATES]:
                end = index + len(name)
                if tuple(self._stems[index:end]) == name and not self._wanted.isdisjoint(name):
                    yield from self._hit(index, end, path, directory)
                    for child, length in self._children(path, end) if directory else ():
                        yield from self._hit(index, end + length, child, self._layout.is_directory(child))

    def _children(self, directory: str, at: int) -> Iterator[tuple[str, int]]:
        for child in self._layout.children(directory):
            name = name_words(child.rpartition("/")[2].partition(".")[0])
            if name and tuple(self._stems[at : at + len(name)]) == name:
                yield child, len(name)

    def _hit(self, index: int, end: int, path: str, directory: bool) -> Iterator[_Hit]:
        score = self._base(index, end, directory)
        if not score or (not directory and self._layout.is_text(path) and not self._is_cued(index, end, _TEXT_CUES)):
            return  # "add a benchmark" does not mean BENCHMARKS.md
        parts = {part for piece in path.split("/") for part in name_words(piece.partition(".")[0])}
        covered = len(parts & self._wanted)
        score += _CUE * self._is_cued(index, end, self._cues) + _ALSO_NAMED * max(0, covered - (end - index))
        score += _WHOLE * (len(self._head) > 1 and self._head <= parts)
        score += _BEHIND * self._is_behind_preposition(index)
        if self._layout.is_side(path) or path.startswith("."):
            score *= _SIDE
        if score < _LEAST:
            return
        words = " ".join(self._words[index:end])
        place = Place(path, directory, words, round(min(_CERTAIN, score), 4))
        yield _Hit(place, index, end, covered, len(parts & self._context))

    def _base(self, index: int, end: int, directory: bool) -> float:
        """What the words alone are worth; 0 for words that every repository has."""
        generic = self._known.words["paths.generic"]
        said = directory and self._is_cued(index, end, self._directory_cues)
        if all(word in generic for word in self._stems[index:end]) and not said:
            return 0.0
        if end - index > 1:
            return _SEVERAL_WORDS
        return _DIRECTORY if directory else _FILE

    def _is_cued(self, index: int, end: int, cues: frozenset[str]) -> bool:
        near = {*self._stems[max(0, index - 1) : index], *self._stems[end : end + 1]}
        return index in self._coded or not near.isdisjoint(cues)

    def _is_behind_preposition(self, index: int) -> bool:
        """ "to the CLI": what stands there is a place more often than what is added."""
        before = [word for word in self._words[max(0, index - 2) : index] if word not in ("the", "a", "an", "our")]
        return bool(before) and before[-1] in _PLACES


def _words(text: str) -> tuple[list[str], set[int]]:
    """The words of a text, identifiers split into theirs; and the positions of those that are identifiers or code."""
    words: list[str] = []
    coded: set[int] = set()
    spans = {start: text[start:end].strip("`") for start, end in code_spans(text)}
    for token in tokenize(_ADDRESS.sub(lambda match: " " * len(match.group()), masked(text))):
        inner = spans.get(token.start - 1)
        written = text[token.start : token.end]
        if inner is None and _IDENTIFIER.search(written) is None:
            words += [part for part in token.word.split("-") if part]
            continue
        inner = written if inner is None else inner
        if len(inner) <= MAX_IDENTIFIER and "/" not in inner and "." not in inner:
            parts = name_words(inner.removesuffix("()"))
            coded.update(range(len(words), len(words) + len(parts)))
            words += parts
    return words, coded


def _best(hits: list[_Hit]) -> list[Place]:
    """The strongest places, of different words of the text, none inside of another; empty if they are too many."""
    chosen: dict[str, Place] = {}
    taken: set[int] = set()
    top = max((hit.place.confidence for hit in hits), default=0.0)
    for hit in sorted(hits, key=lambda h: (-h.place.confidence, -h.covered, -h.context, h.place.path)):
        enough = hit.place.confidence >= max(_DIRECTORY, top - _NEAR_TOP) or not chosen
        if not enough or not taken.isdisjoint(range(hit.start, hit.end)):
            continue
        rank = (hit.place.confidence, hit.covered, hit.context)
        same = [
            other.place
            for other in hits
            if (other.start, other.end) == (hit.start, hit.end)
            and (other.place.confidence, other.covered, other.context) == rank
        ]
        taken.update(range(hit.start, hit.end))
        # What lies in a place that is surer, or around it, says nothing more.
        new = [place for place in _fewest(same) if not _related(place.path, chosen)]
        chosen.update((place.path, place) for place in new)
    return sorted(chosen.values(), key=lambda place: place.path) if len(chosen) <= MAX_PLACES else []


def _related(path: str, chosen: Iterable[str]) -> bool:
    return any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in chosen)


def _fewest(places: list[Place]) -> list[Place]:
    """Places of one name: the topmost if they are too many; none if that does not help."""
    if len(places) > MAX_PLACES:
        shallow = min(place.path.count("/") for place in places)
        places = [place for place in places if place.path.count("/") == shallow]
    return places if len(places) <= MAX_PLACES else []

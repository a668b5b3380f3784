"""What kind of work a phase is: by what its deliverables do to what, and by the words that speak for a category.

Whole words count, never substrings; a label of the author ("fix: ...", "Type: bug") counts more than any word. Tests
and documentation that accompany other work do not decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..model import Evidence
from .clauses import masked
from .deliverables import Draft, object_of
from .globs import matching
from .knowledge import Knowledge
from .model import Category, CategoryGuess
from .scope import PhaseText, is_test_draft
from .signs import COLONS
from .statements import Sense
from .words import words_of

__all__ = ["guess_category"]

_LABEL = 4.0
_TITLE = 1.5
_OBJECT = 1.2
_CONTEXT = 0.3
_PATHS = 1.5
_EXPECTED = 1.2
"""A label; factors of what stands in the title, of the object of a deliverable, and of words elsewhere; all paths of
one category; a
report that says what was expected."""

_SUPPORT = 0.4
"""Factor of tests, documentation and the like beside other work."""

_SUPPORTING = frozenset({Category.TEST, Category.DOCS})
_CONTEXT_LIMIT = 1.5
"""What words elsewhere add to one category at most."""

_DOUBT = 0.35
"""Confidence rises with the evidence: 1 - doubt ** score."""

_CERTAIN = 0.95
MAX_EVIDENCE = 8
"""Reasons listed for one category."""

_PREFIX = re.compile(r"\s*(?:\[([A-Za-z/ -]{1,30})\]|([A-Za-z]{2,15})(?:\([^()\n]{0,60}\))?!?:)\s*")
_TRACKER = re.compile(
    r"^\s*\[?(?:bug|issue|ticket|story|task|[A-Z]{2,10})[ -]#?[0-9]{1,8}\]?\s*[:-]?\s*", re.IGNORECASE
)
_FIELD = re.compile(rf"\s*(?:type|labels?|kind|category|issue type)\s*[{COLONS}]\s*(.{{1,100}})", re.IGNORECASE)


@dataclass(slots=True)
class _Scores:
    totals: dict[Category, float] = field(default_factory=dict)
    evidence: dict[Category, list[Evidence]] = field(default_factory=dict)

    def add(self, category: Category, score: float, line: int, signal: str) -> None:
        self.totals[category] = self.totals.get(category, 0.0) + score
        self.evidence.setdefault(category, []).append(Evidence("", line, signal, round(min(1.0, score), 4)))


def guess_category(
    text: PhaseText, paths: Iterable[str], labels: Iterable[tuple[str, int]], known: Knowledge
) -> list[CategoryGuess]:
    """The categories for which anything speaks, the best first.

    Args:
        text: of the phase.
        paths: files of its scope, or to be created.
        labels: (text, line) of the title and of lines that may name a type.
        known: the registry.
    """
    scores = _Scores()
    for label, line in labels:
        for category, word in _labels(label, known):
            scores.add(category, _LABEL, line, f"label {word}")
    _title(text, scores, known)
    _drafts(text, scores, known)
    _elsewhere(text, scores, known)
    for category in _of_paths(list(paths), known):
        scores.add(category, _PATHS, 0, "files in scope")
    return _ranked(scores)


def _ranked(scores: _Scores) -> list[CategoryGuess]:
    total = sum(scores.totals.values())
    order = list(Category)
    ranked = sorted(scores.totals.items(), key=lambda item: (-item[1], order.index(item[0])))
    return [
        CategoryGuess(
            category,
            round(min(_CERTAIN, (score / total) * (1 - _DOUBT**score)), 4),
            tuple(sorted(dict.fromkeys(scores.evidence[category]), key=lambda item: -item.weight)[:MAX_EVIDENCE]),
        )
        for category, score in ranked
        if score > 0
    ]


def _labels(text: str, known: Knowledge) -> Iterator[tuple[Category, str]]:
    prefix = _PREFIX.match(text)
    named = _FIELD.match(text)
    words = [prefix.group(1) or prefix.group(2)] if prefix else []
    words += re.split(r"[,;/|]", named.group(1)) if named else []
    for word in words:
        cleaned = word.strip(" `\"'[]").lower()
        for category, signs in known.categories.items():
            if cleaned in signs.labels or cleaned.rpartition(":")[2].strip() in signs.labels:
                yield category, cleaned


def _title(text: PhaseText, scores: _Scores, known: Knowledge) -> None:
    if not text.title:
        return
    title = _TRACKER.sub("", masked(text.title))
    words = words_of(title)
    for category, phrase, weight in _signs(words, known):
        scores.add(category, weight * _TITLE, text.title_number, f"title: {phrase}")
    action = known.action_of(words)
    if action is not None and not _object(title, known):
        chosen = known.actions[action[0]]
        scores.add(chosen.category, chosen.weight, text.title_number, f"title: {words[0]}")


def _drafts(text: PhaseText, scores: _Scores, known: Knowledge) -> None:
    weighed = [(_of_draft(draft, known), draft) for draft in text.drafts]
    main = any(found is not None and found[0] not in _SUPPORTING for found, _ in weighed)
    for found, draft in weighed:
        line = text.numbers[draft.line] if draft.line >= 0 else text.title_number
        if found is not None:
            category, weight, signal = found
            scores.add(category, weight * (_SUPPORT if main and category in _SUPPORTING else 1), line, signal)
        seen = {category for category, _, _ in [found] if found is not None} if found else set()
        for category, phrase, weight in _signs(words_of(masked(draft.text)), known):
            if category not in seen:
                seen.add(category)
                scores.add(category, weight * (_SUPPORT if main and category in _SUPPORTING else 1), line, phrase)


def _of_draft(draft: Draft, known: Knowledge) -> tuple[Category, float, str] | None:
    """The category of what a deliverable does, and why."""
    if is_test_draft(draft, known):
        return Category.TEST, _OBJECT, "asks for tests"
    if draft.action in ("create", "change", "remove", "move", "fix", "automate", "investigate", ""):
        found = _object(draft.text, known)
        if found is not None:
            return found[0], _OBJECT, f"object: {found[1]}"
    action = known.actions.get(draft.action)
    return None if action is None else (action.category, action.weight, f"verb: {draft.action}")


def _object(text: str, known: Knowledge) -> tuple[Category, str] | None:
    """The category of the noun at the end of the object: "add an API test" is about a test, "add a test mode" about a
    mode.
    """
    head, _ = object_of(text, known)
    for category, signs in known.categories.items():
        for at, phrase, length in signs.objects.find(head):
            if at + length == len(head):
                return category, phrase
    return None


def _signs(words: tuple[str, ...], known: Knowledge) -> Iterator[tuple[Category, str, float]]:
    for category, signs in known.categories.items():
        for _, phrase, _ in signs.signs.find(words):
            yield category, phrase, signs.weight


def _elsewhere(text: PhaseText, scores: _Scores, known: Knowledge) -> None:
    added: dict[Category, float] = {}
    seen: set[tuple[Category, str]] = set()
    expected = False
    for statement in text.statements:
        line = text.numbers[statement.line]
        if statement.sense is Sense.EXPECTED and not expected:
            expected = True
            scores.add(Category.BUGFIX, _EXPECTED, line, "says what was expected")
        if statement.sense not in (Sense.CONTEXT, Sense.DEFECT, Sense.EXPECTED, Sense.ACCEPTANCE):
            continue
        for category, phrase, weight in _signs(words_of(masked(statement.text)), known):
            score = min(weight * _CONTEXT, _CONTEXT_LIMIT - added.get(category, 0.0))
            if score > 0 and (category, phrase) not in seen:
                seen.add((category, phrase))
                added[category] = added.get(category, 0.0) + score
                scores.add(category, score, line, phrase)


def _of_paths(paths: list[str], known: Knowledge) -> Iterator[Category]:
    for category, signs in known.categories.items():
        if paths and signs.paths and len(matching(paths, signs.paths)) == len(paths):
            yield category

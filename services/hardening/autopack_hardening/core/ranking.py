"""Which of several explanations comes first: the cause before what wraps it, the specific before the general."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.patterns import Pattern
from autopack_hardening.core.rules.context import Finding

__all__ = ["Candidate", "is_ambiguous", "ranked"]

# Two readings of one line that are as sure as each other: neither may be acted upon unasked.
_AS_SURE = 0.02


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pattern that matched, and what was made of it."""

    pattern: Pattern
    hits: Sequence[Hit]
    finding: Finding

    @property
    def confidence(self) -> float:
        """0 to 1: that of the expression, lowered where the facts do not confirm the reading."""
        return round(self.finding.hit.confidence * self.finding.certainty, 3)

    @property
    def position(self) -> int:
        """Where the deciding occurrence ends."""
        return self.finding.hit.position


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """By priority, confidence and the later occurrence; but no wrapper before a cause that it names.

    A wrapper that reads the very place that its cause reads says nothing more, and is left out.
    """
    telling = [one for one in candidates if not any(_repeats(one, other) for other in candidates)]
    rest = sorted(telling, key=lambda one: (one.pattern.priority, -one.confidence, -one.position, one.pattern.id))
    result: list[Candidate] = []
    while rest:
        # Patterns that wrap each other in a circle are not told apart by it: then the first one is as good.
        chosen = next((one for one in rest if not _wraps_any(one, rest)), rest[0])
        rest.remove(chosen)
        result.append(chosen)
    return result


def is_ambiguous(found: Sequence[Candidate]) -> bool:
    """Whether the first two of ``found`` (ranked) read the same line in two ways, and nothing tells which is right."""
    if len(found) < 2:
        return False
    first, second = found[:2]
    return (
        first.position == second.position
        and first.pattern.priority == second.pattern.priority
        and abs(first.confidence - second.confidence) <= _AS_SURE
        and not first.pattern.is_wrapper_of(second.pattern.id)
        and not second.pattern.is_wrapper_of(first.pattern.id)
    )


def _repeats(one: Candidate, other: Candidate) -> bool:
    return one.position == other.position >= 0 and one.pattern.is_wrapper_of(other.pattern.id)


def _wraps_any(one: Candidate, others: Sequence[Candidate]) -> bool:
    return bool(one.pattern.wraps) and any(one.pattern.is_wrapper_of(other.pattern.id) for other in others)

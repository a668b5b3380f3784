"""Which of several explanations comes first: the cause before what wraps it, the specific before the general."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import re2

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import Ending
from autopack_hardening.core.patterns import Pattern
from autopack_hardening.core.rules.context import Finding

__all__ = ["Candidate", "is_ambiguous", "ranked", "told_exit_codes"]

# Two readings of one line that are as sure as each other: neither may be acted upon unasked.
_AS_SURE = 0.02
# What explains by itself how a run ended: said with some confidence, and no summary of what was said before.
_SURE = 0.7
_SUMMARY_PRIORITY = 7
# How programs tell what those that they started exited with: make, ninja, docker, npm, Go, Rust, Python and CI systems.
_TOLD_CODE = re2.compile(
    r"(?m)\] Error (\d{1,3})\b|\[code=(\d{1,3})\]|\b(?:exit|return)(?:ed|s)?(?: with)?(?: an?)?(?: non-zero)?"
    r"(?: exit)?(?: status| code)*(?:: ?| )\(?(\d{1,3})\b|^npm (?:ERR!|error) (?:code|errno) (\d{1,3})$"
)


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


def told_exit_codes(ending: Ending, text: bytes) -> frozenset[int]:
    """What the command exited with, and what it tells that programs exited with which it started."""
    if ending.exit_code is None:
        return frozenset()
    told = (int(next(filter(None, match.groups()))) for match in _TOLD_CODE.finditer(text))
    return frozenset((ending.exit_code, *told))


def ranked(candidates: Sequence[Candidate], exit_codes: Collection[int] = ()) -> list[Candidate]:
    """By priority, confidence and the later occurrence; but no wrapper before a cause that it names.

    A wrapper that reads the very place that its cause reads says nothing more, and is left out. What would have ended
    the run with another exit code than any of ``exit_codes`` was survived, if something later explains the end: it
    comes after the others.
    """
    telling = [one for one in candidates if not any(_repeats(one, other) for other in candidates)]
    survived = {one.pattern.id for one in telling if any(_outlived(one, other, exit_codes) for other in telling)}
    rest = sorted(
        telling,
        key=lambda one: (
            one.pattern.id in survived,
            one.pattern.priority,
            -one.confidence,
            -one.position,
            one.pattern.id,
        ),
    )
    result: list[Candidate] = []
    while rest:
        # Patterns that wrap each other in a circle are not told apart by it: then the first one is as good.
        chosen = next((one for one in rest if not _wraps_any(one, rest, survived)), rest[0])
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


def _wraps_any(one: Candidate, others: Sequence[Candidate], survived: Collection[str]) -> bool:
    return bool(one.pattern.wraps) and any(
        one.pattern.is_wrapper_of(other.pattern.id) for other in others if other.pattern.id not in survived
    )


def _outlived(one: Candidate, other: Candidate, exit_codes: Collection[int]) -> bool:
    """Whether the run went on after ``one``, and ended with ``other``."""
    return (
        other.position > one.position >= 0
        and not one.pattern.may_end_with(exit_codes)
        and other.pattern.may_end_with(exit_codes)
        and other.confidence >= _SURE
        and other.pattern.priority < _SUMMARY_PRIORITY
        and not one.pattern.is_wrapper_of(other.pattern.id)
    )

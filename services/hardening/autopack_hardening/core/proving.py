"""Proves patterns on their own samples and on those of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.patterns import Pattern, PatternError, Sample

__all__ = ["disturbed", "duplicates", "prove"]


def duplicates(patterns: Sequence[Pattern]) -> Iterator[PatternError]:
    """Patterns whose id another one has."""
    seen: dict[str, Pattern] = {}
    for pattern in patterns:
        other = seen.setdefault(pattern.id, pattern)
        if other is not pattern:
            yield PatternError(pattern.source, pattern.id, f"another pattern has the same id, in {other.source}")


def prove(core: Diagnostician, only: Sequence[Pattern] | None = None) -> Iterator[PatternError]:
    """What the samples of ``only`` (default: of all) disprove, with every pattern of ``core`` at work.

    Of an example the own pattern must be the best diagnosis, or one of those that the example names as ``best``. On
    a near miss no pattern at all may match but those that it names as ``is``.
    """
    for pattern in core.patterns if only is None else only:
        for number, sample in enumerate(pattern.examples, 1):
            problem = _example_problem(core, pattern, sample)
            if problem:
                yield PatternError(pattern.source, pattern.id, f"example {number} {problem}")
        for number, sample in enumerate(pattern.near_misses, 1):
            for found in _ids(core, sample):
                if not any(fnmatchcase(found, glob) for glob in sample.best):
                    yield _near_miss_error(core, pattern, number, found)


def disturbed(core: Diagnostician, pattern: Pattern, without: Diagnostician) -> Iterator[PatternError]:
    """What ``pattern`` spoils for the other patterns of ``core``: their examples and their near misses.

    Only samples in which it occurs are diagnosed with all patterns, which saves nearly all the time of :func:`prove`.

    Args:
        core: with ``pattern``.
        pattern: the new one.
        without: the same maps and noise, without it.
    """
    alone = without.only([pattern])
    for other in core.patterns:
        if other.id == pattern.id:
            continue
        taken = [one for one in (*other.examples, *other.near_misses) if alone.diagnose(one.failure()).diagnoses]
        if not taken:
            continue
        for error in prove(core, [other]):
            if error.pattern_id == pattern.id:
                yield error
            elif f"is diagnosed as {pattern.id} before" in error.problem:
                yield PatternError(pattern.source, pattern.id, f"takes an example of {other.id}: it {error.problem}")


def _example_problem(core: Diagnostician, pattern: Pattern, sample: Sample) -> str:
    found = _ids(core, sample)
    if pattern.id not in found:
        return "is not matched"
    if found[0] == pattern.id or any(fnmatchcase(found[0], glob) for glob in sample.best):
        return ""
    return f"is diagnosed as {found[0]} before {pattern.id}; give one of them another priority, or wraps"


def _near_miss_error(core: Diagnostician, pattern: Pattern, number: int, found: str) -> PatternError:
    if found == pattern.id:
        return PatternError(pattern.source, pattern.id, f"near miss {number} is matched")
    guilty = next(one for one in core.patterns if one.id == found)
    text = f"matches near miss {number} of {pattern.id} ({pattern.source}); if that is right, add it there as is"
    return PatternError(guilty.source, guilty.id, text)


def _ids(core: Diagnostician, sample: Sample) -> list[str]:
    return [diagnosis.pattern_id for diagnosis in core.diagnose(sample.failure()).diagnoses]

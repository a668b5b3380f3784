"""What can go wrong in the hardening service, with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_kit.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)

__all__ = [
    "bad_definition",
    "output_too_large",
    "pattern_built_in",
    "pattern_changed",
    "pattern_exists",
    "store_unavailable",
    "too_many_patterns",
    "unknown_disabled_pattern",
    "unknown_pattern",
]


def unknown_pattern(pattern_id: str) -> NotFound:
    """``PATTERN_NOT_FOUND``."""
    return NotFound(
        f"There is no pattern {pattern_id[:100]!r}.",
        reason="PATTERN_NOT_FOUND",
        remedy="ListPatterns names those there are.",
        metadata={"pattern_id": pattern_id[:100]},
    )


def output_too_large(size: int, limit: int) -> ResourceExhausted:
    """``OUTPUT_TOO_LARGE``."""
    return ResourceExhausted(
        f"The output has {size} bytes; at most {limit} are read.",
        reason="OUTPUT_TOO_LARGE",
        remedy=f"Send its last {limit} bytes: the cause of a failure stands near the end.",
        metadata={"size": str(size), "limit": str(limit)},
    )


def unknown_disabled_pattern(pattern_id: str) -> InvalidArgument:
    """``PATTERN_NOT_FOUND``, about the setting."""
    return InvalidArgument(
        f"AUTOPACK_HARDENING_DISABLED_PATTERNS names {pattern_id!r}, which is no pattern.",
        reason="PATTERN_NOT_FOUND",
        remedy="ListPatterns names those there are; an alias stands for all that have it.",
        metadata={"pattern_id": pattern_id},
    )


def bad_definition(problems: Sequence[str]) -> InvalidArgument:
    """``PATTERN_INVALID``: what is wrong with the definition of a pattern, each problem with the pattern's id."""
    return InvalidArgument(
        f"The pattern cannot be used: {problems[0]}.",
        reason="PATTERN_INVALID",
        remedy="`autopack patterns test FILE` checks a definition; docs/patterns.md describes it.",
        metadata={"problems": str(len(problems))},
        violations=[FieldViolation("definition", problem) for problem in problems],
    )


def pattern_exists(pattern_id: str, revision: int) -> AlreadyExists:
    """``PATTERN_EXISTS``: with another definition."""
    return AlreadyExists(
        f"There is a pattern {pattern_id!r} with another definition.",
        reason="PATTERN_EXISTS",
        remedy=f"Replace it with UpdatePattern, revision {revision}, or choose another id.",
        metadata={"pattern_id": pattern_id, "revision": str(revision)},
    )


def pattern_changed(pattern_id: str, expected: int, found: int) -> Aborted:
    """``PATTERN_CHANGED``: somebody was faster."""
    return Aborted(
        f"Pattern {pattern_id!r} has revision {found} by now, not {expected}.",
        reason="PATTERN_CHANGED",
        remedy="Read it with GetPattern and decide again.",
        metadata={"pattern_id": pattern_id, "expected": str(expected), "revision": str(found)},
    )


def pattern_built_in(pattern_id: str) -> FailedPrecondition:
    """``PATTERN_BUILT_IN``."""
    return FailedPrecondition(
        f"{pattern_id!r} is a built-in pattern.",
        reason="PATTERN_BUILT_IN",
        remedy="AUTOPACK_HARDENING_DISABLED_PATTERNS switches it off; the ids of one's own begin with custom.",
        metadata={"pattern_id": pattern_id},
    )


def too_many_patterns(limit: int) -> ResourceExhausted:
    """``PATTERN_LIMIT``."""
    return ResourceExhausted(
        f"There are {limit} custom patterns, which is as many as a tenant may have.",
        reason="PATTERN_LIMIT",
        remedy="Delete one that is not needed: ListPatterns shows which never helped.",
        metadata={"limit": str(limit)},
    )


def store_unavailable(why: str) -> Unavailable:
    """``PATTERN_STORE_UNAVAILABLE``: the database did not answer a moment ago."""
    return Unavailable(
        f"The database of custom patterns and outcomes cannot be used: {why}",
        reason="PATTERN_STORE_UNAVAILABLE",
        remedy="Check AUTOPACK_HARDENING_DATABASE_URL and the database; it is tried again every few seconds.",
        metadata={"why": why},
    )

"""What can go wrong in the hardening service, with what to do about it."""

from __future__ import annotations

from autopack_kit.errors import InvalidArgument, NotFound, ResourceExhausted

__all__ = ["output_too_large", "unknown_disabled_pattern", "unknown_pattern"]


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

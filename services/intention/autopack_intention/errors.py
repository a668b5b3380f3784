"""What can go wrong in the intention service, with what to do about it."""

from __future__ import annotations

from autopack_kit.errors import InvalidArgument, NotFound, invalid_field

__all__ = ["goal_text_too_long", "no_goal", "unknown_profile"]


def unknown_profile(profile_id: str) -> NotFound:
    """``PROFILE_NOT_FOUND``: never stored for this tenant, or evicted since."""
    return NotFound(
        f"No profile {profile_id!r} is stored; profiles that are not used for long make room for others.",
        reason="PROFILE_NOT_FOUND",
        remedy="Call PutProfile with the same content and repeat the check, or check without a profile.",
        metadata={"profile_id": profile_id},
    )


def goal_text_too_long(field: str, size: int, limit: int, unit: str) -> InvalidArgument:
    """``GOAL_TEXT_TOO_LONG``: more than an intention can come from."""
    return invalid_field(
        field,
        f"has {size:,} {unit}; at most {limit:,} are taken: shorten it, or send the part that says what is to be done",
        reason="GOAL_TEXT_TOO_LONG",
    )


def no_goal(*, empty: bool) -> InvalidArgument:
    """``NO_GOAL``: nothing says what is to be done."""
    if empty:
        field, what = "text", "is empty: write what is to be done, or give it as the title"
    else:
        field, what = "title", "is empty, and the text names no goal: give a title, or write it under a heading Goal"
    return invalid_field(field, what, reason="NO_GOAL")

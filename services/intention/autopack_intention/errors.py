"""What can go wrong in the intention service, with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_kit.errors import FieldViolation, InvalidArgument, NotFound

__all__ = ["invalid_request", "unknown_profile"]


def unknown_profile(profile_id: str) -> NotFound:
    """``PROFILE_NOT_FOUND``: never stored for this tenant, or evicted since."""
    return NotFound(
        f"No profile {profile_id!r} is stored; profiles that are not used for long make room for others.",
        reason="PROFILE_NOT_FOUND",
        remedy="Call PutProfile with the same content and repeat the check, or check without a profile.",
        metadata={"profile_id": profile_id},
    )


def invalid_request(violations: Sequence[FieldViolation]) -> InvalidArgument:
    """``INVALID_FIELD``: every bad field of a request at once."""
    return InvalidArgument(
        " ".join(f"{violation.field} {violation.description}." for violation in violations),
        reason="INVALID_FIELD",
        remedy="Correct the fields named and send the request again.",
        metadata={"field": violations[0].field},
        violations=violations,
    )

"""What can go wrong in the intention service, with what to do about it."""

from __future__ import annotations

from autopack_kit.errors import NotFound

__all__ = ["unknown_profile"]


def unknown_profile(profile_id: str) -> NotFound:
    """``PROFILE_NOT_FOUND``: never stored for this tenant, or evicted since."""
    return NotFound(
        f"No profile {profile_id!r} is stored; profiles that are not used for long make room for others.",
        reason="PROFILE_NOT_FOUND",
        remedy="Call PutProfile with the same content and repeat the check, or check without a profile.",
        metadata={"profile_id": profile_id},
    )

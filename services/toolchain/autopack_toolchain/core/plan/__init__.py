"""What a plan in words means for a repository: see :mod:`.normalise`."""

from __future__ import annotations

from .normalise import MAX_TEXT_BYTES, normalize_plan

__all__ = ["MAX_TEXT_BYTES", "normalize_plan"]

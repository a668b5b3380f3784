"""What the hardening service can be told: ``AUTOPACK_HARDENING_*``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from autopack_kit.settings import setting

__all__ = ["HardeningSettings"]


@dataclass(frozen=True, slots=True)
class HardeningSettings:
    """``AUTOPACK_HARDENING_*``."""

    PREFIX: ClassVar[str] = "AUTOPACK_HARDENING"

    disabled_patterns: tuple[str, ...] = setting((), help="Ids of built-in patterns that shall not match.")

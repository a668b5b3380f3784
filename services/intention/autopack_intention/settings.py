"""What the intention service can be told: ``AUTOPACK_INTENTION_*``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from autopack_kit.settings import setting

__all__ = ["IntentionSettings"]


@dataclass(frozen=True, slots=True)
class IntentionSettings:
    """Limits of the profiles that are kept."""

    PREFIX: ClassVar[str] = "AUTOPACK_INTENTION"

    profiles_in_memory: int = setting(32, help="Profiles kept ready in memory, all tenants together; 1 to 5 MB each.")
    profiles_on_disk: int = setting(1_000, help="Profiles kept on disk per tenant; the least recently used go first.")
    profiles_bytes: int = setting(256 << 20, help="Bytes of profiles kept on disk per tenant.")

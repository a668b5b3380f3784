"""What the intention service can be told: ``AUTOPACK_INTENTION_*``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from autopack_kit.kit_settings import KitSettings
from autopack_kit.settings import load, setting

__all__ = ["IntentionSettings"]


def _profiles_dir(environ: Mapping[str, str]) -> Path:
    return load(KitSettings, environ).data_dir / "intention" / "profiles"


@dataclass(frozen=True, slots=True)
class IntentionSettings:
    """Where profiles are kept, and how many."""

    PREFIX: ClassVar[str] = "AUTOPACK_INTENTION"

    profiles_dir: Path = setting(
        derive=_profiles_dir, help="Where profiles are kept; default: intention/profiles in the data directory."
    )
    profiles_in_memory: int = setting(32, help="Profiles kept ready in memory, all tenants together; 1 to 5 MB each.")
    profiles_on_disk: int = setting(1_000, help="Profiles kept on disk per tenant; the least recently used go first.")
    profiles_bytes: int = setting(256 << 20, help="Bytes of profiles kept on disk per tenant.")

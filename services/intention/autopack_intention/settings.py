"""What the intention service can be told: ``AUTOPACK_INTENTION_*``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from autopack_kit.errors import invalid_field
from autopack_kit.kit_settings import KitSettings
from autopack_kit.settings import load, setting

__all__ = ["IntentionSettings"]


def _database_url(environ: Mapping[str, str]) -> str:
    path = str(load(KitSettings, environ).data_dir / "intention.sqlite3")
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")  # what a URL would read as something else


@dataclass(frozen=True, slots=True)
class IntentionSettings:
    """Where profiles are kept, and how many."""

    PREFIX: ClassVar[str] = "AUTOPACK_INTENTION"

    database_url: str = setting(
        derive=_database_url,
        help="Where profiles are kept: sqlite:////path or postgresql+psycopg://user@host:port/database, which replicas "
        "share; default: intention.sqlite3 in the data directory.",
    )
    profiles_in_memory: int = setting(32, help="Profiles kept ready in memory, all tenants together; 1 to 5 MB each.")
    profiles_stored: int = setting(
        1_000, help="Profiles kept in the database per tenant; the least recently used go first."
    )
    profiles_bytes: int = setting(256 << 20, help="Bytes of profiles kept in the database per tenant.")

    def __post_init__(self) -> None:
        for name in ("profiles_in_memory", "profiles_stored", "profiles_bytes"):
            if (value := getattr(self, name)) < 1:
                raise invalid_field(f"{self.PREFIX}_{name.upper()}", f"{value} must be at least 1")

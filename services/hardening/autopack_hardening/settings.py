"""What the hardening service can be told: ``AUTOPACK_HARDENING_*``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from autopack_kit.errors import invalid_field
from autopack_kit.kit_settings import KitSettings
from autopack_kit.settings import load, setting

__all__ = ["HardeningSettings"]


def _database_url(environ: Mapping[str, str]) -> str:
    path = str(load(KitSettings, environ).data_dir / "hardening.sqlite3")
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")  # what a URL would read as something else


@dataclass(frozen=True, slots=True)
class HardeningSettings:
    """``AUTOPACK_HARDENING_*``."""

    PREFIX: ClassVar[str] = "AUTOPACK_HARDENING"

    disabled_patterns: tuple[str, ...] = setting((), help="Ids of built-in patterns that shall not match.")
    database_url: str = setting(
        derive=_database_url,
        help="Where custom patterns, outcomes and unmatched failures are kept: sqlite:////path or "
        "postgresql+psycopg://user@host:port/database, which replicas share; default: hardening.sqlite3 in the data "
        "directory. While it cannot be reached, built-in patterns work.",
    )
    unmatched: bool = setting(
        True,
        help="false: of failures that no pattern explains nothing is kept; else their last lines are, without what "
        "has the form of a secret.",
    )

    def __post_init__(self) -> None:
        # Here and not when the database is opened: that is done behind the callers' backs.
        if not self.database_url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            scheme = self.database_url.partition(":")[0][:40]
            raise invalid_field(
                f"{self.PREFIX}_DATABASE_URL",
                f"begins with {scheme!r}; write sqlite:////path or postgresql+psycopg://user@host:port/database",
            )

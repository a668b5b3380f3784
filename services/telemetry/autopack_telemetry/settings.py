"""What the telemetry service can be told: ``AUTOPACK_TELEMETRY_*``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

from autopack_kit.errors import invalid_field
from autopack_kit.kit_settings import KitSettings
from autopack_kit.settings import load, setting

__all__ = ["Prices", "TelemetrySettings"]

MAX_RETENTION_DAYS = 36_500
"""A hundred years: what is longer is a mistake, and 0 says "for ever"."""

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9.\-_/]*)?")


def _database_url(environ: Mapping[str, str]) -> str:
    path = str(load(KitSettings, environ).data_dir / "telemetry.sqlite3")
    return "sqlite:///" + path.replace("%", "%25").replace("?", "%3F")  # what a URL would read as something else


class Prices(Enum):
    """Whether costs are derived from tokens."""

    AUTO = "auto"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """``AUTOPACK_TELEMETRY_*``."""

    PREFIX: ClassVar[str] = "AUTOPACK_TELEMETRY"

    enabled: bool = setting(
        True, help="false: what is sent is accepted and dropped, nothing is stored, estimates are the constants."
    )
    database_url: str = setting(
        derive=_database_url,
        help="Where phases and usage are kept: sqlite:////path or postgresql+psycopg://user@host:port/database; "
        "default: telemetry.sqlite3 in the data directory.",
    )
    queue_rows: int = setting(
        50_000, help="Records that may wait to be written before senders are told to come again; at least 1."
    )
    retention_days: int = setting(
        400, help="Days after which what was recorded is deleted; 0 keeps everything. 400 let a year be compared."
    )
    prices: Prices = setting(
        Prices.AUTO,
        help="auto: what a call cost is derived from its tokens, by prices_file and by the price list of the extra "
        "`prices` if it is installed; off: only what agents report.",
    )
    prices_file: Path | None = setting(
        None, help="TOML file of one's own prices by model, in US dollars per million tokens; wins over the price list."
    )
    otlp_endpoint: str = setting(
        "",
        help="URL at which agents reach the HTTP port, if not where it listens: http://telemetry:4318 behind a proxy, "
        "or in another container.",
    )

    def __post_init__(self) -> None:
        if self.otlp_endpoint and not _ENDPOINT.fullmatch(self.otlp_endpoint):
            raise invalid_field(
                f"{self.PREFIX}_OTLP_ENDPOINT",
                f"{self.otlp_endpoint[:100]!r} is not a URL such as http://telemetry:4318, without a user or a query",
            )
        if not 0 <= self.retention_days <= MAX_RETENTION_DAYS:
            raise invalid_field(
                f"{self.PREFIX}_RETENTION_DAYS", f"{self.retention_days} must be 0 to {MAX_RETENTION_DAYS}"
            )
        if self.queue_rows < 1:
            raise invalid_field(f"{self.PREFIX}_QUEUE_ROWS", f"{self.queue_rows} must be at least 1")

"""What every Autopack process can be told, whichever services it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from autopack_kit.logs import LogFormat, LogLevel
from autopack_kit.settings import setting

__all__ = ["KitSettings"]


def _data_dir(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (
        Path(base) if base.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local/share"
    ) / "autopack"


@dataclass(frozen=True, slots=True)
class KitSettings:
    """Process-wide settings, ``AUTOPACK_<FIELD>``."""

    PREFIX: ClassVar[str] = "AUTOPACK"

    data_dir: Path = setting(derive=_data_dir, help="Where state, sockets and secrets live; one directory per user.")
    log_level: LogLevel = setting(LogLevel.INFO, help="Least severe level logged: debug, info, warning, error.")
    log_format: LogFormat = setting(
        LogFormat.AUTO, help="console, json, or auto: console on a terminal, json elsewhere."
    )
    default_deadline: timedelta = setting(
        timedelta(seconds=60), help="Time for a call with a single answer whose caller set no deadline."
    )
    max_deadline: timedelta = setting(timedelta(hours=1), help="Longest time for any call; streams resume after it.")
    tokens_file: Path | None = setting(
        None, help="TOML file of accepted tokens, mode 0600; default: tokens.toml in the data directory."
    )
    signing_key_file: Path | None = setting(
        None,
        help="Key of run and service tokens, mode 0600, the same for all services; "
        "default: signing.key in the data directory.",
    )
    max_connection_age: timedelta = setting(
        timedelta(minutes=30), help="Age after which a connection is closed, so that clients find new replicas."
    )
    max_connection_age_grace: timedelta = setting(
        timedelta(minutes=5), help="Time for calls in flight after a connection reached its age."
    )
    drain_grace: timedelta = setting(timedelta(seconds=20), help="Time for calls in flight after SIGTERM.")
    tls_certificate_file: Path | None = setting(None, help="PEM certificate chain of this server; turns TLS on.")
    tls_key_file: Path | None = setting(None, help="PEM private key of this server, mode 0600.")
    tls_client_ca_file: Path | None = setting(
        None, help="PEM CA that client certificates must come from; turns mTLS on."
    )
    tls_terminated_elsewhere: bool = setting(
        False, help="Allow plaintext on a non-loopback address, because a proxy or mesh in front does TLS."
    )

    http_address: str = setting(
        "",
        help="HOST:PORT of the HTTP port (probes, metrics, OTLP); none: no such port; default: none, or any free one "
        "of 127.0.0.1 where runs are carried out beside the telemetry service, for what their agents report.",
    )

    otlp_traces_endpoint: str = setting(
        "",
        help="URL of an OTLP collector over gRPC, such as http://127.0.0.1:4317, that is sent a span for each call; "
        "default: none. Its headers and certificate: OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_CERTIFICATE.",
    )

    @property
    def tokens_path(self) -> Path:
        """The tokens file, given or default."""
        return self.tokens_file or self.data_dir / "tokens.toml"

    @property
    def signing_key_path(self) -> Path:
        """The signing key, given or default."""
        return self.signing_key_file or self.data_dir / "signing.key"

"""From settings to a running server: what ``python -m autopack_<name>`` and ``autopack serve`` have in common.

A service's ``__main__.py`` is::

    raise SystemExit(main("toolchain", create, ToolchainSettings))
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autopack_kit.auth import Authenticator, Transport, ensure_signing_key, ensure_tokens_file, load_tokens
from autopack_kit.bind import Bind
from autopack_kit.errors import AutopackError, FailedPrecondition
from autopack_kit.interceptors import CallLimits
from autopack_kit.kit_settings import KitSettings
from autopack_kit.logs import configure
from autopack_kit.server import Server, ServerOptions, Service, serve
from autopack_kit.settings import check_unknown, load, names
from autopack_kit.tls import ServerTls

__all__ = ["EXIT_USAGE", "NO_HTTP", "default_bind", "http_bind", "main", "server_options"]

EXIT_USAGE = 2
"""What argparse and most programs return for bad arguments; here also for bad settings and addresses."""
NO_HTTP = "none"
"""Value of ``AUTOPACK_HTTP_ADDRESS`` and ``--http-address`` for no HTTP port."""
_SERVICES = ("TOOLCHAIN", "HARDENING", "INTENTION", "ORCHESTRATOR", "TELEMETRY")


def default_bind(settings: KitSettings, name: str = "autopack") -> Bind:
    """The UNIX socket ``<name>.sock`` in the data directory: ``autopack`` for all services in one process.

    Raises:
        InvalidArgument: the path is too long for a socket.
    """
    return Bind.unix(settings.data_dir / f"{name}.sock")


def http_bind(settings: KitSettings, argument: str | None) -> Bind | None:
    """Where the HTTP port shall be, by the argument, else the setting; None for none.

    Raises:
        InvalidArgument: ``ADDRESS_INVALID``.
    """
    text = argument if argument is not None else settings.http_address
    return None if text in ("", NO_HTTP) else Bind.parse(text)


def server_options(
    settings: KitSettings,
    bind: Bind,
    *,
    health_bind: Bind | None = None,
    http_bind: Bind | None = None,
    tls_terminated_elsewhere: bool = False,
) -> ServerOptions:
    """How to serve on ``bind`` with these settings; makes the signing key, and for TCP the tokens file, when absent.

    The HTTP port has the same certificate and takes the same tokens.

    Raises:
        FailedPrecondition: a secret file cannot be used, or TLS has only one of its two files.
    """
    if bind.transport is Transport.TCP or http_bind is not None:
        tokens = ensure_tokens_file(settings.tokens_path)
    else:
        tokens = load_tokens(settings.tokens_path) if settings.tokens_path.exists() else ()
    tls = _tls(settings)
    return ServerOptions(
        authenticator=Authenticator(tokens, signing_key=ensure_signing_key(settings.signing_key_path)),
        tls=tls,
        tls_terminated_elsewhere=tls_terminated_elsewhere or settings.tls_terminated_elsewhere,
        limits=CallLimits(settings.default_deadline.total_seconds(), settings.max_deadline.total_seconds()),
        max_connection_age=settings.max_connection_age.total_seconds(),
        max_connection_age_grace=settings.max_connection_age_grace.total_seconds(),
        drain_grace=settings.drain_grace.total_seconds(),
        health_bind=health_bind,
        http_bind=http_bind,
        http_tls=tls,
        traces_endpoint=settings.otlp_traces_endpoint,
    )


def main(
    name: str,
    create: Callable[[Any], Service],
    settings_class: type[Any],
    *,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Serves one service until SIGTERM or SIGINT; returns the exit status.

    Args:
        name: of the service.
        create: makes it from its settings.
        settings_class: the settings to read.
        argv: arguments; default: those of the process.
        environ: environment; default: that of the process.
    """
    variables = os.environ if environ is None else environ
    arguments = _arguments(name, argv)
    try:
        check_unknown(_without_other_services(variables, name), names(KitSettings) | names(settings_class))
        settings = load(KitSettings, variables)
        configure(settings.log_format, settings.log_level)
        bind = Bind.parse(arguments.address) if arguments.address else default_bind(settings, name)
        health = Bind.parse(arguments.health_address) if arguments.health_address else None
        options = server_options(
            settings,
            bind,
            health_bind=health,
            http_bind=http_bind(settings, arguments.http_address),
            tls_terminated_elsewhere=arguments.tls_terminated_elsewhere,
        )
        asyncio.run(serve([create(load(settings_class, variables))], bind, options, ready=_announce))
    except AutopackError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    return 0


def _arguments(name: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m autopack_{name}", description=f"Serves {name} alone.")
    parser.add_argument("--address", help=f"unix:/path or HOST:PORT; default: {name}.sock in the data directory")
    parser.add_argument("--health-address", help="HOST:PORT of a plaintext port for health probes and nothing else")
    parser.add_argument("--http-address", help="HOST:PORT for HTTP: probes, metrics, OTLP; default: no such port")
    parser.add_argument(
        "--tls-terminated-elsewhere", action="store_true", help="allow plaintext on a public address behind a proxy"
    )
    return parser.parse_args(argv)


def _announce(server: Server) -> None:
    print(server.address, flush=True)


def _without_other_services(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """One environment file may serve five processes: the settings of the other four are theirs to check."""
    others = tuple(f"AUTOPACK_{service}_" for service in _SERVICES if service != name.upper())
    return {key: value for key, value in environ.items() if not key.startswith(others)}


def _tls(settings: KitSettings) -> ServerTls | None:
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None and key is None and settings.tls_client_ca_file is None:
        return None
    if certificate is None or key is None:
        raise FailedPrecondition(
            "TLS needs both a certificate and its key.",
            reason="TLS_FILES_INCOMPLETE",
            remedy="Set AUTOPACK_TLS_CERTIFICATE_FILE and AUTOPACK_TLS_KEY_FILE, or none of the AUTOPACK_TLS_* files.",
        )
    return ServerTls(certificate, key, settings.tls_client_ca_file)

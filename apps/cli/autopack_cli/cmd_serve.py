"""``autopack serve``: all services in one process, or some of them."""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from autopack_kit.auth import Transport
from autopack_kit.bind import Bind
from autopack_kit.errors import invalid_field
from autopack_kit.kit_settings import KitSettings
from autopack_kit.logs import configure
from autopack_kit.main import NO_HTTP, default_bind, http_bind, server_options
from autopack_kit.server import Server
from autopack_kit.server import serve as serve_until_signal
from autopack_kit.settings import load

from autopack_cli.render import err_console
from autopack_cli.serve import SERVICES, allowed_roots, check_environment, create, for_agents
from autopack_cli.startup import started

__all__ = ["register"]


class Engine(StrEnum):
    """Who carries runs out."""

    LOCAL = "local"
    CLUSTER = "cluster"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("serve")(serve)


def serve(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help=f"Of {', '.join(SERVICES)}.")] = None,
    all_services: Annotated[bool, typer.Option("--all", help="All five in one process.")] = False,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            "--bind",
            metavar="ADDRESS",
            help="unix:/path or HOST:PORT. Default: autopack.sock (of one service: NAME.sock) in the data directory.",
        ),
    ] = None,
    health_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A plaintext port for health probes and nothing else.")
    ] = None,
    http_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="For HTTP: probes, metrics, OTLP. none: no such port. Default: AUTOPACK_HTTP_ADDRESS; else any free "
            "one of 127.0.0.1 where runs are carried out beside telemetry, for what agents report; else none.",
        ),
    ] = None,
    tls_terminated_elsewhere: Annotated[
        bool, typer.Option("--tls-terminated-elsewhere", help="Allow plaintext on a public address behind a proxy.")
    ] = False,
    allow_root: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Directory that may be read and run on, besides the settings; repeatable."),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(help="Who carries runs out: this process, or every `autopack worker` on the same database."),
    ] = Engine.LOCAL,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Certificates and limits are settings: see `autopack config`.

    \b
    autopack serve --all --allow-root ~/src
    autopack serve toolchain hardening --address 127.0.0.1:7070
    autopack serve orchestrator --engine cluster
    """
    chosen = list(dict.fromkeys(names or ()))
    if all_services == bool(chosen):
        raise invalid_field("NAME", "give --all or the names of services, not both and not neither")
    chosen = list(SERVICES) if all_services else chosen
    roots = [root.expanduser().resolve() for root in allow_root or ()]
    check_environment(chosen)
    settings = load(KitSettings, os.environ)
    # Before anything that may log: standard output is for the address alone.
    configure(settings.log_format, settings.log_level)
    services = [create(name, os.environ, allowed_roots=roots, **_options(name, engine)) for name in chosen]
    bind = Bind.parse(address) if address else default_bind(settings, chosen[0] if len(chosen) == 1 else "autopack")
    options = server_options(
        settings,
        bind,
        health_bind=Bind.parse(health_address) if health_address else None,
        http_bind=http_bind(settings, http_address),
        tls_terminated_elsewhere=tls_terminated_elsewhere,
    )
    if NO_HTTP not in (http_address, settings.http_address) and engine is Engine.LOCAL:
        options = for_agents(options, chosen)

    def ready(server: Server) -> None:
        started()
        # The address alone on standard output, so that a script that asked for port 0 can read it.
        typer.echo(server.address)
        if server.http_address:
            err_console().print(f"http: {server.http_address}", soft_wrap=True)
        if bind.transport is Transport.TCP or http_bind(settings, http_address) is not None:
            token = settings.tokens_path.with_name("token")
            err_console().print(
                f"tokens: {settings.tokens_path}" + (f"; yours is in {token}" if token.exists() else ""), soft_wrap=True
            )
        if "orchestrator" in chosen and not (roots or allowed_roots("orchestrator", os.environ)):
            err_console().print(
                "no repository may be used yet: allow directories with --allow-root DIR or "
                "AUTOPACK_ORCHESTRATOR_ALLOWED_ROOTS",
                style="yellow",
                soft_wrap=True,
            )

    asyncio.run(serve_until_signal(services, bind, options, ready=ready))


def _options(name: str, engine: Engine) -> dict[str, str]:
    return {"role": engine.value} if name == "orchestrator" else {}

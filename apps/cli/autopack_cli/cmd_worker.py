"""``autopack worker``: carries out the runs of a cluster on this host."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Annotated

import typer
from autopack_kit.errors import invalid_field
from autopack_kit.kit_settings import KitSettings
from autopack_kit.logs import configure
from autopack_kit.process import protect_memory
from autopack_kit.server import Service, ServiceContext
from autopack_kit.settings import load

from autopack_cli.serve import check_environment, create
from autopack_cli.startup import started

__all__ = ["register"]

MAX_CONCURRENCY = 10_000  # more commands than that no kernel starts with its usual limits


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("worker")(worker)


def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(metavar="K", help="Runs at once at most. Default: AUTOPACK_ORCHESTRATOR_MAX_CONCURRENT_RUNS."),
    ] = None,
) -> None:
    """Carry out runs that `autopack serve orchestrator --engine cluster` admits, until SIGTERM or Ctrl-C.

    \b
    autopack worker --concurrency 8

    Both need the same AUTOPACK_ORCHESTRATOR_DATABASE_URL (PostgreSQL) and AUTOPACK_ORCHESTRATOR_OBJECT_STORE_URL; each
    worker of a host needs an AUTOPACK_DATA_DIR of its own.
    """
    if concurrency is not None and not 1 <= concurrency <= MAX_CONCURRENCY:
        raise invalid_field("--concurrency", f"{concurrency} is not between 1 and {MAX_CONCURRENCY}")
    environment = dict(os.environ)
    if concurrency is not None:
        environment["AUTOPACK_ORCHESTRATOR_MAX_CONCURRENT_RUNS"] = str(concurrency)
    check_environment(("orchestrator",))
    settings = load(KitSettings, os.environ)
    configure(settings.log_format, settings.log_level)
    service = create("orchestrator", environment, role="worker")
    asyncio.run(_work(service, settings.drain_grace.total_seconds()))


async def _work(service: Service, grace: float) -> None:
    protect_memory()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    try:
        await service.start(ServiceContext(address="", services=frozenset()))
        started()
        # As a server prints its address: whoever started it can wait for the line.
        typer.echo("ready")
        await over.wait()
    finally:
        await service.stop(grace)

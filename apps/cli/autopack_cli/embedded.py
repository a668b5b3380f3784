"""A server of our own for the duration of one command: services in this process, on a private UNIX socket."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from autopack_kit.bind import Bind
from autopack_kit.kit_settings import KitSettings
from autopack_kit.logs import LogLevel, configure
from autopack_kit.main import NO_HTTP, server_options
from autopack_kit.process import protect_memory
from autopack_kit.server import Server
from autopack_kit.settings import load

from autopack_cli.needs import Needs
from autopack_cli.serve import check_environment, create, for_agents

__all__ = ["STOP_GRACE", "embedded"]

STOP_GRACE = 2.0
"""Seconds for calls in flight: they are our own, and the command has its answer."""


@asynccontextmanager
async def embedded(needs: Needs) -> AsyncIterator[str]:
    """Serves for the block and gives the address. State is where ``autopack serve`` keeps it, so that runs are found
    again."""
    check_environment(needs.services)
    if needs.carry_out:
        protect_memory()
    settings = load(KitSettings, os.environ)
    # A command is talked to on a terminal: it says what is wrong, not what it does.
    configure(settings.log_format, settings.log_level if "AUTOPACK_LOG_LEVEL" in os.environ else LogLevel.ERROR)
    roots = [root.resolve() for root in needs.roots]
    directory = Path(tempfile.mkdtemp(prefix="autopack-"))
    try:
        bind = Bind.unix(directory / "socket")
        services = [
            create(
                name,
                os.environ,
                allowed_roots=roots,
                **({"carry_out": needs.carry_out} if name == "orchestrator" else {}),
            )
            for name in needs.services
        ]
        options = server_options(settings, bind)
        if needs.carry_out and settings.http_address != NO_HTTP:
            options = for_agents(options, needs.services)
        server = Server(services, bind, options)
        await server.start()
        try:
            yield server.address
        finally:
            await server.stop(grace=STOP_GRACE)
    finally:
        shutil.rmtree(directory, ignore_errors=True)

"""Test kit: a real server, a real channel, in tens of milliseconds. Shipped: users of a service test too.

async with running(create(settings)) as target:
    stub = ToolchainServiceStub(target.channel)
    await stub.Detect(request)
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc.aio

from autopack_kit.auth import LOCAL_PRINCIPAL, Authenticator
from autopack_kit.bind import Bind
from autopack_kit.channel import open_channel
from autopack_kit.identity import Principal
from autopack_kit.server import Server, ServerOptions, Service

__all__ = ["Running", "running"]


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    Attributes:
        address: to open further channels with.
        channel: open, closed with the server.
        server: for its ``stop`` and ``health_address``.
    """

    address: str
    channel: grpc.aio.Channel
    server: Server


@asynccontextmanager
async def running(
    *services: Service,
    bind: Bind | None = None,
    options: ServerOptions | None = None,
    principal: Principal = LOCAL_PRINCIPAL,
    token: str | None = None,
) -> AsyncIterator[Running]:
    """Serves ``services`` for the block.

    Args:
        services: what to serve.
        bind: where; default: a UNIX socket in a short temporary directory, as a test's own is often too long for one.
        options: how; the default accepts the owner of the socket as ``principal``.
        principal: who a caller on the socket without a token is; without effect when ``options`` are given.
        token: what ``channel`` sends.
    """
    directory = Path(tempfile.mkdtemp(prefix="ap-"))
    try:
        chosen = options or replace(ServerOptions(), authenticator=Authenticator(local=principal))
        server = Server(services, bind or Bind.unix(directory / "s"), chosen)
        await server.start()
        try:
            async with open_channel(server.address, token=token) as channel:
                yield Running(server.address, channel, server)
        finally:
            await server.stop(grace=0)
    finally:
        shutil.rmtree(directory)

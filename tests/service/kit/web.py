"""A service with routes, and a client of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from autopack_kit.bind import Bind
from autopack_kit.http import read_body
from autopack_kit.identity import Scope, current_principal, require
from autopack_kit.server import Server, ServiceContext
from autopack_kit.testing import Running
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .conftest import ProbeService

KEY = b"k" * 32
LOOPBACK = Bind.parse("127.0.0.1:0")
LIMIT = 1 << 20


class WebService(ProbeService):
    """Also answers at the HTTP port."""

    ingest_paths = frozenset({"/take"})

    def __init__(self) -> None:
        super().__init__()
        self.context: ServiceContext | None = None
        self.why_unready = ""
        self.endpoint: Callable[[Request], Any] = self.echo

    async def start(self, context: ServiceContext) -> None:
        await super().start(context)
        self.context = context

    async def unready(self) -> str:
        return self.why_unready

    def http_routes(self) -> Sequence[Route]:
        async def act(request: Request) -> Response:
            return PlainTextResponse(await self.endpoint(request))

        return [Route("/take", act, methods=["POST"]), Route("/ask", act, methods=["GET", "POST"])]

    async def echo(self, request: Request) -> str:
        require(Scope.INGEST)
        return f"{current_principal().name} {len(await read_body(request, LIMIT))}"


@asynccontextmanager
async def client_of(server: Server, token: str | None = None, verify: Any = False) -> AsyncIterator[httpx.AsyncClient]:
    """Without CAs where none is given: to load those of the system takes longer than most of these tests."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=server.http_address, headers=headers, timeout=30, verify=verify) as client:
        yield client


async def unary(target: Running) -> bytes:
    channel: Any = target.channel
    return bytes(await channel.unary_unary("/test.v1.ProbeService/Unary")(b"x"))


async def connect(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = httpx.URL(server.http_address)
    return await asyncio.open_connection(url.host, url.port)


def reason(response: httpx.Response) -> str:
    return str(response.json()["details"][0]["reason"])

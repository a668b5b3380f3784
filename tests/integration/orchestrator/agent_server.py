"""A server of agents on loopback that answers what a test tells it to, also what no good server would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AgentServer", "Reply", "Request", "agent_server", "status"]

MAX_HEAD = 64 << 10


@dataclass(frozen=True)
class Reply:
    """An answer, or what is none.

    Attributes:
        hang: send nothing, until the other side gives up.
        missing: bytes of the body that are announced and never sent.
        chunks: send the body so often, without saying how long it is.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    missing: int = 0
    chunks: int = 0


@dataclass(frozen=True)
class Request:
    """What was asked, and when."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    time: float

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


def status(state: str, **fields: Any) -> Reply:
    """A status document."""
    return Reply(body=json.dumps({"state": state, **fields}).encode())


@dataclass
class AgentServer:
    """The server as a test sees it; the last reply to a method is repeated."""

    port: int
    replies: dict[str, list[Reply]]
    requests: list[Request] = field(default_factory=list)
    _asked: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, method: str) -> list[Request]:
        """The requests of one method."""
        return [request for request in self.requests if request.method == method]

    async def asked(self, method: str, times: int = 1) -> Request:
        """Wait until there were so many requests of a method; the last of them."""
        async with asyncio.timeout(60), self._asked:
            await self._asked.wait_for(lambda: len(self.of(method)) >= times)
        return self.of(method)[times - 1]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            async with self._asked:
                self.requests.append(Request(method, path, headers, body, time.monotonic()))
                self._asked.notify_all()
            await self._send(writer, self._next(method), reader)
        writer.close()

    def _next(self, method: str) -> Reply:
        replies = self.replies.setdefault(method, [Reply(204 if method == "DELETE" else 200)])
        return replies.pop(0) if len(replies) > 1 else replies[0]

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply, reader: asyncio.StreamReader) -> None:
        if reply.hang:
            await reader.read()
            return
        size = "" if reply.chunks else f"Content-Length: {len(reply.body) + reply.missing}\r\n"
        more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        writer.write(f"HTTP/1.1 {reply.status} X\r\nConnection: close\r\n{size}{more}\r\n".encode())
        for _ in range(reply.chunks or 1):
            writer.write(reply.body)
            await writer.drain()


@asynccontextmanager
async def agent_server(**replies: list[Reply]) -> AsyncIterator[AgentServer]:
    """A server on a port of its own; ``POST=[...]``, ``GET=[...]``, ``DELETE=[...]`` are what it answers."""
    owner = AgentServer(0, dict(replies))
    server = await asyncio.start_server(owner.answer, "127.0.0.1", 0, limit=MAX_HEAD)
    owner.port = server.sockets[0].getsockname()[1]
    try:
        yield owner
    finally:
        server.close()

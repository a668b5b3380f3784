"""What a probe learns when the database goes away and comes back, and what a sender of usage is told meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import httpx
import pytest
from autopack_kit.auth import Authenticator, mint_run_token
from autopack_kit.bind import Bind
from autopack_kit.db.testing import postgres_url
from autopack_kit.server import ServerOptions
from autopack_kit.testing import running
from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings
from sqlalchemy import make_url

KEY = b"k" * 32


class Wire:
    """A TCP relay to the database that can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self.whole = True

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            if not self.whole:
                return
            behind, beyond = await asyncio.open_connection(*self._target)
            self._writers |= {writer, beyond}
            with suppress(OSError):
                await asyncio.gather(self._copy(reader, beyond), self._copy(behind, writer))

    def cut(self) -> None:
        self.whole = False
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[Wire, str]]:
    """A wire, and the URL of the database at its other end."""
    parsed = make_url(url)
    wire = Wire(parsed.host or "127.0.0.1", parsed.port or 5432)
    server = await asyncio.start_server(wire.join, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield wire, parsed.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        wire.cut()
        server.close()


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            pass


@pytest.mark.postgres
async def test_a_service_is_ready_again_when_its_database_is_back(tmp_path: Path) -> None:
    options = ServerOptions(authenticator=Authenticator(signing_key=KEY), http_bind=Bind.parse("127.0.0.1:0"))
    token = mint_run_token(KEY, "run-1", "default", 4e9)
    with postgres_url() as direct:
        async with relayed(direct) as (wire, url), running(
            create(TelemetrySettings(database_url=url)), options=options
        ) as target, httpx.AsyncClient(
            base_url=target.server.http_address, timeout=60, verify=False, headers={"authorization": f"Bearer {token}"}
        ) as client:  # fmt: skip

            async def ready() -> bool:
                return (await client.get("/readyz")).status_code == 200

            async def recorded() -> bool:
                answer = await client.post("/v1/logs", json=LOGS)
                assert answer.status_code in (200, 503), answer.text
                return answer.status_code == 200

            assert await ready()
            assert await recorded()
            wire.cut()
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["not_ready"]) == (503, ["telemetry"])
            assert (await client.get("/healthz")).status_code == 200
            assert not await recorded()  # 503: an exporter sends it again
            wire.whole = True
            await eventually(ready)
            await eventually(recorded)


LOGS = {
    "resourceLogs": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "claude-code"}}]},
            "scopeLogs": [
                {
                    "scope": {"name": "com.anthropic.claude_code.events"},
                    "logRecords": [
                        {
                            "body": {"stringValue": "claude_code.api_request"},
                            "attributes": [
                                {"key": "event.name", "value": {"stringValue": "api_request"}},
                                {"key": "session.id", "value": {"stringValue": "s-1"}},
                                {"key": "model", "value": {"stringValue": "claude-opus-5"}},
                                {"key": "input_tokens", "value": {"stringValue": "7"}},
                            ],
                        }
                    ],
                }
            ],
        }
    ]
}

"""The HTTP port of a real server: where it listens, its connections, what it counts, how it ends."""

from __future__ import annotations

import asyncio
import resource
import ssl
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from autopack_kit import certs
from autopack_kit.auth import Authenticator, ensure_tokens_file, read_token
from autopack_kit.bind import Bind
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_kit.http_port import MAX_CONNECTIONS, MAX_HEAD_BYTES
from autopack_kit.server import Server, ServerOptions
from autopack_kit.testing import running
from autopack_kit.tls import ServerTls
from starlette.requests import Request

from .web import KEY, LOOPBACK, WebService, client_of, connect, reason, unary

PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def service() -> WebService:
    return WebService()


@pytest.fixture
def options(tmp_path: Path) -> ServerOptions:
    tokens = ensure_tokens_file(tmp_path / "tokens.toml")
    return ServerOptions(authenticator=Authenticator(tokens, signing_key=KEY), http_bind=LOOPBACK)


@pytest.fixture
def admin(options: ServerOptions, tmp_path: Path) -> str:
    return read_token(tmp_path / "token")


async def test_service_learns_the_address_and_a_registry_of_its_own(
    service: WebService, options: ServerOptions
) -> None:
    async with running(service, options=options) as target:
        assert service.context is not None
        assert service.context.http_address == target.server.http_address
        assert service.context.http_address.startswith("http://127.0.0.1:")
        assert service.context.registry is not None
    without = WebService()
    async with running(without) as target:
        assert without.context is not None
        assert (without.context.http_address, without.context.registry) == ("", None)


async def test_readyz_names_a_service_that_cannot_work_now(service: WebService, options: ServerOptions) -> None:
    async with running(service, options=options) as target, client_of(target.server) as client:
        service.why_unready = "the database is away"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "not_ready": ["probe"]})
        assert (await client.get("/healthz")).status_code == 200
        service.why_unready = ""
        assert (await client.get("/readyz")).status_code == 200


async def test_a_head_that_does_not_end_is_refused(service: WebService, options: ServerOptions) -> None:
    async with running(service, options=options) as target:
        reader, writer = await connect(target.server)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        writer.write(b"x" * (MAX_HEAD_BYTES + 1))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_while_the_server_drains_it_is_not_ready_and_takes_nothing_new(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    service.act = lambda request: _wait(service, entered, go)
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        call = asyncio.create_task(unary(target))
        await entered.wait()
        stop = asyncio.create_task(target.server.stop(grace=30))
        while (await client.get("/readyz")).status_code == 200:
            assert not stop.done()
        assert (await client.get("/healthz")).status_code == 200
        refused = await client.post("/take")
        assert (refused.status_code, reason(refused)) == (503, "SERVER_STOPPING")
        assert int(refused.headers["retry-after"]) >= 1
        go.set()
        assert await call == b"done"
        await stop
        with pytest.raises(httpx.TransportError):
            await client.get("/healthz")


async def _wait(service: WebService, entered: asyncio.Event, go: asyncio.Event) -> bytes:
    entered.set()
    await go.wait()
    return b"done"


async def test_a_request_in_flight_is_answered_before_the_server_ends(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    entered = asyncio.Event()

    async def slow(request: Request) -> str:
        entered.set()
        await asyncio.sleep(0.3)
        return "answered"

    service.endpoint = slow
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        request = asyncio.create_task(client.post("/take"))
        await entered.wait()
        await target.server.stop(grace=10)
        assert (await request).text == "answered"
        assert service.events[-1] == "stop"


async def test_port_is_refused_where_it_would_not_be_safe(service: WebService, options: ServerOptions) -> None:
    everywhere = Bind.parse("0.0.0.0:0")
    for chosen, expected in (
        (ServerOptions(http_bind=LOOPBACK), "TOKENS_NEEDED"),
        (replace(options, http_bind=everywhere), "TLS_NEEDED"),
    ):
        with pytest.raises(FailedPrecondition) as caught:
            async with running(service, options=chosen):
                pass
        assert caught.value.reason == expected
    with pytest.raises(InvalidArgument) as refused:
        async with running(service, options=replace(options, http_bind=Bind.parse("unix:/tmp/x"))):
            pass
    assert refused.value.reason == "ADDRESS_INVALID"
    assert service.events == []
    async with running(
        service, options=replace(options, http_bind=everywhere, tls_terminated_elsewhere=True)
    ) as target:
        port = target.server.http_address.rpartition(":")[2]
        async with httpx.AsyncClient(verify=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/healthz", headers={"host": "telemetry:4318"})
            assert answer.status_code == 200


async def test_port_that_is_taken_is_an_error_and_nothing_stays_open(
    service: WebService, options: ServerOptions
) -> None:
    async with running(service, options=options) as target:
        taken = Bind.parse(target.server.http_address.removeprefix("http://"))
        second = WebService()
        with pytest.raises(FailedPrecondition) as caught:
            async with running(second, options=replace(options, http_bind=taken)):
                pass
        assert caught.value.reason == "ADDRESS_UNAVAILABLE"
        assert second.events == []
    async with running(WebService(), options=replace(options, http_bind=taken)) as target:  # free at once
        assert target.server.http_address.endswith(str(taken.port))


async def test_tls_and_client_certificates_are_asked_for_as_over_grpc(
    service: WebService, options: ServerOptions, tmp_path: Path
) -> None:
    files = certs.init(tmp_path / "certs")
    trusting = ssl.create_default_context(cafile=str(files.ca))
    alone = replace(options, http_tls=ServerTls(files.server, files.server_key))
    async with running(service, options=alone) as target, client_of(target.server, verify=trusting) as client:
        assert target.server.http_address.startswith("https://")
        assert (await client.get("/healthz")).text == "ok\n"
    mutual = replace(options, http_tls=ServerTls(files.server, files.server_key, files.ca))
    async with running(WebService(), options=mutual) as target:
        async with client_of(target.server, verify=trusting) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/healthz")
        trusting.load_cert_chain(files.client, files.client_key)
        async with client_of(target.server, verify=trusting) as client:
            assert (await client.get("/healthz")).text == "ok\n"


async def test_a_key_that_is_not_the_certificates_is_an_error(
    service: WebService, options: ServerOptions, tmp_path: Path
) -> None:
    files = certs.init(tmp_path / "certs")
    wrong = replace(options, http_tls=ServerTls(files.server, files.client_key))
    with pytest.raises(FailedPrecondition) as caught:
        async with running(service, options=wrong):
            pass
    assert caught.value.reason == "TLS_FILE_INVALID"


async def test_calls_and_requests_are_counted_by_bounded_labels(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        await unary(target)
        for number in range(10):
            await client.get(f"/nothing/{number}")
        await client.get("/healthz")
        text = (await client.get("/metrics")).text
        assert 'autopack_rpc_calls_total{code="OK",method="Unary",service="test.v1.ProbeService"} 1.0' in text
        assert 'autopack_rpc_duration_seconds_count{method="Unary",service="test.v1.ProbeService"} 1.0' in text
        assert 'autopack_http_requests_total{path="other",status="404"} 10.0' in text
        assert 'autopack_http_requests_total{path="/healthz",status="200"} 1.0' in text
        assert "/nothing" not in text
        assert "process_resident_memory_bytes" in text
        assert "autopack_build_info{" in text


async def test_a_connection_on_which_no_whole_request_comes_is_closed(
    service: WebService, options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autopack_kit.http_port.HEAD_SECONDS", 0.2)
    async with running(service, options=options) as target:
        for first in (b"", b"GET /healthz HTTP/1.1\r\nX-Slow: "):
            reader, writer = await connect(target.server)
            writer.write(first)
            assert await reader.read() == b""
            writer.close()
        reader, writer = await connect(target.server)
        for _ in range(2):  # a whole request, then the half of another
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /healthz HT")
        assert await reader.read() == b""
        writer.close()


async def test_a_body_that_goes_on_after_its_refusal_does_not_keep_the_connection_open(
    service: WebService, options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autopack_kit.http_port.HEAD_SECONDS", 0.5)
    async with running(service, options=options) as target:
        reader, writer = await connect(target.server)
        writer.write(b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        rest = asyncio.create_task(reader.read())
        async with asyncio.timeout(60):
            while not rest.done():
                writer.write(b"x")
                await asyncio.sleep(0.05)
        await asyncio.gather(rest, return_exceptions=True)
        writer.close()


async def test_idle_connections_give_way_and_those_with_requests_do_not(
    service: WebService, options: ServerOptions, monkeypatch: pytest.MonkeyPatch, admin: str
) -> None:
    monkeypatch.setattr("autopack_kit.http_port.MAX_CONNECTIONS", 3)
    entered, go = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> str:
        entered.set()
        await go.wait()
        return "answered"

    service.endpoint = slow
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        request = asyncio.create_task(client.post("/take"))
        await entered.wait()
        used = await connect(target.server)
        used[1].write(PROBE)
        assert (await used[0].readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        half = await connect(target.server)
        half[1].write(PROBE[:20])
        for _ in range(10):
            assert await answers(target.server)
        for reader, writer in (used, half):
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        go.set()
        assert (await request).text == "answered"


async def test_when_all_connections_have_requests_another_is_closed(
    service: WebService, options: ServerOptions, monkeypatch: pytest.MonkeyPatch, admin: str
) -> None:
    monkeypatch.setattr("autopack_kit.http_port.MAX_CONNECTIONS", 1)
    entered, go = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> str:
        return (await _wait(service, entered, go)).decode()

    service.endpoint = slow
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        request = asyncio.create_task(client.post("/take"))
        await entered.wait()
        assert not await answers(target.server)
        go.set()
        assert (await request).text == "done"
        assert await answers(target.server)  # the idle one makes room


async def test_a_thousand_idle_connections_do_not_starve_the_probe(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"this process may have {hard} files open; the test needs 4096")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    try:
        async with running(service, options=options) as target, client_of(target.server, admin) as client:
            assert (await client.post("/take", content=b"x")).status_code == 200
            idle = []
            for number in range(MAX_CONNECTIONS + 200):
                idle.append(await connect(target.server))
                if number % 3 == 1:
                    idle[-1][1].write(PROBE[:20])
                elif number % 3 == 2:
                    idle[-1][1].write(PROBE)
            for _ in range(20):
                assert await answers(target.server)
            assert (await client.post("/take", content=b"x")).status_code == 200
            for _, writer in idle:
                writer.transport.abort()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


async def answers(server: Server) -> bool:
    reader, writer = await connect(server)
    try:
        writer.write(PROBE)
        return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except ConnectionResetError:
        return False
    finally:
        writer.close()

"""The HTTP port of a real server: who gets in, what it refuses, how large a body may be, how it ends."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from autopack_kit import certs
from autopack_kit.auth import Authenticator, ensure_tokens_file, mint_run_token, read_token
from autopack_kit.bind import Bind
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_kit.http import PROTOBUF, read_body
from autopack_kit.http_port import MAX_HEAD_BYTES
from autopack_kit.identity import Scope, current_principal, require, require_run
from autopack_kit.interceptors import CallLimits
from autopack_kit.server import Server, ServerOptions, ServiceContext
from autopack_kit.testing import Running, running
from autopack_kit.tls import ServerTls
from google.rpc import error_details_pb2, status_pb2
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


async def test_probes_need_no_token_and_everything_else_does(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    async with running(service, options=options) as target, client_of(target.server) as client:
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/readyz")).json() == {"ready": True, "not_ready": []}
        for path in ("/metrics", "/take", "/ask", "/nothing"):
            refused = await client.get(path)
            assert (refused.status_code, reason(refused)) == (401, "TOKEN_MISSING")
            assert refused.headers["www-authenticate"] == "Bearer"
        wrong = await client.get("/metrics", headers={"authorization": "Bearer apk_wrong"})
        assert (wrong.status_code, reason(wrong)) == (401, "TOKEN_INVALID")
        assert (await client.get("/metrics", headers={"authorization": f"Bearer {admin}"})).status_code == 200


async def test_the_token_of_a_run_opens_the_paths_for_ingestion_alone(
    service: WebService, options: ServerOptions
) -> None:
    token = mint_run_token(KEY, "run-1", "default", 4e9)
    async with running(service, options=options) as target, client_of(target.server, token) as client:
        assert (await client.post("/take", content=b"12345")).text == "run:run-1 5"
        for path in ("/metrics", "/ask"):
            refused = await client.get(path)
            assert (refused.status_code, reason(refused)) == (403, "SCOPE_MISSING")

        async def other_run(request: Request) -> str:
            require_run("run-2")
            return ""

        service.endpoint = other_run
        assert reason(await client.post("/take")) == "OTHER_RUN"


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


async def test_pages_of_other_sites_and_other_names_for_this_machine_are_refused(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        port = httpx.URL(target.server.http_address).port
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
            assert (await client.get("/healthz", headers={"host": host})).status_code == 200
        for host in ("attacker.example", f"attacker.example:{port}", "localhost.attacker.example"):
            refused = await client.get("/metrics", headers={"host": host})
            assert (refused.status_code, reason(refused)) == (403, "HTTP_HOST_REFUSED")
        for headers in (
            {"origin": "https://attacker.example"},
            {"origin": "null"},
            {"origin": f"http://localhost:{port}"},  # another origin than 127.0.0.1
            {"sec-fetch-site": "cross-site"},
        ):
            refused = await client.post("/take", headers=headers)
            assert (refused.status_code, reason(refused)) == (403, "HTTP_ORIGIN_REFUSED")
            assert "access-control-allow-origin" not in refused.headers
        same = {"origin": f"http://127.0.0.1:{port}", "sec-fetch-site": "same-origin"}
        assert (await client.post("/take", headers=same)).status_code == 200
        assert (await client.options("/take", headers={"origin": "https://attacker.example"})).status_code == 403


async def test_bodies_are_decompressed(service: WebService, options: ServerOptions, admin: str) -> None:
    text = b"tokens " * 100_000
    forms = {"identity": text, "": text, "gzip": gzip.compress(text), "deflate": zlib.compress(text)}
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        for encoding, content in forms.items():
            answer = await client.post("/take", content=content, headers={"content-encoding": encoding})
            assert answer.text == f"admin {len(text)}", encoding


@pytest.mark.parametrize(
    ("encoding", "content", "status", "expected"),
    [
        ("br", b"x", 400, "HTTP_ENCODING_UNKNOWN"),
        ("gzip, gzip", b"x", 400, "HTTP_ENCODING_UNKNOWN"),
        ("gzip", b"not gzip", 400, "HTTP_BODY_CORRUPT"),
        ("gzip", b"", 400, "HTTP_BODY_CORRUPT"),
        ("gzip", gzip.compress(b"x" * 100)[:-4], 400, "HTTP_BODY_CORRUPT"),
        ("gzip", gzip.compress(b"x") + gzip.compress(b"y"), 400, "HTTP_BODY_CORRUPT"),
        ("deflate", gzip.compress(b"x"), 400, "HTTP_BODY_CORRUPT"),
        ("identity", b"x" * (LIMIT + 1), 413, "REQUEST_TOO_LARGE"),
        ("gzip", gzip.compress(b"x" * LIMIT), 200, ""),
        ("gzip", gzip.compress(b"x" * (LIMIT + 1)), 413, "REQUEST_TOO_LARGE"),
        ("gzip", gzip.compress(b"\0" * (50 * LIMIT)), 413, "REQUEST_TOO_LARGE"),
    ],
)
async def test_bad_bodies_are_refused_with_what_is_wrong(
    service: WebService, options: ServerOptions, admin: str, encoding: str, content: bytes, status: int, expected: str
) -> None:
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        answer = await client.post("/take", content=content, headers={"content-encoding": encoding})
        assert answer.status_code == status
        if expected:
            assert reason(answer) == expected
        else:
            assert answer.text == f"admin {LIMIT}"
        assert (await client.get("/healthz")).status_code == 200


async def test_a_body_that_tells_no_length_is_refused_once_it_is_too_large(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * (LIMIT // 4)
            await asyncio.sleep(0)

    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        try:
            answer = await client.post("/take", content=chunks())
        except httpx.WriteError:  # the server hung up while we went on sending: as good
            assert sent < 1000
        else:
            assert (answer.status_code, reason(answer)) == (413, "REQUEST_TOO_LARGE")


async def test_memory_for_bodies_is_bounded_over_all_requests_and_given_back(
    service: WebService, options: ServerOptions, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autopack_kit.http.MAX_BUFFERED_BYTES", 4 * LIMIT)
    arrived, go = asyncio.Event(), asyncio.Event()
    sizes: list[int] = []

    async def hold(request: Request) -> str:
        sizes.append(len(await read_body(request)))
        if len(sizes) == 4:
            arrived.set()
        await go.wait()
        return "held"

    service.endpoint = hold
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        held = [asyncio.create_task(client.post("/take", content=b"x" * LIMIT)) for _ in range(4)]
        await arrived.wait()
        refused = await client.post("/take", content=b"x")
        assert (refused.status_code, reason(refused)) == (429, "HTTP_BODIES_FULL")
        assert int(refused.headers["retry-after"]) >= 1
        go.set()
        assert {answer.text for answer in await asyncio.gather(*held)} == {"held"}
        assert (await client.post("/take", content=b"x")).text == "held"
        assert sizes == [LIMIT] * 4 + [1]


async def test_errors_are_a_status_in_the_language_of_the_request(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        answer = await client.post("/take", headers={"content-type": PROTOBUF, "content-encoding": "br"})
        assert answer.headers["content-type"] == PROTOBUF
        status = status_pb2.Status.FromString(answer.content)
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (status.code, info.reason, info.domain) == (3, "HTTP_ENCODING_UNKNOWN", "probe.autopack")
        answer = await client.post("/take", headers={"content-type": "application/json", "content-encoding": "br"})
        assert answer.json()["code"] == 3
        assert "gzip or deflate" in answer.json()["message"]
        unknown = await client.get("/nothing")
        assert (unknown.status_code, reason(unknown)) == (404, "HTTP_PATH_UNKNOWN")
        wrong = await client.get("/take")
        assert (wrong.status_code, reason(wrong)) == (400, "HTTP_METHOD_REFUSED")


async def test_a_fault_of_ours_tells_nothing_but_where_to_look(
    service: WebService, options: ServerOptions, admin: str
) -> None:
    async def fail(request: Request) -> str:
        raise RuntimeError("secret detail")

    service.endpoint = fail
    async with running(service, options=options) as target, client_of(target.server, admin) as client:
        answer = await client.post("/take")
        assert (answer.status_code, reason(answer)) == (500, "INTERNAL")
        assert "secret" not in answer.text
        assert answer.json()["details"][0]["metadata"]["correlation_id"]


async def test_request_id_is_returned_and_an_unusable_one_replaced(service: WebService, options: ServerOptions) -> None:
    async with running(service, options=options) as target, client_of(target.server) as client:
        given = await client.get("/healthz", headers={"x-request-id": "mine-1"})
        assert given.headers["x-request-id"] == "mine-1"
        replaced = await client.get("/healthz", headers={"x-request-id": "a b"})
        assert len(replaced.headers["x-request-id"]) == 32
        assert "server" not in given.headers
        assert given.headers["date"].endswith("GMT")


async def test_a_request_that_never_ends_is_ended(service: WebService, options: ServerOptions, admin: str) -> None:
    async def forever(request: Request) -> str:
        await asyncio.Event().wait()
        return ""

    service.endpoint = forever
    chosen = replace(options, limits=CallLimits(default_deadline=0.2))
    async with running(service, options=chosen) as target, client_of(target.server, admin) as client:
        answer = await client.post("/take")
        assert (answer.status_code, reason(answer)) == (504, "DEADLINE_EXCEEDED")


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


async def test_body_of_a_caller_without_a_token_is_not_read(service: WebService, options: ServerOptions) -> None:
    async with running(service, options=options) as target:
        reader, writer = await connect(target.server)
        writer.write(b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")  # not a byte of the body has been sent
        assert head.startswith(b"HTTP/1.1 401 ")
        writer.close()


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


async def test_connections_beyond_the_bound_are_closed_and_the_others_answered(
    service: WebService, options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autopack_kit.http_port.MAX_CONNECTIONS", 2)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with running(service, options=options) as target:
        opened = [await connect(target.server) for _ in range(3)]
        for reader, writer in opened[:2]:
            writer.write(request)
            assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await opened[2][0].readexactly(1)
        for _, writer in opened:
            writer.close()
        async with asyncio.timeout(60):
            while not await answers(target.server):
                pass  # until the server has seen that they are gone


async def answers(server: Server) -> bool:
    reader, writer = await connect(server)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except ConnectionResetError:
        return False
    finally:
        writer.close()

"""Requests at the HTTP port of a real server: who gets in, what is refused, how large a body may be."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from autopack_kit.auth import Authenticator, ensure_tokens_file, mint_run_token, read_token
from autopack_kit.http import PROTOBUF, read_body
from autopack_kit.identity import require_run
from autopack_kit.interceptors import CallLimits
from autopack_kit.server import ServerOptions
from autopack_kit.testing import running
from google.rpc import error_details_pb2, status_pb2
from starlette.requests import Request

from .web import KEY, LIMIT, LOOPBACK, WebService, client_of, connect, reason


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
        ("gzip", gzip.compress(b"x" * 100, mtime=0)[:-4], 400, "HTTP_BODY_CORRUPT"),
        ("gzip", gzip.compress(b"x", mtime=0) + gzip.compress(b"y", mtime=0), 400, "HTTP_BODY_CORRUPT"),
        ("deflate", gzip.compress(b"x", mtime=0), 400, "HTTP_BODY_CORRUPT"),
        ("identity", b"x" * (LIMIT + 1), 413, "REQUEST_TOO_LARGE"),
        ("gzip", gzip.compress(b"x" * LIMIT, mtime=0), 200, ""),
        ("gzip", gzip.compress(b"x" * (LIMIT + 1), mtime=0), 413, "REQUEST_TOO_LARGE"),
        ("gzip", gzip.compress(b"\0" * (50 * LIMIT), mtime=0), 413, "REQUEST_TOO_LARGE"),
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


async def test_body_of_a_caller_without_a_token_is_not_read(service: WebService, options: ServerOptions) -> None:
    async with running(service, options=options) as target:
        reader, writer = await connect(target.server)
        writer.write(b"POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")  # not a byte of the body has been sent
        assert head.startswith(b"HTTP/1.1 401 ")
        writer.close()

"""The OTLP collector over HTTP: protobuf, JSON, compression, and what is refused with which status."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from autopack_kit.auth import Authenticator, ensure_tokens_file, mint_run_token, read_token
from autopack_kit.bind import Bind
from autopack_kit.server import ServerOptions
from autopack_kit.testing import Running, running
from autopack_telemetry import create
from autopack_telemetry.core.otlp.batch import MAX_PARTS
from autopack_telemetry.settings import TelemetrySettings
from google.rpc import status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb

from .otlp import call, logs, logs_json, summary, totals

KEY = b"k" * 32
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
LIMIT = 64 << 20


@asynccontextmanager
async def serving(tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    tokens = ensure_tokens_file(tmp_path / "tokens.toml")
    options = ServerOptions(authenticator=Authenticator(tokens, signing_key=KEY), http_bind=Bind.parse("127.0.0.1:0"))
    service = create(TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3", **settings))
    async with running(service, options=options) as target:
        headers = {"authorization": f"Bearer {read_token(tmp_path / 'token')}"}
        async with httpx.AsyncClient(base_url=target.server.http_address, headers=headers, timeout=60) as client:
            yield target, client


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    async with serving(tmp_path) as found:
        yield found


Served = tuple[Running, httpx.AsyncClient]


async def test_protobuf_is_answered_in_protobuf(served: Served) -> None:
    target, client = served
    answer = await client.post("/v1/logs", content=logs(call(1), run_id="run-1").SerializeToString(), headers=PROTOBUF)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert logs_pb.ExportLogsServiceResponse.FromString(answer.content) == logs_pb.ExportLogsServiceResponse()
    assert (await summary(target.channel, "run-1")).tokens.output == 6


async def test_json_is_answered_in_json(served: Served) -> None:
    target, client = served
    document = logs_json(call(1), call(2, input_tokens=-1), run_id="run-1")
    answer = await client.post("/v1/logs", json=document)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedLogRecords"] == "1"
    assert "input_tokens must be 0 to" in partial["errorMessage"]
    assert (await summary(target.channel, "run-1")).usage_records == 1
    assert (await client.post("/v1/logs", json=logs_json(call(3)))).json() == {}


async def test_compressions(served: Served) -> None:
    target, client = served
    compressions: dict[str, Any] = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}
    for number, (name, compress) in enumerate(compressions.items()):
        protobuf = logs(call(2 * number), run_id="run-1").SerializeToString()
        document = json.dumps(logs_json(call(2 * number + 1), run_id="run-1")).encode()
        for headers, body in ((PROTOBUF, protobuf), (JSON, document)):
            encoding = {"content-encoding": name}
            answer = await client.post("/v1/logs", content=compress(body), headers=headers | encoding)
            assert answer.status_code == 200
    assert (await summary(target.channel, "run-1")).usage_records == 6


async def test_headers_say_whose_it_is(served: Served) -> None:
    target, client = served
    await client.post("/v1/logs", json=logs_json(call(1)), headers={"X-Autopack-Run-Id": "run-h"})
    assert (await summary(target.channel, "run-h")).usage_records == 1


async def test_the_token_of_a_run_reaches_its_run_alone(served: Served) -> None:
    target, client = served
    headers = {"authorization": f"Bearer {mint_run_token(KEY, 'run-1', 'default', 4e9)}"}
    sent = logs_json(call(1), call(2, autopack__run__id="run-2"))
    answer = await client.post("/v1/logs", json=sent, headers=headers)
    assert answer.json()["partialSuccess"]["rejectedLogRecords"] == "1"
    assert await totals(target.channel) == {("run-1", "claude", "session-1"): (1, 10)}


async def test_without_a_token_nothing_is_taken(served: Served) -> None:
    _, client = served
    for path in ("/v1/logs", "/v1/metrics", "/v1/traces"):
        assert (await client.post(path, json={}, headers={"authorization": ""})).status_code == 401
        assert (await client.post(path, json={})).json() == {}


REFUSED: list[tuple[dict[str, str], bytes, int, str]] = [
    ({"content-type": "text/plain"}, b"x", 415, "OTLP_MEDIA_TYPE_UNKNOWN"),
    ({}, b"x", 415, "OTLP_MEDIA_TYPE_UNKNOWN"),
    (JSON, b"{", 400, "OTLP_BODY_INVALID"),
    (JSON, b"\xff\xfe", 400, "OTLP_BODY_INVALID"),
    (JSON, b"[]", 400, "OTLP_BODY_INVALID"),
    (JSON, b'{"resourceLogs": 5}', 400, "OTLP_BODY_INVALID"),
    (JSON, b'{"resourceLogs": [' + b"9" * 5000 + b"]}", 400, "OTLP_BODY_INVALID"),
    (JSON, b"[" * 100_000, 400, "OTLP_BODY_INVALID"),
    (JSON, b'{"resourceLogs": [' + b"{}," * MAX_PARTS + b"{}]}", 400, "OTLP_BODY_INVALID"),
    (JSON | {"content-encoding": "gzip"}, b"{}", 400, "HTTP_BODY_CORRUPT"),
    (JSON | {"content-encoding": "br"}, b"{}", 400, "HTTP_ENCODING_UNKNOWN"),
    (JSON | {"content-encoding": "gzip"}, gzip.compress(b" " * (LIMIT + 1), mtime=0), 413, "REQUEST_TOO_LARGE"),
    (JSON, b" " * (LIMIT + 1), 413, "REQUEST_TOO_LARGE"),
]


async def test_what_is_refused_for_good(served: Served) -> None:
    _, client = served
    for headers, body, status, reason in REFUSED:
        answer = await client.post("/v1/logs", content=body, headers=headers)
        assert (answer.status_code, answer.json()["details"][0]["reason"]) == (status, reason)
        assert "retry-after" not in answer.headers


async def test_an_agent_takes_less_of_the_memory_than_others_may(served: Served) -> None:
    target, client = served
    body = logs(call(1), body="x" * (16 << 20)).SerializeToString()
    headers = PROTOBUF | {"authorization": f"Bearer {mint_run_token(KEY, 'run-1', 'default', 4e9)}"}
    answer = await client.post("/v1/logs", content=body, headers=headers)
    assert answer.status_code == 413
    assert "may have 16 MiB" in status_pb2.Status.FromString(answer.content).message
    assert (await client.post("/v1/logs", content=body, headers=PROTOBUF)).status_code == 200
    assert await totals(target.channel) == {("", "claude", "session-1"): (1, 10)}


async def test_a_bad_protobuf_is_refused_in_protobuf(served: Served) -> None:
    _, client = served
    answer = await client.post("/v1/traces", content=b"\xff\xff\xff", headers=PROTOBUF)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/x-protobuf")
    assert "ExportTraceServiceRequest" in status_pb2.Status.FromString(answer.content).message


async def test_a_full_queue_asks_the_sender_to_come_again(tmp_path: Path) -> None:
    async with serving(tmp_path, queue_rows=1) as (_, client):
        bodies = [logs_json(*(call(1000 * index + number) for number in range(200))) for index in range(12)]
        answers = await asyncio.gather(*(client.post("/v1/logs", json=body) for body in bodies))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused
        assert {(answer.status_code, answer.headers.get("retry-after")) for answer in refused} == {(429, "1")}

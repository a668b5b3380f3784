"""OpenTelemetry data through the collector: parsed, mapped to usage, committed; one core to serve, one to send."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from autopack_kit.channel import open_channel
from autopack_kit.db.testing import fresh_url
from autopack_telemetry import convert_otlp, convert_tables
from autopack_telemetry.adapters.mappings import load_mappings
from autopack_telemetry.core.otlp import json_wire
from autopack_telemetry.core.otlp.batch import Batch, Sender
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench import full, phoenix

__all__ = ["run"]

BATCH = 512
BATCHES = 40
PHOENIX_BATCHES = 6
"""It takes minutes for more."""
SENDERS = 4
REPEATS = 3
TARGET = "target: at least 20,000; batches of 512, one core each"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
SPANS = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_MAPPINGS = load_mappings()

Row = tuple[str, float, str, str]
Document = dict[str, Any]


def run() -> list[Row]:
    """``(name, value, unit, note)`` of each number, the best of a few repeats."""
    return [*_in_process(), *_served(), *(_phoenix() if full() else [])]


def _in_process() -> list[Row]:
    """Of one core, without a server: what parsing and mapping cost."""
    spans, logs, prompts = _requests(_span), _requests(_record), _requests(_prompt)
    documents = [json.dumps(_document(_record, batch)).encode() for batch in range(BATCHES)]
    parsed_spans = _rate(lambda data: ExportTraceServiceRequest.FromString(data), spans)
    parsed_logs = _rate(lambda data: ExportLogsServiceRequest.FromString(data), logs)
    beside = "parsing alone, same requests: {:,.0f}; one core, in process"
    return [
        ("spans parsed and mapped", _rate(_map_spans, spans), "spans/s", beside.format(parsed_spans)),
        ("log records parsed and mapped", _rate(_map_logs, logs), "records/s", beside.format(parsed_logs)),
        ("log records that tell of no usage", _rate(_map_logs, prompts), "records/s", "passed over by name; one core"),
        (
            "log records in JSON, mapped",
            _rate(_map_json, documents),
            "records/s",
            f"json.loads alone: {_rate(json.loads, documents):,.0f}; one core, in process",
        ),
    ]


def _served() -> list[Row]:
    """Over gRPC to a server in another process, answered after the commit."""
    spans, logs = _requests(_span), _requests(_record)
    rows = [_best("spans over gRPC, mapped, not kept", spans, SPANS, None, "the server without its database")]
    for kind in ("sqlite", *(["postgres"] if os.environ.get("AUTOPACK_TEST_POSTGRES_URL") else [])):
        note = TARGET if kind == "sqlite" else "PostgreSQL in a process of its own"
        rows.append(_best(f"spans over gRPC, committed, {kind}", spans, SPANS, kind, note))
        rows.append(_best(f"log records over gRPC, committed, {kind}", logs, LOGS, kind, note))
    return rows


def _best(what: str, requests: list[bytes], method: str, kind: str | None, note: str) -> Row:
    rate, per_cpu = map(max, zip(*(asyncio.run(_send(requests, method, kind)) for _ in range(REPEATS)), strict=True))
    return what, rate, "items/s", f"{per_cpu:,.0f} per second of the server's CPU; {note}"


def _phoenix() -> list[Row]:
    """Beside a collector that keeps spans: it stores more of each, and answers before it has stored it."""
    few = _requests(_span)[:PHOENIX_BATCHES]
    acknowledged, committed = phoenix.measure(few, BATCH * PHOENIX_BATCHES)
    note = f"{phoenix.PACKAGE}, SQLite, one core, same spans"
    return [
        ("Phoenix: spans over gRPC, acknowledged", acknowledged, "spans/s", f"{note}; before the commit"),
        ("Phoenix: spans over gRPC, committed", committed, "spans/s", note),
    ]


async def _send(requests: list[bytes], method: str, kind: str | None) -> tuple[float, float]:
    """Items per second, and per second of the server's CPU time, which others on the machine disturb less."""
    with _server(kind) as (address, process):
        async with open_channel(address) as channel:
            export: Any = channel.unary_unary(method)

            async def send(sender: int) -> None:
                for request in requests[1 + sender :: SENDERS]:
                    if await export(request):
                        raise RuntimeError("the server did not take everything")

            # Once in the life of a service, so no part of this: the first call loads the prices, in half a second.
            await export(requests[0])
            started, busy = time.perf_counter(), _cpu(process)
            await asyncio.gather(*(send(sender) for sender in range(SENDERS)))
            spent, busy = time.perf_counter() - started, _cpu(process) - busy
    sent = BATCH * (len(requests) - 1)
    return sent / spent, sent / busy


def _cpu(process: int) -> float:
    """Seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _server(kind: str | None) -> Iterator[tuple[str, int]]:
    """On the last core, away from the sender."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ap-"))
        environment = {"PATH": os.environ["PATH"], "AUTOPACK_DATA_DIR": directory, "AUTOPACK_LOG_LEVEL": "error"}
        if kind is None:
            environment["AUTOPACK_TELEMETRY_ENABLED"] = "false"
        elif kind == "postgres":
            environment["AUTOPACK_TELEMETRY_DATABASE_URL"] = stack.enter_context(
                fresh_url(kind, directory, "telemetry")  # type: ignore[arg-type]
            )
        command = [sys.executable, "-m", "autopack_telemetry", "--address", f"unix:{directory}/s"]
        process = stack.enter_context(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(process.pid, {max(cores)})
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()
            process.wait(30)


def _rate(work: Callable[[bytes], object], requests: list[bytes]) -> float:
    def once() -> float:
        started = time.perf_counter()
        for request in requests:
            work(request)
        return BATCH * len(requests) / (time.perf_counter() - started)

    return max(once() for _ in range(REPEATS))


def _map_spans(data: bytes) -> None:
    convert_otlp.add_spans(_batch(), convert_tables.TraceRequest.FromString(data))


def _map_logs(data: bytes) -> None:
    convert_otlp.add_logs(_batch(), convert_tables.LogsRequest.FromString(data))


def _map_json(data: bytes) -> None:
    json_wire.add_logs(_batch(), json.loads(data))


def _batch() -> Batch:
    return Batch(_MAPPINGS, Sender(time.time_ns() // 1000))


def _requests(item: Callable[[int], Document]) -> list[bytes]:
    """Each with ids of its own. Only the first is made from JSON: that takes a quarter of a millisecond an item."""
    request: Any = (ExportTraceServiceRequest if item is _span else ExportLogsServiceRequest)()
    json_format.ParseDict(_document(item, 0), request)
    group = request.resource_spans[0].scope_spans[0] if item is _span else request.resource_logs[0].scope_logs[0]
    spans = list(group.spans) if item is _span else []
    changing = [
        attribute.value
        for entry in (group.spans if item is _span else group.log_records)
        for attribute in entry.attributes
        if attribute.key in ("request_id", "gen_ai.response.id")
    ]
    found = []
    for batch in range(BATCHES):
        for index, value in enumerate(changing):
            value.string_value = f"id_{batch * BATCH + index:024}"
        for index, span in enumerate(spans):
            span.span_id = (batch * BATCH + index + 1).to_bytes(8, "big")
        found.append(request.SerializeToString())
    return found


def _document(item: Callable[[int], Document], batch: int) -> Document:
    """What one exporter sends at a time: 512 items of one process."""
    items = [item(batch * BATCH + index) for index in range(BATCH)]
    outer, inner, leaf = ("resourceSpans", "scopeSpans", "spans") if item is _span else (
        "resourceLogs", "scopeLogs", "logRecords",
    )  # fmt: skip
    scope = {"scope": {"name": "com.anthropic.claude_code.events", "version": "2.1.40"}, leaf: items}
    return {outer: [{"resource": {"attributes": _attributes(_PROCESS)}, inner: [scope]}]}


_PROCESS = {"service.name": "an-agent", "host.arch": "x86_64", "os.type": "linux", "autopack.run.id": "run-1"}
_SESSION = {"user.id": "d3adb33f", "session.id": "0b9ce1b6-8a11-4f5c-9b1d-0c1f6f0a7c11", "terminal.type": "xterm"}


def _record(number: int) -> Document:
    values = _SESSION | {
        "event.name": "api_request",
        "event.sequence": number,
        "prompt.id": "p-1",
        "model": "claude-sonnet-4-5-20250929",
        "cost_usd": 0.042,
        "duration_ms": 3211,
        "input_tokens": 4,
        "output_tokens": 312,
        "cache_read_tokens": 12850,
        "cache_creation_tokens": 9044,
        "request_id": f"req_{number:024}",
        "speed": "normal",
    }
    return _timed("timeUnixNano") | {
        "body": {"stringValue": "claude_code.api_request"},
        "attributes": _attributes(values),
    }


def _prompt(number: int) -> Document:
    values = _SESSION | {"event.name": "user_prompt", "event.sequence": number, "prompt": "please fix this " * 20}
    return _timed("timeUnixNano") | {
        "body": {"stringValue": "claude_code.user_prompt"},
        "attributes": _attributes(values),
    }


def _span(number: int) -> Document:
    values = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1",
        "gen_ai.response.model": "gpt-4.1-2025-04-14",
        "gen_ai.response.id": f"chatcmpl-{number:024}",
        "gen_ai.conversation.id": "conv-1",
        "gen_ai.request.max_tokens": 4096,
        "gen_ai.usage.input_tokens": 1500,
        "gen_ai.usage.cache_read.input_tokens": 1024,
        "gen_ai.usage.output_tokens": 200,
        "server.address": "api.example.com",
    }
    ids = {"traceId": "W47/95gDgQPSabYzgT/GDA==", "spanId": "7uGbfsPBsXQ="}
    return (
        _timed("startTimeUnixNano", "endTimeUnixNano")
        | ids
        | {"name": "chat gpt-4.1", "attributes": _attributes(values)}
    )


def _timed(*names: str) -> Document:
    return dict.fromkeys(names, str(time.time_ns()))


def _attributes(values: Document) -> list[Document]:
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in values.items()]

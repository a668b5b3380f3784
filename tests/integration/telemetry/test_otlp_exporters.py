"""The exporters of the OpenTelemetry SDK, as they are, send all three signals over gRPC and HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from autopack_api.telemetry.v1 import agents_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.auth import Authenticator, mint_run_token, mint_service_token
from autopack_kit.bind import Bind
from autopack_kit.channel import open_channel
from autopack_kit.identity import DEFAULT_TENANT
from autopack_kit.server import Server, ServerOptions
from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

KEY = b"k" * 32
RUN = "run-1"
LOOPBACK = Bind.parse("127.0.0.1:0")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    options = ServerOptions(authenticator=Authenticator(signing_key=KEY), http_bind=LOOPBACK)
    service = create(TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3"))
    found = Server([service], LOOPBACK, options)
    await found.start()
    yield found
    await found.stop(grace=0)


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("OTEL_")}
    yield
    os.environ.update(kept)


def exporters(server: Server, protocol: str, temporality: AggregationTemporality) -> tuple[Any, Any, Any]:
    """Of logs, spans and metrics, with the token of the run and gzip."""
    headers = {"authorization": f"Bearer {mint_run_token(KEY, RUN, DEFAULT_TENANT, 4e9)}"}
    preferred: Any = {Counter: temporality, Histogram: temporality}
    if protocol == "grpc":
        shared: dict[str, Any] = {
            "endpoint": f"http://{server.address}",
            "insecure": True,
            "headers": headers,
            "compression": grpc.Compression.Gzip,
        }
        return (
            GrpcLogExporter(**shared),
            GrpcSpanExporter(**shared),
            GrpcMetricExporter(**shared, preferred_temporality=preferred),
        )
    web: dict[str, Any] = {"headers": headers, "compression": HttpCompression.Gzip}
    base = f"{server.http_address}/v1"
    return (
        HttpLogExporter(endpoint=f"{base}/logs", **web),
        HttpSpanExporter(endpoint=f"{base}/traces", **web),
        HttpMetricExporter(endpoint=f"{base}/metrics", **web, preferred_temporality=preferred),
    )


def send_logs(exporter: Any, resource: Resource) -> None:
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("com.anthropic.claude_code.events")
    for number in range(5):
        attributes: dict[str, Any] = {
            "event.name": "api_request",
            "session.id": "log-session",
            "request_id": f"req-{number}",
            "input_tokens": 10,
            "cache_read_tokens": "100",
            "cache_creation_tokens": 1000,
            "output_tokens": 7,
            "prompt": "never stored",
        }
        logger.emit(LogRecord(body="claude_code.api_request", attributes=attributes))
    provider.shutdown()


def send_spans(exporter: Any, resource: Resource) -> None:
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("a-library")
    with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}) as parent:
        parent.set_attribute("gen_ai.usage.input_tokens", 9999)
        for number in range(4):
            with tracer.start_as_current_span("chat m") as span:
                span.set_attributes(
                    {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.conversation.id": "span-session",
                        "gen_ai.response.id": f"resp-{number}",
                        "gen_ai.usage.input_tokens": 50,
                        "gen_ai.usage.cache_read.input_tokens": 20,
                        "gen_ai.usage.output_tokens": 5,
                    }
                )
    provider.shutdown()


def send_metrics(exporter: Any, resource: Resource) -> None:
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=resource)
    meter = provider.get_meter("another-library")
    usage = meter.create_histogram("gen_ai.client.token.usage")
    labels = {"gen_ai.request.model": "m", "gen_ai.conversation.id": "metric-session"}
    for _ in range(3):  # exported three times: what is cumulative has grown, what is delta is told apart
        usage.record(30, labels | {"gen_ai.token.type": "input"})
        usage.record(4, labels | {"gen_ai.token.type": "output"})
        assert provider.force_flush()
    provider.shutdown()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
async def test_rows_are_what_was_sent(server: Server, protocol: str, temporality: AggregationTemporality) -> None:
    resource = Resource({"service.name": "my-agent", "autopack.run.id": RUN, "autopack.phase.id": "agent"})
    log_exporter, span_exporter, metric_exporter = exporters(server, protocol, temporality)
    await asyncio.gather(
        asyncio.to_thread(send_logs, log_exporter, resource),
        asyncio.to_thread(send_spans, span_exporter, resource),
        asyncio.to_thread(send_metrics, metric_exporter, resource),
    )
    token = mint_service_token(KEY, "test", DEFAULT_TENANT)
    async with open_channel(server.address, token=token) as channel:
        stub = pb_grpc.TelemetryServiceStub(channel)
        summary = await stub.GetRunSummary(pb.GetRunSummaryRequest(run_id=RUN))
        listed = await stub.ListSessions(agents_pb2.ListSessionsRequest(run_id=RUN))
    told = {
        (item.agent, item.session_id): [
            (usage.tokens.input, usage.tokens.cache_read, usage.tokens.cache_write, usage.tokens.output)
            for usage in item.reported
        ]
        for item in listed.sessions
    }
    assert told == {
        ("claude", "log-session"): [(50, 500, 5000, 35)],
        ("my-agent", "span-session"): [(120, 80, 0, 20)],
        ("my-agent", "metric-session"): [(90, 0, 0, 12)],
    }
    assert summary.tokens.input == 50 + 120 + 90

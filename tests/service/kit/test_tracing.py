"""Spans of real servers at a collector of the test's own: what is in them, how they hang together, what they cost."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from autopack_kit.auth import Authenticator
from autopack_kit.bind import Bind
from autopack_kit.channel import open_channel
from autopack_kit.errors import FailedPrecondition, InvalidArgument, NotFound
from autopack_kit.server import ServerOptions
from autopack_kit.testing import running
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

from .conftest import FULL_NAME, ProbeService

UNARY = f"/{FULL_NAME}/Unary"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Collector(pb_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.endpoint = ""

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            name = next(item.value.string_value for item in resource.resource.attributes if item.key == "service.name")
            for scope in resource.scope_spans:
                self.spans += [(name, span) for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    def only(self, service: str) -> Any:
        found = [span for name, span in self.spans if name == service]
        assert len(found) == 1, found
        return found[0]


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    found = Collector()
    server = grpc.aio.server()
    pb_grpc.add_TraceServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]
    found.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield found
    await server.stop(0)


@pytest.fixture
def options(collector: Collector) -> ServerOptions:
    return ServerOptions(traces_endpoint=collector.endpoint)


def attributes(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


async def unary(channel: Any, metadata: Any = None) -> bytes:
    return bytes(await channel.unary_unary(UNARY)(b"x", metadata=metadata))


async def test_a_call_is_a_span_with_the_names_that_every_tool_knows(
    service: ProbeService, options: ServerOptions, collector: Collector
) -> None:
    async with running(service, options=options) as target:
        await unary(target.channel)
    span = collector.only("autopack-probe")
    assert span.name == f"{FULL_NAME}/Unary"
    assert span.kind == span.SPAN_KIND_SERVER
    assert attributes(span) == {
        "rpc.system": "grpc", "rpc.service": FULL_NAME, "rpc.method": "Unary", "rpc.grpc.status_code": 0,
    }  # fmt: skip
    assert span.parent_span_id == b""
    assert span.status.code == span.status.STATUS_CODE_UNSET


async def test_a_trace_goes_on_from_the_caller_through_one_service_to_the_next(
    options: ServerOptions, collector: Collector
) -> None:
    first, second = ProbeService(), ProbeService()
    second.name = "second"
    async with running(second, options=options) as behind:

        async def ask(request: bytes) -> bytes:
            async with open_channel(behind.address) as channel:
                return await unary(channel)

        first.act = ask
        async with running(first, options=options) as target:
            await unary(target.channel, (("traceparent", f"00-{TRACE}-{PARENT}-01"),))
    outer, inner = collector.only("autopack-probe"), collector.only("autopack-second")
    assert outer.trace_id == inner.trace_id == bytes.fromhex(TRACE)
    assert outer.parent_span_id == bytes.fromhex(PARENT)
    assert inner.parent_span_id == outer.span_id


async def test_a_caller_that_is_not_sampled_leaves_no_span(
    service: ProbeService, options: ServerOptions, collector: Collector
) -> None:
    async with running(service, options=options) as target:
        await unary(target.channel, (("traceparent", f"00-{TRACE}-{PARENT}-00"),))
        await unary(target.channel, (("traceparent", "not a traceparent"),))
    assert collector.only("autopack-probe").trace_id != bytes.fromhex(TRACE)


async def test_a_refused_call_says_why_and_only_a_fault_of_the_server_is_an_error(
    service: ProbeService, options: ServerOptions, collector: Collector
) -> None:
    async def refuse(request: bytes) -> bytes:
        raise NotFound("There is none.", reason="NOTHING_THERE")

    async def fail(request: bytes) -> bytes:
        raise RuntimeError("boom")

    async with running(service, options=options) as target:
        for act in (refuse, fail):
            service.act = act
            with pytest.raises(grpc.aio.AioRpcError):
                await unary(target.channel)
    refused, failed = (span for _, span in collector.spans)
    assert attributes(refused)["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert attributes(refused)["error.type"] == "NOTHING_THERE"
    assert refused.status.code == refused.status.STATUS_CODE_UNSET
    assert attributes(failed)["rpc.grpc.status_code"] == grpc.StatusCode.INTERNAL.value[0]
    assert failed.status.code == failed.status.STATUS_CODE_ERROR
    assert "boom" not in str(failed)


async def test_probes_leave_no_span(service: ProbeService, options: ServerOptions, collector: Collector) -> None:
    async with running(service, options=options) as target:
        await health_pb2_grpc.HealthStub(target.channel).Check(health_pb2.HealthCheckRequest())
    assert collector.spans == []


class Seeing(ProbeService):
    """Keeps the metadata of its callers."""

    def __init__(self) -> None:
        super().__init__()
        self.metadata: dict[str, Any] = {}

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        return await super().unary(request, context)


@pytest.mark.parametrize("traced", [True, False])
async def test_only_where_calls_are_traced_is_a_trace_handed_on(options: ServerOptions, traced: bool) -> None:
    behind, service = Seeing(), ProbeService()
    async with running(behind) as last:

        async def ask(request: bytes) -> bytes:
            async with open_channel(last.address) as channel:
                return await unary(channel)

        service.act = ask
        async with running(service, options=options if traced else ServerOptions()) as target:
            await unary(target.channel, (("traceparent", f"00-{TRACE}-{PARENT}-01"),))
    assert behind.metadata.get("traceparent", "").startswith(f"00-{TRACE}-") == traced


async def test_a_collector_that_is_away_holds_up_neither_calls_nor_the_end(service: ProbeService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        options = ServerOptions(traces_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with asyncio.timeout(60), running(service, options=options) as target:
            assert await unary(target.channel) == b"x"
    assert service.events[-1] == "stop"


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4317", "ftp://x:1", "http://user@x:1", "http://x:1/path?q"])
async def test_an_endpoint_that_is_no_url_is_refused(service: ProbeService, endpoint: str) -> None:
    with pytest.raises(InvalidArgument, match="AUTOPACK_OTLP_TRACES_ENDPOINT"):
        async with running(service, options=ServerOptions(traces_endpoint=endpoint)):
            pass
    assert service.events == []


@pytest.mark.parametrize(
    ("options", "module", "package", "extra"),
    [
        (ServerOptions(traces_endpoint="http://127.0.0.1:1"), "autopack_kit.tracing", "opentelemetry.sdk", "tracing"),
        (ServerOptions(http_bind=Bind.parse("127.0.0.1:0")), "autopack_kit.http_port", "uvicorn", "telemetry"),
    ],
)
async def test_what_is_not_installed_is_named_with_its_remedy(
    service: ProbeService,
    monkeypatch: pytest.MonkeyPatch,
    options: ServerOptions,
    module: str,
    package: str,
    extra: str,
) -> None:
    for name in [name for name in sys.modules if name == module or name.startswith(package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    chosen = replace(options, authenticator=Authenticator(signing_key=b"k" * 32))
    with pytest.raises(FailedPrecondition) as caught:
        async with running(service, options=chosen):
            pass
    assert caught.value.reason == "EXTRA_NOT_INSTALLED"
    assert f"autopack[{extra}]" in caught.value.remedy
    assert service.events == []

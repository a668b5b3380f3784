"""The OpenTelemetry collector: logs, metrics and spans over gRPC and HTTP, mapped to usage, answered after the commit.

What one item has wrong with it is told in ``partial_success`` and never fails its request: an exporter would send all
of it again. Only UNAVAILABLE, and RESOURCE_EXHAUSTED with a delay, ask it to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc.aio
import structlog
from autopack_kit.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, Unavailable
from autopack_kit.identity import Scope, require
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from autopack_telemetry import convert_otlp, convert_tables
from autopack_telemetry.adapters.mappings import load_mappings
from autopack_telemetry.core.model import UsageRecord
from autopack_telemetry.core.otlp import json_wire
from autopack_telemetry.core.otlp.batch import Batch, Sender, TooManyParts
from autopack_telemetry.core.otlp.mapping import CLASS_KEY, PHASE_KEY, ROLE_KEY, RUN_KEY, Mappings
from autopack_telemetry.core.store import Store

__all__ = ["FULL_NAMES", "HEADERS", "HTTP_PATHS", "INGEST_METHODS", "Receiver"]

Context = grpc.aio.ServicerContext[Any, Any]

HEADERS = {
    "x-autopack-run-id": RUN_KEY,
    "x-autopack-phase-id": PHASE_KEY,
    "x-autopack-role": ROLE_KEY,
    "x-autopack-model-class": CLASS_KEY,
}
"""gRPC metadata and HTTP headers that say what an attribute says, for agents that lose their resource attributes."""
INLINE_BYTES = 8 << 10
"""A request up to this size is parsed and mapped in under a millisecond, on the event loop; others in a thread."""
LARGE_BYTES = 1 << 20
"""Larger requests are read one after the other: in memory one can become thirty-five times its size."""
MAX_BYTES_OF_RUN = 16 << 20
"""Of a request with the token of a run: an agent is not trusted with more of the server's memory."""
MAX_TOGETHER = 5_000
"""Records that are written in one piece: some tenths of a second."""
PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_log = structlog.get_logger("autopack.otlp")


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the three signals.

    Attributes:
        path: over HTTP.
        add: maps a request in protobuf.
        add_json: the same in JSON.
        answer: what is told about a batch.
    """

    name: str
    path: str
    service: Any
    request: type[Message]
    add: Callable[[Batch, Any], None]
    add_json: Callable[[Batch, Any], None]
    answer: Callable[[Batch], Message]

    @property
    def full_name(self) -> str:
        return str(self.service.full_name)


_LOGS = _Kind(
    "logs",
    "/v1/logs",
    logs_service_pb2.DESCRIPTOR.services_by_name["LogsService"],
    convert_tables.LogsRequest,
    convert_otlp.add_logs,
    json_wire.add_logs,
    convert_otlp.logs_response,
)
_METRICS = _Kind(
    "metrics",
    "/v1/metrics",
    metrics_service_pb2.DESCRIPTOR.services_by_name["MetricsService"],
    convert_tables.MetricsRequest,
    convert_otlp.add_metrics,
    json_wire.add_metrics,
    convert_otlp.metrics_response,
)
_TRACES = _Kind(
    "traces",
    "/v1/traces",
    trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"],
    convert_tables.TraceRequest,
    convert_otlp.add_spans,
    json_wire.add_spans,
    convert_otlp.trace_response,
)
_KINDS = (_LOGS, _METRICS, _TRACES)

FULL_NAMES = tuple(kind.full_name for kind in _KINDS)
"""The collector's services."""
INGEST_METHODS = frozenset(f"/{name}/Export" for name in FULL_NAMES)
"""What a run's own token may call."""
HTTP_PATHS = frozenset(kind.path for kind in _KINDS)
"""The same over HTTP."""


class Receiver:
    """Takes requests of all three signals.

    Args:
        store: gives what usage is kept in; asked at each request, as it is opened when the service starts.
        clock: microseconds since 1970.

    Attributes:
        observe: told a signal, what became of its items (``recorded``, ``duplicate``, ``rejected``), and how many.
    """

    def __init__(self, store: Callable[[], Store], clock: Callable[[], int]) -> None:
        self.observe: Callable[[str, str, int], None] | None = None
        self._mappings: Mappings | None = None
        self._store = store
        self._clock = clock
        self._large = asyncio.Lock()

    async def start(self) -> None:
        """Reads the mappings.

        Raises:
            InvalidArgument: ``MAPPING_INVALID``.
        """
        self._mappings = await asyncio.to_thread(load_mappings)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the collector's three services."""
        for kind in _KINDS:
            export: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
                _servicer(self, kind),
                request_deserializer=None,  # a large one is parsed where it is mapped, in a thread
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(kind.full_name, {"Export": export})])

    def http_routes(self) -> list[Any]:
        """``POST /v1/logs``, ``/v1/metrics`` and ``/v1/traces``."""
        from starlette.routing import Route  # comes with an extra that a server without an HTTP port does not need

        return [Route(kind.path, _endpoint(self, kind), methods=["POST"]) for kind in _KINDS]

    async def take(
        self, kind: _Kind, fill: Callable[[_Kind, Batch, bytes], None], body: bytes, claims: Iterable[tuple[str, Any]]
    ) -> Message:
        """Maps, commits, answers.

        Args:
            kind: of the signal.
            fill: adds the items of a body to a batch.
            body: as it was received.
            claims: metadata or headers.

        Raises:
            InvalidArgument: ``OTLP_BODY_INVALID``.
            ResourceExhausted: ``REQUEST_TOO_LARGE``; with a delay, when the writer's queue is full.
            Unavailable: the database cannot be written.
        """
        principal, now = require(Scope.INGEST), self._clock()
        said = {HEADERS[key]: value for key, value in claims if key in HEADERS and isinstance(value, str)}
        assert self._mappings is not None, "the service has started"
        batch = Batch(self._mappings, Sender(now, said, principal.run_id))
        if principal.run_id is not None and len(body) > MAX_BYTES_OF_RUN:
            raise _too_large(len(body))
        if len(body) <= INLINE_BYTES:
            fill(kind, batch, body)
        else:
            async with self._large if len(body) > LARGE_BYTES else contextlib.nullcontext():
                await asyncio.to_thread(fill, kind, batch, body)
        if batch.records:
            await self._keep(kind, principal.tenant, batch.records, now)
        if batch.rejected or batch.warnings:
            self._tell(kind, rejected=batch.rejected)
            # The same text that the sender gets: names of attributes and counts, nothing that an item said.
            _log.warning("otlp items", signal=kind.name, rejected=batch.rejected, problems=batch.message())
        return kind.answer(batch)

    async def _keep(self, kind: _Kind, tenant: str, records: Sequence[UsageRecord], now: int) -> None:
        """In parts, with records of others between those of a request of 64 MiB; what is sent again counts once."""
        for start in range(0, len(records), MAX_TOGETHER):
            part = records[start : start + MAX_TOGETHER]
            try:
                recorded, known = await self._store().record_usage(tenant, part, now)
            except FailedPrecondition as error:
                # Read-only, as a primary is for a moment when another takes over: exporters would drop all they have.
                raise Unavailable(
                    error.message, reason=error.reason, remedy=error.remedy, metadata=error.metadata
                ) from error
            self._tell(kind, recorded=recorded, duplicate=known)

    def _tell(self, kind: _Kind, **results: int) -> None:
        if self.observe is not None:
            for result, count in results.items():
                self.observe(kind.name, result, count)


def _servicer(receiver: Receiver, kind: _Kind) -> Callable[[bytes, Context], Any]:
    async def export(body: bytes, context: Context) -> Message:
        return await receiver.take(kind, _fill_protobuf, body, context.invocation_metadata() or ())

    return export


def _endpoint(receiver: Receiver, kind: _Kind) -> Callable[[Any], Any]:
    from autopack_kit.http import error_response, read_body
    from starlette.requests import Request
    from starlette.responses import Response

    async def export(request: Request) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in (PROTOBUF, JSON):
            response = error_response(_unknown_media(media), request.headers, "telemetry.autopack")
            response.status_code = 415
            return response
        body = await read_body(request)
        fill = _fill_json if media == JSON else _fill_protobuf
        answer = await receiver.take(kind, fill, body, request.headers.items())
        if media == PROTOBUF:
            return Response(answer.SerializeToString(), media_type=PROTOBUF)
        return Response(json_format.MessageToJson(answer, indent=None), media_type=JSON)

    return export


def _fill_protobuf(kind: _Kind, batch: Batch, body: bytes) -> None:
    try:
        request = kind.request.FromString(body)
    except DecodeError as error:
        raise _bad_body(f"it is no {kind.request.DESCRIPTOR.name} in protobuf") from error
    try:
        kind.add(batch, request)
    except TooManyParts as error:
        raise _bad_body(str(error)) from error


def _fill_json(kind: _Kind, batch: Batch, body: bytes) -> None:
    try:
        kind.add_json(batch, json.loads(body))
    except (json_wire.NotOtlp, TooManyParts) as error:
        raise _bad_body(str(error)) from error
    except (ValueError, RecursionError) as error:  # also what is no UTF-8, and integers of thousands of digits
        raise _bad_body("it is no JSON that can be read") from error


def _bad_body(why: str) -> InvalidArgument:
    return InvalidArgument(
        f"The body is not valid OTLP: {why}.",
        reason="OTLP_BODY_INVALID",
        remedy="Send what an OTLP exporter sends, with the Content-Type that says which encoding it is in.",
    )


def _too_large(size: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"The request has {size:,} bytes, and one with the token of a run may have {MAX_BYTES_OF_RUN >> 20} MiB.",
        reason="REQUEST_TOO_LARGE",
        remedy="Send smaller batches, or use a token that is not a run's.",
        metadata={"bytes": str(size), "limit": str(MAX_BYTES_OF_RUN)},
    )


def _unknown_media(media: str) -> InvalidArgument:
    return InvalidArgument(
        f"Content-Type {media[:100]!r} is not understood here.",
        reason="OTLP_MEDIA_TYPE_UNKNOWN",
        remedy=f"Send {PROTOBUF} or {JSON}.",
        metadata={"content_type": media[:100]},
    )

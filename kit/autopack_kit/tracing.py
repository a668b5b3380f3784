"""Spans of a server's own calls, sent over OTLP to a collector. Needs the extra ``tracing``: import it where it is on.

A span per call, of kind SERVER, which continues the trace of its caller (``traceparent``) and is handed on to the
services that are asked in turn. Names and attributes are those of OpenTelemetry's conventions for gRPC; nothing of a
request or an answer is in them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from autopack_kit.errors import invalid_field
from autopack_kit.trace_context import TRACEPARENT, current_traceparent

__all__ = ["CallSpan", "Tracing"]

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+")
_UNTRACED = ("/grpc.health.v1.Health/", "/grpc.reflection.", "/opentelemetry.proto.collector.")
"""Probes, which tell nothing; and what exporters send: a server that reports to itself would never fall silent."""
_KEYS = (TRACEPARENT, "tracestate")
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Statuses that are the server's fault, by OpenTelemetry's conventions; the others are the caller's."""
_NUMBERS = {code.name: code.value[0] for code in grpc.StatusCode}
EXPORT_SECONDS = 5.0
"""Time for one batch to reach the collector; what does not is lost, and the calls themselves never wait."""


class CallSpan:
    """The span of one call."""

    def __init__(self, span: Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        current_traceparent.set(f"00-{self.trace_id}-{context.span_id:016x}-{int(context.trace_flags):02x}")

    def end(self, code: str, reason: str) -> None:
        """The call has ended.

        Args:
            code: of its status, by name.
            reason: of its error; may be empty.
        """
        self._span.set_attribute("rpc.grpc.status_code", _NUMBERS.get(code, 2))
        if reason:
            self._span.set_attribute("error.type", reason)
        if code in _FAULTS:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Tracing:
    """Makes the spans of one server.

    Args:
        endpoint: of the collector, over gRPC: ``http://127.0.0.1:4317``, or https. Headers and certificates are those
            of the standard variables (``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_EXPORTER_OTLP_CERTIFICATE``), as is what
            is sampled (``OTEL_TRACES_SAMPLER``).
        name: of this server.

    Raises:
        InvalidArgument: the endpoint is no such URL.
    """

    def __init__(self, endpoint: str, name: str) -> None:
        if not _ENDPOINT.fullmatch(endpoint):
            raise invalid_field(
                "AUTOPACK_OTLP_TRACES_ENDPOINT",
                f"{endpoint[:100]!r} is not the URL of a collector, such as http://127.0.0.1:4317",
            )
        resource = Resource.create({"service.name": name, "service.instance.id": uuid.uuid4().hex})
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=EXPORT_SECONDS)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("autopack")
        self._propagator = TraceContextTextMapPropagator()

    def start(self, method: str, metadata: Iterable[tuple[str, Any]]) -> CallSpan | None:
        """The span of a call that begins in this task; None for what is not traced."""
        if method.startswith(_UNTRACED):
            return None
        carrier = {key: value for key, value in metadata if key in _KEYS and isinstance(value, str)}
        service, _, name = method.strip("/").rpartition("/")
        span = self._tracer.start_span(
            f"{service}/{name}",
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        )
        return CallSpan(span)

    def close(self) -> None:
        """Sends what waits, and ends. Blocks for as long as one batch may take."""
        self._provider.shutdown()

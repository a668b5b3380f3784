"""What the tests of the OTLP mapping share: OTLP in JSON to records, by both encodings."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from autopack_telemetry import Tokens, UsageRecord, convert_otlp, convert_tables
from autopack_telemetry.adapters.mappings import load_mappings
from autopack_telemetry.core.otlp import json_wire
from autopack_telemetry.core.otlp.batch import Batch, Sender
from autopack_telemetry.core.otlp.mapping import Mappings
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = [
    "GOLDEN",
    "NOW",
    "NOW_NS",
    "as_row",
    "attributes",
    "log",
    "map_json",
    "map_protobuf",
    "mappings",
    "to_protobuf",
]

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_764_000_100_000_000
"""Microseconds: 100 s after the golden data."""
NOW_NS = NOW * 1000

_REQUESTS: dict[str, tuple[Any, Any, Any, Any]] = {
    "resourceLogs": (ExportLogsServiceRequest, convert_tables.LogsRequest, json_wire.add_logs, convert_otlp.add_logs),
    "resourceSpans": (
        ExportTraceServiceRequest,
        convert_tables.TraceRequest,
        json_wire.add_spans,
        convert_otlp.add_spans,
    ),
    "resourceMetrics": (
        ExportMetricsServiceRequest,
        convert_tables.MetricsRequest,
        json_wire.add_metrics,
        convert_otlp.add_metrics,
    ),
}
_TEXT_ENUMS = ("role", "model_class", "signal")


@cache
def mappings() -> Mappings:
    """Those of the package."""
    return load_mappings()


def map_json(document: Mapping[str, Any], sender: Sender | None = None) -> Batch:
    """A document as it is."""
    batch = Batch(mappings(), sender or Sender(NOW))
    _kind(document)[2](batch, document)
    return batch


def map_protobuf(document: Mapping[str, Any], sender: Sender | None = None) -> Batch:
    """The same document over protobuf."""
    batch = Batch(mappings(), sender or Sender(NOW))
    _, request, _, add = _kind(document)
    add(batch, request.FromString(to_protobuf(document).SerializeToString()))
    return batch


def to_protobuf(document: Mapping[str, Any]) -> Any:
    """A document as the message that an exporter would have sent."""
    return json_format.ParseDict(_protobuf_json(json.loads(json.dumps(document))), _kind(document)[0]())


def as_row(record: UsageRecord, *, usage_id: bool = True) -> dict[str, Any]:
    """A record as the golden files have it: without what is not known, and what its tokens were made from."""
    row: dict[str, Any] = {}
    left_out = {"parts"} if usage_id else {"parts", "usage_id"}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name in _TEXT_ENUMS:
            value = value.value
        if field.name == "tokens":
            row["tokens"] = [getattr(value, name) for name in Tokens.__slots__]
        elif value not in ("", None, False, "agent", "unknown") and field.name not in left_out:
            row[field.name] = value
    return row


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes in JSON."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def log(
    *records: Mapping[str, Any], resource: Mapping[str, Any] | None = None, scope: str = "", time: int = NOW_NS
) -> dict[str, Any]:
    """Log records with these attributes; ``body`` is their body."""
    items = [
        {
            "timeUnixNano": str(time),
            "body": {"stringValue": record.get("body", "")},
            "attributes": attributes({key: value for key, value in record.items() if key != "body"}),
        }
        for record in records
    ]
    scopes = [{"scope": {"name": scope}, "logRecords": items}]
    return {"resourceLogs": [{"resource": {"attributes": attributes(resource or {})}, "scopeLogs": scopes}]}


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": value}


def _kind(document: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    return _REQUESTS[next(iter(document))]


def _protobuf_json(value: Any) -> Any:
    """OTLP has ids in hexadecimal digits, where protobuf's own JSON has base64, and "NaN" in quotes."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_protobuf_json(item) for item in value]
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode()
            if key in ("traceId", "spanId", "parentSpanId")
            else _protobuf_json(item)
            for key, item in value.items()
        }
    return value

"""OTLP in protobuf to usage records, and the answer. Reads no more of a message than the mappings list.

Requests are of the classes in :mod:`.convert_tables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from autopack_telemetry.core.otlp.batch import Batch, Resource
from autopack_telemetry.core.otlp.events import add_event
from autopack_telemetry.core.otlp.lookup import MAX_NAME_IN_BODY, event_entry, metric_entry, span_entry
from autopack_telemetry.core.otlp.mapping import EventEntry, MetricEntry
from autopack_telemetry.core.otlp.points import Point, Points

__all__ = ["add_logs", "add_metrics", "add_spans", "logs_response", "metrics_response", "trace_response"]

_EVENT_NAME = "event.name"
_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_ERROR = Status.STATUS_CODE_ERROR
_MAX_DEPTH = 8
"""Of values within values, of which nothing is kept but a hash."""


def add_logs(batch: Batch, request: Any) -> None:
    """The log records of a request."""
    batch.parts(len(request.resource_logs))
    for group in request.resource_logs:
        batch.parts(len(group.scope_logs))
        resource = _resource(batch, group.resource.attributes)
        for scope in group.scope_logs:
            batch.parts(len(scope.log_records))
            name = scope.scope.name
            for record in scope.log_records:
                entry = _log_entry(batch, resource, name, record)
                if entry is not None:
                    values = _listed(record.attributes, entry.keys)
                    time = record.time_unix_nano or record.observed_time_unix_nano
                    add_event(batch, entry, resource, values, time=time, span_id=record.span_id.hex())


def add_spans(batch: Batch, request: Any) -> None:
    """The spans of a request."""
    batch.parts(len(request.resource_spans))
    for group in request.resource_spans:
        batch.parts(len(group.scope_spans))
        resource = _resource(batch, group.resource.attributes)
        for scope in group.scope_spans:
            batch.parts(len(scope.spans))
            for span in scope.spans:
                entry = span_entry(batch, resource, span.name)
                if entry is None:
                    continue
                values = _listed(span.attributes, entry.keys)
                if entry.any_name and entry.token_keys.isdisjoint(values):
                    continue
                add_event(
                    batch,
                    entry,
                    resource,
                    values,
                    time=span.end_time_unix_nano or span.start_time_unix_nano,
                    span_id=span.span_id.hex(),
                    failed=span.status.code == _ERROR,
                )


def add_metrics(batch: Batch, request: Any) -> None:
    """The points of a request."""
    batch.parts(len(request.resource_metrics))
    for group in request.resource_metrics:
        batch.parts(len(group.scope_metrics))
        attributes = group.resource.attributes
        resource = _resource(batch, attributes)
        points = Points(batch, resource, lambda attributes=attributes: _all(attributes))  # type: ignore[misc]
        for scope in group.scope_metrics:
            batch.parts(len(scope.metrics))
            for metric in scope.metrics:
                entry = metric_entry(batch, resource, metric.name)
                if entry is not None:
                    _add_metric(batch, points, entry, metric)
        points.end()


def logs_response(batch: Batch) -> logs_pb.ExportLogsServiceResponse:
    """The answer: empty if every record was kept or told of no usage."""
    answer = logs_pb.ExportLogsServiceResponse()
    if message := batch.message():
        answer.partial_success.rejected_log_records = batch.rejected
        answer.partial_success.error_message = message
    return answer


def trace_response(batch: Batch) -> trace_pb.ExportTraceServiceResponse:
    """The same for spans."""
    answer = trace_pb.ExportTraceServiceResponse()
    if message := batch.message():
        answer.partial_success.rejected_spans = batch.rejected
        answer.partial_success.error_message = message
    return answer


def metrics_response(batch: Batch) -> metrics_pb.ExportMetricsServiceResponse:
    """The same for points."""
    answer = metrics_pb.ExportMetricsServiceResponse()
    if message := batch.message():
        answer.partial_success.rejected_data_points = batch.rejected
        answer.partial_success.error_message = message
    return answer


def _resource(batch: Batch, attributes: Mapping[str, AnyValue]) -> Resource:
    return batch.resource(_listed(attributes, batch.mappings.resource_keys))


def _log_entry(batch: Batch, resource: Resource, scope: str, record: Any) -> EventEntry | None:
    """By the name of the event, wherever it stands. A body comes last, and only if it is short: it may be a prompt."""
    # The attribute first: in event_name some put the place in their code (Codex).
    named = record.attributes.get(_EVENT_NAME)
    name = record.event_name if named is None else named.string_value
    if named is None and not name:
        if record.body.ByteSize() > MAX_NAME_IN_BODY:
            return None
        name = record.body.string_value
    return event_entry(batch, resource, scope, name)


def _add_metric(batch: Batch, points: Points, entry: MetricEntry, metric: Any) -> None:
    kind = metric.WhichOneof("data")
    if kind not in ("sum", "histogram", "exponential_histogram"):
        if kind is not None:
            batch.reject(entry.id, "it must be a sum or a histogram", len(getattr(metric, kind).data_points))
        return
    data: Any = getattr(metric, kind)
    batch.parts(len(data.data_points))
    for point in data.data_points:
        if not point.flags & _NO_VALUE:
            value = getattr(point, point.WhichOneof("value") or "as_int") if kind == "sum" else point.sum
            attributes = _all(point.attributes)
            times = point.start_time_unix_nano, point.time_unix_nano
            points.add(entry, Point(attributes, value, data.aggregation_temporality, *times))


def _listed(attributes: Mapping[str, AnyValue], keys: frozenset[str]) -> dict[str, Any]:
    """The attributes with those keys; no other one is even decoded."""
    found: dict[str, Any] = {}
    for key in keys.intersection(attributes):
        value = attributes[key]
        # Nearly all are a text or a number other than 0, which are quicker to take than to ask for.
        found[key] = value.string_value or value.int_value or value.double_value or _plain(value)
    return found


def _all(attributes: Mapping[str, AnyValue]) -> Mapping[str, Any]:
    return {key: _plain(attributes[key]) for key in attributes}


def _plain(value: AnyValue, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_plain(item, depth + 1) for item in value.array_value.values) if depth < _MAX_DEPTH else ()
    if kind == "kvlist_value":
        items = value.kvlist_value.values if depth < _MAX_DEPTH else ()
        return tuple((item.key, _plain(item.value, depth + 1)) for item in items)
    return None if kind is None else getattr(value, kind)

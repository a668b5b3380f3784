"""OTLP in JSON to usage records, over the dictionaries of a JSON parser: protobuf's own takes twenty times as long, and
decodes the hexadecimal ids of OTLP as base64.

Names are lowerCamelCase, 64-bit integers may be strings, and unknown names are passed over: "JSON Protobuf encoding" of
opentelemetry.io/docs/specs/otlp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autopack_telemetry.core.otlp.batch import Batch, Resource
from autopack_telemetry.core.otlp.events import add_event
from autopack_telemetry.core.otlp.lookup import MAX_NAME_IN_BODY, event_entry, metric_entry, span_entry
from autopack_telemetry.core.otlp.mapping import EventEntry, MetricEntry
from autopack_telemetry.core.otlp.points import CUMULATIVE, DELTA, Point, Points

__all__ = ["NotOtlp", "add_logs", "add_metrics", "add_spans"]

_EVENT_NAME = "event.name"
_ERROR = (2, "STATUS_CODE_ERROR")
_TEMPORALITIES = {
    1: DELTA,
    2: CUMULATIVE,
    "AGGREGATION_TEMPORALITY_DELTA": DELTA,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": CUMULATIVE,
}
_NO_VALUE = 1
_METRIC_KINDS = ("sum", "histogram", "exponentialHistogram")
_OTHER_KINDS = ("gauge", "summary")
_MAX_DEPTH = 8


class NotOtlp(ValueError):
    """The document is not what OTLP has in JSON; the text says where."""


def add_logs(batch: Batch, document: Any) -> None:
    """The log records of a document.

    Raises:
        NotOtlp: its structure is another one. Nothing of it may then be recorded.
    """
    for group in _items(document, "resourceLogs"):
        resource = _resource(batch, group)
        for scope in _items(group, "scopeLogs"):
            name = _text(_object(scope, "scope"), "name")
            for record in _items(scope, "logRecords"):
                entry = _log_entry(batch, resource, name, record)
                if entry is not None:
                    time = _integer(record, "timeUnixNano") or _integer(record, "observedTimeUnixNano")
                    span_id = _text(record, "spanId").lower()
                    add_event(batch, entry, resource, _listed(record, entry.keys), time=time, span_id=span_id)


def add_spans(batch: Batch, document: Any) -> None:
    """The spans of a document. Errors as :func:`add_logs`."""
    for group in _items(document, "resourceSpans"):
        resource = _resource(batch, group)
        for scope in _items(group, "scopeSpans"):
            for span in _items(scope, "spans"):
                entry = span_entry(batch, resource, _text(span, "name"))
                if entry is None:
                    continue
                values = _listed(span, entry.keys)
                if entry.any_name and entry.token_keys.isdisjoint(values):
                    continue
                add_event(
                    batch,
                    entry,
                    resource,
                    values,
                    time=_integer(span, "endTimeUnixNano") or _integer(span, "startTimeUnixNano"),
                    span_id=_text(span, "spanId").lower(),
                    failed=_object(span, "status").get("code") in _ERROR,
                )


def add_metrics(batch: Batch, document: Any) -> None:
    """The points of a document. Errors as :func:`add_logs`."""
    for group in _items(document, "resourceMetrics"):
        described = _object(group, "resource")
        resource = _resource(batch, group)
        points = Points(batch, resource, lambda described=described: _all(described))  # type: ignore[misc]
        for scope in _items(group, "scopeMetrics"):
            for metric in _items(scope, "metrics"):
                entry = metric_entry(batch, resource, _text(metric, "name"))
                if entry is not None:
                    _add_metric(batch, points, entry, metric)
        points.end()


def _resource(batch: Batch, group: Mapping[str, Any]) -> Resource:
    return batch.resource(_listed(_object(group, "resource"), batch.mappings.resource_keys))


def _log_entry(batch: Batch, resource: Resource, scope: str, record: Mapping[str, Any]) -> EventEntry | None:
    for attribute in _items(record, "attributes"):
        if attribute.get("key") == _EVENT_NAME:
            name = _text(_object(attribute, "value"), "stringValue")
            break
    else:
        name = _text(record, "eventName")
        if not name:
            name = _text(_object(record, "body"), "stringValue")
            if len(name) > MAX_NAME_IN_BODY:
                return None
    return event_entry(batch, resource, scope, name)


def _add_metric(batch: Batch, points: Points, entry: MetricEntry, metric: Mapping[str, Any]) -> None:
    for kind in _OTHER_KINDS:
        if kind in metric:
            count = sum(1 for _ in _items(_object(metric, kind), "dataPoints"))
            batch.reject(entry.id, "it must be a sum or a histogram", count)
    for kind in _METRIC_KINDS:
        data = _object(metric, kind)
        temporality = data.get("aggregationTemporality")
        known = _TEMPORALITIES.get(temporality, 0) if isinstance(temporality, int | str) else 0
        for point in _items(data, "dataPoints"):
            if not _integer(point, "flags") & _NO_VALUE:
                value = point.get("asInt", point.get("asDouble")) if kind == "sum" else point.get("sum", 0)
                times = _integer(point, "startTimeUnixNano"), _integer(point, "timeUnixNano")
                points.add(entry, Point(_all(point), value, known, *times))


def _items(holder: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    found = holder.get(key) if isinstance(holder, dict) else _not_object(holder)
    if found is None:
        return
    if not isinstance(found, list):
        raise NotOtlp(f"{key} must be a list")
    for item in found:
        if not isinstance(item, dict):
            raise NotOtlp(f"{key} must be a list of objects")
        yield item


def _not_object(holder: Any) -> Any:
    raise NotOtlp("it must be an object")


def _object(holder: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = holder.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise NotOtlp(f"{key} must be an object")
    return found


def _text(holder: Mapping[str, Any], key: str) -> str:
    found = holder.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise NotOtlp(f"{key} must be a string")
    return found


def _integer(holder: Mapping[str, Any], key: str) -> int:
    """A 64-bit integer, which may be a string."""
    found = holder.get(key, 0)
    try:
        number = int(found) if type(found) in (int, str) else -1
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise NotOtlp(f"{key} must be an integer of 64 bits, or its decimal digits")
    return number


def _listed(holder: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {
        key: _plain(item.get("value")) for item in _items(holder, "attributes") if (key := _text(item, "key")) in keys
    }


def _all(holder: Mapping[str, Any]) -> dict[str, Any]:
    return {_text(item, "key"): _plain(item.get("value")) for item in _items(holder, "attributes")}


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as protobuf would have given it."""
    if not isinstance(value, dict):
        return None
    for kind, found in value.items():
        if kind == "intValue":
            return _signed(found)
        if kind in ("stringValue", "boolValue", "bytesValue"):
            return found if isinstance(found, str | bool) else None
        if kind == "doubleValue":
            return _double(found)
        if kind == "arrayValue" and depth < _MAX_DEPTH:
            return tuple(_plain(item, depth + 1) for item in _items(_object(value, kind), "values"))
        if kind == "kvlistValue" and depth < _MAX_DEPTH:
            items = _items(_object(value, kind), "values")
            return tuple((_text(item, "key"), _plain(item.get("value"), depth + 1)) for item in items)
    return None


def _signed(value: Any) -> Any:
    try:
        return int(value) if type(value) in (int, str) else ()
    except ValueError:
        return ()  # no number: refused where one is asked for


def _double(value: Any) -> Any:
    try:
        return float(value) if type(value) in (int, float, str) else ()
    except (ValueError, OverflowError):
        return ()

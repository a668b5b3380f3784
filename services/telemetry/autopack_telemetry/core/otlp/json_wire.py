"""OTLP in JSON to usage records, over the dictionaries of a JSON parser: protobuf's own takes twenty times as long, and
decodes the hexadecimal ids of OTLP as base64.

Names are lowerCamelCase, 64-bit integers may be strings, and unknown names are passed over: "JSON Protobuf encoding" of
opentelemetry.io/docs/specs/otlp.

A part that cannot be read costs the item that it belongs to and no other: an exporter would drop the whole request.
Only a document without a list of resources is refused as a whole.
"""

from __future__ import annotations

import base64
import re
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
_RECORD, _SPAN, _METRIC = "log record", "span", "metric"
"""Stand for the entry of an item that cannot be read so far as to know it."""
_DIGITS = re.compile(r"-?[0-9]{1,20}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_OTHER_ID = re.compile(r"[!-~]{1,64}")


class NotOtlp(ValueError):
    """Something in the document is not what OTLP has in JSON; the text says what, and repeats no value."""


def add_logs(batch: Batch, document: Any) -> None:
    """The log records of a document.

    Raises:
        NotOtlp: it has no list of resources. Nothing of it has then been taken in.
    """
    for resource, group in _resources(batch, document, ("resourceLogs", "scopeLogs", "logRecords"), _RECORD):
        for scope in _readable(batch, group, "scopeLogs", _RECORD):
            try:
                name = _text(_object(scope, "scope"), "name")
            except NotOtlp as error:
                batch.reject(_RECORD, str(error), _length(scope, "logRecords"))
                continue
            for record in _readable(batch, scope, "logRecords", _RECORD):
                _add_record(batch, resource, name, record)


def add_spans(batch: Batch, document: Any) -> None:
    """The spans of a document. Errors as :func:`add_logs`."""
    for resource, group in _resources(batch, document, ("resourceSpans", "scopeSpans", "spans"), _SPAN):
        for scope in _readable(batch, group, "scopeSpans", _SPAN):
            for span in _readable(batch, scope, "spans", _SPAN):
                _add_span(batch, resource, span)


def add_metrics(batch: Batch, document: Any) -> None:
    """The points of a document. Errors as :func:`add_logs`."""
    for resource, group in _resources(batch, document, ("resourceMetrics", "scopeMetrics", "metrics"), _METRIC):
        described = _object(group, "resource")
        points = Points(batch, resource, lambda described=described: _all(described))  # type: ignore[misc]
        for scope in _readable(batch, group, "scopeMetrics", _METRIC):
            for metric in _readable(batch, scope, "metrics", _METRIC):
                try:
                    entry = metric_entry(batch, resource, _text(metric, "name"))
                except NotOtlp as error:
                    batch.reject(_METRIC, str(error))
                    continue
                if entry is not None:
                    _add_metric(batch, points, entry, metric)
        points.end()


def _resources(
    batch: Batch, document: Any, names: tuple[str, str, str], item: str
) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """The resources that can be read; of the others all items are rejected, as nobody can say whose they are."""
    if not isinstance(document, dict):
        raise NotOtlp("it must be an object")
    outer, inner, leaf = names
    if not isinstance(document.get(outer), list | None):
        raise NotOtlp(f"{outer} must be a list")
    for group in _readable(batch, document, outer, item):
        try:
            resource = batch.resource(_listed(_object(group, "resource"), batch.mappings.resource_keys))
        except NotOtlp as error:
            scopes = group.get(inner)
            held = (_length(scope, leaf) for scope in scopes) if isinstance(scopes, list) else ()
            batch.reject(item, f"of its resource, {error}", max(1, sum(held)))
            continue
        yield resource, group


def _add_record(batch: Batch, resource: Resource, scope: str, record: Mapping[str, Any]) -> None:
    item = _RECORD
    try:
        entry = _log_entry(batch, resource, scope, record)
        if entry is None:
            return
        item = entry.id
        time = _integer(record, "timeUnixNano") or _integer(record, "observedTimeUnixNano")
        values, span_id = _listed(record, entry.keys), _id(batch, record, "spanId")
    except NotOtlp as error:
        batch.reject(item, str(error))
        return
    add_event(batch, entry, resource, values, time=time, span_id=span_id)


def _add_span(batch: Batch, resource: Resource, span: Mapping[str, Any]) -> None:
    item = _SPAN
    try:
        entry = span_entry(batch, resource, _text(span, "name"))
        if entry is None:
            return
        values = _listed(span, entry.keys)
        if entry.any_name and entry.token_keys.isdisjoint(values):
            return
        item = entry.id
        time = _integer(span, "endTimeUnixNano") or _integer(span, "startTimeUnixNano")
        span_id, failed = _id(batch, span, "spanId"), _object(span, "status").get("code") in _ERROR
    except NotOtlp as error:
        batch.reject(item, str(error))
        return
    add_event(batch, entry, resource, values, time=time, span_id=span_id, failed=failed)


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
        if metric.get(kind) is not None:
            batch.reject(entry.id, "it must be a sum or a histogram", _length(metric[kind], "dataPoints"))
    for kind in _METRIC_KINDS:
        try:
            data = _object(metric, kind)
        except NotOtlp as error:
            batch.reject(entry.id, str(error))
            continue
        temporality = data.get("aggregationTemporality")
        known = _TEMPORALITIES.get(temporality, 0) if isinstance(temporality, int | str) else 0
        for point in _readable(batch, data, "dataPoints", entry.id):
            names = ("asInt", "asDouble") if kind == "sum" else ("sum",)
            value = next((point[name] for name in names if point.get(name) is not None), 0)
            _add_point(batch, points, entry, point, value, known)


def _add_point(
    batch: Batch, points: Points, entry: MetricEntry, point: Mapping[str, Any], value: Any, temporality: int
) -> None:
    try:
        attributes = _all(point)
    except NotOtlp as error:
        batch.reject(entry.id, str(error))
        return
    try:
        flags = _integer(point, "flags")
        times = _integer(point, "startTimeUnixNano"), _integer(point, "timeUnixNano")
    except NotOtlp as error:
        points.refuse(entry, attributes, str(error))
        return
    if not flags & _NO_VALUE:
        points.add(entry, Point(attributes, value, temporality, *times))


def _readable(batch: Batch, holder: Mapping[str, Any], key: str, item: str) -> Iterator[dict[str, Any]]:
    """The objects of a list; what is none in it is rejected, as is the whole of what is no list."""
    found = holder.get(key)
    if found is None:
        return
    if not isinstance(found, list):
        batch.reject(item, f"{key} must be a list")
        return
    batch.parts(len(found))
    for one in found:
        if isinstance(one, dict):
            yield one
        else:
            batch.reject(item, f"{key} must be a list of objects")


def _length(holder: Any, key: str) -> int:
    """How many items a part that is rejected may have held: at least itself."""
    found = holder.get(key) if isinstance(holder, dict) else None
    return max(1, len(found)) if isinstance(found, list) else 1


def _items(holder: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
    found = holder.get(key)
    if found is None:
        return
    if not isinstance(found, list):
        raise NotOtlp(f"{key} must be a list")
    for item in found:
        if not isinstance(item, dict):
            raise NotOtlp(f"{key} must be a list of objects")
        yield item


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
    """An unsigned integer of 64 bits, which may be a string; 0 if it is not there."""
    found = holder.get(key)
    number = 0 if found is None else _number(found)
    if number is None or not 0 <= number < 1 << 64:
        raise NotOtlp(f"{key} must be an integer of 64 bits, or its decimal digits")
    return number


def _number(value: Any) -> int | None:
    if type(value) is int:
        return value
    return int(value) if type(value) is str and _DIGITS.fullmatch(value) else None


def _id(batch: Batch, holder: Mapping[str, Any], key: str) -> str:
    """An id in hexadecimal digits. Base64, of protobuf's own JSON, tells one item from another all the same."""
    found = _text(holder, key)
    if _HEX.fullmatch(found):
        return found.lower()
    if not _OTHER_ID.fullmatch(found):
        raise NotOtlp(f"{key} must be hexadecimal digits")
    batch.warn(f"{key} must be hexadecimal digits; it was taken as it is")
    return found


def _listed(holder: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {
        key: _plain(item.get("value")) for item in _items(holder, "attributes") if (key := _text(item, "key")) in keys
    }


def _all(holder: Mapping[str, Any]) -> dict[str, Any]:
    return {_text(item, "key"): _plain(item.get("value")) for item in _items(holder, "attributes")}


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as protobuf would have given it; what it could not have is ``()``, and refused where it is read."""
    if not isinstance(value, dict):
        return None if value is None else ()
    for kind, found in value.items():
        if kind == "intValue":
            return _signed(found)
        if kind == "stringValue":
            return found if isinstance(found, str) else ()
        if kind == "boolValue":
            return found if isinstance(found, bool) else ()
        if kind == "doubleValue":
            return _double(found)
        if kind == "bytesValue":
            return _bytes(found)
        if kind in ("arrayValue", "kvlistValue"):
            return _nested(value, kind, depth + 1)
    return None


def _nested(value: Mapping[str, Any], kind: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return ()
    try:
        items = _object(value, kind).get("values") or []
        if kind == "arrayValue":
            return tuple(_plain(item, depth) for item in items)
        return tuple((_text(item, "key"), _plain(item.get("value"), depth)) for item in items)
    except (NotOtlp, TypeError, AttributeError):
        return ()


def _signed(value: Any) -> Any:
    number = _number(value)
    return () if number is None or not -(1 << 63) <= number < 1 << 63 else number


def _double(value: Any) -> Any:
    try:
        return float(value) if type(value) in (int, float, str) else ()
    except (ValueError, OverflowError):
        return ()


def _bytes(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        return ()

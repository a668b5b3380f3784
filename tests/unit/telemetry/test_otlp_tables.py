"""Attributes in tables are those that were sent."""

from __future__ import annotations

from typing import Any

import pytest
from autopack_telemetry import convert_tables
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

VALUES = {
    "text": AnyValue(string_value="ä"),
    "empty text": AnyValue(string_value=""),
    "number": AnyValue(int_value=-7),
    "zero": AnyValue(int_value=0),
    "fraction": AnyValue(double_value=0.5),
    "flag": AnyValue(bool_value=False),
    "bytes": AnyValue(bytes_value=b"\xff"),
    "list": AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1)])),
    "table": AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(int_value=1))])),
    "nothing": AnyValue(),
    "": AnyValue(string_value="without a key"),
}
"""One of each kind."""


def parsed(*attributes: KeyValue) -> Any:
    """What is read of a request with these attributes, of its resource and of its one record."""
    record = LogRecord(time_unix_nano=5, body=AnyValue(string_value="b"), attributes=attributes)
    group = ResourceLogs(resource=Resource(attributes=attributes), scope_logs=[ScopeLogs(log_records=[record])])
    request: Any = convert_tables.LogsRequest.FromString(
        ExportLogsServiceRequest(resource_logs=[group]).SerializeToString()
    )
    return request.resource_logs[0]


def test_each_kind_of_value_is_found_by_its_key() -> None:
    group = parsed(*(KeyValue(key=key, value=value) for key, value in VALUES.items()))
    record = group.scope_logs[0].log_records[0]
    for table in (group.resource.attributes, record.attributes):
        assert {key: table[key].SerializeToString() for key in table} == {
            key: value.SerializeToString() for key, value in VALUES.items()
        }
        assert {key: table[key].WhichOneof("value") for key in table} == {
            key: value.WhichOneof("value") for key, value in VALUES.items()
        }


def test_other_fields_are_as_they_were() -> None:
    record = parsed().scope_logs[0].log_records[0]
    assert (record.time_unix_nano, record.body.string_value, dict(record.attributes)) == (5, "b", {})


def test_of_a_key_that_comes_twice_the_last_value_is_read() -> None:
    twice = (KeyValue(key="k", value=AnyValue(int_value=number)) for number in (1, 2))
    assert parsed(*twice).resource.attributes["k"].int_value == 2


def test_attribute_without_a_value_has_none() -> None:
    assert parsed(KeyValue(key="k")).resource.attributes["k"].WhichOneof("value") is None


@pytest.mark.parametrize("request_class", ["LogsRequest", "MetricsRequest", "TraceRequest"])
def test_attributes_of_resources_scopes_and_items_are_tables(request_class: str) -> None:
    found = _attributes(getattr(convert_tables, request_class).DESCRIPTOR)
    assert {"Resource", "InstrumentationScope"} < found.keys()
    assert {"LogRecord", "Span", "NumberDataPoint", "HistogramDataPoint"} & found.keys()
    assert all(field.message_type.GetOptions().map_entry for field in found.values())


def _attributes(message: Any) -> dict[str, Any]:
    """By the message that has them; those of a span's events and links are not read."""
    found = {}
    for field in message.fields:
        if field.name == "attributes":
            found[message.name] = field
        elif field.message_type is not None and field.message_type.name not in ("AnyValue", "Event", "Link"):
            found |= _attributes(field.message_type)
    return found

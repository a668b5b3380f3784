"""OTLP in JSON of which a part cannot be read: that part is rejected, and all others are recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from autopack_telemetry.core.otlp.batch import Batch, Sender
from autopack_telemetry.core.otlp.json_wire import NotOtlp, add_logs
from hypothesis import given
from hypothesis import strategies as st

from .otlp import NOW, NOW_NS, attributes, map_json, mappings

INNER = {
    "resourceLogs": ("scopeLogs", "logRecords"),
    "resourceSpans": ("scopeSpans", "spans"),
    "resourceMetrics": ("scopeMetrics", "metrics"),
}
MODELS = ("first", "second", "third")
TIME = str(NOW_NS)


def item(outer: str, model: str) -> dict[str, Any]:
    """A log record, a span, or a metric with one point, of one token."""
    span_id = {"spanId": "00f067aa0ba902b7", "traceId": "4bf92f3577b34da6a3ce929d0e0e4736"}
    match outer:
        case "resourceLogs":
            values = {"event.name": "claude_code.api_request", "model": model, "input_tokens": 1}
            return span_id | {"timeUnixNano": TIME, "body": {"stringValue": "x"}, "attributes": attributes(values)}
        case "resourceSpans":
            held = attributes({"gen_ai.usage.input_tokens": 1, "gen_ai.request.model": model})
            times = {"startTimeUnixNano": TIME, "endTimeUnixNano": TIME}
            return span_id | times | {"name": "chat", "status": {"code": 1}, "attributes": held}
    point = {"startTimeUnixNano": TIME, "timeUnixNano": TIME, "asInt": "1", "flags": 0}
    held = attributes({"type": "input", "model": model})
    data = {"aggregationTemporality": 1, "dataPoints": [point | {"attributes": held}]}
    return {"name": "claude_code.token.usage", "sum": data}


def document(outer: str) -> dict[str, Any]:
    """Two items of one resource and scope, and one of another."""
    inner, leaf = INNER[outer]
    first, second, third = (item(outer, model) for model in MODELS)
    return {
        outer: [
            {"resource": {"attributes": []}, inner: [{"scope": {"name": "s"}, leaf: [first, second]}]},
            {"resource": {"attributes": []}, inner: [{"scope": {"name": "s"}, leaf: [third]}]},
        ]
    }


def models(batch: Batch) -> list[str]:
    return [record.model for record in batch.records]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


# fmt: off
JUNK: st.SearchStrategy[Any] = st.text(max_size=5) | st.sampled_from([
    None, True, 0, 1, -1, 1.5, float("nan"), 10**30, -(10**30), "", "x", "-5", "\ud800", "9" * 3000, [], {}, [5], [[]],
    [{}], {"a": 1}, {"key": 5}, {"values": 5}, {"intValue": "x"}, {"bytesValue": "*"}, {"arrayValue": 5},
    {"kvlistValue": {"values": [{"key": 5}]}}, [{"key": []}], {"attributes": 5},
])
# fmt: on


@pytest.mark.parametrize("outer", INNER)
@given(data=st.data())
def test_a_bad_part_of_one_item_costs_no_other(outer: str, data: st.DataObject) -> None:
    sent = document(outer)
    inner, leaf = INNER[outer]
    where = (outer, 0, inner, 0, leaf, 1)
    part = data.draw(st.sampled_from(sorted(paths(item(outer, "second")), key=repr)))
    put(sent, (*where, *part), data.draw(JUNK))
    batch = map_json(json.loads(json.dumps(sent)))
    assert {"first", "third"} <= set(models(batch))
    assert len(batch.records) + batch.rejected <= 3


@pytest.mark.parametrize("outer", INNER)
@given(data=st.data())
def test_a_bad_part_of_a_resource_costs_no_other_resource(outer: str, data: st.DataObject) -> None:
    sent = document(outer)
    part = data.draw(st.sampled_from(sorted(paths(sent[outer][0]), key=repr)))
    put(sent, (outer, 0, *part), data.draw(JUNK))
    assert "third" in models(map_json(json.loads(json.dumps(sent))))


BAD_TIMES = ["soon", "-1", -1, 10**30, str(10**30), 1.5, True, [], "1e3", "1_0"]
TIMES = {"resourceLogs": "timeUnixNano", "resourceSpans": "endTimeUnixNano"}


@pytest.mark.parametrize("bad", BAD_TIMES)
def test_a_bad_time_is_told_with_the_item_that_has_it(bad: Any) -> None:
    for outer, key in TIMES.items():
        sent = document(outer)
        inner, leaf = INNER[outer]
        sent[outer][0][inner][0][leaf][1][key] = bad
        batch = map_json(sent)
        assert (models(batch), batch.rejected) == (["first", "third"], 1)
        assert f"{key} must be an integer of 64 bits, or its decimal digits" in batch.message()
    for key in ("timeUnixNano", "startTimeUnixNano"):
        sent = document("resourceMetrics")
        sent["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][1]["sum"]["dataPoints"][0][key] = bad
        batch = map_json(sent)
        assert (models(batch), batch.rejected) == (["first", "third"], 1)


def test_the_points_of_a_series_are_rejected_with_one_whose_time_is_bad_but_not_with_a_total() -> None:
    sent = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [codex("input"), codex("cached_input", time="soon")]}]}]}
    assert (map_json(sent).records, map_json(sent).rejected) == ([], 2)
    sent = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [codex("input"), codex("total", time="soon")]}]}]}
    assert (len(map_json(sent).records), map_json(sent).rejected) == (1, 0)


def codex(kind: str, time: Any = TIME) -> dict[str, Any]:
    point = {"startTimeUnixNano": TIME, "timeUnixNano": time, "asInt": "4", "attributes": attributes({"model": "m"})}
    point["attributes"] += attributes({"token_type": kind})
    return {"name": "codex.turn.token_usage", "sum": {"aggregationTemporality": 1, "dataPoints": [point]}}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"intValue": "x"}, "input_tokens must be a whole number"),
        ({"intValue": 10**30}, "input_tokens must be a whole number"),
        ({"stringValue": 5}, "input_tokens must be a whole number"),
        ({"bytesValue": "*"}, "input_tokens must be a whole number"),
        (5, "input_tokens must be a whole number"),
    ],
)
def test_a_bad_value_of_a_count_is_told(value: Any, told: str) -> None:
    sent = document("resourceLogs")
    sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"][1]["attributes"][2]["value"] = value
    batch = map_json(sent)
    assert (models(batch), batch.rejected, told in batch.message()) == (["first", "third"], 1, True)


def test_a_bad_value_that_nobody_reads_costs_nothing() -> None:
    sent = document("resourceLogs")
    more = [{"key": "other", "value": {"intValue": "x"}}, {"key": "another", "value": [5]}]
    sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"][1]["attributes"] += more
    assert (models(map_json(sent)), map_json(sent).message()) == (list(MODELS), "")


@pytest.mark.parametrize("bad", [5, "\x00", "x" * 65, "ü", []])
def test_an_id_that_cannot_be_one_costs_its_item(bad: Any) -> None:
    for outer in TIMES:
        sent = document(outer)
        inner, leaf = INNER[outer]
        sent[outer][0][inner][0][leaf][1]["spanId"] = bad
        assert (models(map_json(sent)), map_json(sent).rejected) == (["first", "third"], 1)


def test_an_id_in_base64_still_tells_one_record_from_another() -> None:
    sent = document("resourceLogs")
    records = sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    records[0]["spanId"], records[1]["spanId"] = "APBnqgupArc=", "apbnqgupArc="
    batch = map_json(sent)
    assert (len({record.usage_id for record in batch.records}), batch.rejected) == (3, 0)
    assert "spanId must be hexadecimal digits" in batch.message()


def test_what_a_resource_that_cannot_be_read_holds_is_counted() -> None:
    for outer in INNER:
        for bad in (5, {"attributes": 5}, {"attributes": [5]}, {"attributes": [{"key": 5}]}):
            sent = document(outer)
            sent[outer][0]["resource"] = bad
            assert (models(map_json(sent)), map_json(sent).rejected) == (["third"], 2)


@pytest.mark.parametrize("bad", [5, [], "x", None, {"resourceLogs": 5}, {"resourceLogs": {}}, {"resourceLogs": "x"}])
def test_a_document_without_a_list_of_resources_is_refused(bad: Any) -> None:
    with pytest.raises(NotOtlp):
        add_logs(Batch(mappings(), Sender(NOW)), bad)

"""Series of metrics: which points are one record, and which id it has."""

from __future__ import annotations

from typing import Any

import pytest
from autopack_telemetry import UsageRecord
from autopack_telemetry.core.otlp.batch import Batch

from .otlp import NOW_NS, attributes, map_json, map_protobuf

CLAUDE, CODEX, INFERENCE = "claude_code.token.usage", "codex.turn.token_usage", "gen_ai.client.inference.tokens"
MINUTE = 60 * 10**9


def point(value: Any, *, start: int = NOW_NS - MINUTE, time: int = NOW_NS, **labels: str) -> dict[str, Any]:
    number = {"asInt": str(value)} if isinstance(value, int) else {"asDouble": value}
    return {
        "attributes": attributes({key.replace("__", "."): item for key, item in labels.items()}),
        "startTimeUnixNano": str(start),
        "timeUnixNano": str(time),
        **number,
    }


def metric(name: str, *points: dict[str, Any], temporality: Any = 1) -> dict[str, Any]:
    return {
        "name": name,
        "sum": {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": list(points)},
    }


def send(*metrics: dict[str, Any], **resource: Any) -> Batch:
    held = {"resource": {"attributes": attributes(resource)}, "scopeMetrics": [{"metrics": list(metrics)}]}
    document = {"resourceMetrics": [held]}
    batch = map_json(document)
    if all(isinstance(item.get("sum", {}).get("aggregationTemporality", 1), int) for item in metrics):
        assert map_protobuf(document).records == batch.records
    return batch


def one(batch: Batch) -> UsageRecord:
    assert (len(batch.records), batch.message()) == (1, "")
    return batch.records[0]


def test_a_repeated_export_has_the_same_ids_and_another_interval_has_others() -> None:
    first = one(send(metric(CLAUDE, point(5, type="input", session__id="s"))))
    again = one(send(metric(CLAUDE, point(5, type="input", session__id="s"))))
    later = one(send(metric(CLAUDE, point(5, type="input", session__id="s", start=NOW_NS, time=NOW_NS + MINUTE))))
    assert first.usage_id == again.usage_id != later.usage_id
    assert not first.cumulative


def test_parts_of_an_interval_have_one_id_whenever_each_began() -> None:
    parts = [point(5, type="input"), point(5, type="output", start=NOW_NS - 5)]
    assert len({one(send(metric(CLAUDE, part))).usage_id for part in parts}) == 1
    without_end = [point(5, type="input", time=0, start=start) for start in (1, 2)]
    assert len({one(send(metric(CLAUDE, part))).usage_id for part in without_end}) == 2


def test_a_cumulative_series_keeps_its_id_while_it_grows_also_by_a_column() -> None:
    def at(minute: int, **columns: int) -> UsageRecord:
        points = [point(n, type=kind, time=NOW_NS + minute * MINUTE) for kind, n in columns.items()]
        return one(send(metric(CLAUDE, *points, temporality=2)))

    first, second = at(0, input=5), at(1, input=9, cacheRead=4)
    assert first.usage_id == second.usage_id
    assert (first.cumulative, second.tokens.total) == (True, 13)


def test_the_id_of_a_cumulative_series_is_that_of_earlier_versions() -> None:
    told = point(5, type="input", session__id="s", start=1, time=NOW_NS)
    assert one(send(metric(CLAUDE, told, temporality=2), a="b")).usage_id == "metric:15a143ea5308c253694aab2124ddb7ca"


def test_a_restart_begins_another_series() -> None:
    before = one(send(metric(CLAUDE, point(5, type="input"), temporality=2)))
    after = one(send(metric(CLAUDE, point(2, type="input", start=NOW_NS - 5), temporality=2)))
    assert before.usage_id != after.usage_id


def test_series_differ_by_every_attribute_and_by_the_process() -> None:
    no: dict[str, Any] = {}
    ids = {
        one(send(metric(CLAUDE, point(5, type="input", **labels)), **resource)).usage_id
        for labels, resource in [(no, no), ({"query_source": "main"}, no), (no, {"service__instance": "1"})]
    }
    assert len(ids) == 3


def test_points_of_a_series_told_twice_in_one_request_count_once() -> None:
    assert one(send(metric(CLAUDE, point(5, type="input"), point(5, type="input")))).tokens.total == 5
    grown = [point(5, type="input"), point(9, type="input", time=NOW_NS + MINUTE)]
    assert one(send(metric(CLAUDE, *grown, temporality=2))).tokens.total == 9


def test_modalities_are_added_up() -> None:
    parts = [point(n, gen_ai__token__type="input", gen_ai__token__modality=m) for n, m in [(5, "text"), (3, "image")]]
    assert one(send(metric(INFERENCE, *parts, temporality=2))).tokens.input == 8


def test_other_types_and_empty_counters_are_no_records() -> None:
    batch = send(metric(CODEX, point(5, token_type="total"), point(0, token_type="input")), metric("other", point(1)))
    assert (batch.records, batch.message()) == ([], "")


@pytest.mark.parametrize("bad", [-1, float("nan"), 1.5, 10**18])
def test_a_bad_point_takes_its_series_with_it_and_no_other(bad: Any) -> None:
    series = [point(9, token_type="input", model="a"), point(bad, token_type="cached_input", model="a")]
    batch = send(metric(CODEX, *series, point(4, token_type="input", model="b")))
    assert [record.model for record in batch.records] == ["b"]
    assert batch.rejected == 2


def test_more_cached_than_there_was_is_refused() -> None:
    batch = send(metric(CODEX, point(5, token_type="input"), point(6, token_type="cached_input")))
    assert (batch.records, batch.rejected) == ([], 2)
    assert "the input of 5 must include the cached 6" in batch.message()


def test_without_a_temporality_nothing_can_be_added_up() -> None:
    batch = send(metric(CLAUDE, point(5, type="input"), temporality=0))
    assert (batch.rejected, "must be delta or cumulative" in batch.message()) == (1, True)
    named = send(metric(CLAUDE, point(5, type="input"), temporality="AGGREGATION_TEMPORALITY_DELTA"))
    assert one(named).tokens.total == 5


def test_a_gauge_is_refused() -> None:
    batch = send({"name": CLAUDE, "gauge": {"dataPoints": [point(5, type="input")]}})
    assert (batch.rejected, "must be a sum or a histogram" in batch.message()) == (1, True)


def test_null_is_not_there() -> None:
    held = point(5, type="input") | {"asInt": None, "asDouble": 5.0, "exemplars": None}
    nothing = {"gauge": None, "histogram": None, "summary": None}
    assert one(send(metric(CLAUDE, held) | nothing)).tokens.input == 5
    assert send(metric(CLAUDE, held | {"asDouble": None})).records == []


def test_the_sum_of_an_exponential_histogram_counts() -> None:
    held = point(5, token_type="input") | {"count": "2", "sum": 7.0, "scale": 1}
    del held["asInt"]
    data = {"aggregationTemporality": 1, "dataPoints": [held]}
    assert one(send({"name": CODEX, "exponentialHistogram": data})).tokens.input == 7


def test_a_point_without_a_value_is_passed_over() -> None:
    assert send(metric(CLAUDE, point(5, type="input") | {"flags": 1})).records == []

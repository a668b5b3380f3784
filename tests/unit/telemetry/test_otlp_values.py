"""Numbers and names of all kinds, and what becomes of items that cannot be true."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from autopack_telemetry import Tokens
from autopack_telemetry.core.otlp import json_wire
from autopack_telemetry.core.otlp.batch import Batch, Sender
from autopack_telemetry.core.otlp.values import Malformed, cost_of, count_of, disjoint
from hypothesis import given
from hypothesis import strategies as st

from .otlp import NOW, NOW_NS, log, map_json, map_protobuf, mappings

CALL = {"event.name": "claude_code.api_request", "session.id": "s", "input_tokens": 5, "output_tokens": 7}
DAY_NS = 86_400 * 10**9
BOTH = pytest.mark.parametrize("mapper", [map_json, map_protobuf])
Mapper = Callable[[Mapping[str, Any]], Batch]


@pytest.mark.parametrize(("value", "count"), [(0, 0), (10**12, 10**12), ("42", 42), (3.0, 3), (2400.0000000001, 2400)])
def test_counts_of_all_kinds(value: Any, count: int) -> None:
    assert count_of(value, "k") == count


@pytest.mark.parametrize(
    "value",
    [-1, "-1", 10**12 + 1, 10**18, "1000000000000000000", math.nan, math.inf, -math.inf, 1.5, "1.5", "", " 5", "5 ",
     "five", "\N{ARABIC-INDIC DIGIT FIVE}", "1_000", True, False, (), b"5", "9" * 5000],
)  # fmt: skip
def test_what_is_no_count_is_refused_without_repeating_it(value: Any) -> None:
    with pytest.raises(Malformed, match="k must be") as caught:
        count_of(value, "k")
    assert "five" not in str(caught.value)


@pytest.mark.parametrize(("value", "micro"), [(0.042195, 42195), ("0.000906", 906), (0, 0), (2, 2_000_000)])
def test_costs(value: Any, micro: int) -> None:
    assert cost_of(value, "k") == micro


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "much", True, 10**7, ()])
def test_what_is_no_cost(value: Any) -> None:
    with pytest.raises(Malformed, match="k must be an amount"):
        cost_of(value, "k")


counts = st.integers(0, 10**9)


@given(uncached=counts, read=counts, write=counts, plain=counts, reasoning=counts)
def test_both_ways_of_counting_give_the_same_disjoint_row(
    uncached: int, read: int, write: int, plain: int, reasoning: int
) -> None:
    shared = {"cache_read": read, "cache_write": write, "reasoning": reasoning}
    output = plain + reasoning
    expected = Tokens(uncached, read, write, output, reasoning)
    assert expected.total == uncached + read + write + output
    for input_includes_cache in (True, False):
        for output_includes_reasoning in (True, False):
            told = {
                "input": uncached + (read + write if input_includes_cache else 0),
                "output": output if output_includes_reasoning else plain,
            }
            assert (
                disjoint(
                    shared | told,
                    input_includes_cache=input_includes_cache,
                    output_includes_reasoning=output_includes_reasoning,
                )
                == expected
            )


@given(told=counts, read=counts, write=counts, output=counts, reasoning=counts)
def test_a_row_never_has_more_or_less_than_was_told(
    told: int, read: int, write: int, output: int, reasoning: int
) -> None:
    told_counts = {"input": told, "cache_read": read, "cache_write": write, "output": output, "reasoning": reasoning}
    try:
        row = disjoint(told_counts, input_includes_cache=True, output_includes_reasoning=True)
    except Malformed:
        assert read + write > told or reasoning > output
    else:
        assert row.total == told + output
        assert min(row.input, row.cache_read, row.cache_write, row.output, row.reasoning) >= 0
        assert row.reasoning <= row.output


@BOTH
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"input_tokens": -1}, "input_tokens must be 0 to"),
        ({"input_tokens": math.nan}, "input_tokens must be a whole number"),
        ({"output_tokens": "many"}, "output_tokens must be a whole number"),
        ({"output_tokens": 10**18}, "output_tokens must be 0 to"),
        ({"output_tokens": [1]}, "output_tokens must be a whole number"),
        ({"cost_usd": math.inf}, "cost_usd must be an amount"),
        ({"session.id": "s" * 257}, "session.id must have at most 256"),
        ({"session.id": "a\x1b[2J"}, "session.id must not contain control"),
        ({"request_id": "a\nb"}, "request_id must not contain control"),
        ({"model": "m" * 129}, "model must have at most 128"),
        ({"model": ["m"]}, "model must be text"),
        ({"event.name": "codex.sse_event", "event.kind": "response.completed", "input_token_count": "5",
          "cached_token_count": 6}, "the input of 5 must include the cached 6"),
        ({"event.name": "gemini_cli.api_response"}, "it has no token counts"),
    ],
)  # fmt: skip
def test_a_bad_item_is_told_and_the_others_are_kept(mapper: Mapper, change: dict[str, Any], why: str) -> None:
    batch = mapper(log(CALL, CALL | change, CALL | {"event.sequence": 2}))
    assert (len(batch.records), batch.rejected) == (2, 1)
    assert why in batch.message()


@BOTH
def test_codex_tells_twice_of_a_response_and_the_time_without_counts_is_none_of_a_call(mapper: Mapper) -> None:
    told = {"event.name": "codex.sse_event", "event.kind": "response.completed", "conversation.id": "c"}
    batch = mapper(log(told | {"duration_ms": "3"}, told | {"input_token_count": "5", "output_token_count": "1"}))
    assert [record.tokens.total for record in batch.records] == [6]
    assert batch.rejected == 0


def test_reasons_are_told_up_to_a_limit_and_counted_without_one() -> None:
    batch = map_json(log(*(CALL | {"input_tokens": -1, "model": "m"} for _ in range(9_000))))
    assert batch.rejected == 9_000
    assert batch.message() == "9000 not recorded, claude-log: input_tokens must be 0 to 1000000000000"
    many = [
        {"event.name": "codex.sse_event", "event.kind": "response.completed", "input_token_count": 1} for _ in range(50)
    ]
    batch = map_json(log(*(item | {"cached_token_count": 2 + index} for index, item in enumerate(many))))
    assert "45 not recorded for other reasons" in batch.message()
    assert len(batch.message()) < 1_000


@BOTH
@pytest.mark.parametrize("offset", [-365 * DAY_NS, 365 * DAY_NS, -NOW_NS])
def test_a_clock_a_year_off_does_not_lose_the_record(mapper: Mapper, offset: int) -> None:
    batch = mapper(log(CALL, time=max(1, NOW_NS + offset)))
    assert [record.time for record in batch.records] == [NOW]
    assert (batch.rejected, "the time of arrival was taken" in batch.message()) == (0, True)


@BOTH
@pytest.mark.parametrize(("time", "expected"), [(0, NOW), (NOW_NS - DAY_NS, NOW - DAY_NS // 1000)])
def test_a_time_that_is_missing_or_late_is_no_fault(mapper: Mapper, time: int, expected: int) -> None:
    batch = mapper(log(CALL, time=time))
    assert ([record.time for record in batch.records], batch.message()) == ([expected], "")


@BOTH
def test_unknown_events_are_passed_over(mapper: Mapper) -> None:
    batch = mapper(log({"event.name": "other.event", "input_tokens": -5}, {"body": "x" * 60_000}, {}))
    assert (batch.records, batch.rejected, batch.message()) == ([], 0, "")


@BOTH
def test_an_event_is_known_by_a_short_name_in_its_scope_or_by_its_body(mapper: Mapper) -> None:
    call = {key: value for key, value in CALL.items() if key != "event.name"}
    short = {**call, "event.name": "api_request"}
    assert len(mapper(log(short, scope="com.anthropic.claude_code.events")).records) == 1
    assert len(mapper(log(call | {"body": "claude_code.api_request"})).records) == 1
    assert not mapper(log(short, scope="another")).records


KEYS = (
    "resourceLogs", "scopeLogs", "logRecords", "attributes", "key", "value", "stringValue", "intValue", "resource",
    "scope", "body", "event.name", "timeUnixNano",
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_no_json_document_breaks_the_mapping(document: Any) -> None:
    batch = Batch(mappings(), Sender(NOW))
    for add in (json_wire.add_logs, json_wire.add_metrics, json_wire.add_spans):
        with suppress(json_wire.NotOtlp):
            add(batch, json.loads(json.dumps(document)))
    assert not batch.records

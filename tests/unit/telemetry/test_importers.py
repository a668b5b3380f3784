"""Files that real agents wrote, against a model that told other counts of every kind in every answer.

The first answer used 101 tokens of input, 2,010 read from a cache, 3,100 written to it (Claude Code alone), 50 of
output and 7 of reasoning (not Claude Code); each answer after that 1, 10, 100, 10 and 7 more. Versions: aider 0.86.2,
Claude Code 2.1.330, Codex 0.169.0, Gemini CLI 0.61.0, mini-swe-agent 2.4.6, OpenHands CLI 1.16.0.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from autopack_kit.errors import InvalidArgument
from autopack_telemetry import Tokens, UsageRecord
from autopack_telemetry.core.checks import check_usage
from autopack_telemetry.core.importers.found import MAX_WARNINGS, Format, Found
from autopack_telemetry.core.importers.reading import import_usage
from autopack_telemetry.core.model import Signal
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = Path(__file__).with_name("golden_files")
NOW = 1_800_000_000_000_000
TWO_ANSWERS = Tokens(203, 4_030, 0, 110, 21)
THREE_ANSWERS = Tokens(306, 6_060, 0, 180, 42)


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def read(content: bytes, wanted: Format | None = None) -> Found:
    return import_usage(content, "run-1", "agent", NOW, wanted)[1]


def lines(*values: dict[str, Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def total(records: list[UsageRecord]) -> Tokens:
    return sum((record.tokens for record in records), Tokens())


@pytest.mark.parametrize(
    ("name", "expected", "agent", "model", "tokens"),
    [
        ("aider.jsonl", Format.AIDER, "aider", "", Tokens(input=2_111, output=50)),  # of the commit's message: nothing
        ("claude.json", Format.CLAUDE, "claude", "claude-opus-5-5", Tokens(203, 4_030, 6_300, 110)),
        ("claude-stream.jsonl", Format.CLAUDE, "claude", "claude-opus-5-5", Tokens(203, 4_030, 6_300, 110)),
        ("codex-exec.jsonl", Format.CODEX, "codex", "", TWO_ANSWERS),
        ("gemini.json", Format.GEMINI, "gemini", "gemini-2.5-flash", TWO_ANSWERS),
        ("gemini-stream.jsonl", Format.GEMINI, "gemini", "gemini-2.5-flash", TWO_ANSWERS),
        ("mini-swe-agent.traj.json", Format.MINI_SWE_AGENT, "mini-swe-agent", "gpt-4o", TWO_ANSWERS),
        ("openhands.json", Format.OPENHANDS, "openhands", "gpt-4o", Tokens(203, 4_030, 0, 809, 63)),
    ],
)
def test_file_of_a_real_agent_tells_what_its_model_told(
    name: str, expected: Format, agent: str, model: str, tokens: Tokens
) -> None:
    told, found = import_usage(golden(name), "run-1", "agent", NOW)
    assert told is expected
    assert found.warnings == []
    assert total(found.records) == tokens
    for record in found.records:
        check_usage(record, NOW)
        assert (record.run_id, record.phase_id, record.agent, record.model) == ("run-1", "agent", agent, model)
        assert record.signal is Signal.FILE
        assert record.session_id


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_file_that_is_read_again_has_the_same_ids(name: str) -> None:
    first = import_usage(golden(name), "run-1", "", NOW)[1].records
    later = import_usage(golden(name), "run-1", "", NOW + 5)[1].records
    assert [record.usage_id for record in first] == [record.usage_id for record in later]
    assert len({record.usage_id for record in first}) == len(first)


def test_codex_resumed_counts_on_so_its_record_takes_the_place_of_the_first() -> None:
    (before,), (after,) = read(golden("codex-exec.jsonl")).records, read(golden("codex-exec-resumed.jsonl")).records
    assert before.usage_id == after.usage_id
    assert (before.cumulative, after.cumulative) == (True, True)
    assert after.tokens == THREE_ANSWERS
    both = read(golden("codex-exec.jsonl") + golden("codex-exec-resumed.jsonl"))
    assert total(both.records) == THREE_ANSWERS


def test_claude_resumed_counts_on_by_model_so_its_record_takes_the_place_of_the_first() -> None:
    (before,), (after,) = read(golden("claude.json")).records, read(golden("claude-resumed.json")).records
    assert before.usage_id == after.usage_id
    assert (before.cumulative, after.cumulative) == (True, True)
    assert after.tokens == Tokens(306, 6_060, 9_600, 180)
    assert (before.reported_cost_microusd, after.reported_cost_microusd) == (35_318, 54_036)


def test_gemini_resumed_counts_anew_so_its_record_stands_beside_the_first() -> None:
    (before,), (after,) = read(golden("gemini.json")).records, read(golden("gemini-resumed.json")).records
    assert before.session_id == after.session_id
    assert before.usage_id != after.usage_id
    assert not before.cumulative
    assert before.tokens + after.tokens == THREE_ANSWERS


def test_claude_without_result_tells_each_response_once_and_that_its_output_is_a_lower_bound() -> None:
    kept = golden("claude-stream.jsonl").splitlines(keepends=True)
    killed = b"".join([*kept[:2], kept[1], kept[3]])  # one response comes as several lines
    found = read(killed)
    assert [record.response_id for record in found.records] == ["msg_00000001", "msg_00000002"]
    assert total(found.records) == Tokens(203, 4_030, 6_300, 2)
    assert not any(record.cumulative for record in found.records)
    assert len(found.warnings) == 1
    assert "lower bound" in found.warnings[0]


def test_claude_as_a_list_and_of_a_version_without_models_is_read_too() -> None:
    listed = [json.loads(line) for line in golden("claude-stream.jsonl").splitlines()]
    assert total(read(json.dumps(listed).encode()).records) == Tokens(203, 4_030, 6_300, 110)
    older = json.loads(golden("claude-resumed.json"))
    del older["modelUsage"]
    (record,) = read(json.dumps(older).encode()).records
    assert record.tokens == Tokens(103, 2_030, 3_300, 70)  # of this process alone
    assert not record.cumulative


def test_claude_with_a_second_model_tells_both() -> None:
    value = json.loads(golden("claude.json"))
    value["modelUsage"]["claude-haiku-4-5"] = {"inputTokens": 7, "outputTokens": 3, "costUSD": 0.000022}
    records = read(json.dumps(value).encode()).records
    assert [(record.model, record.tokens.total) for record in records][1] == ("claude-haiku-4-5", 10)
    assert records[1].reported_cost_microusd == 22


def test_aider_messages_of_one_second_that_look_alike_are_told_apart_and_keep_their_ids() -> None:
    (line,) = [line for line in golden("aider.jsonl").splitlines() if b'"message_send",' in line]
    twice = read(line + b"\n" + line + b"\n").records
    assert total(twice) == Tokens(input=4_222, output=100)
    assert read(line).records[0].usage_id == twice[0].usage_id  # the log grew


def test_mini_swe_agent_of_an_anthropic_model_and_of_the_responses_api() -> None:
    anthropic = {
        "prompt_tokens": 1_000, "completion_tokens": 9, "cache_read_input_tokens": 700,
        "cache_creation_input_tokens": 200,
    }  # fmt: skip
    responses = {
        "input_tokens": 50, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 40},
        "output_tokens_details": {"reasoning_tokens": 15},
    }  # fmt: skip
    usages = [
        {"extra": {"response": {"model": "anthropic/claude", "usage": usage}}} for usage in (anthropic, responses)
    ]
    found = read(json.dumps({"messages": usages, "info": {"model_stats": {"api_calls": 3}}}).encode())
    assert [record.tokens for record in found.records] == [Tokens(100, 700, 200, 9), Tokens(10, 40, 0, 20, 15)]
    assert (found.records[0].provider, found.records[0].model) == ("anthropic", "claude")
    assert found.records[0].reported_cost_microusd is None
    assert found.warnings == ["model_stats counts 3 calls, of which 2 told their usage"]


def test_malformed_lines_are_warnings_and_the_rest_is_read() -> None:
    content = b"not json\n\n[1]\n\xff\xfe\n" + golden("codex-exec.jsonl") + b'{"type": "turn.comp'
    found = read(content)
    assert total(found.records) == TWO_ANSWERS
    assert found.warnings == [f"line {number}: is no JSON object" for number in (1, 3, 4, 12)]


def test_call_of_next_year_is_left_out_with_a_warning() -> None:
    value = json.loads(golden("aider.jsonl").splitlines()[4])
    value["time"] = NOW // 1_000_000 + 366 * 86_400
    found = read(lines(value))
    assert found.records == []
    assert "check the clock" in found.warnings[0]


def test_warnings_are_bounded() -> None:
    assert len(read(b"x\n" * 1_000 + golden("codex-exec.jsonl")).warnings) == MAX_WARNINGS


@pytest.mark.parametrize("bad", [-1, 1.5, "7", True, 10**13, [], {}])
def test_counts_that_cannot_be_true_are_left_out_with_a_warning_that_names_them(bad: Any) -> None:
    usage = {"input_tokens": bad, "cached_input_tokens": 0, "output_tokens": 1}
    found = read(lines({"type": "thread.started", "thread_id": "t"}, {"type": "turn.completed", "usage": usage}))
    assert found.records == []
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("line 2: input_tokens is ")


def test_parts_that_are_more_than_the_whole_are_left_out() -> None:
    cached = {"input_tokens": 10, "cached_input_tokens": 11, "output_tokens": 1}
    thought = {"input_tokens": 10, "output_tokens": 1, "reasoning_output_tokens": 2}
    for usage in (cached, thought):
        found = read(lines({"type": "turn.completed", "usage": usage}))
        assert found.records == []
        assert "is less than" in found.warnings[0]


@pytest.mark.parametrize("content", [b"", b" \n\t\n"])
def test_empty_file_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgument, match="is empty"):
        read(content)


@pytest.mark.parametrize("content", [b"hello\n", b"{}", b"[]", b"[1, 2]", b'{"type": "x"}\n{"a": 1}', b"\x00\xff" * 99])
def test_file_of_no_known_format_is_refused_and_the_formats_are_named(content: bytes) -> None:
    with pytest.raises(InvalidArgument, match="codex-exec") as refused:
        read(content)
    assert refused.value.reason == "FORMAT_UNKNOWN"


def test_file_of_another_format_than_the_named_one_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="nothing of the format gemini-result") as refused:
        read(golden("codex-exec.jsonl"), Format.GEMINI)
    assert refused.value.reason == "FORMAT_MISMATCH"


def test_file_without_usage_says_so() -> None:
    launched = golden("aider.jsonl").splitlines()[0]
    found = read(launched)
    assert (found.records, found.warnings) == ([], ["the file tells of no call"])


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"type":' * 100_000, b'{"a": ' + b"9" * 100_000 + b"}"])
def test_what_would_break_a_parser_is_refused(deep: bytes) -> None:
    with pytest.raises(InvalidArgument):
        read(deep)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_no_change_of_a_real_file_breaks_its_importer_and_what_is_read_can_be_recorded(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in GOLDEN.iterdir())))
    text = golden(name).decode()
    values = [json.loads(text)] if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]
    for _ in range(data.draw(st.integers(1, 3))):
        _change(data, values)
    try:
        found = read("\n".join(json.dumps(value) for value in values).encode())
    except InvalidArgument:
        return
    for record in found.records:
        check_usage(record, NOW)


def _change(data: st.DataObject, values: Any) -> None:
    """Replaces one value somewhere below ``values``, wherever chance leads."""
    place = values
    while place:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.integers(0, 4)) == 0:
            place[key] = data.draw(_JSON)
            return
        place = place[key]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        assert len(read(content).warnings) <= MAX_WARNINGS

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TypeAlias

import grpc.aio
import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import agents_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from autopack_kit.testing import running
from autopack_telemetry import create
from autopack_telemetry.settings import Prices, TelemetrySettings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

Stub: TypeAlias = "telemetry_pb2_grpc.TelemetryServiceAsyncStub"

GOLDEN = Path(__file__).parents[2] / "unit/telemetry/golden_files"


async def hand_in(stub: Stub, name: str, run_id: str = "run-1") -> pb.ImportUsageResponse:
    content = (GOLDEN / name).read_bytes()
    answer: pb.ImportUsageResponse = await stub.ImportUsage(
        pb.ImportUsageRequest(run_id=run_id, phase_id="agent", content=content)
    )
    return answer


async def summary(stub: Stub, run_id: str = "run-1") -> telemetry_pb2.GetRunSummaryResponse:
    found: telemetry_pb2.GetRunSummaryResponse = await stub.GetRunSummary(
        telemetry_pb2.GetRunSummaryRequest(run_id=run_id)
    )
    return found


async def test_file_that_is_handed_in_twice_counts_once(stub: Stub) -> None:
    first, second = [await hand_in(stub, "mini-swe-agent.traj.json") for _ in range(2)]
    assert first.format == pb.USAGE_FILE_FORMAT_MINI_SWE_AGENT
    assert (first.recorded, first.duplicates) == (2, 0)
    assert (second.recorded, second.duplicates) == (0, 2)
    assert first.tokens == second.tokens == TokenUsage(input=203, cache_read=4_030, output=110, reasoning=21)
    assert list(first.warnings) == []
    found = await summary(stub)
    assert found.usage_records == 2
    assert found.tokens == first.tokens
    assert found.cost_microusd == found.reported_cost_microusd == 3_265 + 3_380


OF_THREE = TokenUsage(input=306, cache_read=6_060, output=180, reasoning=42)


@pytest.mark.parametrize(
    ("before", "after", "tokens"),
    [
        ("codex-exec.jsonl", "codex-exec-resumed.jsonl", OF_THREE),
        ("claude.json", "claude-resumed.json", TokenUsage(input=306, cache_read=6_060, cache_write=9_600, output=180)),
        ("gemini.json", "gemini-resumed.json", OF_THREE),
    ],
)
async def test_session_that_was_resumed_counts_every_answer_once(
    stub: Stub, before: str, after: str, tokens: TokenUsage
) -> None:
    for name in (before, after, before, after):
        await hand_in(stub, name)
    assert (await summary(stub)).tokens == tokens


CLAUDE = InstrumentationScope(name="com.anthropic.claude_code.events")


def api_request(session_id: str, number: int) -> LogRecord:
    """What Claude Code sends for a call."""
    values: dict[str, str | int] = {
        "event.name": "api_request", "session.id": session_id, "request_id": f"req_{number}", "model": "claude-opus-5",
        "input_tokens": 100 + number, "cache_read_tokens": 2_000 + 10 * number, "output_tokens": 40 + 10 * number,
        "cache_creation_tokens": 3_000 + 100 * number,
    }  # fmt: skip
    attributes = [
        KeyValue(key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for key, value in {**values, "autopack.run.id": "run-1"}.items()
    ]
    body = AnyValue(string_value="claude_code.api_request")
    return LogRecord(time_unix_nano=time.time_ns(), body=body, attributes=attributes)


@pytest.mark.parametrize("file_first", [True, False])
async def test_session_that_reported_by_itself_is_not_counted_again(database_url: str, file_first: bool) -> None:
    session_id = json.loads((GOLDEN / "claude.json").read_text())["session_id"]
    scope = ScopeLogs(scope=CLAUDE, log_records=[api_request(session_id, number) for number in (1, 2)])
    export = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[scope])])
    async with running(create(TelemetrySettings(database_url=database_url))) as server:
        stub: Stub = telemetry_pb2_grpc.TelemetryServiceStub(server.channel)
        if file_first:
            await hand_in(stub, "claude.json")
        await LogsServiceStub(server.channel).Export(export)  # type: ignore[no-untyped-call]
        if not file_first:
            await hand_in(stub, "claude.json")
        assert (await summary(stub)).tokens == TokenUsage(input=203, cache_read=4_030, cache_write=6_300, output=110)
        (found,) = (await stub.ListSessions(pb.ListSessionsRequest(run_id="run-1"))).sessions
        assert (found.agent, found.session_id, found.signal) == ("claude", session_id, pb.USAGE_SIGNAL_LOG)
        assert {item.signal for item in found.reported} == {pb.USAGE_SIGNAL_LOG, pb.USAGE_SIGNAL_FILE}
        assert not found.mismatch


async def test_request_that_cannot_be_right_is_refused_by_field(stub: Stub) -> None:
    content = (GOLDEN / "codex-exec.jsonl").read_bytes()
    for request, field in (
        (pb.ImportUsageRequest(run_id="a b", content=content), "run_id"),
        (pb.ImportUsageRequest(run_id="run-1", phase_id="x" * 129, content=content), "phase_id"),
        (pb.ImportUsageRequest(run_id="run-1"), "content"),
        (pb.ImportUsageRequest(run_id="run-1", content=b"hello"), "content"),
        (pb.ImportUsageRequest(run_id="run-1", content=content, format=pb.USAGE_FILE_FORMAT_GEMINI_RESULT), "content"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ImportUsage(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (refused.value.details() or "").startswith(field)


async def test_cost_is_derived_where_no_agent_reported_one(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('[models."gemini-2.5-flash"]\ninput = 1\ncache_read = 0.1\noutput = 10\n')
    url = f"sqlite:///{tmp_path}/telemetry.sqlite3"
    for mode, cost, without in ((Prices.AUTO, 203 + 403 + 1_100, 0), (Prices.OFF, 0, 1)):
        settings = TelemetrySettings(database_url=url, prices=mode, prices_file=prices)
        async with running(create(settings)) as server:
            stub: Stub = telemetry_pb2_grpc.TelemetryServiceStub(server.channel)
            run_id = f"run-{mode.value}"
            await hand_in(stub, "gemini.json", run_id)
            found = await summary(stub, run_id)
            assert (found.cost_microusd, found.reported_cost_microusd, found.records_without_cost) == (cost, 0, without)
            assert [text.split()[0] for text in found.price_lists] == (["file"] if cost else [])
            if mode is Prices.OFF:
                continue
            call = telemetry_pb2.UsageRecord(run_id=run_id, usage_id="1", provider="openai", model="gpt-5-codex")
            call.tokens.CopyFrom(TokenUsage(input=15_000, cache_read=80_000, cache_write=5_000, output=2_000))
            await stub.RecordUsage(telemetry_pb2.RecordUsageRequest(records=[call]))
            found = await summary(stub, run_id)
            assert found.cost_microusd == cost + 55_000
            assert [text.split()[0] for text in found.price_lists] == ["file", "genai-prices"]

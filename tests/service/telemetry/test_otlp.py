"""The OTLP collector over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import agents_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.identity import Principal, Scope
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import Running, running
from autopack_telemetry import create
from autopack_telemetry.core.otlp.batch import MAX_PARTS
from autopack_telemetry.settings import TelemetrySettings
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc

from .otlp import call, logs, summary, totals

RUN_TOKEN = Principal("run:run-1", "default", frozenset({Scope.INGEST}), run_id="run-1")
READER = Principal("reader", "default", frozenset({Scope.READ}))
CANARY = "the quick brown prompt of a secret project"


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(create(TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3"))) as found:
        yield found


def collector(target: Running) -> Any:
    return logs_grpc.LogsServiceStub(target.channel)  # type: ignore[no-untyped-call]


async def test_usage_is_committed_before_the_answer_once_and_sums_up(database_url: str) -> None:
    request = logs(call(1), call(2), call(3, cost_usd=0.5), run_id="run-1")
    async with running(create(TelemetrySettings(database_url=database_url))) as target:
        for _ in range(2):
            answer = await collector(target).Export(request)
            assert not answer.HasField("partial_success")
        found = await summary(target.channel, "run-1")
    assert (found.usage_records, found.tokens.input, found.tokens.output) == (3, 12, 18)
    assert found.reported_cost_microusd == 500_000


async def test_compressed_requests(target: Running) -> None:
    await collector(target).Export(logs(call(1), run_id="run-1"), compression=grpc.Compression.Gzip)
    await collector(target).Export(logs(call(2), run_id="run-1"), compression=grpc.Compression.Deflate)
    assert (await summary(target.channel, "run-1")).usage_records == 2


async def test_metadata_says_whose_it_is(target: Running) -> None:
    metadata = (("x-autopack-run-id", "run-m"), ("x-autopack-phase-id", "build"), ("x-autopack-role", "doctor"))
    await collector(target).Export(logs(call(1)), metadata=metadata)
    found = await summary(target.channel, "run-m")
    assert (found.usage_records, found.doctor_tokens.output) == (1, 6)


async def test_a_bad_item_is_told_and_the_others_are_kept(target: Running) -> None:
    bad = [
        call(2, input_tokens=-1),
        call(3, input_tokens=float("nan")),
        call(4, output_tokens="many"),
        call(5, output_tokens=10**18),
    ]
    answer = await collector(target).Export(logs(call(1), *bad, call(6), run_id="run-1"))
    assert answer.partial_success.rejected_log_records == 4
    assert "input_tokens must be 0 to 1000000000000" in answer.partial_success.error_message
    assert (await summary(target.channel, "run-1")).usage_records == 2


async def test_what_was_kept_otherwise_than_sent_is_a_warning_and_no_rejection(target: Running) -> None:
    answer = await collector(target).Export(logs(call(1, autopack__run__id="my run")))
    assert answer.partial_success.rejected_log_records == 0
    assert "autopack.run.id must be 1 to 128" in answer.partial_success.error_message
    assert await totals(target.channel) == {("", "claude", "session-1"): (1, 10)}


async def test_the_same_request_again_changes_nothing(target: Running) -> None:
    request = logs(call(1), call(2, request_id="", event__sequence=7), call(3, request_id=""), run_id="run-1")
    for _ in range(3):
        assert not (await collector(target).Export(request)).HasField("partial_success")
    assert (await summary(target.channel, "run-1")).tokens.output == 18


async def test_unattributed_usage_is_shown_and_moves_when_its_session_is_registered(target: Running) -> None:
    stub = pb_grpc.TelemetryServiceStub(target.channel)
    await collector(target).Export(logs(call(1)))
    shown = await stub.ListSessions(agents_pb2.ListSessionsRequest(unattributed=True))
    assert [(item.agent, item.session_id) for item in shown.sessions] == [("claude", "session-1")]
    registered = agents_pb2.RegisterSessionRequest(agent="claude", session_id="session-1", run_id="run-1")
    assert (await stub.RegisterSession(registered)).moved == 1
    await collector(target).Export(logs(call(2)))
    assert (await summary(target.channel, "run-1")).usage_records == 2


async def test_the_token_of_a_run_reaches_its_run_alone(database_url: str) -> None:
    service = create(TelemetrySettings(database_url=database_url))
    async with running(service, principal=RUN_TOKEN) as target:
        answer = await collector(target).Export(logs(call(1), call(2, autopack__run__id="run-2")))
        assert answer.partial_success.rejected_log_records == 1
        assert "a run that the token is not for" in answer.partial_success.error_message
        other = await collector(target).Export(logs(call(3)), metadata=(("x-autopack-run-id", "run-2"),))
        assert other.partial_success.rejected_log_records == 1
    async with running(create(TelemetrySettings(database_url=database_url))) as target:
        assert await totals(target.channel) == {("run-1", "claude", "session-1"): (1, 10)}


async def test_the_token_of_a_run_takes_no_response_from_another_run(database_url: str) -> None:
    path = TelemetrySettings(database_url=database_url)
    recent, earlier = logs(call(1), run_id="run-2"), logs(call(1))
    earlier.resource_logs[0].scope_logs[0].log_records[0].time_unix_nano -= 3600 * 10**9
    mine = pb.UsageRecord(run_id="run-1", usage_id="1", agent="claude", response_id="r", tokens=TokenUsage(input=1))
    mine.time.FromSeconds(1)
    theirs = pb.UsageRecord(run_id="run-2", usage_id="1", agent="claude", response_id="r", tokens=TokenUsage(input=1))
    async with running(create(path)) as target:
        await collector(target).Export(recent)
        await pb_grpc.TelemetryServiceStub(target.channel).RecordUsage(pb.RecordUsageRequest(records=[theirs]))
    async with running(create(path), principal=RUN_TOKEN) as target:
        for _ in range(2):
            await collector(target).Export(earlier)
            await pb_grpc.TelemetryServiceStub(target.channel).RecordUsage(pb.RecordUsageRequest(records=[mine]))
    async with running(create(path)) as target:
        assert (await summary(target.channel, "run-2")).usage_records == 2
        assert (await summary(target.channel, "run-1")).usage_records == 2


async def test_a_database_that_is_read_only_for_a_while_is_worth_sending_again(tmp_path: Path) -> None:
    service = create(TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3", retention_days=0))
    async with running(service) as target:
        engine = service._database._database._write_engine  # type: ignore[union-attr]
        engine.raw_connection().execute("PRAGMA query_only = ON")
        with pytest.raises(AioRpcError) as refused:
            await collector(target).Export(logs(call(1), run_id="run-1"))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert from_rpc_error(refused.value).reason == "DATABASE_READ_ONLY"
        engine.raw_connection().execute("PRAGMA query_only = OFF")
        await collector(target).Export(logs(call(1), run_id="run-1"))
        assert (await summary(target.channel, "run-1")).usage_records == 1


async def test_a_large_request_is_written_in_parts(tmp_path: Path) -> None:
    service = create(TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3", retention_days=0))
    async with running(service) as target:
        commits: list[float] = []
        service._database.watch(commits.append)  # type: ignore[union-attr]
        answer = await collector(target).Export(logs(*(call(number) for number in range(5_100)), run_id="run-1"))
        assert not answer.HasField("partial_success")
        assert (await summary(target.channel, "run-1")).usage_records == 5_100
    assert len(commits) == 2


async def test_a_reader_may_not_record(tmp_path: Path) -> None:
    settings = TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3")
    async with running(create(settings), principal=READER) as target:
        with pytest.raises(AioRpcError) as refused:
            await collector(target).Export(logs(call(1)))
    assert from_rpc_error(refused.value).reason == "SCOPE_MISSING"


async def test_the_collector_is_found_by_reflection_and_health(target: Running) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    health = health_pb2_grpc.HealthStub(target.channel)
    for signal, name in (("logs", "Logs"), ("metrics", "Metrics"), ("trace", "Trace")):
        service = f"opentelemetry.proto.collector.{signal}.v1.{name}Service"
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_prompts_reach_neither_the_database_nor_the_log(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite3"
    with structlog.testing.capture_logs() as lines:
        async with running(create(TelemetrySettings(database_url=f"sqlite:///{path}"))) as target:
            prompt = {"event.name": "claude_code.user_prompt", "prompt": CANARY, "session.id": "session-1"}
            sent = [
                call(1, prompt=CANARY, tool_input=CANARY),
                call(2, input_tokens=CANARY),
                call(3, cost_usd=CANARY),
                prompt,
            ]
            answer = await collector(target).Export(logs(*sent, body=CANARY))
            assert answer.partial_success.rejected_log_records == 2
            assert CANARY not in str(answer)
            await collector(target).Export(logs(call(4, autopack__run__id=CANARY)))
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"req-1" in stored
    assert CANARY.encode() not in stored
    assert lines
    assert CANARY not in repr(lines)


async def test_large_bodies_and_many_records_are_taken(target: Running) -> None:
    answer = await collector(target).Export(
        logs(*(call(number) for number in range(500)), body="x" * 60_000, run_id="run-1")
    )
    assert not answer.HasField("partial_success")
    assert (await summary(target.channel, "run-1")).usage_records == 500


async def test_a_message_over_the_limit_is_refused_for_good(target: Running) -> None:
    request = logs(call(1), body="x" * (64 << 20))
    with pytest.raises(AioRpcError) as refused:
        await collector(target).Export(request)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_delay(refused.value) is None  # without one an exporter must not send it again


@pytest.mark.parametrize("service", ["logs.v1.Logs", "metrics.v1.Metrics", "trace.v1.Trace"])
@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_millions_of_empty_parts_are_not_read(target: Running, service: str, depth: int) -> None:
    body = b"\x0a\x00" if depth == 1 else b"\x12\x00"
    body *= MAX_PARTS + 1
    for number in (0x12, 0x0A)[3 - depth :]:
        body = bytes([number]) + _varint(len(body)) + body
    export: Any = target.channel.unary_unary(f"/opentelemetry.proto.collector.{service}Service/Export")
    with pytest.raises(AioRpcError, match="more than 200,000 resources, scopes and items") as refused:
        await export(body)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def _varint(number: int) -> bytes:
    return bytes([number & 127]) if number < 128 else bytes([number & 127 | 128]) + _varint(number >> 7)


async def test_a_full_queue_asks_the_sender_to_come_again(tmp_path: Path) -> None:
    settings = TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3", queue_rows=1)
    async with running(create(settings)) as target:
        requests = [logs(*(call(1000 * index + number) for number in range(200))) for index in range(12)]
        answers = await asyncio.gather(*(collector(target).Export(item) for item in requests), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, AioRpcError)]
        assert refused
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert all(retry_delay(error) == 0.5 for error in refused)
        for request, answer in zip(requests, answers, strict=True):
            while isinstance(answer, AioRpcError):
                await asyncio.sleep(0.05)
                try:
                    answer = await collector(target).Export(request)
                except AioRpcError as error:
                    answer = error
        assert await totals(target.channel) == {("", "claude", "session-1"): (2400, 24_000)}


async def test_telemetry_that_is_off_takes_everything_and_keeps_nothing() -> None:
    async with running(create(TelemetrySettings(enabled=False))) as target:
        assert not (await collector(target).Export(logs(call(1), run_id="run-1"))).HasField("partial_success")
        with pytest.raises(AioRpcError):
            await summary(target.channel, "run-1")


async def test_an_empty_request_is_answered(target: Running) -> None:
    assert (await collector(target).Export(logs_pb.ExportLogsServiceRequest())) == logs_pb.ExportLogsServiceResponse()


def retry_delay(error: AioRpcError) -> float | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                found = error_details_pb2.RetryInfo()
                if detail.Unpack(found):
                    return float(found.retry_delay.ToMilliseconds()) / 1000
    return None


async def test_what_is_no_otlp_is_the_senders_mistake(target: Running) -> None:
    export: Any = target.channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
    for size in (3, 100_000):  # read at once, and in a thread
        with pytest.raises(AioRpcError) as refused:
            await export(b"\xff" * size)
        assert from_rpc_error(refused.value).reason == "OTLP_BODY_INVALID"
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # an exporter does not send it again

from __future__ import annotations

from typing import Any

import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import agents_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.errors import AutopackError, NotFound, PermissionDenied
from autopack_kit.identity import Principal, Scope
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import Running, running
from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings
from grpc.aio import AioRpcError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc

from .otlp import call, logs, totals

AGENT = Principal("run:run-1", "ada", frozenset({Scope.INGEST}), run_id="run-1")
READER = Principal("reader", "ada", frozenset({Scope.READ}))
ADMIN = Principal("admin", "ada", frozenset({Scope.ADMIN}))
STRANGER = Principal("admin", "bob", frozenset({Scope.ADMIN}))


def phases(*run_ids: str) -> pb.RecordPhasesRequest:
    return pb.RecordPhasesRequest(phases=[pb.Phase(run_id=run_id, phase_id="agent") for run_id in run_ids])


def doctor_calls(*run_ids: str) -> pb.RecordUsageRequest:
    return pb.RecordUsageRequest(
        records=[
            pb.UsageRecord(
                run_id=run_id, usage_id=str(number), role=pb.USAGE_ROLE_DOCTOR, tokens=TokenUsage(input=500 + number)
            )
            for number, run_id in enumerate(run_ids)
        ]
    )


def runs(*run_ids: str) -> pb.RecordRunsRequest:
    return pb.RecordRunsRequest(runs=[pb.RunRecord(run_id=run_id) for run_id in run_ids])


def session(run_id: str) -> agents_pb2.RegisterSessionRequest:
    return agents_pb2.RegisterSessionRequest(agent="claude", session_id="s", run_id=run_id)


async def refusal(call: Any) -> AutopackError:
    with pytest.raises(AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_token_of_a_run_records_for_its_run_and_nothing_else(database_url: str) -> None:
    service = create(TelemetrySettings(database_url=database_url))
    async with running(service, principal=AGENT) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        assert (await stub.RecordPhases(phases("run-1"))).recorded == 1
        assert (await stub.RecordUsage(doctor_calls("run-1"))).recorded == 1
        assert (await stub.RecordRuns(runs("run-1"))).recorded == 1
        assert (await stub.RegisterSession(session("run-1"))).moved == 0
        for call, reason in (
            (stub.RecordPhases(phases("run-2")), "OTHER_RUN"),
            (stub.RecordPhases(phases("run-1", "run-2")), "OTHER_RUN"),
            (stub.RecordUsage(doctor_calls("run-1", "run-2")), "OTHER_RUN"),
            (stub.RecordRuns(runs("run-1", "run-2")), "OTHER_RUN"),
            (stub.RegisterSession(session("run-2")), "OTHER_RUN"),
            (stub.ListSessions(agents_pb2.ListSessionsRequest()), "SCOPE_MISSING"),
            (stub.GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1")), "SCOPE_MISSING"),
            (stub.ListPhases(pb.ListPhasesRequest(run_id="run-1")), "SCOPE_MISSING"),
            (stub.EstimateAvoidedTokens(pb.EstimateAvoidedTokensRequest(run_id="run-1")), "SCOPE_MISSING"),
        ):
            error = await refusal(call)
            assert isinstance(error, PermissionDenied)
            assert error.reason == reason


async def test_token_of_a_run_takes_no_session_from_elsewhere(database_url: str) -> None:
    """An agent that knows the name of a session could else move what it cost, or will cost, to its own run."""

    def named(session_id: str, run_id: str = "run-1") -> agents_pb2.RegisterSessionRequest:
        return agents_pb2.RegisterSessionRequest(agent="claude", session_id=session_id, run_id=run_id)

    async def told(target: Running, number: int, session_id: str, run_id: str = "") -> None:
        stub = logs_grpc.LogsServiceStub(target.channel)  # type: ignore[no-untyped-call]
        answer = await stub.Export(logs(call(number, session__id=session_id), run_id=run_id))
        assert not answer.HasField("partial_success")

    service = TelemetrySettings(database_url=database_url)
    async with running(create(service), principal=ADMIN) as target:
        await told(target, 1, "stray")
        await told(target, 2, "named", "run-2")
        await told(target, 3, "mine", "run-1")
        await pb_grpc.TelemetryServiceStub(target.channel).RegisterSession(named("registered", "run-2"))
    async with running(create(service), principal=AGENT) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        for session_id in ("stray", "named", "registered"):
            error = await refusal(stub.RegisterSession(named(session_id)))
            assert isinstance(error, PermissionDenied)
            assert error.reason == "SESSION_NOT_OF_RUN"
            assert "run-2" not in str(error.message) + str(error.metadata)
        for session_id in ("mine", "not told of yet"):
            for _ in range(2):
                assert (await stub.RegisterSession(named(session_id))).moved == 0
    async with running(create(service), principal=ADMIN) as target:
        await told(target, 4, "not told of yet")
        assert await totals(target.channel) == {
            ("", "claude", "stray"): (1, 10),
            ("run-2", "claude", "named"): (1, 10),
            ("run-1", "claude", "mine"): (1, 10),
            ("run-1", "claude", "not told of yet"): (1, 10),
        }
        assert (await pb_grpc.TelemetryServiceStub(target.channel).RegisterSession(named("stray"))).moved == 1


async def test_reader_asks_but_does_not_record(database_url: str) -> None:
    async with running(create(TelemetrySettings(database_url=database_url)), principal=ADMIN) as target:
        await pb_grpc.TelemetryServiceStub(target.channel).RecordPhases(phases("run-1"))
    async with running(create(TelemetrySettings(database_url=database_url)), principal=READER) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        assert (await stub.GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1"))).phases == 1
        for call in (stub.RecordPhases(phases("run-1")), stub.RecordUsage(doctor_calls("run-1"))):
            assert (await refusal(call)).reason == "SCOPE_MISSING"


async def test_tenants_with_the_same_ids_do_not_see_or_touch_each_other(database_url: str) -> None:
    async with running(create(TelemetrySettings(database_url=database_url)), principal=ADMIN) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        await stub.RecordPhases(phases("run-1"))
        await stub.RecordUsage(doctor_calls("run-1", "run-1", "run-1"))
    async with running(create(TelemetrySettings(database_url=database_url)), principal=STRANGER) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        estimate = pb.EstimateAvoidedTokensRequest(run_id="run-1")
        assert isinstance(await refusal(stub.GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1"))), NotFound)
        assert not (await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1"))).phases
        assert (await stub.EstimateAvoidedTokens(estimate)).estimate.source == pb.ESTIMATE_SOURCE_FALLBACK
        assert (await stub.RecordUsage(doctor_calls("run-1"))).recorded == 1
        assert (await stub.RecordPhases(phases("run-1"))).recorded == 1
    async with running(create(TelemetrySettings(database_url=database_url)), principal=ADMIN) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        assert (await stub.GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1"))).usage_records == 3
        assert (await stub.EstimateAvoidedTokens(estimate)).estimate.tokens == 501


async def test_opted_out_service_accepts_and_drops_and_knows_nothing(tmp_path: Any) -> None:
    path = tmp_path / "never.sqlite3"
    settings = TelemetrySettings(enabled=False, database_url=f"sqlite:///{path}")
    async with running(create(settings), principal=ADMIN) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        assert (await stub.RecordPhases(phases("run-1"))).recorded == 0
        usage = await stub.RecordUsage(doctor_calls("run-1", "run-1", "run-1"))
        assert (usage.recorded, usage.duplicates) == (0, 0)
        error = await refusal(stub.GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1")))
        assert isinstance(error, NotFound)
        assert "AUTOPACK_TELEMETRY_ENABLED" in error.remedy
        assert not (await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1"))).phases
        estimate = (await stub.EstimateAvoidedTokens(pb.EstimateAvoidedTokensRequest(run_id="run-1"))).estimate
        assert (estimate.tokens, estimate.n, estimate.source) == (12_000, 0, pb.ESTIMATE_SOURCE_FALLBACK)
        assert not (await refusal(stub.RecordPhases(phases("not a run id")))).message.startswith("Something")
    assert not path.exists()


async def test_what_was_recorded_survives_a_restart(database_url: str) -> None:
    for expected in (1, 0):
        async with running(create(TelemetrySettings(database_url=database_url)), principal=ADMIN) as target:
            stub = pb_grpc.TelemetryServiceStub(target.channel)
            assert (await stub.RecordUsage(doctor_calls("run-1"))).recorded == expected
            assert (await stub.GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1"))).usage_records == 1

"""Runs as a whole, and sessions of agents, over gRPC."""

from __future__ import annotations

import time
from typing import Any, TypeAlias

import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import agents_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.errors import AlreadyExists, AutopackError, InvalidArgument
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import running
from autopack_telemetry import create
from autopack_telemetry.service import TelemetryService
from autopack_telemetry.settings import TelemetrySettings
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc.aio import AioRpcError

Stub: TypeAlias = "pb_grpc.TelemetryServiceAsyncStub"  # the stub files know it, the module does not

FULL = pb.RunRecord(
    run_id="run-1",
    task="fix the parser",
    batch_id="batch-1",
    base_commit="0123456789abcdef",
    spec_hash="sha256:1",
    agent="claude",
    agent_version="2.1.0",
    models={"agent": "claude-sonnet-4-5", "doctor": "claude-opus-4-5"},
    start_time=Timestamp(seconds=1_700_000_000, nanos=5_000),
    duration=Duration(seconds=90),
    outcome=pb.PHASE_OUTCOME_SUCCEEDED,
    retries=0,
    token_limit=0,
    time_limit=Duration(seconds=600),
)


async def record(stub: Stub, *runs: pb.RunRecord) -> int:
    return (await stub.RecordRuns(pb.RecordRunsRequest(runs=runs))).recorded


async def known(stub: Stub, run_id: str = "run-1") -> pb.RunRecord:
    return (await stub.GetRunSummary(pb.GetRunSummaryRequest(run_id=run_id))).run


async def refusal(call: Any) -> AutopackError:
    with pytest.raises(AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_run_is_told_in_its_summary_as_it_was_recorded(stub: Stub) -> None:
    assert await record(stub, FULL, pb.RunRecord(run_id="run-2")) == 2
    assert await known(stub) == FULL
    bare = await known(stub, "run-2")
    assert bare == pb.RunRecord(run_id="run-2")
    assert not bare.HasField("retries")


async def test_what_a_later_record_does_not_know_stays_as_it_was(stub: Stub) -> None:
    start = pb.RunRecord(run_id="run-1", task="fix the parser", agent="claude", models={"agent": "m"}, token_limit=9)
    await record(stub, start)
    end = pb.RunRecord(run_id="run-1", outcome=pb.PHASE_OUTCOME_FAILED, retries=0, duration=Duration(seconds=1))
    assert await record(stub, end, end) == 1
    await record(stub, pb.RunRecord(run_id="run-1", retries=2))
    expected = pb.RunRecord()
    for part in (start, end, pb.RunRecord(retries=2)):
        expected.MergeFrom(part)
    assert await known(stub) == expected


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("run_id", {"run_id": "a run"}),
    ("task", {"task": "x" * 257}),
    ("base_commit", {"base_commit": "main"}),
    ("agent", {"agent": "a\nb"}),
    ("models", {"models": {str(n): "m" for n in range(17)}}),
    ("duration", {"duration": Duration(seconds=-1)}),
    ("time_limit", {"time_limit": Duration(nanos=-1)}),
    ("retries", {"retries": -1}),
    ("token_limit", {"token_limit": 10**16}),
    ("start_time", {"start_time": Timestamp(seconds=4_000_000_000)}),
    ("outcome", {"outcome": 99}),
]


async def test_run_that_cannot_be_is_refused_with_the_name_of_the_field(stub: Stub) -> None:
    for field, values in WRONG:
        bad = pb.RunRecord(**({"run_id": "run-1"} | values))
        error = await refusal(stub.RecordRuns(pb.RecordRunsRequest(runs=[pb.RunRecord(run_id="run-1"), bad])))
        assert isinstance(error, InvalidArgument)
        assert error.metadata["field"] == f"runs[1].{field}"
    error = await refusal(stub.GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1")))
    assert error.reason == "RUN_NOT_FOUND"  # all or none


async def usage(stub: Stub, usage_id: str, session_id: str = "s", run_id: str = "run-1", output: int = 5) -> None:
    one = pb.UsageRecord(
        run_id=run_id, usage_id=usage_id, agent="claude", session_id=session_id, tokens=TokenUsage(output=output)
    )
    await stub.RecordUsage(pb.RecordUsageRequest(records=[one]))


async def test_session_belongs_to_one_run(stub: Stub) -> None:
    request = agents_pb2.RegisterSessionRequest(agent="claude", session_id="s", run_id="run-1", phase_id="agent")
    assert (await stub.RegisterSession(request)).moved == 0
    assert (await stub.RegisterSession(request)).moved == 0
    request.run_id = "run-2"
    error = await refusal(stub.RegisterSession(request))
    assert isinstance(error, AlreadyExists)
    assert error.reason == "SESSION_OF_ANOTHER_RUN"
    assert "run-1" in error.message
    request.agent = "codex"  # another agent's session of the same name
    assert (await stub.RegisterSession(request)).moved == 0


async def test_session_without_a_name_cannot_be_registered(stub: Stub) -> None:
    for field in ("agent", "session_id", "run_id"):
        names = {"agent": "claude", "session_id": "s", "run_id": "run-1"} | {field: ""}
        error = await refusal(stub.RegisterSession(agents_pb2.RegisterSessionRequest(**names)))
        assert isinstance(error, InvalidArgument)
        assert error.metadata["field"] == field


async def test_sessions_are_listed_newest_first_page_by_page_with_what_they_told(stub: Stub) -> None:
    for number in range(5):
        await usage(stub, f"{number}-a", f"s{number}", output=number + 1)
        await usage(stub, f"{number}-b", f"s{number}", output=10)
    await usage(stub, "other", "elsewhere", run_id="run-2")
    await usage(stub, "alone", "")  # over the API, of no session
    pages, request = [], agents_pb2.ListSessionsRequest(run_id="run-1", page_size=2)
    while True:
        page = await stub.ListSessions(request)
        pages.append([session.session_id for session in page.sessions])
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert pages == [["s4", "s3"], ["s2", "s1"], ["s0"]]
    (last,) = page.sessions
    assert (last.agent, last.run_id, last.signal) == ("claude", "run-1", agents_pb2.USAGE_SIGNAL_API)
    assert [(total.records, total.tokens.output) for total in last.reported] == [(2, 11)]
    everything = await stub.ListSessions(agents_pb2.ListSessionsRequest())
    assert [session.session_id for session in everything.sessions] == ["elsewhere", "s4", "s3", "s2", "s1", "s0"]
    assert not (await stub.ListSessions(agents_pb2.ListSessionsRequest(unattributed=True))).sessions


async def test_sessions_of_a_run_and_of_none_are_not_asked_for_together(stub: Stub) -> None:
    error = await refusal(stub.ListSessions(agents_pb2.ListSessionsRequest(run_id="run-1", unattributed=True)))
    assert error.metadata["field"] == "unattributed"


async def test_service_deletes_what_is_older_than_its_retention(database_url: str) -> None:
    settings = TelemetrySettings(database_url=database_url, retention_days=30)
    async with running(create(settings)) as target:
        phases = [pb.Phase(run_id="run-1", phase_id="a")]
        await pb_grpc.TelemetryServiceStub(target.channel).RecordPhases(pb.RecordPhasesRequest(phases=phases))
    for days, left in ((29, 1), (31, 0)):
        later = TelemetryService(settings, clock=lambda days=days: time.time() + days * 86_400)  # type: ignore[misc]
        async with running(later) as target:
            assert later._database is not None
            await later._database.prune(0)  # one writer: what the service asked of it at its start is done
            asked = pb.ListPhasesRequest(run_id="run-1")
            assert len((await pb_grpc.TelemetryServiceStub(target.channel).ListPhases(asked)).phases) == left

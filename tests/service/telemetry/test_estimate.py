from __future__ import annotations

from typing import Any, TypeAlias

import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from google.protobuf.timestamp_pb2 import Timestamp

Stub: TypeAlias = "pb_grpc.TelemetryServiceAsyncStub"

BASE = 1_700_000_000


async def calls(stub: Stub, run_id: str, *tokens: int, since: int = 0, **fields: Any) -> None:
    """Doctor calls of a run, one a second."""
    fields.setdefault("role", pb.USAGE_ROLE_DOCTOR)
    records = [
        pb.UsageRecord(
            run_id=run_id,
            usage_id=f"{since + second}-{sorted(fields.items())}"[:256],
            tokens=TokenUsage(input=count),
            time=Timestamp(seconds=BASE + since + second),
            **fields,
        )
        for second, count in enumerate(tokens)
    ]
    await stub.RecordUsage(pb.RecordUsageRequest(records=records))


async def estimate(stub: Stub, run_id: str = "", **fields: Any) -> tuple[int, int, str]:
    request = pb.EstimateAvoidedTokensRequest(run_id=run_id, **fields)
    found = (await stub.EstimateAvoidedTokens(request)).estimate
    return found.tokens, found.n, pb.EstimateSource.Name(found.source).removeprefix("ESTIMATE_SOURCE_")


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [({"model_class": pb.MODEL_CLASS_CHEAP}, 10_000), ({"model_class": pb.MODEL_CLASS_STRONG}, 15_000), ({}, 12_000)],
)
async def test_estimate_when_nothing_was_observed_is_a_constant(stub: Stub, fields: Any, tokens: int) -> None:
    assert await estimate(stub, "run-1", **fields) == (tokens, 0, "FALLBACK")


async def test_estimate_of_an_even_number_of_calls_is_their_true_median(stub: Stub) -> None:
    await calls(stub, "run-1", 60_000, 8_000, 9_000, 21_000)
    assert await estimate(stub, "run-1") == (15_000, 4, "RUN_LOCAL")


async def test_estimate_counts_all_kinds_of_tokens_of_a_call_but_reasoning_once(stub: Stub) -> None:
    tokens = TokenUsage(input=1, cache_read=20, cache_write=300, output=4_000, reasoning=4_000)
    records = [
        pb.UsageRecord(run_id="run-1", usage_id=str(number), role=pb.USAGE_ROLE_DOCTOR, tokens=tokens)
        for number in range(3)
    ]
    await stub.RecordUsage(pb.RecordUsageRequest(records=records))
    assert await estimate(stub, "run-1") == (4_321, 3, "RUN_LOCAL")


async def test_estimate_when_the_run_has_two_calls_looks_at_all_runs(stub: Stub) -> None:
    await calls(stub, "run-1", 100, 200)
    await calls(stub, "run-2", 900)
    assert await estimate(stub, "run-1") == (200, 3, "GLOBAL")
    assert await estimate(stub) == (200, 3, "GLOBAL")


async def test_estimate_leaves_out_failed_and_zero_token_and_agent_calls(stub: Stub) -> None:
    await calls(stub, "run-1", 0, 0, 0)
    await calls(stub, "run-1", 50, 60, 70, since=10, failed=True)
    await calls(stub, "run-1", 1, 2, 3, since=20, role=pb.USAGE_ROLE_AGENT)
    await calls(stub, "run-1", 4, 5, 6, since=30, role=pb.USAGE_ROLE_UNSPECIFIED)
    assert await estimate(stub, "run-1") == (12_000, 0, "FALLBACK")
    await calls(stub, "run-1", 8_000, 8_001, 9_000, since=40)
    assert await estimate(stub, "run-1") == (8_001, 3, "RUN_LOCAL")


async def test_estimate_for_a_class_of_models_looks_at_no_other(stub: Stub) -> None:
    await calls(stub, "run-1", 100, 200, 300, model_class=pb.MODEL_CLASS_CHEAP)
    await calls(stub, "run-1", 7_000, 8_000, since=10, model_class=pb.MODEL_CLASS_STRONG)
    assert await estimate(stub, "run-1", model_class=pb.MODEL_CLASS_CHEAP) == (200, 3, "RUN_LOCAL")
    assert await estimate(stub, "run-1", model_class=pb.MODEL_CLASS_STRONG) == (15_000, 0, "FALLBACK")
    assert await estimate(stub, "run-1") == (300, 5, "RUN_LOCAL")


async def test_estimate_over_all_runs_takes_the_last_hundred_by_time_not_by_arrival(stub: Stub) -> None:
    await calls(stub, "new", *[1_000] * 100, since=1_000)
    await calls(stub, "old", *[9] * 500)
    await calls(stub, "old", *[5_000] * 300, since=5_000, failed=True)
    assert await estimate(stub) == (1_000, 100, "GLOBAL")
    await calls(stub, "newest", *[3_000] * 50, since=9_000)
    assert await estimate(stub) == (2_000, 100, "GLOBAL")


async def test_estimate_has_an_interval_from_six_calls_on_and_a_phase_keeps_it(stub: Stub) -> None:
    await calls(stub, "run-1", 500, 100, 300, 200, 400)
    request = pb.EstimateAvoidedTokensRequest(run_id="run-1")
    assert not (await stub.EstimateAvoidedTokens(request)).estimate.HasField("low")
    await calls(stub, "run-1", 600, since=10)
    found = (await stub.EstimateAvoidedTokens(request)).estimate
    assert (found.tokens, found.n, found.low, found.high, found.confidence_level) == (350, 6, 100, 600, 0.96875)
    phase = pb.Phase(run_id="run-1", phase_id="validate", doctor_skipped=True, avoided=found)
    await stub.RecordPhases(pb.RecordPhasesRequest(phases=[phase]))
    kept = (await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1"))).phases[0].avoided
    assert kept == found

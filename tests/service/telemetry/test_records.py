from __future__ import annotations

import asyncio
import itertools
from typing import Any, TypeAlias

import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.errors import AutopackError, InvalidArgument, NotFound
from autopack_kit.status import from_rpc_error
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc.aio import AioRpcError

Stub: TypeAlias = "pb_grpc.TelemetryServiceAsyncStub"  # the stub files know it, the module does not

_ids = itertools.count()


def phase(phase_id: str = "agent", run_id: str = "run-1", **fields: Any) -> pb.Phase:
    return pb.Phase(run_id=run_id, phase_id=phase_id, **fields)


def usage(run_id: str = "run-1", tokens: int = 10, **fields: Any) -> pb.UsageRecord:
    fields.setdefault("usage_id", f"response-{next(_ids)}")
    return pb.UsageRecord(run_id=run_id, tokens=TokenUsage(input=tokens), **fields)


def doctor(tokens: int, run_id: str = "run-1", **fields: Any) -> pb.UsageRecord:
    return usage(run_id, tokens, role=pb.USAGE_ROLE_DOCTOR, **fields)


async def record(stub: Stub, *items: pb.Phase | pb.UsageRecord) -> None:
    await stub.RecordPhases(pb.RecordPhasesRequest(phases=[item for item in items if isinstance(item, pb.Phase)]))
    await stub.RecordUsage(pb.RecordUsageRequest(records=[item for item in items if isinstance(item, pb.UsageRecord)]))


async def summary(stub: Stub, run_id: str = "run-1") -> pb.GetRunSummaryResponse:
    return await stub.GetRunSummary(pb.GetRunSummaryRequest(run_id=run_id))


async def refusal(call: Any) -> AutopackError:
    with pytest.raises(AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_phase_comes_back_as_it_was_recorded(stub: Stub) -> None:
    full = phase(
        kind="validate",
        attempt=2,
        start_time=Timestamp(seconds=1_700_000_000, nanos=123_456_000),
        duration=Duration(seconds=3, nanos=5_000),
        outcome=pb.PHASE_OUTCOME_TIMED_OUT,
        hardening_triggered=True,
        pattern_id="python_missing_dep",
        mitigated=False,
        doctor_called=False,
        doctor_skipped=True,
        avoided=pb.Estimate(
            tokens=15_000, n=9, source=pb.ESTIMATE_SOURCE_GLOBAL, low=9_000, high=21_000, confidence_level=0.961
        ),
        context_bytes=2_048,
        drift_z=-1.25,
        drift_verdict="ON_GOAL",
        retries=1,
        errors=0,
        context_source="intention",
        plan_normalized=True,
        plan_confidence=0.75,
        plan_warnings=0,
        plan_deliverables=3,
        scope_size=2,
        warnings=1,
    )
    bare = phase("bare")
    recorded = await stub.RecordPhases(pb.RecordPhasesRequest(phases=[full, bare]))
    assert recorded.recorded == 2
    listed = await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1"))
    assert list(listed.phases) == [full, bare]
    assert not listed.phases[1].HasField("errors")


async def test_phase_recorded_again_replaces_the_first_and_keeps_its_place(stub: Stub) -> None:
    await record(stub, phase("a", retries=1, errors=1), phase("b"))
    again = phase("a", outcome=pb.PHASE_OUTCOME_SUCCEEDED, errors=2)
    await record(stub, again)
    listed = await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1"))
    assert list(listed.phases) == [again, phase("b")]
    assert (await summary(stub)).phases == 2


async def test_phase_twice_in_one_request_counts_once_and_the_last_stands(stub: Stub) -> None:
    request = pb.RecordPhasesRequest(phases=[phase(errors=1), phase(errors=2), phase("b")])
    assert (await stub.RecordPhases(request)).recorded == 2
    listed = await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1"))
    assert [item.errors for item in listed.phases] == [2, 0]


async def test_usage_with_a_known_id_is_counted_once(stub: Stub) -> None:
    first = usage(usage_id="x", tokens=5)
    answers = [
        await stub.RecordUsage(pb.RecordUsageRequest(records=records))
        for records in ([first], [first], [first, usage(usage_id="y"), usage(usage_id="y")])
    ]
    assert [(answer.recorded, answer.duplicates) for answer in answers] == [(1, 0), (0, 1), (1, 2)]
    # The same id under another run is another call.
    other = await stub.RecordUsage(pb.RecordUsageRequest(records=[usage("run-2", usage_id="x")]))
    assert (other.recorded, other.duplicates) == (1, 0)
    assert (await summary(stub)).usage_records == 2


async def test_usage_replayed_from_many_senders_at_once_gives_the_same_rows(stub: Stub) -> None:
    requests = [
        pb.RecordUsageRequest(records=[usage(usage_id=f"u{index}", tokens=1) for index in order])
        for order in (range(100), range(99, -1, -1), range(50, 100), range(50))
    ]
    answers = await asyncio.gather(*(stub.RecordUsage(request) for request in requests * 3))
    assert sum(answer.recorded for answer in answers) == 100
    assert sum(answer.duplicates for answer in answers) == 3 * 300 - 100
    assert (await summary(stub)).tokens.input == 100


async def test_summary_adds_up_everything_beyond_any_page(stub: Stub) -> None:
    phases = [phase(f"p{number}", outcome=pb.PHASE_OUTCOME_SUCCEEDED) for number in range(1_500)]
    for start in (0, 1_000):
        await record(stub, *phases[start : start + 1_000])
    await record(stub, *(usage(tokens=10) for _ in range(1_500)))
    total = await summary(stub)
    assert (total.phases, dict(total.phases_by_outcome)) == (1_500, {"succeeded": 1_500})
    assert (total.usage_records, total.tokens.input) == (1_500, 15_000)


async def test_summary_tells_each_sum_apart(stub: Stub) -> None:
    measured = pb.Estimate(tokens=9_000, n=5, source=pb.ESTIMATE_SOURCE_RUN_LOCAL)
    constant = pb.Estimate(tokens=12_000, n=0, source=pb.ESTIMATE_SOURCE_FALLBACK)
    tokens = TokenUsage(input=1, cache_read=20, cache_write=300, output=4_000, reasoning=50)
    await record(
        stub,
        phase("a", hardening_triggered=True, mitigated=True, pattern_id="p", doctor_skipped=True, avoided=measured),
        phase("b", hardening_triggered=True, mitigated=True, pattern_id="p", doctor_skipped=True, avoided=measured),
        phase("c", hardening_triggered=True, mitigated=False, pattern_id="q", doctor_skipped=True, avoided=constant),
        phase("d", outcome=pb.PHASE_OUTCOME_FAILED, doctor_called=True, context_bytes=100),
        phase("e", mitigated=True, context_bytes=11, duration=Duration(nanos=500_000_000)),
        pb.UsageRecord(run_id="run-1", usage_id="1", tokens=tokens, cost_microusd=7),
        pb.UsageRecord(run_id="run-1", usage_id="2", tokens=tokens, role=pb.USAGE_ROLE_DOCTOR, cost_microusd=0),
        pb.UsageRecord(run_id="run-1", usage_id="3", role=pb.USAGE_ROLE_AGENT, failed=True),
        phase("f", duration=Duration(seconds=2)),
        phase("other", "run-2", errors=1),
        usage("run-2", 999),
    )
    total = await summary(stub)
    assert total == pb.GetRunSummaryResponse(
        run_id="run-1",
        phases=6,
        phases_by_outcome={"unspecified": 5, "failed": 1},
        tokens=TokenUsage(input=2, cache_read=40, cache_write=600, output=8_000, reasoning=100),
        doctor_tokens=tokens,
        usage_records=3,
        cost_microusd=7,
        reported_cost_microusd=7,
        records_without_cost=1,
        hardening_triggered=3,
        mitigated=2,
        patterns={"p": 2, "q": 1},
        doctor_calls=1,
        doctor_skipped=3,
        avoided=[
            pb.AvoidedTokens(source=pb.ESTIMATE_SOURCE_RUN_LOCAL, count=2, tokens=18_000, total_n=10),
            pb.AvoidedTokens(source=pb.ESTIMATE_SOURCE_FALLBACK, count=1, tokens=12_000, total_n=0),
        ],
        context_bytes=111,
        duration=Duration(seconds=2, nanos=500_000_000),
    )


async def test_summary_names_the_most_frequent_patterns_and_loses_none(stub: Stub) -> None:
    await record(stub, *(phase(f"p{n}", pattern_id=f"made-up-{n}") for n in range(1_000)))
    await record(stub, *(phase(f"q{n}", pattern_id="real") for n in range(5)))
    patterns = dict((await summary(stub)).patterns)
    assert len(patterns) == 1_001
    assert patterns["real"] == 5
    assert patterns["(other)"] == 1
    assert sum(patterns.values()) == 1_005


async def test_summary_of_a_run_with_usage_alone_is_told(stub: Stub) -> None:
    await record(stub, usage(tokens=3))
    total = await summary(stub)
    assert (total.phases, total.tokens.input) == (0, 3)


async def test_summary_of_an_unknown_run_is_not_found(stub: Stub) -> None:
    error = await refusal(summary(stub, "nobody"))
    assert isinstance(error, NotFound)
    assert error.reason == "RUN_NOT_FOUND"
    assert error.remedy


async def test_pages_give_every_phase_once_in_order_while_more_arrive(stub: Stub) -> None:
    await record(stub, *(phase(f"p{number:03}") for number in range(25)), phase("else", "run-2"))
    seen: list[str] = []
    token = ""
    while True:
        page = await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1", page_size=10, page_token=token))
        seen += [item.phase_id for item in page.phases]
        if not (token := page.next_page_token):
            break
        if len(seen) == 10:
            await record(stub, phase("p000", errors=1), phase("late"))
    assert seen == [f"p{number:03}" for number in range(25)] + ["late"]


@pytest.mark.parametrize("count", [0, 10])
async def test_page_that_ends_with_the_last_phase_has_no_next_token(stub: Stub, count: int) -> None:
    await record(stub, *(phase(f"p{number}") for number in range(count)))
    page = await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1", page_size=10))
    assert (len(page.phases), page.next_page_token) == (count, "")


async def test_page_token_of_another_run_or_made_up_is_refused(stub: Stub) -> None:
    await record(stub, *(phase(f"p{number}") for number in range(3)))
    page = await stub.ListPhases(pb.ListPhasesRequest(run_id="run-1", page_size=1))
    for request in (
        pb.ListPhasesRequest(run_id="run-2", page_token=page.next_page_token),
        pb.ListPhasesRequest(run_id="run-1", page_token="made up"),
        pb.ListPhasesRequest(run_id="run-1", page_size=-1),
    ):
        assert isinstance(await refusal(stub.ListPhases(request)), InvalidArgument)


async def test_one_bad_item_refuses_the_request_and_records_none(stub: Stub) -> None:
    phases = pb.RecordPhasesRequest(phases=[phase("a"), phase("b", drift_z=float("nan"))])
    records = pb.RecordUsageRequest(records=[usage(), usage(tokens=-1)])
    errors = [await refusal(stub.RecordPhases(phases)), await refusal(stub.RecordUsage(records))]
    assert [error.violations[0].field for error in errors] == ["phases[1].drift_z", "records[1].tokens.input"]
    assert isinstance(await refusal(summary(stub)), NotFound)


async def test_values_outside_of_their_enum_or_message_are_refused(stub: Stub) -> None:
    for message in (
        phase(outcome=99),
        phase(duration=Duration(seconds=-1)),
        phase(duration=Duration(seconds=0, nanos=-1)),
        phase(start_time=Timestamp(seconds=2**62)),
        phase(doctor_skipped=True, avoided=pb.Estimate(tokens=1, n=3)),
    ):
        assert isinstance(await refusal(stub.RecordPhases(pb.RecordPhasesRequest(phases=[message]))), InvalidArgument)
    for call in (usage(role=99), usage(model_class=99), usage(time=Timestamp(nanos=-1))):
        assert isinstance(await refusal(stub.RecordUsage(pb.RecordUsageRequest(records=[call]))), InvalidArgument)


async def test_more_items_than_allowed_are_refused(stub: Stub) -> None:
    phases = pb.RecordPhasesRequest(phases=[phase("p")] * 1_001)
    records = pb.RecordUsageRequest(records=[usage(usage_id="u")] * 10_001)
    for call in (stub.RecordPhases(phases), stub.RecordUsage(records)):
        assert "at most" in (await refusal(call)).message


async def test_empty_batches_record_nothing(stub: Stub) -> None:
    assert (await stub.RecordPhases(pb.RecordPhasesRequest())).recorded == 0
    assert (await stub.RecordUsage(pb.RecordUsageRequest())).recorded == 0

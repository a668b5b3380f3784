"""Comparisons over gRPC: what was recorded of runs, and what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import compare_pb2 as cmp
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.errors import AutopackError, FailedPrecondition, InvalidArgument, NotFound
from autopack_kit.identity import Principal, Scope
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import running
from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc.aio import AioRpcError

Stub: TypeAlias = "pb_grpc.TelemetryServiceAsyncStub"  # the stub files know it, the module does not

START = 1_700_000_000
DOCTOR = 12_000


@pytest.fixture
async def sqlite_stub(tmp_path: Path) -> AsyncIterator[Stub]:
    """For answers that have nothing to do with the database."""
    async with running(create(TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3"))) as target:
        yield pb_grpc.TelemetryServiceStub(target.channel)


async def refusal(call: Any) -> AutopackError:
    with pytest.raises(AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def a_run(run_id: str, task: str, number: int = 0, **fields: Any) -> pb.RunRecord:
    known: dict[str, Any] = {
        "base_commit": "0123456789abcdef", "spec_hash": f"spec-{task}", "agent": "claude", "agent_version": "2.1.0",
        "models": {"agent": "claude-sonnet-4-5"}, "start_time": Timestamp(seconds=START + 600 * number),
        "duration": Duration(seconds=120), "outcome": pb.PHASE_OUTCOME_SUCCEEDED, "retries": 0, "token_limit": 0,
    }  # fmt: skip
    return pb.RunRecord(run_id=run_id, task=task, **{**known, **fields})


def usage(run_id: str, number: int, tokens: int, **fields: Any) -> pb.UsageRecord:
    fields.setdefault("time", Timestamp(seconds=START + 30))
    return pb.UsageRecord(
        run_id=run_id,
        usage_id=f"u{number}",
        tokens=TokenUsage(input=tokens // 2, output=tokens - tokens // 2),
        **fields,
    )


async def record(
    stub: Stub,
    runs: Iterable[pb.RunRecord] = (),
    records: Iterable[pb.UsageRecord] = (),
    phases: Iterable[pb.Phase] = (),
) -> None:
    await stub.RecordRuns(pb.RecordRunsRequest(runs=runs))
    await stub.RecordUsage(pb.RecordUsageRequest(records=records))
    await stub.RecordPhases(pb.RecordPhasesRequest(phases=phases))


async def record_arms(stub: Stub, pairs: int, ratio: float) -> cmp.CompareRunsRequest:
    """Pairs of runs as agents make them: several calls each, a doctor where nothing was mitigated."""
    rng = np.random.default_rng(7)
    runs, records, phases = [], [], []
    for number in range(pairs):
        task = float(np.exp(rng.normal(10, 0.9)))
        for side, arm in enumerate("ct"):
            run_id, tokens = f"{arm}{number}", int(task * np.exp(rng.normal(0, 0.3)) * (ratio if side else 1))
            order = 2 * number + (side ^ int(rng.integers(2)))
            runs.append(a_run(run_id, f"task-{number}", order))
            model: dict[str, Any] = {"model": "claude-sonnet-4-5", "cost_microusd": 3 * tokens}
            records += [usage(run_id, call, tokens // 3, **model) for call in range(3)]
            fixed = bool(side)
            if not fixed:
                records.append(usage(run_id, 9, DOCTOR, role=pb.USAGE_ROLE_DOCTOR, cost_microusd=5))
            avoided = pb.Estimate(tokens=9_000, n=4, source=pb.ESTIMATE_SOURCE_GLOBAL) if fixed else None
            phases.append(
                pb.Phase(
                    run_id=run_id, phase_id="validate", doctor_called=not fixed, doctor_skipped=fixed, avoided=avoided
                )
            )
    await record(stub, runs, records, phases)
    arms = ([run.run_id for run in runs if run.run_id.startswith(arm)] for arm in "ct")
    control, treatment = arms
    return cmp.CompareRunsRequest(control_run_ids=control, treatment_run_ids=treatment)


def metric(response: cmp.CompareRunsResponse, name: str) -> cmp.MetricComparison:
    number = cmp.ComparisonMetric.Value(f"COMPARISON_METRIC_{name}")
    return next(item for item in response.metrics if item.metric == number)


async def test_a_saving_is_found_and_told_with_all_its_numbers(stub: Stub) -> None:
    request = await record_arms(stub, 20, ratio=0.6)
    request.formats.extend([cmp.REPORT_FORMAT_MARKDOWN, cmp.REPORT_FORMAT_HTML])
    request.hypothesis = "Mitigations save | <tokens>"
    response = await stub.CompareRuns(request)
    assert response.verdict == cmp.VERDICT_BETTER
    assert response.sentence.startswith("Better: treatment total tokens x")
    total = response.metrics[0]
    assert total.metric == cmp.COMPARISON_METRIC_TOTAL_TOKENS
    assert (total.n, total.left_out) == (20, 0)
    assert total.interval.low < total.effect < total.interval.high < 1
    assert 0 < total.t_p < 0.05
    assert total.wilcoxon_method == cmp.WILCOXON_METHOD_EXACT
    assert response.actual_tokens_saved == total.control.total - total.treatment.total
    doctor = metric(response, "DOCTOR_TOKENS")
    assert (doctor.scale, doctor.effect, doctor.control.total) == (
        cmp.COMPARISON_SCALE_DIFFERENCE,
        -DOCTOR,
        20 * DOCTOR,
    )
    assert metric(response, "AGENT_TOKENS").control.total == total.control.total - 20 * DOCTOR
    assert (metric(response, "DOCTOR_CALLS").control.total, metric(response, "DOCTOR_SKIPS").treatment.total) == (
        20,
        20,
    )
    assert metric(response, "WALL_TIME").control.mean == 120
    assert (response.success.n, response.success.both) == (20, 20)
    assert response.treatment_per_success.tokens == pytest.approx(total.treatment.total / 20)
    assert [(item.treatment, item.source, item.count, item.tokens) for item in response.estimates] == [
        (True, "global", 20, 180_000)
    ]
    assert [item.pairs for item in response.cumulative] == list(range(5, 21))
    failed = [check.id for check in response.checks if check.status == cmp.CHECK_STATUS_FAIL]
    assert not failed
    assert response.design.control.configuration_hash == response.design.treatment.configuration_hash
    assert "Mitigations save \\| \\<tokens\\>" in response.markdown
    assert b"Mitigations save | &lt;tokens&gt;" in response.html


async def test_pairs_may_be_named_and_runs_of_one_side_be_several(stub: Stub) -> None:
    await record(
        stub,
        [a_run(run_id, "") for run_id in ("a1", "a2", "b1")],
        [usage("a1", 0, 100), usage("a2", 0, 400), usage("b1", 0, 50)],
    )
    pair = cmp.RunPair(task="login", control_run_ids=["a1", "a2"], treatment_run_ids=["b1"])
    response = await stub.CompareRuns(cmp.CompareRunsRequest(pairs=[pair]))
    assert response.verdict == cmp.VERDICT_TOO_FEW_PAIRS
    assert response.pairs[0].task == "login"
    assert response.pairs[0].control == pytest.approx(200)
    assert response.metrics[0].effect == pytest.approx(0.25)
    assert response.actual_tokens_saved == 200
    assert not response.metrics[0].HasField("t_p")
    assert not response.metrics[0].HasField("interval")


async def test_measures_are_made_of_everything_and_of_what_counts(stub: Stub) -> None:
    session = {"agent": "claude", "session_id": "s"}
    await record(
        stub,
        [
            pb.RunRecord(run_id="c", task="t"),
            pb.RunRecord(run_id="d", task="t", retries=7, duration=Duration(seconds=9)),
        ],
        [usage("c", number, 10, cost_microusd=1, **session) for number in range(1_200)]
        + [usage("d", 0, 10), usage("d", 1, 20, role=pb.USAGE_ROLE_DOCTOR)],
        [
            pb.Phase(run_id="c", phase_id="1", attempt=1, outcome=pb.PHASE_OUTCOME_FAILED, retries=1,
                     doctor_called=True, start_time=Timestamp(seconds=START), duration=Duration(seconds=5)),
            pb.Phase(run_id="c", phase_id="2", attempt=2, outcome=pb.PHASE_OUTCOME_SUCCEEDED, retries=2,
                     start_time=Timestamp(seconds=START + 60), duration=Duration(seconds=40)),
            pb.Phase(run_id="c", phase_id="3", attempt=2, outcome=pb.PHASE_OUTCOME_SKIPPED),
        ],
    )  # fmt: skip
    response = await stub.CompareRuns(cmp.CompareRunsRequest(control_run_ids=["c"], treatment_run_ids=["d"]))

    def both(name: str) -> tuple[float, float]:
        item = metric(response, name)
        return item.control.total, item.treatment.total

    assert both("TOTAL_TOKENS") == (12_000, 30)
    assert both("AGENT_TOKENS") == (12_000, 10)
    assert both("DOCTOR_TOKENS") == (0, 20)
    assert both("DOCTOR_CALLS") == (1, 1)  # of a run without phases, the doctor's calls
    assert both("RETRIES") == (3, 7)
    assert both("WALL_TIME") == (100, 9)  # of a run without a record of it, from the first begin to the last end
    assert metric(response, "COST").left_out == 1  # what the other's calls cost is not known
    assert response.pairs[0].control_succeeded
    assert not response.pairs[0].HasField("treatment_succeeded")


async def test_many_runs_are_measured_whole(stub: Stub) -> None:
    """More than one statement takes, and none of them cut off."""
    pairs = 520
    for side in "ct":
        for start in range(0, pairs, 500):
            numbers = range(start, min(start + 500, pairs))
            await record(
                stub,
                [a_run(f"{side}{number}", f"task-{number}") for number in numbers],
                [usage(f"{side}{number}", 0, 100 + number) for number in numbers],
            )
    request = cmp.CompareRunsRequest(
        control_run_ids=[f"c{number}" for number in range(pairs)],
        treatment_run_ids=[f"t{number}" for number in reversed(range(pairs))],
    )
    response = await stub.CompareRuns(request)
    assert metric(response, "TOTAL_TOKENS").n == pairs
    assert metric(response, "TOTAL_TOKENS").control.total == sum(range(100, 100 + pairs))
    assert {pair.effect for pair in response.pairs} == {1.0}


async def test_other_models_in_one_arm_leave_no_verdict_unless_they_are_meant(stub: Stub) -> None:
    request = await record_arms(stub, 6, ratio=0.9)
    await stub.RecordRuns(
        pb.RecordRunsRequest(runs=[pb.RunRecord(run_id=f"c{n}", models={"agent": "x"}) for n in range(6)])
    )
    response = await stub.CompareRuns(request)
    checks = {check.id: check.status for check in response.checks}
    assert (response.verdict, checks["models"]) == (cmp.VERDICT_NOT_VALID, cmp.CHECK_STATUS_FAIL)
    assert checks["unattributed"] == cmp.CHECK_STATUS_PASS
    request.intended_differences.append(cmp.RUN_PROPERTY_MODELS)
    assert (await stub.CompareRuns(request)).verdict != cmp.VERDICT_NOT_VALID


NO_COMPARISONS = [
    (cmp.CompareRunsRequest(), "control_run_ids"),
    (cmp.CompareRunsRequest(control_run_ids=["a"]), "treatment_run_ids"),
    (cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["a"]), "treatment_run_ids[0]"),
    (cmp.CompareRunsRequest(control_run_ids=["a", "a"], treatment_run_ids=["b"]), "control_run_ids[1]"),
    (cmp.CompareRunsRequest(control_run_ids=["no id"], treatment_run_ids=["b"]), "control_run_ids[0]"),
    (cmp.CompareRunsRequest(control_run_ids=["a"], pairs=[cmp.RunPair()]), "pairs"),
    (cmp.CompareRunsRequest(pairs=[cmp.RunPair(control_run_ids=["a"])]), "pairs[0].treatment_run_ids"),
    (
        cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["b"], confidence_level=1),
        "confidence_level",
    ),
    (
        cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["b"], confidence_level=float("nan")),
        "confidence_level",
    ),
    (cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["b"], expected_pairs=1), "expected_pairs"),
    (
        cmp.CompareRunsRequest(
            control_run_ids=["a"], treatment_run_ids=["b"], primary_metric=cmp.ComparisonMetric.ValueType(99)
        ),
        "primary_metric",
    ),
    (
        cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["b"], mode=cmp.ComparisonMode.ValueType(99)),
        "mode",
    ),
    (
        cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["b"], formats=[cmp.REPORT_FORMAT_UNSPECIFIED]),
        "formats[0]",
    ),
    (
        cmp.CompareRunsRequest(
            control_run_ids=["a"], treatment_run_ids=["b"], intended_differences=[cmp.RUN_PROPERTY_UNSPECIFIED]
        ),
        "intended_differences[0]",
    ),
    (
        cmp.CompareRunsRequest(
            control_run_ids=["a"], treatment_run_ids=["b"], guardrail=cmp.Guardrail(max_success_drop=2)
        ),
        "guardrail.max_success_drop",
    ),
    (
        cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["b"], control_label="\x1b[1m"),
        "control_label",
    ),
    (cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["b"], hypothesis="h" * 1_001), "hypothesis"),
    (
        cmp.CompareRunsRequest(control_run_ids=[f"r{n}" for n in range(10_001)], treatment_run_ids=["b"]),
        "control_run_ids",
    ),
]


async def test_what_cannot_be_compared_is_refused_by_its_field(sqlite_stub: Stub) -> None:
    for request, field in NO_COMPARISONS:
        error = await refusal(sqlite_stub.CompareRuns(request))
        assert isinstance(error, InvalidArgument)
        assert error.violations[0].field == field


async def test_unknown_runs_and_arms_without_a_common_task_are_told_apart(sqlite_stub: Stub) -> None:
    stub = sqlite_stub
    await record(stub, [a_run("a", "x"), a_run("b", "y")])
    error = await refusal(stub.CompareRuns(cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["nobody"])))
    assert isinstance(error, NotFound)
    assert (error.reason, error.metadata["run_id"]) == ("RUN_NOT_FOUND", "nobody")
    error = await refusal(stub.CompareRuns(cmp.CompareRunsRequest(control_run_ids=["a"], treatment_run_ids=["b"])))
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "NO_PAIRS"


async def test_only_readers_of_the_same_tenant_compare(database_url: str) -> None:
    def service() -> Any:
        return create(TelemetrySettings(database_url=database_url))

    admin = Principal("admin", "ada", frozenset({Scope.ADMIN}))
    async with running(service(), principal=admin) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        request = await record_arms(stub, 5, ratio=0.5)
        assert (await stub.CompareRuns(request)).metrics[0].n == 5
    for principal, expected in (
        (Principal("stranger", "bob", frozenset({Scope.ADMIN})), "RUN_NOT_FOUND"),
        (Principal("agent", "ada", frozenset({Scope.INGEST}), run_id="c0"), "SCOPE_MISSING"),
    ):
        async with running(service(), principal=principal) as target:
            stub = pb_grpc.TelemetryServiceStub(target.channel)
            assert (await refusal(stub.CompareRuns(request))).reason == expected
            if expected == "SCOPE_MISSING":
                plan = cmp.PlanComparisonRequest(ratio=0.8, log_ratio_sd=0.7)
                assert (await refusal(stub.PlanComparison(plan))).reason == expected


async def test_a_plan_says_pairs_for_a_ratio_and_a_ratio_for_pairs(sqlite_stub: Stub) -> None:
    plan = await sqlite_stub.PlanComparison(cmp.PlanComparisonRequest(ratio=0.8, log_ratio_sd=0.7))
    assert (plan.pairs, plan.ratio, plan.alpha) == (80, 0.8, 0.05)
    assert 0.8 <= plan.power < 0.81
    back = await sqlite_stub.PlanComparison(cmp.PlanComparisonRequest(pairs=plan.pairs, log_ratio_sd=0.7))
    assert back.ratio == pytest.approx(0.8, abs=0.002)
    assert back.power == pytest.approx(0.8)


NO_PLANS = [
    (cmp.PlanComparisonRequest(ratio=0.8), "log_ratio_sd"),
    (cmp.PlanComparisonRequest(log_ratio_sd=0.7), "ratio"),
    (cmp.PlanComparisonRequest(ratio=0.8, pairs=9, log_ratio_sd=0.7), "ratio"),
    (cmp.PlanComparisonRequest(ratio=1, log_ratio_sd=0.7), "ratio"),
    (cmp.PlanComparisonRequest(ratio=-1, log_ratio_sd=0.7), "ratio"),
    (cmp.PlanComparisonRequest(ratio=0.99999, log_ratio_sd=9), "ratio"),
    (cmp.PlanComparisonRequest(ratio=0.8, log_ratio_sd=float("nan")), "log_ratio_sd"),
    (cmp.PlanComparisonRequest(pairs=1, log_ratio_sd=0.7), "pairs"),
    (cmp.PlanComparisonRequest(ratio=0.8, log_ratio_sd=0.7, power=1), "power"),
    (cmp.PlanComparisonRequest(ratio=0.8, log_ratio_sd=0.7, alpha=0.9), "alpha"),
]


async def test_a_plan_that_makes_no_sense_is_refused_by_its_field(sqlite_stub: Stub) -> None:
    for request, field in NO_PLANS:
        error = await refusal(sqlite_stub.PlanComparison(request))
        assert isinstance(error, InvalidArgument)
        assert error.violations[0].field == field

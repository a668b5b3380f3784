from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_telemetry.adapters.page import html_page
from autopack_telemetry.core.compare.analysis import Comparison, compare
from autopack_telemetry.core.compare.model import (
    Design,
    Exclusion,
    GuardrailStatus,
    Metric,
    Mode,
    PairSpec,
    RunMeasures,
    RunProperty,
    Status,
    Verdict,
)
from autopack_telemetry.core.compare.pairing import check_runs_once
from autopack_telemetry.core.compare.success import side_succeeded
from autopack_telemetry.core.estimate import EstimateSource
from autopack_telemetry.core.model import Avoided, PhaseOutcome
from hypothesis import given, settings
from hypothesis import strategies as st

from .runs_to_compare import HOUR, START, a_run, design_of, noisy_runs


def result_of(runs: dict[str, RunMeasures], unattributed: int = 0, **fields: Any) -> Comparison:
    return compare(design_of(runs, **fields), runs, unattributed)


def alike(tokens: dict[str, tuple[int, int]]) -> dict[str, RunMeasures]:
    """Pairs of runs by task, with the tokens of either."""
    return {
        f"{arm}-{task}": a_run(f"{arm}-{task}", task, pair[side])
        for task, pair in tokens.items()
        for side, arm in enumerate("ct")
    }


def status(result: Comparison, check: str) -> Status:
    return next(item.status for item in result.checks if item.id == check)


def metric(result: Comparison, wanted: Metric) -> Any:
    return next(item for item in result.metrics if item.metric is wanted)


FEW = {"a": (100, 80), "b": (200, 150), "c": (400, 330), "d": (300, 260), "e": (150, 110)}


def test_a_saving_is_found_with_its_interval_and_said_in_a_sentence() -> None:
    result = result_of(noisy_runs(np.random.default_rng(5), 80, ratio=0.6))
    assert result.verdict is Verdict.BETTER
    primary = result.primary
    assert primary.metric is Metric.TOTAL_TOKENS
    assert primary.interval is not None
    assert primary.interval.low < 0.6 < primary.interval.high < 1
    assert primary.effect is not None
    assert f"x{primary.effect:.3g}" in result.sentence
    assert "95 % interval" in result.sentence
    assert "80 pairs" in result.sentence
    assert all(check.status is Status.PASS for check in result.checks if check.id != "outliers")
    assert result.saved_tokens == pytest.approx(primary.control.total - primary.treatment.total)


def test_numbers_of_a_metric_are_those_of_its_pairs() -> None:
    result = result_of(alike(FEW))
    primary = result.primary
    assert (primary.n, primary.left_out) == (5, 0)
    assert primary.effect == pytest.approx((0.8 * 0.75 * 0.825 * (260 / 300) * (110 / 150)) ** 0.2)
    assert (primary.control.mean, primary.control.median, primary.control.total) == (230, 200, 1150)
    assert primary.control.stdev == pytest.approx(np.std([100, 200, 400, 300, 150], ddof=1))
    assert primary.percent_change == pytest.approx(100 * (930 - 1150) / 1150)
    assert result.saved_tokens == 220
    assert result.verdict is Verdict.BETTER


def test_medians_are_true_ones_not_the_upper() -> None:
    tokens = {"a": (8_000, 1), "b": (9_000, 1), "c": (21_000, 1), "d": (60_000, 1)}
    assert result_of(alike(tokens)).primary.control.median == 15_000


@pytest.mark.parametrize("pairs", [1, 2, 3, 4])
def test_below_five_pairs_there_are_numbers_and_no_test(pairs: int) -> None:
    result = result_of(alike(dict(list(FEW.items())[:pairs])))
    assert result.verdict is Verdict.TOO_FEW_PAIRS
    assert "Too few pairs" in result.sentence
    for item in (*result.metrics, *result.both_succeeded):
        assert (item.interval, item.t_p, item.wilcoxon_p, item.hodges_lehmann_interval, item.holm_p) == (None,) * 5
        assert item.smallest_detectable is None
    assert result.primary.effect is not None
    assert (result.success.mid_p, result.success.interval, result.success.guardrail) == (None, None, None)
    assert not result.cumulative


def test_nothing_found_says_what_would_have_been_seen() -> None:
    result = result_of(noisy_runs(np.random.default_rng(8), 12))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.primary.smallest_detectable is not None
    assert f"x{result.primary.smallest_detectable:.3g} or less would have been seen" in result.sentence


def test_pairs_that_are_copies_of_each_other_prove_nothing() -> None:
    result = result_of(alike({str(number): (1_000, 500) for number in range(20)}))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.primary.interval is None
    assert "all pairs have the same effect" in result.sentence


def test_the_verdict_is_of_the_primary_metric_though_another_differs() -> None:
    """The smallest p over several metrics finds something in a fifth of the comparisons in which nothing changed."""
    rng = np.random.default_rng(3)
    runs = noisy_runs(rng, 30)
    for run_id, run in runs.items():
        if run_id.startswith("t"):
            runs[run_id] = replace(run, seconds=(run.seconds or 0) / 50)
    result = result_of(runs)
    wall = metric(result, Metric.WALL_TIME)
    assert wall.holm_p < 0.001
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.primary.holm_p is None


def test_secondary_metrics_are_adjusted_for_how_many_they_are() -> None:
    result = result_of(noisy_runs(np.random.default_rng(4), 30, ratio=0.7))
    tested = [item for item in result.metrics[1:] if item.t_p is not None]
    smallest = min(tested, key=lambda item: item.t_p or 1)
    assert smallest.holm_p == pytest.approx(min(1, (smallest.t_p or 1) * len(tested)))


def test_more_is_worse_but_for_calls_that_were_not_needed() -> None:
    runs = noisy_runs(np.random.default_rng(6), 20)
    rng = np.random.default_rng(9)
    for run_id, run in runs.items():
        if run_id.startswith("t"):
            runs[run_id] = replace(run, doctor_calls=1 + int(rng.integers(3)), doctor_skips=1 + int(rng.integers(3)))
    assert result_of(runs, primary=Metric.DOCTOR_CALLS).verdict is Verdict.WORSE
    assert result_of(runs, primary=Metric.DOCTOR_SKIPS).verdict is Verdict.BETTER
    calls = metric(result_of(runs), Metric.DOCTOR_CALLS)
    assert calls.effect == pytest.approx(calls.treatment.mean - calls.control.mean)


def test_repeats_are_averaged_and_make_one_pair() -> None:
    runs = alike(FEW)
    runs["t-a2"] = a_run("t-a2", "a", 20)
    result = result_of(runs)
    assert result.primary.n == 5
    row = next(row for row in result.pairs if row.pair.task == "a")
    assert row.treatment == pytest.approx((80 * 20) ** 0.5)
    assert row.effect == pytest.approx((80 * 20) ** 0.5 / 100)
    assert result.primary.treatment.total == 930 - 80 + 50
    tripled = {f"{run_id}x{copy}": a_run(f"{run_id}x{copy}", run.record.task, run.total_tokens)
               for run_id, run in alike(FEW).items() for copy in range(3)}  # fmt: skip
    assert result_of(tripled).primary.interval == pytest.approx(result_of(alike(FEW)).primary.interval)


def test_arms_of_unequal_length_are_paired_by_task_and_the_rest_is_listed() -> None:
    runs = alike(FEW)
    runs["c-only"] = a_run("c-only", "alone", 9)
    runs["t-nobody"] = a_run("t-nobody", "", 9)
    shuffled = dict(reversed(list(runs.items())))
    result = result_of(shuffled)
    assert result.primary.effect == pytest.approx(result_of(alike(FEW)).primary.effect)
    left = {(item.reason, item.control, item.treatment) for item in result.excluded}
    assert left == {(Exclusion.NO_PARTNER, ("c-only",), ()), (Exclusion.NO_TASK, (), ("t-nobody",))}
    assert status(result, "pairing") is Status.WARN


def test_mostly_unpaired_arms_give_no_verdict() -> None:
    runs = alike(FEW) | {f"c-x{n}": a_run(f"c-x{n}", f"x{n}") for n in range(7)}
    result = result_of(runs)
    assert status(result, "pairing") is Status.FAIL
    assert result.verdict is Verdict.NOT_VALID
    assert "pairing" in result.sentence


def test_one_arm_that_loses_more_runs_than_the_other_is_told() -> None:
    runs = noisy_runs(np.random.default_rng(13), 40)
    for number in range(12):
        runs[f"t-{number}"] = replace(runs[f"t-{number}"], total_tokens=0, usage_records=0)
    check = next(item for item in result_of(runs).checks if item.id == "attrition")
    assert check.status is Status.WARN
    assert (check.data["control_lost"], check.data["treatment_lost"]) == ("0", "12")


def test_arms_without_a_common_task_are_refused() -> None:
    runs = {"c-1": a_run("c-1", "a"), "t-1": a_run("t-1", "b")}
    with pytest.raises(FailedPrecondition) as refused:
        result_of(runs)
    assert refused.value.reason == "NO_PAIRS"


@pytest.mark.parametrize(
    ("design", "field"),
    [
        (Design(control=("a", "b"), treatment=("b",)), "treatment_run_ids[0]"),
        (Design(control=("a", "a"), treatment=("b",)), "control_run_ids[1]"),
        (Design(pairs=(PairSpec("t", ("a",), ("a",)),)), "pairs[0].treatment_run_ids[0]"),
        (Design(pairs=(PairSpec("t", ("a",), ("b",)), PairSpec("u", ("c",), ("b",)))), "pairs[1].treatment_run_ids[0]"),
        (Design(pairs=(PairSpec("t", ("a",), ("b",)), PairSpec("t", ("c",), ("d",)))), "pairs[1].task"),
        (Design(pairs=(PairSpec("t", ("a",), ()),)), "pairs[0].treatment_run_ids"),
    ],
)
def test_a_run_counts_once_on_one_side_of_one_pair(design: Design, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_runs_once(design)
    assert refused.value.violations[0].field == field


def test_pairs_across_commits_or_specifications_are_left_out_and_named() -> None:
    runs = alike(FEW | {"f": (1, 9), "g": (1, 9)})
    runs["t-f"] = a_run("t-f", "f", 9, base_commit="0ther")
    runs["t-g"] = a_run("t-g", "g", 9, spec_hash="another")
    result = result_of(runs)
    assert {(item.task, item.reason) for item in result.excluded} == {
        ("f", Exclusion.COMMITS_DIFFER), ("g", Exclusion.SPECS_DIFFER),
    }  # fmt: skip
    assert result.primary.n == 5
    assert (status(result, "commit"), status(result, "spec")) == (Status.WARN, Status.WARN)
    meant = result_of(runs, intended=frozenset({RunProperty.COMMIT, RunProperty.SPEC}))
    assert (meant.primary.n, status(meant, "commit")) == (7, Status.PASS)


def test_commits_that_differ_in_every_pair_fail() -> None:
    runs = {run_id: a_run(run_id, run.record.task, base_commit=run_id[0]) for run_id, run in alike(FEW).items()}
    result = result_of(runs)
    assert status(result, "commit") is Status.FAIL
    assert (result.primary.n, result.verdict) == (0, Verdict.TOO_FEW_PAIRS)


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("models", {"models": {"agent": "other"}}),
        ("agent", {"agent": "codex"}),
        ("agent_version", {"agent_version": "2.2"}),
        ("limits", {"token_limit": 5}),
    ],
)
def test_another_difference_between_the_arms_fails_unless_it_is_meant(check: str, change: dict[str, Any]) -> None:
    runs = alike(FEW)
    for task, (_, tokens) in FEW.items():
        runs[f"t-{task}"] = a_run(f"t-{task}", task, tokens, **change)
    result = result_of(runs)
    assert status(result, check) is Status.FAIL
    assert result.verdict is Verdict.NOT_VALID
    meant = result_of(runs, intended=frozenset({RunProperty(check)}))
    assert status(meant, check) is Status.PASS
    assert meant.verdict is Verdict.BETTER
    assert result.control.configuration_hash != result.treatment.configuration_hash


def test_models_are_compared_role_by_role_as_used_where_none_were_recorded() -> None:
    runs = alike(FEW)
    for run_id, run in runs.items():
        used = {"agent": "sonnet"} | ({"doctor": "opus"} if run_id.startswith("c") else {})
        runs[run_id] = replace(run, record=replace(run.record, models={}), used_models=used)
    result = result_of(runs)
    assert status(result, "models") is Status.PASS  # no doctor was needed on one side, which is no other model
    assert result.control.models == ("agent=sonnet", "doctor=opus")
    assert result.control.configuration_hash == result.treatment.configuration_hash
    runs["t-a"] = replace(runs["t-a"], used_models={"agent": "haiku"})
    assert status(result_of(runs), "models") is Status.FAIL


def test_what_was_not_recorded_warns_and_is_never_taken_for_equal() -> None:
    runs = alike(FEW)
    blank: dict[str, Any] = dict.fromkeys(("base_commit", "spec_hash", "agent", "agent_version"), "")
    for run_id, run in runs.items():
        runs[run_id] = a_run(
            run_id, run.record.task, run.total_tokens, **blank, models={}, token_limit=None, time_limit=None,
            started_at=None, outcome=PhaseOutcome.UNSPECIFIED,
        )  # fmt: skip
    result = result_of(runs)
    for check in ("commit", "spec", "models", "agent", "agent_version", "limits", "time_drift", "outcomes"):
        assert status(result, check) is Status.WARN
    assert result.success.n == 0


def test_zero_tokens_leave_a_pair_out_with_the_reason() -> None:
    runs = alike(FEW)
    runs["t-zero"], runs["c-zero"] = a_run("t-zero", "zero", 0, usage_records=0), a_run("c-zero", "zero", 50)
    result = result_of(runs)
    assert (result.primary.n, result.primary.left_out) == (5, 1)
    left = [item for item in result.excluded if item.metric is Metric.TOTAL_TOKENS]
    assert [(item.task, item.reason) for item in left] == [("zero", Exclusion.ZERO)]
    assert next(row for row in result.pairs if row.pair.task == "zero").effect is None
    assert status(result, "missing_telemetry") is Status.WARN
    # It still counts where tokens are not asked for, and never as a doctor that took nothing.
    assert (result.success.n, metric(result, Metric.DOCTOR_TOKENS).n) == (6, 5)


def test_cost_is_compared_only_where_all_of_it_is_known() -> None:
    runs = alike(FEW)
    runs["t-a"] = replace(runs["t-a"], unpriced_records=1)
    result = result_of(runs)
    assert (metric(result, Metric.COST).n, metric(result, Metric.COST).left_out) == (4, 1)
    assert status(result, "prices") is Status.WARN
    assert result.treatment_per_success.cost_usd is None
    assert result.control_per_success.cost_usd == pytest.approx(3 * 1150 / 5 / 1e6)


def test_signals_times_order_and_unattributed_tokens_are_looked_at() -> None:
    runs = noisy_runs(np.random.default_rng(2), 20)
    for number in range(20):
        run = runs[f"t-{number}"]
        late = replace(run.record, started_at=START + number * HOUR + 30 * HOUR)
        runs[f"t-{number}"] = replace(run, record=late, mismatched_sessions=number % 2)
    total = sum(run.total_tokens for run in runs.values())
    result = result_of(runs, unattributed=total // 20)
    for check in ("time_drift", "order", "signals", "unattributed"):
        assert status(result, check) is Status.WARN
    assert status(result_of(runs, unattributed=total), "unattributed") is Status.FAIL


def test_pairs_far_out_are_named_and_still_count() -> None:
    runs = noisy_runs(np.random.default_rng(11), 30)
    runs["t-0"] = replace(runs["t-0"], total_tokens=10**9)
    result = result_of(runs)
    check = next(item for item in result.checks if item.id == "outliers")
    assert check.status is Status.WARN
    assert "task-0" in check.message
    assert result.primary.n == 30


def with_outcomes(counts: dict[tuple[bool, bool], int]) -> dict[str, RunMeasures]:
    runs = noisy_runs(np.random.default_rng(12), sum(counts.values()), ratio=0.5)
    sides = [side for side, count in counts.items() for _ in range(count)]
    for number, outcomes in enumerate(sides):
        for arm, succeeded in zip("ct", outcomes, strict=True):
            run = runs[f"{arm}-{number}"]
            outcome = PhaseOutcome.SUCCEEDED if succeeded else PhaseOutcome.TIMED_OUT
            runs[f"{arm}-{number}"] = replace(run, outcome=outcome)
    return runs


def test_cheaper_runs_that_fail_break_the_guardrail() -> None:
    runs = with_outcomes({(True, True): 20, (True, False): 12, (False, True): 1, (False, False): 3})
    result = result_of(runs)
    assert (result.success.both, result.success.control_only, result.success.treatment_only) == (20, 12, 1)
    assert result.verdict is Verdict.GUARDRAIL_BROKEN
    assert result.success.difference == pytest.approx(-11 / 36)
    assert result.success.mid_p == pytest.approx(0.0018, abs=2e-4)
    assert result.both_succeeded[0].n == 20
    assert all(item.t_p is None for item in result.both_succeeded)
    assert status(result, "cut_short") is Status.WARN
    tolerated = result_of(runs, max_success_drop=0.6)
    assert (tolerated.success.guardrail, tolerated.verdict) == (GuardrailStatus.HELD, Verdict.BETTER)
    # Failures count in what one success took.
    treatment = [run.total_tokens for run_id, run in runs.items() if run_id.startswith("t")]
    assert result.treatment_per_success.tokens == pytest.approx(sum(treatment) / 21)


def test_repeats_succeed_by_more_than_half() -> None:
    outcome = {True: PhaseOutcome.SUCCEEDED, False: PhaseOutcome.FAILED, None: PhaseOutcome.UNSPECIFIED}

    def side(*outcomes: bool | None) -> bool | None:
        return side_succeeded([a_run("r", "t", outcome=outcome[item]) for item in outcomes])

    assert [side(True), side(True, False), side(True, True, False), side(False, False, True), side(True, None)] == [
        True, None, True, False, None,
    ]  # fmt: skip


def test_anytime_mode_gives_no_p_and_wider_intervals_that_hold_together() -> None:
    runs = noisy_runs(np.random.default_rng(21), 60, ratio=0.45)
    once, anytime = result_of(runs), result_of(runs, mode=Mode.ANYTIME_VALID)
    assert anytime.verdict is Verdict.BETTER
    assert anytime.anytime is not None
    assert anytime.anytime.decided_after is not None
    assert anytime.anytime.decided_after < 60
    assert once.primary.interval is not None
    assert anytime.primary.interval is not None
    assert anytime.primary.interval.high > once.primary.interval.high
    assert all((item.t_p, item.wilcoxon_p, item.holm_p) == (None,) * 3 for item in anytime.metrics)
    assert (anytime.success.mid_p, anytime.success.exact_p) == (None, None)
    ends = [item.interval.high for item in anytime.cumulative]
    assert ends == sorted(ends, reverse=True)
    assert [item.pairs for item in anytime.cumulative] == list(range(8, 61))
    assert once.anytime is None


def test_the_wildest_pairs_have_finite_numbers() -> None:
    tokens = {str(number): (1, 10**12) if number % 2 else (10**12, 1) for number in range(8)}
    for mode in Mode:
        result = result_of(alike(tokens), level=0.999, expected_pairs=10_000, mode=mode)
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.primary.interval is not None
        assert 0 < result.primary.interval.low < 1 < result.primary.interval.high < float("inf")
        assert "nan" not in html_page(result, "1", START)


def test_pairs_stand_in_the_order_of_time() -> None:
    runs = noisy_runs(np.random.default_rng(1), 6)
    backwards = dict(reversed(list(runs.items())))
    assert [row.pair.task for row in result_of(backwards).pairs] == [f"task-{number}" for number in range(6)]


def test_estimates_stand_by_arm_and_source_and_change_nothing_measured() -> None:
    runs = alike(FEW)
    plain = result_of(runs)
    for run_id in ("t-a", "t-b"):
        items = (Avoided(EstimateSource.RUN_LOCAL, 2, 18_000, 10), Avoided(EstimateSource.FALLBACK, 1, 12_000, 0))
        runs[run_id] = replace(runs[run_id], avoided=items)
    result = result_of(runs)
    assert [(item.arm.value, item.avoided) for item in result.estimates] == [
        ("treatment", Avoided(EstimateSource.RUN_LOCAL, 4, 36_000, 20)),
        ("treatment", Avoided(EstimateSource.FALLBACK, 2, 24_000, 0)),
    ]
    assert result.metrics == plain.metrics
    assert result.saved_tokens == plain.saved_tokens


@settings(deadline=None, max_examples=40)  # of whole comparisons
@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=4), st.tuples(*[st.integers(0, 10**12)] * 2), min_size=1, max_size=15
    )
)
def test_arms_that_change_places_turn_the_effect_around(tokens: dict[str, tuple[int, int]]) -> None:
    result = result_of(alike(tokens))
    turned = result_of(alike({task: (after, before) for task, (before, after) in tokens.items()}))
    assert result.primary.n + result.primary.left_out == len(tokens)
    assert (result.primary.effect is None) == (result.primary.n == 0)
    if result.primary.effect is not None and turned.primary.effect is not None:
        assert result.primary.effect * turned.primary.effect == pytest.approx(1)
        assert result.saved_tokens == pytest.approx(-(turned.saved_tokens or 0))
    if result.primary.interval is not None and turned.primary.interval is not None:
        assert result.primary.interval.low * turned.primary.interval.high == pytest.approx(1)
    opposite = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    assert turned.verdict is opposite.get(result.verdict, result.verdict)
    assert not re.search(r"nan|inf\b", result.sentence)

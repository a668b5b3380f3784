"""The whole comparison: pairs, checks, metrics, success, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from autopack_telemetry.core.compare import metrics, pairing, sequential, validity
from autopack_telemetry.core.compare.metrics import MetricResult, Observed
from autopack_telemetry.core.compare.model import (
    Arm,
    ArmRuns,
    Check,
    Design,
    Excluded,
    GuardrailStatus,
    Metric,
    Mode,
    Pair,
    RunMeasures,
    Scale,
    Status,
    Verdict,
)
from autopack_telemetry.core.compare.paired import Interval
from autopack_telemetry.core.compare.success import (
    PerSuccess,
    SuccessResult,
    compare_success,
    per_success,
    side_succeeded,
    success_e_values,
)
from autopack_telemetry.core.compare.wording import sentence_of
from autopack_telemetry.core.estimate import EstimateSource
from autopack_telemetry.core.model import Avoided

__all__ = ["Anytime", "ComparedPair", "Comparison", "CumulativeEffect", "EstimatedInArm", "compare"]


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """One pair with its values of the primary metric; None where they are not known or cannot be compared."""

    pair: Pair
    control: float | None
    treatment: float | None
    effect: float | None
    control_succeeded: bool | None
    treatment_succeeded: bool | None


@dataclass(frozen=True, slots=True)
class CumulativeEffect:
    """The effect on the primary metric after some pairs, with its interval."""

    pairs: int
    effect: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Anytime:
    """What may be looked at at any time; e-values now and at their highest."""

    decided_after: int | None
    sign_e_value: float
    sign_e_value_max: float
    success_e_value: float
    success_e_value_max: float


@dataclass(frozen=True, slots=True)
class EstimatedInArm:
    """Estimates of one arm and source, summed."""

    arm: Arm
    avoided: Avoided


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out. The estimates are no measurement and part of nothing else.

    Attributes:
        metrics: the primary one first.
        both_succeeded: the metrics over the pairs in which all runs succeeded.
        saved_tokens: measured: of the control minus those of the treatment, over pairs that have both; None without.
    """

    design: Design
    verdict: Verdict
    sentence: str
    control: ArmRuns
    treatment: ArmRuns
    checks: Sequence[Check]
    metrics: Sequence[MetricResult]
    success: SuccessResult
    control_per_success: PerSuccess
    treatment_per_success: PerSuccess
    both_succeeded: Sequence[MetricResult]
    pairs: Sequence[ComparedPair]
    excluded: Sequence[Excluded]
    cumulative: Sequence[CumulativeEffect]
    anytime: Anytime | None
    estimates: Sequence[EstimatedInArm]
    saved_tokens: float | None

    @property
    def primary(self) -> MetricResult:
        """The metric of the verdict."""
        return self.metrics[0]


def compare(design: Design, runs: Mapping[str, RunMeasures], unattributed_tokens: int = 0) -> Comparison:
    """Compares runs in pairs.

    Args:
        design: what and how; its runs are each named once (:func:`pairing.check_runs_once`).
        runs: what was measured, by id, of all its runs.
        unattributed_tokens: of calls in the time of the runs that belong to no run.

    Raises:
        FailedPrecondition: ``NO_PAIRS``: no task has runs on both sides.
    """
    pairs, excluded = pairing.match(design, runs)
    excluded += metrics.left_out(pairs, design.primary)
    sides = _sides(design, runs)
    evidence = validity.Evidence(design, pairs, excluded, sides[Arm.CONTROL], sides[Arm.TREATMENT], unattributed_tokens)
    checks = validity.validity(evidence)
    results = _all_metrics(pairs, design)
    success = compare_success(pairs, design)
    verdict = _verdict(design, results[0], success, checks)
    observed = metrics.observe(pairs, design.primary)
    cumulative = _cumulative(observed, design)
    in_both = [pair for pair in pairs if pair.all_succeeded]
    return Comparison(
        design,
        verdict,
        sentence_of(verdict, design, results[0], success, checks),
        validity.arm_runs(design.control_label, sides[Arm.CONTROL]),
        validity.arm_runs(design.treatment_label, sides[Arm.TREATMENT]),
        checks,
        results,
        success,
        per_success([run for pair in pairs for run in pair.control]),
        per_success([run for pair in pairs for run in pair.treatment]),
        [metrics.measure(in_both, result.metric, design, tests=False) for result in results],
        _compared(pairs, observed, design.primary),
        excluded,
        cumulative,
        _anytime(pairs, observed, cumulative, design),
        _estimates(pairs),
        _saved(pairs),
    )


def _sides(design: Design, runs: Mapping[str, RunMeasures]) -> dict[Arm, list[RunMeasures]]:
    control = chain(design.control, *(pair.control for pair in design.pairs))
    treatment = chain(design.treatment, *(pair.treatment for pair in design.pairs))
    return {Arm.CONTROL: [runs[run] for run in control], Arm.TREATMENT: [runs[run] for run in treatment]}


def _all_metrics(pairs: Sequence[Pair], design: Design) -> list[MetricResult]:
    """The primary metric, tested at its level, and the others with their p adjusted together."""
    others = [metrics.measure(pairs, metric, design) for metric in Metric if metric is not design.primary]
    return [metrics.measure(pairs, design.primary, design), *metrics.adjusted(others)]


def _verdict(design: Design, primary: MetricResult, success: SuccessResult, checks: Sequence[Check]) -> Verdict:
    """By the primary metric alone: of several metrics, one would differ by chance."""
    if primary.n < design.min_pairs:
        return Verdict.TOO_FEW_PAIRS
    if any(check.status is Status.FAIL for check in checks):
        return Verdict.NOT_VALID
    if success.guardrail is GuardrailStatus.BROKEN:
        return Verdict.GUARDRAIL_BROKEN
    nothing = 1.0 if design.primary.scale is Scale.RATIO else 0.0
    if primary.interval is None or not primary.interval.excludes(nothing):
        return Verdict.INCONCLUSIVE
    is_more = primary.interval.low > nothing
    return Verdict.BETTER if is_more is design.primary.higher_is_better else Verdict.WORSE


def _cumulative(observed: Sequence[Observed], design: Design) -> list[CumulativeEffect]:
    effects = np.array([item.effect for item in observed])
    if len(effects) < design.min_pairs:
        return []
    back = metrics.effect_of(design.primary)
    columns = (column.tolist() for column in metrics.intervals_after_each(effects, design))
    rows = enumerate(zip(*columns, strict=True), start=1)
    return [
        CumulativeEffect(n, back(mean), Interval(back(low), back(high)))
        for n, (mean, low, high) in rows
        if n >= design.min_pairs
    ]


def _anytime(
    pairs: Sequence[Pair], observed: Sequence[Observed], cumulative: Sequence[CumulativeEffect], design: Design
) -> Anytime | None:
    if design.mode is Mode.FIXED:
        return None
    nothing = 1.0 if design.primary.scale is Scale.RATIO else 0.0
    decided = next((item.pairs for item in cumulative if item.interval.excludes(nothing)), None)
    signs = sequential.running_e_values([item.effect > 0 for item in observed if item.effect != 0])
    sign = (float(signs[-1]), float(signs.max())) if len(signs) else (1.0, 1.0)
    return Anytime(decided, *sign, *success_e_values(pairs))


def _compared(pairs: Sequence[Pair], observed: Sequence[Observed], metric: Metric) -> list[ComparedPair]:
    values = {id(item.pair): item for item in observed}
    back = metrics.effect_of(metric)
    rows = []
    for pair in pairs:
        item = values.get(id(pair))
        outcomes = side_succeeded(pair.control), side_succeeded(pair.treatment)
        if item is None:
            rows.append(ComparedPair(pair, None, None, None, *outcomes))
        else:
            rows.append(ComparedPair(pair, item.control_centre, item.treatment_centre, back(item.effect), *outcomes))
    return rows


def _estimates(pairs: Sequence[Pair]) -> list[EstimatedInArm]:
    """By arm and source, which are never added up: a median and a constant are different kinds of number."""
    found = []
    for arm in Arm:
        runs = [run for pair in pairs for run in (pair.control if arm is Arm.CONTROL else pair.treatment)]
        for source in EstimateSource:
            items = [item for run in runs for item in run.avoided if item.source is source]
            if items:
                total = Avoided(
                    source,
                    sum(item.count for item in items),
                    sum(item.tokens for item in items),
                    sum(item.total_n for item in items),
                )
                found.append(EstimatedInArm(arm, total))
    return found


def _saved(pairs: Sequence[Pair]) -> float | None:
    observed = metrics.observe(pairs, Metric.TOTAL_TOKENS)
    if not observed:
        return None
    return math.fsum(item.control - item.treatment for item in observed)

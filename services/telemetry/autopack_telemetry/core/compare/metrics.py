"""One metric over the pairs: what either arm took, the effect with its interval, and the tests beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autopack_telemetry.core.compare import paired, planning, sequential
from autopack_telemetry.core.compare.model import Design, Excluded, Exclusion, Metric, Mode, Pair, RunMeasures, Scale
from autopack_telemetry.core.compare.paired import Floats, Interval, WilcoxonMethod

__all__ = ["ArmStatistics", "MetricResult", "Observed", "adjusted", "effect_of", "left_out", "measure", "observe"]

WIDEST = 700.0
"""Logarithm of the largest ratio that is told: 10^304."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One pair's values of one metric.

    Attributes:
        pair: the pair.
        control: arithmetic mean of the repeats, as totals are made of.
        control_centre: what is compared: on the scale of ratios the geometric mean of the repeats.
        effect: logarithm of the ratio, or the difference.
    """

    pair: Pair
    control: float
    treatment: float
    control_centre: float
    treatment_centre: float
    effect: float


@dataclass(frozen=True, slots=True)
class ArmStatistics:
    """Values of one arm, one per pair."""

    n: int
    mean: float
    median: float
    stdev: float | None
    total: float


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What came out for a metric. Effects are ratios or differences, as its scale says.

    Attributes:
        n: pairs with a value in both arms.
        left_out: pairs without.
        percent_change: of the totals.
        effect_sd: of the log ratios or differences.
        smallest_detectable: a ratio below 1, or a difference above 0; with a probability of 80 %.
    """

    metric: Metric
    n: int
    left_out: int
    control: ArmStatistics
    treatment: ArmStatistics
    percent_change: float | None = None
    effect: float | None = None
    effect_sd: float | None = None
    interval: Interval | None = None
    t_p: float | None = None
    wilcoxon_p: float | None = None
    wilcoxon_method: WilcoxonMethod | None = None
    hodges_lehmann: float | None = None
    hodges_lehmann_interval: Interval | None = None
    holm_p: float | None = None
    smallest_detectable: float | None = None


def observe(pairs: Sequence[Pair], metric: Metric) -> list[Observed]:
    """The pairs that have a value on both sides, with it."""
    found = []
    for pair in pairs:
        control, treatment = _side(pair.control, metric), _side(pair.treatment, metric)
        if not isinstance(control, Exclusion) and not isinstance(treatment, Exclusion):
            effect = treatment[1] - control[1]
            back = effect_of(metric)
            found.append(Observed(pair, control[0], treatment[0], back(control[1]), back(treatment[1]), effect))
    return found


def left_out(pairs: Sequence[Pair], metric: Metric) -> list[Excluded]:
    """The pairs that :func:`observe` leaves out, and why."""
    found = []
    for pair in pairs:
        sides = [("control", _side(pair.control, metric)), ("treatment", _side(pair.treatment, metric))]
        reasons = [(name, side) for name, side in sides if isinstance(side, Exclusion)]
        if reasons:
            reason = reasons[0][1]
            what = "zero" if reason is Exclusion.ZERO else "not known"
            of = " and ".join(name for name, _ in reasons)
            control, treatment = _ids(pair.control), _ids(pair.treatment)
            detail = f"{metric.words} of the {of} are {what}"
            found.append(Excluded(pair.task, control, treatment, reason, detail, metric))
    return found


def measure(pairs: Sequence[Pair], metric: Metric, design: Design, *, tests: bool = True) -> MetricResult:
    """A metric over pairs.

    Args:
        tests: False leaves out p values: of a part of the pairs that was chosen by how they ended, they would mean
            nothing.
    """
    observed = observe(pairs, metric)
    effects = np.array([item.effect for item in observed])
    control, treatment = _arm([item.control for item in observed]), _arm([item.treatment for item in observed])
    back = effect_of(metric)
    result = MetricResult(
        metric,
        len(observed),
        len(pairs) - len(observed),
        control,
        treatment,
        100 * (treatment.total - control.total) / control.total if control.total else None,
        back(float(effects.mean())) if len(effects) else None,
        float(effects.std(ddof=1)) if len(effects) > 1 else None,
    )
    if len(effects) < design.min_pairs:
        return result
    result = replace(result, interval=_back(_interval(effects, design), back))
    return _tested(result, effects, design) if tests and design.mode is Mode.FIXED else result


def adjusted(results: Sequence[MetricResult]) -> list[MetricResult]:
    """Secondary metrics with their p (of t, or where there is none of Wilcoxon) adjusted for how many there are."""
    p_values = [result.wilcoxon_p if result.t_p is None else result.t_p for result in results]
    holm = iter(paired.holm([p for p in p_values if p is not None]))
    return [
        result if p is None else replace(result, holm_p=next(holm)) for result, p in zip(results, p_values, strict=True)
    ]


def effect_of(metric: Metric) -> Callable[[float], float]:
    """From the scale on which a metric is compared back to the one on which it is told."""
    return _ratio if metric.scale is Scale.RATIO else float


def _ratio(logarithm: float) -> float:
    """Kept where a double has it: the interval of a few wild pairs may be as wide as that."""
    return math.exp(max(-WIDEST, min(WIDEST, logarithm)))


def intervals_after_each(effects: Floats, design: Design) -> tuple[Floats, Floats, Floats]:
    """Means and interval ends after each pair, for the design's mode.

    In the mode ANYTIME_VALID the intervals hold all together, so each may be cut with those before it; where nothing
    would be left, because the effect moved, the newest stands alone.
    """
    if design.mode is Mode.FIXED:
        return sequential.running_t(effects, level=design.level)
    means, low, high = sequential.confidence_sequence(effects, expected=design.expected_pairs, level=design.level)
    usable = np.arange(1, len(effects) + 1) >= design.min_pairs
    narrow_low = np.maximum.accumulate(np.where(usable, low, -np.inf))
    narrow_high = np.minimum.accumulate(np.where(usable, high, np.inf))
    crossed = narrow_low > narrow_high
    return means, np.where(crossed, low, narrow_low), np.where(crossed, high, narrow_high)


def _interval(effects: Floats, design: Design) -> Interval | None:
    if paired.is_constant(effects):
        return None  # nothing varies: such pairs are copies, and an interval of no width would claim to be sure
    _, low, high = intervals_after_each(effects, design)
    return Interval(float(low[-1]), float(high[-1]))


def _tested(result: MetricResult, effects: Floats, design: Design) -> MetricResult:
    back, alpha = effect_of(result.metric), 1 - design.level
    student, ranks = paired.paired_t(effects, design.level), paired.wilcoxon(effects)
    around = paired.hodges_lehmann_interval(effects, design.level)
    detectable = planning.smallest_detectable_effect(len(effects), student.sd, alpha=alpha) if student else None
    if detectable is not None:
        detectable = _ratio(-detectable) if result.metric.scale is Scale.RATIO else detectable
    return replace(
        result,
        t_p=student.p if student else None,
        wilcoxon_p=ranks.p if ranks else None,
        wilcoxon_method=ranks.method if ranks else None,
        hodges_lehmann=back(paired.hodges_lehmann(effects)),
        hodges_lehmann_interval=_back(around[0], back) if around else None,
        smallest_detectable=detectable,
    )


def _back(interval: Interval | None, back: Callable[[float], float]) -> Interval | None:
    return interval and Interval(back(interval.low), back(interval.high))


def _side(runs: Sequence[RunMeasures], metric: Metric) -> tuple[float, float] | Exclusion:
    """Arithmetic mean of the repeats, and their mean on the scale on which the metric is compared."""
    values = [value for run in runs if (value := run.value(metric)) is not None]
    if len(values) < len(runs):
        return Exclusion.NOT_KNOWN
    if metric.scale is Scale.DIFFERENCE:
        mean = math.fsum(values) / len(values)
        return mean, mean
    if min(values) <= 0:
        return Exclusion.ZERO
    return math.fsum(values) / len(values), math.fsum(map(math.log, values)) / len(values)


def _arm(values: Sequence[float]) -> ArmStatistics:
    if not values:
        return ArmStatistics(0, 0.0, 0.0, None, 0.0)
    array = np.asarray(values)
    stdev = float(array.std(ddof=1)) if len(array) > 1 else None
    return ArmStatistics(len(array), float(array.mean()), float(np.median(array)), stdev, math.fsum(values))


def _ids(runs: Sequence[RunMeasures]) -> tuple[str, ...]:
    return tuple(run.record.run_id for run in runs)

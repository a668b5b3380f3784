"""Numbers and verdicts in words, the same in every report."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_telemetry.core.compare.metrics import MetricResult
from autopack_telemetry.core.compare.model import Check, Design, Metric, Mode, Scale, Status, Verdict
from autopack_telemetry.core.compare.paired import Interval
from autopack_telemetry.core.compare.success import SuccessResult
from autopack_telemetry.core.plural import counted

__all__ = ["effect_words", "number", "p_words", "percent_points", "sentence_of", "value_words"]


def sentence_of(
    verdict: Verdict, design: Design, primary: MetricResult, success: SuccessResult, checks: Sequence[Check]
) -> str:
    """The verdict as one sentence, with effect and interval."""
    effect = _effect(design, primary)
    if verdict is Verdict.TOO_FEW_PAIRS:
        what = effect or "no pair can be compared"
        return f"Too few pairs for a test ({primary.n} of at least {design.min_pairs}), numbers only: {what}."
    if verdict is Verdict.NOT_VALID:
        failed = ", ".join(check.id for check in checks if check.status is Status.FAIL)
        return f"No conclusion, because checks failed ({failed}); numbers only: {effect}{_success(success)}."
    if verdict is Verdict.INCONCLUSIVE:
        return f"Inconclusive: {effect}{_detectable(design, primary)}{_success(success)}."
    if verdict is Verdict.GUARDRAIL_BROKEN:
        return f"Success fell{_by(design)}{_success(success)}; {effect}."
    word = "Better" if verdict is Verdict.BETTER else "Worse"
    return f"{word}: {effect}{_success(success)}."


def effect_words(metric: Metric, value: float) -> str:
    """``x0.82``, or ``-1.5 doctor calls``."""
    if metric.scale is Scale.RATIO:
        return f"x{value:.3g}"
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.3g}"


def value_words(metric: Metric, value: float) -> str:
    """A value of a metric with its unit."""
    if metric is Metric.COST:
        return f"${value:,.4f}"
    if metric is Metric.WALL_TIME:
        return f"{value:,.1f} s"
    return number(value)


def number(value: float) -> str:
    """``12,345`` or ``0.25``."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.3g}"


def p_words(value: float | None) -> str:
    """``0.0312``, ``< 0.0001``, or a dash."""
    if value is None:
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def percent_points(value: float) -> str:
    """``+4.8``: of a difference of rates."""
    return f"{100 * value:+.1f}"


def interval_words(metric: Metric, interval: Interval) -> str:
    """Both ends."""
    return f"{effect_words(metric, interval.low)} to {effect_words(metric, interval.high)}"


def _effect(design: Design, primary: MetricResult) -> str:
    if primary.effect is None:
        return ""
    words = f"{design.treatment_label} {primary.metric.words} {effect_words(primary.metric, primary.effect)}"
    words += f" against {design.control_label}"
    if primary.interval is None:
        return f"{words} ({counted(primary.n, 'pair')})"
    kind = "anytime-valid interval" if design.mode is Mode.ANYTIME_VALID else "interval"
    ends = interval_words(primary.metric, primary.interval)
    return f"{words} ({100 * design.level:.4g} % {kind} {ends}, {counted(primary.n, 'pair')})"


def _detectable(design: Design, primary: MetricResult) -> str:
    if primary.interval is None:
        return "; all pairs have the same effect, which measured pairs never have"
    if primary.smallest_detectable is None:
        return "; more pairs may decide it" if design.mode is Mode.ANYTIME_VALID else ""
    if primary.metric.scale is Scale.RATIO:
        return f"; x{primary.smallest_detectable:.3g} or less would have been seen with a probability of 80 %"
    return f"; {number(primary.smallest_detectable)} or more would have been seen with a probability of 80 %"


def _by(design: Design) -> str:
    return f" by more than {100 * design.max_success_drop:.3g} percentage points" if design.max_success_drop else ""


def _success(success: SuccessResult) -> str:
    if success.difference is None:
        return ""
    words = f"; success {percent_points(success.difference)} percentage points"
    if success.interval is None:
        return words
    return f"{words} ({percent_points(success.interval.low)} to {percent_points(success.interval.high)})"

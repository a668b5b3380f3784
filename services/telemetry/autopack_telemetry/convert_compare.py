"""Requests for comparisons to designs with their checks, and what came out to messages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from autopack_api.telemetry.v1 import compare_pb2 as pb
from autopack_kit.errors import InvalidArgument, invalid_field
from google.protobuf.timestamp_pb2 import Timestamp

from autopack_telemetry.core.checks import check_run_id
from autopack_telemetry.core.compare.model import (
    DEFAULT_EXPECTED_PAIRS,
    Arm,
    ArmRuns,
    Check,
    Design,
    Excluded,
    Exclusion,
    GuardrailStatus,
    Metric,
    Mode,
    Pair,
    PairSpec,
    RunMeasures,
    RunProperty,
    Scale,
    Status,
    Verdict,
)
from autopack_telemetry.core.compare.pairing import check_runs_once

if TYPE_CHECKING:
    from autopack_telemetry.core.compare.analysis import Comparison
    from autopack_telemetry.core.compare.metrics import ArmStatistics, MetricResult
    from autopack_telemetry.core.compare.paired import Interval
    from autopack_telemetry.core.compare.success import PerSuccess, SuccessResult

__all__ = ["MAX_RUNS", "compare_response", "design_of", "plan_response"]

E = TypeVar("E", bound=Enum)

MAX_RUNS = 10_000
"""Of an arm, and pairs: their report is a few megabytes and takes a few seconds."""
MAX_LABEL = 64
MAX_TASK = 256
MAX_HYPOTHESIS = 1_000
MIN_LEVEL, MAX_LEVEL = 0.5, 0.999
_MICRO = 1_000_000
# What a terminal or a page would act on.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def design_of(request: pb.CompareRunsRequest) -> Design:
    """The design, checked.

    Raises:
        InvalidArgument: naming the field.
    """
    arms = bool(request.control_run_ids or request.treatment_run_ids)
    if arms and request.pairs:
        raise invalid_field("pairs", "stand instead of control_run_ids and treatment_run_ids, not beside them")
    for name in ("control_run_ids", "treatment_run_ids"):
        if not request.pairs and not getattr(request, name):
            raise invalid_field(name, "is required, unless there are pairs")
        if len(getattr(request, name)) > MAX_RUNS:
            raise invalid_field(name, f"has {len(getattr(request, name)):,} runs; at most {MAX_RUNS:,} are compared")
    if sum(len(pair.control_run_ids) + len(pair.treatment_run_ids) for pair in request.pairs) > 2 * MAX_RUNS:
        raise invalid_field("pairs", f"name more than {2 * MAX_RUNS:,} runs")
    design = Design(
        tuple(request.control_run_ids),
        tuple(request.treatment_run_ids),
        tuple(
            PairSpec(pair.task, tuple(pair.control_run_ids), tuple(pair.treatment_run_ids)) for pair in request.pairs
        ),
        primary=_chosen(_METRICS, request.primary_metric, "primary_metric", Metric.TOTAL_TOKENS),
        level=_number(request, "confidence_level", 0.95, MIN_LEVEL, MAX_LEVEL),
        mode=_chosen(_MODES, request.mode, "mode", Mode.FIXED),
        expected_pairs=_expected(request),
        max_success_drop=_drop(request),
        control_label=_text(request.control_label, "control_label", MAX_LABEL) or "control",
        treatment_label=_text(request.treatment_label, "treatment_label", MAX_LABEL) or "treatment",
        hypothesis=_text(request.hypothesis, "hypothesis", MAX_HYPOTHESIS),
        intended=frozenset(
            _chosen(_PROPERTIES, item, f"intended_differences[{index}]", None)
            for index, item in enumerate(request.intended_differences)
        ),
    )
    for index, item in enumerate(request.formats):
        if item not in (pb.REPORT_FORMAT_MARKDOWN, pb.REPORT_FORMAT_HTML):
            raise invalid_field(f"formats[{index}]", f"{item} is not one of its values")
    _check_ids(design)
    check_runs_once(design)
    return design


def compare_response(
    request: pb.CompareRunsRequest, design: Design, runs: Sequence[RunMeasures], unattributed: int, now: int
) -> pb.CompareRunsResponse:
    """The whole answer; takes a second for a thousand pairs, so call it in a thread.

    Raises:
        FailedPrecondition: ``NO_PAIRS``.
    """
    # Imported here, in the thread: the statistics take a second to load, and most servers never compare.
    from autopack_telemetry.adapters.page import html_page
    from autopack_telemetry.core.compare.analysis import compare
    from autopack_telemetry.core.compare.report import markdown

    result = compare(design, {run.record.run_id: run for run in runs}, unattributed)
    version = metadata.version("autopack")
    response = _message(result, version, now)
    if pb.REPORT_FORMAT_MARKDOWN in request.formats:
        response.markdown = markdown(result, version, now)
    if pb.REPORT_FORMAT_HTML in request.formats:
        response.html = html_page(result, version, now).encode()
    return response


def plan_response(request: pb.PlanComparisonRequest) -> pb.PlanComparisonResponse:
    """How many pairs find a ratio, or which ratio so many pairs find.

    Raises:
        InvalidArgument: naming the field.
    """
    from autopack_telemetry.core.compare import planning

    power = _within(request.power or 0.8, "power", 0.5, 0.999)
    alpha = _within(request.alpha or 0.05, "alpha", 0.0001, 0.5)
    if not request.log_ratio_sd:
        raise invalid_field("log_ratio_sd", "is required; a comparison that was made tells it as effect_sd")
    sd = _within(request.log_ratio_sd, "log_ratio_sd", 0.001, 10)
    if bool(request.ratio) == bool(request.pairs):
        raise invalid_field("ratio", "give either the ratio that should be found, or the pairs that there will be")
    ratio, pairs = request.ratio, request.pairs
    if pairs:
        if not 2 <= pairs <= planning.MAX_PAIRS:
            raise invalid_field("pairs", f"{pairs} must be 2 to {planning.MAX_PAIRS:,}")
        ratio = planning.smallest_detectable_ratio(pairs, sd, power, alpha)
    else:
        if not (math.isfinite(ratio) and ratio > 0 and ratio != 1):
            raise invalid_field("ratio", f"{ratio:g} must be above 0 and not 1")
        try:
            pairs = planning.pairs_needed(ratio, sd, power, alpha)
        except ValueError as error:
            raise invalid_field("ratio", f"{ratio:g} is too close to 1: {error}") from error
    reached = planning.t_power(pairs, math.log(ratio) / sd, alpha) if ratio > 0 else 1.0
    return pb.PlanComparisonResponse(pairs=pairs, ratio=ratio, power=reached, log_ratio_sd=sd, alpha=alpha)


def _check_ids(design: Design) -> None:
    places = [("control_run_ids", design.control), ("treatment_run_ids", design.treatment)]
    for number, pair in enumerate(design.pairs):
        places += [(f"pairs[{number}].control_run_ids", pair.control)]
        places += [(f"pairs[{number}].treatment_run_ids", pair.treatment)]
        _text(pair.task, f"pairs[{number}].task", MAX_TASK)
    for name, run_ids in places:
        for index, run_id in enumerate(run_ids):
            try:
                check_run_id(run_id)
            except InvalidArgument as error:
                raise invalid_field(f"{name}[{index}]", error.violations[0].description) from error


def _chosen(values: Mapping[int, E], number: int, field: str, default: E | None) -> E:
    chosen = values.get(number, default if number == 0 else None)
    if chosen is None:
        raise invalid_field(field, f"{number} is not one of its values")
    return chosen


def _number(request: Any, field: str, default: float, low: float, high: float) -> float:
    return _within(getattr(request, field), field, low, high) if request.HasField(field) else default


def _within(value: float, field: str, low: float, high: float) -> float:
    if not low <= value <= high:  # NaN is neither
        raise invalid_field(field, f"{value:g} must be {low:g} to {high:g}")
    return value


def _expected(request: pb.CompareRunsRequest) -> int:
    if request.expected_pairs and not 2 <= request.expected_pairs <= MAX_RUNS:
        raise invalid_field("expected_pairs", f"{request.expected_pairs} must be 2 to {MAX_RUNS:,}")
    return request.expected_pairs or DEFAULT_EXPECTED_PAIRS


def _drop(request: pb.CompareRunsRequest) -> float:
    if not request.HasField("guardrail"):
        return 0.0
    return _within(request.guardrail.max_success_drop, "guardrail.max_success_drop", 0, 1)


def _text(text: str, field: str, limit: int) -> str:
    if len(text) > limit:
        raise invalid_field(field, f"has {len(text)} characters; at most {limit} are allowed")
    if _CONTROL.search(text):
        raise invalid_field(field, f"{text!r} must not contain control characters")
    return text


def _message(result: Comparison, version: str, now: int) -> pb.CompareRunsResponse:
    response = pb.CompareRunsResponse(
        verdict=_VERDICTS[result.verdict],
        sentence=result.sentence,
        design=_design(result, version, now),
        checks=[_check(check) for check in result.checks],
        metrics=[_metric(item) for item in result.metrics],
        success=_success(result.success),
        control_per_success=_per_success(result.control_per_success),
        treatment_per_success=_per_success(result.treatment_per_success),
        metrics_both_succeeded=[_metric(item) for item in result.both_succeeded],
        pairs=[_pair(row.pair, row) for row in result.pairs],
        excluded=[_excluded(item) for item in result.excluded],
        cumulative=[
            pb.CumulativeEffect(pairs=item.pairs, effect=item.effect, interval=_interval(item.interval))
            for item in result.cumulative
        ],
        estimates=[
            pb.AvoidedInArm(
                treatment=item.arm is Arm.TREATMENT,
                source=item.avoided.source.value,
                count=item.avoided.count,
                tokens=item.avoided.tokens,
                total_n=item.avoided.total_n,
            )
            for item in result.estimates
        ],
        actual_tokens_saved=result.saved_tokens,
    )
    if result.anytime is not None:
        fields = {name: getattr(result.anytime, name) for name in result.anytime.__slots__}
        response.anytime.CopyFrom(pb.AnytimeResult(**fields))
    return response


def _design(result: Comparison, version: str, now: int) -> pb.ComparisonDesign:
    design = result.design
    return pb.ComparisonDesign(
        hypothesis=design.hypothesis,
        primary_metric=_METRIC_NUMBERS[design.primary],
        confidence_level=design.level,
        mode=pb.COMPARISON_MODE_FIXED if design.mode is Mode.FIXED else pb.COMPARISON_MODE_ANYTIME_VALID,
        expected_pairs=design.expected_pairs if design.mode is Mode.ANYTIME_VALID else 0,
        guardrail=pb.Guardrail(max_success_drop=design.max_success_drop),
        intended_differences=[
            pb.RunProperty.Value(f"RUN_PROPERTY_{item.name}") for item in RunProperty if item in design.intended
        ],
        control=_arm(result.control),
        treatment=_arm(result.treatment),
        tool_version=version,
        compared_at=_time(now),
    )


def _arm(arm: ArmRuns) -> pb.Arm:
    return pb.Arm(
        label=arm.label,
        runs=arm.runs,
        base_commits=arm.base_commits,
        agents=arm.agents,
        models=arm.models,
        configuration_hash=arm.configuration_hash,
        first_start=_time(arm.first_start),
        last_start=_time(arm.last_start),
    )


def _check(check: Check) -> pb.ValidityCheck:
    return pb.ValidityCheck(id=check.id, status=_STATUSES[check.status], message=check.message, data=check.data)


def _metric(item: MetricResult) -> pb.MetricComparison:
    method = item.wilcoxon_method.name if item.wilcoxon_method else "UNSPECIFIED"
    return pb.MetricComparison(
        metric=_METRIC_NUMBERS[item.metric],
        scale=pb.COMPARISON_SCALE_RATIO if item.metric.scale is Scale.RATIO else pb.COMPARISON_SCALE_DIFFERENCE,
        n=item.n,
        left_out=item.left_out,
        control=_statistics(item.control),
        treatment=_statistics(item.treatment),
        percent_change=item.percent_change,
        effect=item.effect,
        interval=_interval(item.interval),
        t_p=item.t_p,
        wilcoxon_p=item.wilcoxon_p,
        wilcoxon_method=pb.WilcoxonMethod.Value(f"WILCOXON_METHOD_{method}"),
        hodges_lehmann=item.hodges_lehmann,
        hodges_lehmann_interval=_interval(item.hodges_lehmann_interval),
        holm_p=item.holm_p,
        smallest_detectable=item.smallest_detectable,
        effect_sd=item.effect_sd,
    )


def _statistics(item: ArmStatistics) -> pb.ArmStatistics:
    return pb.ArmStatistics(n=item.n, mean=item.mean, median=item.median, stdev=item.stdev, total=item.total)


def _success(item: SuccessResult) -> pb.SuccessComparison:
    fields = {name: getattr(item, name) for name in item.__slots__ if name not in ("interval", "guardrail")}
    status = _GUARDRAILS[item.guardrail] if item.guardrail else pb.GUARDRAIL_STATUS_UNSPECIFIED
    return pb.SuccessComparison(**fields, interval=_interval(item.interval), guardrail=status)


def _per_success(item: PerSuccess) -> pb.PerSuccess:
    return pb.PerSuccess(runs=item.runs, successes=item.successes, tokens=item.tokens, cost_usd=item.cost_usd)


def _pair(pair: Pair, row: Any) -> pb.ComparedPair:
    return pb.ComparedPair(
        task=pair.task,
        control_run_ids=[run.record.run_id for run in pair.control],
        treatment_run_ids=[run.record.run_id for run in pair.treatment],
        control=row.control,
        treatment=row.treatment,
        effect=row.effect,
        control_succeeded=row.control_succeeded,
        treatment_succeeded=row.treatment_succeeded,
    )


def _excluded(item: Excluded) -> pb.ExcludedPair:
    return pb.ExcludedPair(
        task=item.task,
        control_run_ids=item.control,
        treatment_run_ids=item.treatment,
        reason=_EXCLUSIONS[item.reason],
        detail=item.detail,
        metric=_METRIC_NUMBERS[item.metric] if item.metric else pb.COMPARISON_METRIC_UNSPECIFIED,
    )


def _interval(interval: Interval | None) -> pb.Interval | None:
    return None if interval is None else pb.Interval(low=interval.low, high=interval.high)


def _time(time: int | None) -> Timestamp | None:
    return None if time is None else Timestamp(seconds=time // _MICRO, nanos=time % _MICRO * 1000)


_METRICS: dict[int, Metric] = {pb.ComparisonMetric.Value(f"COMPARISON_METRIC_{item.name}"): item for item in Metric}
_METRIC_NUMBERS = {item: pb.ComparisonMetric.Value(f"COMPARISON_METRIC_{item.name}") for item in Metric}
_MODES: dict[int, Mode] = {pb.ComparisonMode.Value(f"COMPARISON_MODE_{item.name}"): item for item in Mode}
_PROPERTIES: dict[int, RunProperty] = {pb.RunProperty.Value(f"RUN_PROPERTY_{item.name}"): item for item in RunProperty}
_VERDICTS = {item: pb.Verdict.Value(f"VERDICT_{item.name}") for item in Verdict}
_STATUSES = {item: pb.CheckStatus.Value(f"CHECK_STATUS_{item.name}") for item in Status}
_GUARDRAILS = {item: pb.GuardrailStatus.Value(f"GUARDRAIL_STATUS_{item.name}") for item in GuardrailStatus}
_EXCLUSIONS = {item: pb.ExclusionReason.Value(f"EXCLUSION_REASON_{item.name}") for item in Exclusion}

"""Messages to records with their checks, and sums to messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_kit import paging
from autopack_kit.errors import InvalidArgument

from autopack_telemetry.convert_runs import run_message
from autopack_telemetry.convert_values import (
    OUTCOME_NUMBERS,
    OUTCOMES,
    duration_message,
    duration_of,
    inside,
    known,
    time_of,
    timestamp_message,
    tokens_message,
)
from autopack_telemetry.core.checks import check_batch, check_phase, check_run_id, check_usage
from autopack_telemetry.core.estimate import Estimate, EstimateSource, ModelClass
from autopack_telemetry.core.model import PhaseRecord, RunSummary, Tokens, UsageRecord, UsageRole

__all__ = [
    "estimate_response",
    "estimate_subject",
    "next_page_token",
    "page_of",
    "phase_page",
    "phases_of",
    "run_id_of",
    "summary_response",
    "usage_of",
]

MAX_PHASES = 1_000
MAX_USAGE = 10_000
DEFAULT_PAGE = 1_000
MAX_PAGE = 5_000
"""Phases of a page: each has under 1 KB."""

_SOURCES = {getattr(pb, f"ESTIMATE_SOURCE_{source.name}"): source for source in EstimateSource}
_ROLES: dict[int, UsageRole] = {
    pb.USAGE_ROLE_UNSPECIFIED: UsageRole.AGENT,
    pb.USAGE_ROLE_AGENT: UsageRole.AGENT,
    pb.USAGE_ROLE_DOCTOR: UsageRole.DOCTOR,
}
_CLASSES: dict[int, ModelClass] = {
    pb.MODEL_CLASS_UNSPECIFIED: ModelClass.UNKNOWN,
    pb.MODEL_CLASS_CHEAP: ModelClass.CHEAP,
    pb.MODEL_CLASS_STRONG: ModelClass.STRONG,
}
_SOURCE_NUMBERS = {source: number for number, source in _SOURCES.items()}

_PLAIN = frozenset({
    "attempt", "hardening_triggered", "pattern_id", "mitigated", "doctor_called", "doctor_skipped", "context_bytes",
    "drift_z", "drift_verdict", "retries", "errors", "context_source", "plan_normalized", "plan_confidence",
    "plan_warnings", "plan_deliverables", "scope_size", "warnings",
})  # fmt: skip
"""Optional fields that are the same in message and record."""


def phases_of(request: pb.RecordPhasesRequest, now: int) -> list[PhaseRecord]:
    """The phases of a request, checked.

    Raises:
        InvalidArgument: naming the field, such as ``phases[3].drift_z``.
    """
    check_batch(request.phases, MAX_PHASES, "phases")
    phases = []
    for index, message in enumerate(request.phases):
        try:
            phase = _phase(message)
            check_phase(phase, now)
        except InvalidArgument as error:
            raise inside(f"phases[{index}]", error) from error
        phases.append(phase)
    return phases


def usage_of(request: pb.RecordUsageRequest, now: int) -> list[UsageRecord]:
    """The usage of a request, checked.

    Raises:
        InvalidArgument: naming the field, such as ``records[3].tokens.output``.
    """
    check_batch(request.records, MAX_USAGE, "records")
    records = []
    for index, message in enumerate(request.records):
        try:
            record = _usage(message, now)
            check_usage(record, now)
        except InvalidArgument as error:
            raise inside(f"records[{index}]", error) from error
        records.append(record)
    return records


def run_id_of(request: pb.GetRunSummaryRequest | pb.ListPhasesRequest) -> str:
    """The run that is asked about."""
    check_run_id(request.run_id)
    return request.run_id


def page_of(request: pb.ListPhasesRequest) -> tuple[int, int]:
    """The key after which the page starts, and its size."""
    size = paging.page_size(request.page_size, default=DEFAULT_PAGE, maximum=MAX_PAGE)
    key = paging.decode_token(request.page_token, {"run_id": request.run_id}, int)
    return (key[0] if key else 0), size


def next_page_token(run_id: str, last: int) -> str:
    """Continues after the phase with the key ``last``."""
    return paging.encode_token((last,), {"run_id": run_id})


def estimate_subject(request: pb.EstimateAvoidedTokensRequest) -> tuple[str, ModelClass]:
    """The run, which may be empty, and the class of models."""
    if request.run_id:
        check_run_id(request.run_id)
    return request.run_id, known(_CLASSES, request.model_class, "model_class")


def phase_page(phases: Iterable[PhaseRecord], token: str) -> pb.ListPhasesResponse:
    """A page."""
    return pb.ListPhasesResponse(phases=[_phase_message(phase) for phase in phases], next_page_token=token)


def estimate_response(estimate: Estimate) -> pb.EstimateAvoidedTokensResponse:
    """The estimate."""
    return pb.EstimateAvoidedTokensResponse(estimate=_estimate_message(estimate))


def summary_response(summary: RunSummary) -> pb.GetRunSummaryResponse:
    """The sums."""
    return pb.GetRunSummaryResponse(
        run_id=summary.run_id,
        phases=summary.phases,
        phases_by_outcome={outcome.value: count for outcome, count in summary.phases_by_outcome.items()},
        tokens=tokens_message(summary.tokens),
        doctor_tokens=tokens_message(summary.doctor_tokens),
        usage_records=summary.usage_records,
        cost_microusd=summary.cost_microusd,
        records_without_cost=summary.records_without_cost,
        hardening_triggered=summary.hardening_triggered,
        mitigated=summary.mitigated,
        patterns=summary.patterns,
        doctor_calls=summary.doctor_calls,
        doctor_skipped=summary.doctor_skipped,
        avoided=[
            pb.AvoidedTokens(
                source=_SOURCE_NUMBERS[item.source], count=item.count, tokens=item.tokens, total_n=item.total_n
            )
            for item in summary.avoided
        ],
        context_bytes=summary.context_bytes,
        duration=duration_message(summary.duration),
        reported_cost_microusd=summary.reported_cost_microusd,
        price_lists=summary.price_lists,
        warnings=summary.warnings,
        run=None if summary.run is None else run_message(summary.run),
    )


def _phase(message: pb.Phase) -> PhaseRecord:
    plain: dict[str, Any] = {field.name: value for field, value in message.ListFields() if field.name in _PLAIN}
    return PhaseRecord(
        run_id=message.run_id,
        phase_id=message.phase_id,
        kind=message.kind,
        started_at=time_of(message.start_time, "start_time") if message.HasField("start_time") else None,
        duration=duration_of(message.duration, "duration") if message.HasField("duration") else None,
        outcome=known(OUTCOMES, message.outcome, "outcome"),
        avoided=_estimate(message.avoided) if message.HasField("avoided") else None,
        **plain,
    )


def _phase_message(phase: PhaseRecord) -> pb.Phase:
    plain: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(phase, name)) is not None}
    message = pb.Phase(
        run_id=phase.run_id,
        phase_id=phase.phase_id,
        kind=phase.kind,
        outcome=OUTCOME_NUMBERS[phase.outcome],
        **plain,
    )
    if phase.started_at is not None:
        message.start_time.CopyFrom(timestamp_message(phase.started_at))
    if phase.duration is not None:
        message.duration.CopyFrom(duration_message(phase.duration))
    if phase.avoided is not None:
        message.avoided.CopyFrom(_estimate_message(phase.avoided))
    return message


def _usage(message: pb.UsageRecord, now: int) -> UsageRecord:
    tokens = message.tokens
    return UsageRecord(
        run_id=message.run_id,
        usage_id=message.usage_id,
        time=time_of(message.time, "time") if message.HasField("time") else now,
        tokens=Tokens(tokens.input, tokens.cache_read, tokens.cache_write, tokens.output, tokens.reasoning),
        phase_id=message.phase_id,
        agent=message.agent,
        provider=message.provider,
        model=message.model,
        role=known(_ROLES, message.role, "role"),
        model_class=known(_CLASSES, message.model_class, "model_class"),
        reported_cost_microusd=message.cost_microusd if message.HasField("cost_microusd") else None,
        failed=message.failed,
        session_id=message.session_id,
        response_id=message.response_id,
    )


def _estimate(message: pb.Estimate) -> Estimate:
    return Estimate(
        message.tokens,
        message.n,
        known(_SOURCES, message.source, "avoided.source"),
        message.low if message.HasField("low") else None,
        message.high if message.HasField("high") else None,
        message.confidence_level if message.HasField("confidence_level") else None,
    )


def _estimate_message(estimate: Estimate) -> pb.Estimate:
    return pb.Estimate(
        tokens=estimate.tokens,
        n=estimate.n,
        source=_SOURCE_NUMBERS[estimate.source],
        low=estimate.low,
        high=estimate.high,
        confidence_level=estimate.confidence_level,
    )

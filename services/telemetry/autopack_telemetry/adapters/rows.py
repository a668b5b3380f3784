"""Records as rows of the tables, and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from autopack_telemetry.core.estimate import Estimate, EstimateSource
from autopack_telemetry.core.model import PhaseOutcome, PhaseRecord, UsageRecord

__all__ = ["phase_from_row", "phase_to_row", "usage_to_row"]


def phase_to_row(tenant: str, phase: PhaseRecord, now: int) -> dict[str, Any]:
    """The row of a phase."""
    avoided = phase.avoided
    return {
        "tenant": tenant,
        "run_id": phase.run_id,
        "phase_id": phase.phase_id,
        "kind": phase.kind,
        "attempt": phase.attempt,
        "started_at": phase.started_at,
        "duration": phase.duration,
        "outcome": phase.outcome.value,
        "hardening_triggered": phase.hardening_triggered,
        "pattern_id": phase.pattern_id,
        "mitigated": phase.mitigated,
        "doctor_called": phase.doctor_called,
        "doctor_skipped": phase.doctor_skipped,
        "avoided_tokens": avoided and avoided.tokens,
        "avoided_n": avoided and avoided.n,
        "avoided_source": avoided and avoided.source.value,
        "context_bytes": phase.context_bytes,
        "drift_z": phase.drift_z,
        "drift_verdict": phase.drift_verdict,
        "retries": phase.retries,
        "errors": phase.errors,
        "recorded_at": now,
    }


def phase_from_row(row: Row[Any]) -> PhaseRecord:
    """The phase of a row."""
    avoided = None
    if row.avoided_source is not None:
        avoided = Estimate(row.avoided_tokens, row.avoided_n, EstimateSource(row.avoided_source))
    return PhaseRecord(
        run_id=row.run_id,
        phase_id=row.phase_id,
        kind=row.kind,
        attempt=row.attempt,
        started_at=row.started_at,
        duration=row.duration,
        outcome=PhaseOutcome(row.outcome),
        hardening_triggered=row.hardening_triggered,
        pattern_id=row.pattern_id,
        mitigated=row.mitigated,
        doctor_called=row.doctor_called,
        doctor_skipped=row.doctor_skipped,
        avoided=avoided,
        context_bytes=row.context_bytes,
        drift_z=row.drift_z,
        drift_verdict=row.drift_verdict,
        retries=row.retries,
        errors=row.errors,
    )


def usage_to_row(tenant: str, record: UsageRecord, now: int) -> dict[str, Any]:
    """The row of a call. The total is kept beside its parts: the estimate asks for it by index order."""
    tokens = record.tokens
    return {
        "tenant": tenant,
        "run_id": record.run_id,
        "usage_id": record.usage_id,
        "phase_id": record.phase_id,
        "agent": record.agent,
        "provider": record.provider,
        "model": record.model,
        "role": record.role.value,
        "model_class": record.model_class.value,
        "input": tokens.input,
        "cache_read": tokens.cache_read,
        "cache_write": tokens.cache_write,
        "output": tokens.output,
        "reasoning": tokens.reasoning,
        "total": tokens.total,
        "cost_microusd": record.reported_cost_microusd,
        "time": record.time,
        "failed": record.failed,
        "recorded_at": now,
    }

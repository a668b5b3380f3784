"""Records as rows of the tables, and back."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row

from autopack_telemetry.core.estimate import Estimate, EstimateSource
from autopack_telemetry.core.model import PhaseOutcome, PhaseRecord, Price, RunRecord, UsageRecord

__all__ = ["TOKENS", "phase_from_row", "phase_to_row", "run_from_row", "run_to_row", "usage_to_row"]

TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
"""Columns of counts by kind, in the order of :class:`Tokens`."""


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
        "avoided_low": avoided and avoided.low,
        "avoided_high": avoided and avoided.high,
        "avoided_confidence": avoided and avoided.confidence_level,
        "context_bytes": phase.context_bytes,
        "context_source": phase.context_source,
        "plan_normalized": phase.plan_normalized,
        "plan_confidence": phase.plan_confidence,
        "plan_warnings": phase.plan_warnings,
        "plan_deliverables": phase.plan_deliverables,
        "scope_size": phase.scope_size,
        "drift_z": phase.drift_z,
        "drift_verdict": phase.drift_verdict,
        "retries": phase.retries,
        "errors": phase.errors,
        "warnings": phase.warnings,
        "recorded_at": now,
    }


def phase_from_row(row: Row[Any]) -> PhaseRecord:
    """The phase of a row."""
    avoided = None
    if row.avoided_source is not None:
        avoided = Estimate(
            row.avoided_tokens,
            row.avoided_n,
            EstimateSource(row.avoided_source),
            row.avoided_low,
            row.avoided_high,
            row.avoided_confidence,
        )
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
        context_source=row.context_source,
        plan_normalized=row.plan_normalized,
        plan_confidence=row.plan_confidence,
        plan_warnings=row.plan_warnings,
        plan_deliverables=row.plan_deliverables,
        scope_size=row.scope_size,
        warnings=row.warnings,
    )


def run_to_row(tenant: str, run: RunRecord, now: int) -> dict[str, Any]:
    """The row of a run: NULL for what is not known."""
    known = run.outcome is not PhaseOutcome.UNSPECIFIED
    return {
        "tenant": tenant,
        "run_id": run.run_id,
        "task": run.task or None,
        "batch_id": run.batch_id or None,
        "base_commit": run.base_commit or None,
        "spec_hash": run.spec_hash or None,
        "agent": run.agent or None,
        "agent_version": run.agent_version or None,
        "models": json.dumps(dict(run.models), sort_keys=True) if run.models else None,
        "started_at": run.started_at,
        "duration": run.duration,
        "outcome": run.outcome.value if known else None,
        "retries": run.retries,
        "token_limit": run.token_limit,
        "time_limit": run.time_limit,
        "recorded_at": now,
    }


def run_from_row(row: Row[Any]) -> RunRecord:
    """The run of a row."""
    return RunRecord(
        run_id=row.run_id,
        task=row.task or "",
        batch_id=row.batch_id or "",
        base_commit=row.base_commit or "",
        spec_hash=row.spec_hash or "",
        agent=row.agent or "",
        agent_version=row.agent_version or "",
        models=json.loads(row.models) if row.models else {},
        started_at=row.started_at,
        duration=row.duration,
        outcome=PhaseOutcome(row.outcome) if row.outcome else PhaseOutcome.UNSPECIFIED,
        retries=row.retries,
        token_limit=row.token_limit,
        time_limit=row.time_limit,
    )


def usage_to_row(tenant: str, record: UsageRecord, price: Price | None, now: int) -> dict[str, Any]:
    """The row of a call. The total is kept beside its parts: the estimate asks for it by index order."""
    tokens = record.tokens
    # ``_value_`` is ``value`` without a property around it, which costs five times as much.
    return {
        "tenant": tenant,
        "run_id": record.run_id,
        "usage_id": record.usage_id,
        "phase_id": record.phase_id,
        "agent": record.agent,
        "provider": record.provider,
        "model": record.model,
        "role": record.role._value_,
        "model_class": record.model_class._value_,
        "input": tokens.input,
        "cache_read": tokens.cache_read,
        "cache_write": tokens.cache_write,
        "output": tokens.output,
        "reasoning": tokens.reasoning,
        "total": tokens.total,
        "reported_cost_microusd": record.reported_cost_microusd,
        "cost_microusd": price and price.cost_microusd,
        "price_source": price and price.source,
        "price_version": price and price.version,
        "time": record.time,
        "failed": record.failed,
        "signal": record.signal._value_,
        "session_id": record.session_id,
        # A series has many responses in it.
        "response_id": None if record.cumulative else record.response_id or None,
        "shadow": False,
        "cumulative": record.cumulative,
        "parts": record.parts,
        "recorded_at": now,
    }

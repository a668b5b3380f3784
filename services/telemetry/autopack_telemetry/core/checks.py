"""Which recorded values can be true. A value that cannot is refused with the name of its field, never corrected."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeVar

from autopack_kit.errors import invalid_field

from autopack_telemetry.core.estimate import MIN_OBSERVATIONS, Estimate, EstimateSource
from autopack_telemetry.core.model import PhaseRecord, RunRecord, Tokens, UsageRecord

__all__ = ["check_batch", "check_phase", "check_reporting", "check_run", "check_run_id", "check_session", "check_usage"]

T = TypeVar("T")

MAX_RUN_ID = 128
MAX_PHASE_ID = 128
MAX_USAGE_ID = 256
MAX_KIND = 64
MAX_TASK = 256
MAX_MODELS = 16
"""Models of a run: far more than there are things to use one for."""
MAX_NAME = 128
"""Characters of the name of an agent, provider, model, pattern or verdict; the longest model names have about 60."""
MAX_TOKENS = 10**12
"""Tokens of one call: a hundred thousand times the largest context window, and nine million of them still sum up."""
MAX_RUN_TOKENS = 10**15
"""Tokens of a limit."""
MAX_COST_MICROUSD = 10**12
"""A million dollars for one call."""
MAX_COUNT = 2**31 - 1
MAX_DURATION = 366 * 86_400 * 1_000_000
"""A year, in microseconds."""
MAX_AHEAD = 86_400 * 1_000_000
"""A day, in microseconds: clocks differ, but a call in the far future would count as the latest for years."""

_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")
# What a terminal or a log would act on; PostgreSQL cannot store NUL.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


_COUNTS = (
    "context_bytes",
    "retries",
    "errors",
    "plan_warnings",
    "plan_deliverables",
    "scope_size",
    "warnings",
)


def check_batch(items: Sequence[T], limit: int, field: str) -> None:
    """At most ``limit`` items."""
    if len(items) > limit:
        raise invalid_field(field, f"has {len(items)} items; send at most {limit} at once")


def check_run_id(run_id: str) -> None:
    """The id of a run: it goes into variables and headers of agents, which bear no other characters."""
    if not _RUN_ID.fullmatch(run_id):
        raise invalid_field(
            "run_id", f"{run_id[:MAX_RUN_ID]!r} must be 1 to {MAX_RUN_ID} letters, digits, '.', '_' and '-'"
        )


def check_phase(phase: PhaseRecord, now: int) -> None:
    """A phase that can be recorded at the time ``now``.

    Raises:
        InvalidArgument: ``INVALID_FIELD``, naming the field within the phase.
    """
    check_run_id(phase.run_id)
    _text(phase.phase_id, "phase_id", MAX_PHASE_ID, required=True)
    _text(phase.kind, "kind", MAX_KIND)
    _text(phase.pattern_id or "", "pattern_id", MAX_NAME)
    _text(phase.drift_verdict or "", "drift_verdict", MAX_NAME)
    _number(phase.attempt, "attempt", 1, MAX_COUNT)
    for name in _COUNTS:
        _number(getattr(phase, name), name, 0, MAX_COUNT)
    _text(phase.context_source or "", "context_source", MAX_NAME)
    if phase.plan_confidence is not None and not 0.0 <= phase.plan_confidence <= 1.0:  # not so for NaN either
        raise invalid_field("plan_confidence", f"{phase.plan_confidence} must be 0 to 1")
    _number(phase.duration, "duration", 0, MAX_DURATION, "microseconds")
    _time(phase.started_at, "start_time", now)
    if phase.drift_z is not None and not math.isfinite(phase.drift_z):
        raise invalid_field("drift_z", "must be a finite number; leave it out if it is not known")
    if phase.avoided is not None:
        _estimate(phase.avoided, skipped=bool(phase.doctor_skipped))


def check_run(run: RunRecord, now: int) -> None:
    """A run that can be recorded at the time ``now``.

    Raises:
        InvalidArgument: ``INVALID_FIELD``, naming the field within the run.
    """
    check_run_id(run.run_id)
    _text(run.task, "task", MAX_TASK)
    for name in ("batch_id", "spec_hash", "agent", "agent_version"):
        _text(getattr(run, name), name, MAX_NAME)
    if run.base_commit and not _COMMIT.fullmatch(run.base_commit):
        raise invalid_field("base_commit", f"{run.base_commit[:64]!r} must be 4 to 64 hexadecimal digits")
    if len(run.models) > MAX_MODELS:
        raise invalid_field("models", f"has {len(run.models)} entries; at most {MAX_MODELS} are allowed")
    for use, model in run.models.items():
        _text(use, "models", MAX_NAME, required=True)
        _text(model, "models", MAX_NAME)
    _time(run.started_at, "start_time", now)
    _number(run.duration, "duration", 0, MAX_DURATION, "microseconds")
    _number(run.retries, "retries", 0, MAX_COUNT)
    _number(run.token_limit, "token_limit", 0, MAX_RUN_TOKENS)
    _number(run.time_limit, "time_limit", 0, MAX_DURATION, "microseconds")


def check_session(agent: str, session_id: str, run_id: str, phase_id: str) -> None:
    """A session that can be registered.

    Raises:
        InvalidArgument: ``INVALID_FIELD``.
    """
    check_run_id(run_id)
    _text(agent, "agent", MAX_NAME, required=True)
    _text(session_id, "session_id", MAX_USAGE_ID, required=True)
    _text(phase_id, "phase_id", MAX_PHASE_ID)


def check_reporting(run_id: str, phase_id: str, agent: str) -> None:
    """An agent that is to report for a run, and maybe for one phase of it.

    Raises:
        InvalidArgument: ``INVALID_FIELD``.
    """
    check_run_id(run_id)
    _text(phase_id, "phase_id", MAX_PHASE_ID)
    _text(agent, "agent", MAX_NAME, required=True)


def check_usage(record: UsageRecord, now: int) -> None:
    """Usage that can be recorded at the time ``now``.

    Raises:
        InvalidArgument: ``INVALID_FIELD``, naming the field within the record.
    """
    check_run_id(record.run_id)
    _text(record.usage_id, "usage_id", MAX_USAGE_ID, required=True)
    _text(record.phase_id, "phase_id", MAX_PHASE_ID)
    for name, text in (("session_id", record.session_id), ("response_id", record.response_id)):
        _text(text, name, MAX_USAGE_ID)
    for name, text in (("agent", record.agent), ("provider", record.provider), ("model", record.model)):
        _text(text, name, MAX_NAME)
    _tokens(record.tokens)
    _number(record.reported_cost_microusd, "cost_microusd", 0, MAX_COST_MICROUSD)
    _time(record.time, "time", now)


def _tokens(tokens: Tokens) -> None:
    for name in Tokens.__slots__:
        count = getattr(tokens, name)
        if not 0 <= count <= MAX_TOKENS:
            raise invalid_field(f"tokens.{name}", f"{count} must be 0 to {MAX_TOKENS}")
    if tokens.reasoning > tokens.output:
        raise invalid_field(
            "tokens.reasoning", f"{tokens.reasoning} is more than the output of {tokens.output}, which includes it"
        )


def _estimate(estimate: Estimate, *, skipped: bool) -> None:
    if not skipped:
        raise invalid_field("avoided", "needs doctor_skipped: nothing was avoided where the doctor was not skipped")
    _number(estimate.tokens, "avoided.tokens", 0, MAX_TOKENS)
    _interval(estimate)
    if estimate.source is EstimateSource.FALLBACK:
        _number(estimate.n, "avoided.n", 0, 0, "for a constant")
    else:
        _number(estimate.n, "avoided.n", MIN_OBSERVATIONS, MAX_COUNT, "for a median")


def _interval(estimate: Estimate) -> None:
    ends = (estimate.low, estimate.high, estimate.confidence_level)
    if all(end is None for end in ends):
        return
    if estimate.low is None or estimate.high is None or estimate.confidence_level is None:
        raise invalid_field("avoided.low", "low, high and confidence_level come together or not at all")
    if estimate.source is EstimateSource.FALLBACK:
        raise invalid_field("avoided.low", "a constant has no interval; leave low, high and confidence_level out")
    _number(estimate.low, "avoided.low", 0, estimate.tokens)
    _number(estimate.high, "avoided.high", estimate.tokens, MAX_TOKENS)
    if not 0.0 < estimate.confidence_level < 1.0:
        raise invalid_field("avoided.confidence_level", f"{estimate.confidence_level} must lie between 0 and 1")


def _number(value: int | None, field: str, low: int, high: int, what: str = "") -> None:
    if value is not None and not low <= value <= high:
        between = f"{low}" if low == high else f"{low} to {high}"
        raise invalid_field(field, f"{value} must be {between} {what}".rstrip())


def _time(value: int | None, field: str, now: int) -> None:
    if value is not None and not 0 <= value <= now + MAX_AHEAD:
        raise invalid_field(field, "must lie between 1970 and a day from now; check the clock of the sender")


def _text(text: str, field: str, limit: int, *, required: bool = False) -> None:
    if required and not text:
        raise invalid_field(field, "is required")
    if len(text) > limit:
        raise invalid_field(field, f"has {len(text)} characters; at most {limit} are allowed")
    if _CONTROL.search(text):
        raise invalid_field(field, f"{text!r} must not contain control characters")

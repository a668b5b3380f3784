"""What the orchestrator tells telemetry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autopack_orchestrator.core.agents import GENERIC
from autopack_orchestrator.core.codec import dumps
from autopack_orchestrator.core.model import Run, RunSpec, RunState

__all__ = ["Estimate", "PhaseRecord", "Reporting", "RunRecord", "outcome_of", "run_record"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens of one doctor call, with the number of observations and where they come from."""

    tokens: int
    n: int
    source: str


@dataclass(slots=True)
class PhaseRecord:
    """A phase as telemetry keeps it; completed while the phase runs."""

    run_id: str
    phase_id: str
    kind: str
    attempt: int
    outcome: str = ""
    start_time: datetime | None = None
    seconds: float = 0.0
    hardening_triggered: bool | None = None
    pattern_id: str | None = None
    mitigated: bool | None = None
    doctor_called: bool | None = None
    doctor_skipped: bool | None = None
    avoided: Estimate | None = None
    context_bytes: int | None = None
    drift_z: float | None = None
    drift_verdict: str | None = None
    retries: int | None = None
    errors: int | None = None
    context_source: str | None = None
    scope_size: int | None = None
    warnings: int | None = None
    is_part: bool = False
    """Its time is counted in the phase that it is a part of."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as telemetry keeps it: what comparisons pair by and check."""

    run_id: str
    task: str
    batch_id: str
    base_commit: str
    spec_hash: str
    agent: str
    attempt: int
    start_time: datetime | None
    time_limit: timedelta
    token_limit: int
    agent_version: str = ""
    outcome: str = ""
    duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Reporting:
    """What makes the agent of a run report what it uses.

    Attributes:
        agent: as whom telemetry knows it.
        env: variables to set.
        arguments: words behind the agent's own; ``{usage_file}`` stands for the path of a file.
        file_format: telemetry's number of the format of that file; 0 = the agent writes none.
        file_pattern: which files count where the agent makes a directory of it.
        secrets: what of them must not be shown.
        sends: whether it needs the network for it.
    """

    agent: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    file_format: int = 0
    file_pattern: str = ""
    secrets: tuple[str, ...] = ()
    sends: bool = False


def run_record(run: Run, version: str = "", state: RunState | None = None, now: datetime | None = None) -> RunRecord:
    """What is known of a run and its agent's ``version``; at its end also how it ended, in ``state`` at ``now``."""
    spec = run.spec
    limit = spec.timeout if spec.budget.max_wall_time is None else min(spec.timeout, spec.budget.max_wall_time)
    return RunRecord(
        run_id=run.run_id,
        task=run.name,
        batch_id=run.batch_id,
        base_commit=run.base_commit,
        spec_hash=spec_hash(spec),
        agent=_agent(spec),
        agent_version=version,
        attempt=run.attempt,
        start_time=run.start_time,
        time_limit=limit,
        token_limit=spec.budget.max_tokens or 0,
        outcome="" if state is None else outcome_of(state),
        duration=None if run.start_time is None or now is None else max(now - run.start_time, timedelta()),
    )


def spec_hash(spec: RunSpec) -> str:
    """Hash of what a run had to do and within which limits (goal, scope, validation, budget, time), not who did it."""
    asked = (
        spec.intention, spec.validate, spec.validate_kinds, spec.fail_on_pre_existing, spec.budget, spec.timeout,
        spec.limits,
    )  # fmt: skip
    return hashlib.sha256(dumps(asked).encode()).hexdigest()


def outcome_of(state: RunState) -> str:
    """The outcome of a run that ended so, in telemetry's words."""
    return {
        RunState.SUCCEEDED: "succeeded", RunState.TIMED_OUT: "timed_out", RunState.CANCELLED: "cancelled"
    }.get(state, "failed")  # fmt: skip


def _agent(spec: RunSpec) -> str:
    if spec.agent is not None:
        return spec.agent.name
    return "http" if spec.http is not None else "mock" if spec.mock is not None else GENERIC

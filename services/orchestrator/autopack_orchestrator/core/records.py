"""What the orchestrator tells telemetry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Estimate", "PhaseRecord"]


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

"""Runs with the scatter of agents, for the tests of comparisons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from autopack_telemetry.core.compare.model import Design, RunMeasures
from autopack_telemetry.core.model import PhaseOutcome, RunRecord
from numpy.typing import NDArray

START = 1_790_000_000_000_000
HOUR = 3_600_000_000

RECORD = {
    "base_commit": "c0ffee" * 6 + "c0ff", "agent": "claude", "agent_version": "2.1.0",
    "models": {"agent": "claude-sonnet-4-5"}, "token_limit": 1_000_000, "time_limit": HOUR,
}  # fmt: skip


def a_run(run_id: str, task: str, tokens: int = 1_000, *, doctor: int = 0, **changes: Any) -> RunMeasures:
    """A run that told everything; ``changes`` are of its measures, or of its record."""
    in_record = {name: changes.pop(name) for name in list(changes) if name in RunRecord.__dataclass_fields__}
    outcome = in_record.pop("outcome", PhaseOutcome.SUCCEEDED)
    fields: dict[str, Any] = {**RECORD, "spec_hash": f"spec of {task}", "started_at": START, **in_record}
    measures = RunMeasures(
        RunRecord(run_id, task=task, **fields),
        total_tokens=tokens + doctor,
        agent_tokens=tokens,
        doctor_tokens=doctor,
        usage_records=10,
        phases=4,
        cost_microusd=3 * (tokens + doctor),
        doctor_calls=1 if doctor else 0,
        retries=0,
        seconds=tokens / 100,
        outcome=outcome,
    )
    return replace(measures, **changes)


def noisy_runs(
    rng: np.random.Generator, pairs: int, *, ratio: float = 1.0, success: tuple[float, float] = (1.0, 1.0)
) -> dict[str, RunMeasures]:
    """Pairs of runs of one task each: tasks differ by a factor, runs of one task too, and one in twenty is five times
    as long. Either arm goes first as often."""
    runs = {}
    for number in range(pairs):
        task, first = rng.normal(11.5, 0.9), rng.integers(2)
        for side, arm in enumerate("ct"):
            noise = rng.normal(0, 0.5) + (np.log(5) if rng.random() < 0.05 else 0)
            tokens = int(np.exp(task + noise + side * np.log(ratio)))
            outcome = PhaseOutcome.SUCCEEDED if rng.random() < success[side] else PhaseOutcome.FAILED
            start = START + number * HOUR + (side ^ int(first)) * HOUR // 4
            run_id = f"{arm}-{number}"
            runs[run_id] = a_run(run_id, f"task-{number}", tokens, outcome=outcome, started_at=start)
    return runs


def noisy_effects(rng: np.random.Generator, pairs: int, *, ratio: float = 1.0) -> NDArray[np.float64]:
    """The log ratios alone of pairs as those of :func:`noisy_runs`."""
    noise = rng.normal(0, 0.5, (2, pairs)) + np.log(5) * (rng.random((2, pairs)) < 0.05)
    return np.asarray(noise[1] - noise[0] + np.log(ratio))


def design_of(runs: dict[str, RunMeasures], **fields: Any) -> Design:
    """The arms by the letter with which their ids begin."""
    arms = {name: tuple(run for run in runs if run.startswith(name[0])) for name in ("control", "treatment")}
    return Design(**{**arms, **fields})

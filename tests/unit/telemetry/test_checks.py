from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from autopack_kit.errors import InvalidArgument
from autopack_telemetry import Estimate, EstimateSource, PhaseRecord, Tokens, UsageRecord
from autopack_telemetry.core.checks import MAX_AHEAD, MAX_DURATION, MAX_TOKENS, check_batch, check_phase, check_usage

NOW = 1_800_000_000_000_000
PHASE = PhaseRecord(run_id="run-1", phase_id="agent")
USAGE = UsageRecord(run_id="run-1", usage_id="response-1", time=NOW, tokens=Tokens(1, 2, 3, 4, 4))
MEASURED = Estimate(9_000, 3, EstimateSource.RUN_LOCAL)
CONSTANT = Estimate(12_000, 0, EstimateSource.FALLBACK)
BOUNDED = replace(MEASURED, n=6, low=8_000, high=60_000, confidence_level=0.96875)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attempt": 1, "retries": 0, "errors": 0, "context_bytes": 0, "drift_z": -3.5, "duration": MAX_DURATION},
        {"phase_id": "Prüfung / 検証"},
        {"doctor_skipped": True, "avoided": MEASURED},
        {"doctor_skipped": True, "avoided": CONSTANT},
        {"doctor_skipped": True, "avoided": BOUNDED},
        {"started_at": NOW + MAX_AHEAD},
        {"started_at": 0},
    ],
)
def test_phase_that_can_be_true_passes(changes: dict[str, Any]) -> None:
    check_phase(replace(PHASE, **changes), NOW)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("run_id", {"run_id": ""}),
        ("run_id", {"run_id": "a b"}),
        ("run_id", {"run_id": "x" * 129}),
        ("run_id", {"run_id": "run-1\n"}),
        ("phase_id", {"phase_id": ""}),
        ("phase_id", {"phase_id": "x" * 129}),
        ("phase_id", {"phase_id": "nul\0"}),
        ("kind", {"kind": "x" * 65}),
        ("pattern_id", {"pattern_id": "x" * 129}),
        ("drift_verdict", {"drift_verdict": "\x1b[31m"}),
        ("attempt", {"attempt": 0}),
        ("retries", {"retries": -1}),
        ("errors", {"errors": -1}),
        ("context_bytes", {"context_bytes": -1}),
        ("duration", {"duration": -1}),
        ("duration", {"duration": MAX_DURATION + 1}),
        ("start_time", {"started_at": -1}),
        ("start_time", {"started_at": NOW + 366 * 86_400_000_000}),
        ("drift_z", {"drift_z": math.nan}),
        ("drift_z", {"drift_z": math.inf}),
        ("avoided", {"avoided": MEASURED}),
        ("avoided", {"avoided": MEASURED, "doctor_skipped": False}),
        ("avoided.tokens", {"avoided": replace(MEASURED, tokens=-1), "doctor_skipped": True}),
        ("avoided.n", {"avoided": replace(MEASURED, n=2), "doctor_skipped": True}),
        ("avoided.n", {"avoided": replace(CONSTANT, n=3), "doctor_skipped": True}),
        ("avoided.low", {"avoided": replace(MEASURED, low=1), "doctor_skipped": True}),
        ("avoided.low", {"avoided": replace(BOUNDED, low=MEASURED.tokens + 1), "doctor_skipped": True}),
        ("avoided.high", {"avoided": replace(BOUNDED, high=MEASURED.tokens - 1), "doctor_skipped": True}),
        ("avoided.confidence_level", {"avoided": replace(BOUNDED, confidence_level=1.5), "doctor_skipped": True}),
        (
            "avoided.low",
            {"avoided": replace(CONSTANT, low=1, high=20_000, confidence_level=0.96), "doctor_skipped": True},
        ),
    ],
)
def test_phase_that_cannot_be_true_is_refused_by_field(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_phase(replace(PHASE, **changes), NOW)
    assert [violation.field for violation in refused.value.violations] == [field]


@pytest.mark.parametrize(
    "changes",
    [{}, {"tokens": Tokens()}, {"tokens": Tokens(MAX_TOKENS)}, {"reported_cost_microusd": 0}, {"phase_id": "agent"}],
)
def test_usage_that_can_be_true_passes(changes: dict[str, Any]) -> None:
    check_usage(replace(USAGE, **changes), NOW)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("run_id", {"run_id": "../x"}),
        ("usage_id", {"usage_id": ""}),
        ("usage_id", {"usage_id": "x" * 257}),
        ("model", {"model": "x" * 129}),
        ("agent", {"agent": "a\nb"}),
        ("provider", {"provider": "x" * 129}),
        ("tokens.input", {"tokens": Tokens(input=-1)}),
        ("tokens.cache_read", {"tokens": Tokens(cache_read=10**18)}),
        ("tokens.cache_write", {"tokens": Tokens(cache_write=-(2**63))}),
        ("tokens.output", {"tokens": Tokens(output=MAX_TOKENS + 1)}),
        ("tokens.reasoning", {"tokens": Tokens(output=4, reasoning=5)}),
        ("cost_microusd", {"reported_cost_microusd": -1}),
        ("time", {"time": NOW + 366 * 86_400_000_000}),
    ],
)
def test_usage_that_cannot_be_true_is_refused_by_field(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_usage(replace(USAGE, **changes), NOW)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_batch_over_its_limit_is_refused() -> None:
    check_batch([1, 2], 2, "phases")
    with pytest.raises(InvalidArgument, match="at most 2"):
        check_batch([1, 2, 3], 2, "phases")

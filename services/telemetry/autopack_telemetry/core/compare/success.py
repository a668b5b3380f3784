"""Did as many runs succeed with the change, and what did one success take?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autopack_telemetry.core.compare import binary, paired, sequential
from autopack_telemetry.core.compare.metrics import intervals_after_each
from autopack_telemetry.core.compare.model import Design, GuardrailStatus, Mode, Pair, RunMeasures
from autopack_telemetry.core.compare.paired import Interval

__all__ = ["PerSuccess", "SuccessResult", "compare_success", "per_success", "side_succeeded", "success_e_values"]


@dataclass(frozen=True, slots=True)
class SuccessResult:
    """Success in pairs.

    Attributes:
        n: pairs of which both outcomes are known.
        difference: of the rates, treatment minus control.
        guardrail: None if there are too few pairs.
    """

    n: int
    both: int
    control_only: int
    treatment_only: int
    neither: int
    control_rate: float | None = None
    treatment_rate: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    exact_p: float | None = None
    mid_p: float | None = None
    guardrail: GuardrailStatus | None = None


@dataclass(frozen=True, slots=True)
class PerSuccess:
    """What one success took, failures included.

    Attributes:
        runs: those whose outcome is known.
    """

    runs: int
    successes: int
    tokens: float | None
    cost_usd: float | None


def side_succeeded(runs: Sequence[RunMeasures]) -> bool | None:
    """Whether more than half of the repeats did; None if exactly half did, or an outcome is not known."""
    outcomes = [run.succeeded for run in runs]
    if None in outcomes:
        return None
    doubled = 2 * sum(outcome is True for outcome in outcomes)
    return None if doubled == len(outcomes) else doubled > len(outcomes)


def compare_success(pairs: Sequence[Pair], design: Design) -> SuccessResult:
    """The table of pairs, the difference of rates with its interval, McNemar's test and the guardrail."""
    sides = _sides(pairs)
    both, control_only = sides.count((True, True)), sides.count((True, False))
    treatment_only, neither = sides.count((False, True)), sides.count((False, False))
    n = len(sides)
    if n == 0:
        return SuccessResult(0, 0, 0, 0, 0)
    rates = (both + control_only) / n, (both + treatment_only) / n, (treatment_only - control_only) / n
    table = (n, both, control_only, treatment_only, neither)
    if n < design.min_pairs:
        return SuccessResult(*table, *rates)
    if design.mode is Mode.ANYTIME_VALID:
        found, status = _anytime(sides, design)
        return SuccessResult(*table, *rates, interval=found, guardrail=status)
    _, interval = binary.newcombe_paired(both, control_only, treatment_only, neither, design.level)
    test = binary.mcnemar(control_only, treatment_only)
    guardrail = _guardrail(interval, design.max_success_drop)
    return SuccessResult(*table, *rates, interval, test.exact_p, test.mid_p, guardrail)


def success_e_values(pairs: Sequence[Pair]) -> tuple[float, float]:
    """The e-value against "as many succeed" now, and its highest so far."""
    unequal = [treatment for control, treatment in _sides(pairs) if control is not treatment]
    values = sequential.running_e_values(unequal)
    return (float(values[-1]), float(values.max())) if len(values) else (1.0, 1.0)


def per_success(runs: Sequence[RunMeasures]) -> PerSuccess:
    """Sums over the runs whose outcome is known, by how many of them succeeded."""
    known = [run for run in runs if run.succeeded is not None]
    successes = sum(run.succeeded is True for run in known)
    if not successes:
        return PerSuccess(len(known), 0, None, None)
    costs = [cost for run in known if (cost := run.cost_usd) is not None]
    cost = math.fsum(costs) / successes if len(costs) == len(known) else None
    return PerSuccess(len(known), successes, sum(run.total_tokens for run in known) / successes, cost)


def _sides(pairs: Sequence[Pair]) -> list[tuple[bool, bool]]:
    found = ((side_succeeded(pair.control), side_succeeded(pair.treatment)) for pair in pairs)
    return [(control, treatment) for control, treatment in found if control is not None and treatment is not None]


def _guardrail(interval: Interval, drop: float) -> GuardrailStatus:
    if interval.high < -drop:
        return GuardrailStatus.BROKEN
    return GuardrailStatus.HELD if interval.low >= -drop else GuardrailStatus.UNDECIDED


def _anytime(sides: Sequence[tuple[bool, bool]], design: Design) -> tuple[Interval | None, GuardrailStatus]:
    """A confidence sequence of the difference; broken only if the exact e-value agrees: at first few pairs differ."""
    effects = np.array([float(treatment) - float(control) for control, treatment in sides])
    if paired.is_constant(effects):
        return None, GuardrailStatus.UNDECIDED
    _, low, high = intervals_after_each(effects, design)
    interval = Interval(float(low[-1]), float(high[-1]))
    status = _guardrail(interval, design.max_success_drop)
    unequal = [treatment for control, treatment in sides if control is not treatment]
    if status is GuardrailStatus.BROKEN and sequential.running_e_values(unequal).max() < 1 / (1 - design.level):
        status = GuardrailStatus.UNDECIDED
    return interval, status

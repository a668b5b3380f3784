"""What a comparison promises, tried on thousands of made-up ones in which the truth is known."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from autopack_telemetry.core.compare.analysis import compare
from autopack_telemetry.core.compare.metrics import intervals_after_each
from autopack_telemetry.core.compare.model import MIN_ANYTIME_PAIRS, Design, GuardrailStatus, Mode, Verdict
from autopack_telemetry.core.compare.pairing import match
from autopack_telemetry.core.compare.sequential import running_e_values
from autopack_telemetry.core.compare.success import compare_success, success_e_values

from .runs_to_compare import design_of, noisy_effects, noisy_runs

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_800)]

REPEATS = 8_000
"""Of what is quickly worked out: a share of 5 % is then known to 0.25 %."""
WHOLE = 2_000
"""Whole comparisons."""
LOOKED_AT = 100
"""Pairs of a comparison that is looked at after each."""


@pytest.mark.parametrize("pairs", [5, 10, 20, 50])
@pytest.mark.parametrize("ratio", [1.0, 0.8])
def test_interval_covers_the_true_ratio(pairs: int, ratio: float) -> None:
    rng, design, covered = np.random.default_rng(pairs), Design(), 0
    for _ in range(REPEATS):
        _, low, high = intervals_after_each(noisy_effects(rng, pairs, ratio=ratio), design)
        covered += low[-1] <= math.log(ratio) <= high[-1]
    assert covered / REPEATS == pytest.approx(0.95, abs=0.015)


def test_noise_gives_no_more_verdicts_than_its_level() -> None:
    rng, verdicts = np.random.default_rng(10), Counter[Verdict]()
    for _ in range(WHOLE):
        runs = noisy_runs(rng, 15)
        verdicts[compare(design_of(runs), runs).verdict] += 1
    assert 1 - verdicts[Verdict.INCONCLUSIVE] / WHOLE <= 0.055


def test_looking_after_every_pair_raises_few_alarms_in_the_mode_for_it_alone() -> None:
    rng, alarms = np.random.default_rng(77), Counter[str]()
    for _ in range(REPEATS):
        effects = noisy_effects(rng, LOOKED_AT)
        for mode in Mode:
            _, low, high = intervals_after_each(effects, Design(mode=mode))
            alarms[mode.value] += bool(
                np.any((low > 0) | (high < 0), where=np.arange(LOOKED_AT) >= MIN_ANYTIME_PAIRS - 1)
            )
        alarms["signs"] += running_e_values((effects > 0).tolist()).max() >= 20
    assert alarms[Mode.ANYTIME_VALID.value] / REPEATS <= 0.06
    assert alarms["signs"] / REPEATS <= 0.05
    # What the mode is against is really there.
    assert alarms[Mode.FIXED.value] / REPEATS > 0.2


@pytest.mark.parametrize("mode", list(Mode))
def test_equal_success_breaks_no_guardrail_and_raises_no_alarms(mode: Mode) -> None:
    rng, broken, alarms, e_values = np.random.default_rng(79), 0, 0, 0
    for _ in range(WHOLE):
        runs = noisy_runs(rng, 25, success=(0.7, 0.7))
        design = design_of(runs, mode=mode)
        pairs, _ = match(design, runs)
        success = compare_success(pairs, design)
        broken += success.guardrail is GuardrailStatus.BROKEN
        alarms += (success.mid_p or 1) < 0.05
        e_values += success_e_values(pairs)[1] >= 20
    assert broken / WHOLE <= 0.03
    assert alarms / WHOLE <= 0.055
    assert e_values / WHOLE <= 0.05

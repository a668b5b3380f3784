"""The statistics against published values and those of R 4.2.2, to the digits that these print."""

from __future__ import annotations

import doctest
import math
from importlib import import_module

import autopack_telemetry
import numpy as np
import pytest
from autopack_telemetry import (
    beta_binomial_e_value,
    confidence_sequence,
    geometric_mean_ratio,
    hodges_lehmann,
    hodges_lehmann_interval,
    holm,
    mcnemar,
    mcnemar_asymptotic,
    mcnemar_pairs,
    newcombe_independent,
    newcombe_paired,
    paired_t,
    pairs_needed,
    running_e_values,
    sign_flip,
    smallest_detectable_ratio,
    t_power,
    wilcoxon,
    wilson,
)
from autopack_telemetry.core.compare import paired, sequential
from autopack_telemetry.core.compare.paired import WilcoxonMethod
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

# R datasets: sleep, extra of group 1 minus group 2.
SLEEP = [
    0.7 - 1.9,
    -1.6 - 0.8,
    -0.2 - 1.1,
    -1.2 - 0.1,
    -0.1 + 0.1,
    3.4 - 4.4,
    3.7 - 5.5,
    0.8 - 1.6,
    0.0 - 4.6,
    2.0 - 3.4,
]
# Hollander and Wolfe, depression scale factors: first visit minus second.
DEPRESSION = [
    1.83 - 0.878, 0.50 - 0.647, 1.62 - 0.598, 2.48 - 2.05, 1.68 - 1.06, 1.88 - 1.29, 1.55 - 1.06, 3.06 - 3.14,
    1.30 - 1.29,
]  # fmt: skip
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
# MASS: shoes, material A minus B.
SHOES = [
    13.2 - 14.0, 8.2 - 8.8, 10.9 - 11.2, 14.3 - 14.2, 10.7 - 11.8, 6.6 - 6.4, 9.5 - 9.8, 10.8 - 11.3, 8.8 - 9.3,
    13.3 - 13.6,
]  # fmt: skip
# MASS: immer, Y1 and Y2.
IMMER_1 = [
    81.0, 105.4, 119.7, 109.7, 98.3, 146.6, 142.0, 150.7, 191.5, 145.7, 82.3, 77.3, 78.4, 131.3, 89.6, 119.8, 121.4,
    124.0, 140.8, 124.8, 98.9, 89.0, 69.1, 89.3, 104.1, 86.9, 77.1, 78.9, 101.8, 96.0,
]  # fmt: skip
IMMER_2 = [
    80.7, 82.3, 80.4, 87.2, 84.2, 100.4, 115.5, 112.2, 147.7, 108.1, 103.1, 105.1, 116.5, 139.9, 129.6, 98.9, 61.9,
    96.2, 125.5, 75.7, 66.4, 49.9, 96.7, 61.9, 80.3, 67.7, 66.7, 67.4, 91.8, 94.1,
]  # fmt: skip


@pytest.mark.parametrize(
    ("effects", "t", "p", "low", "high"),
    [
        (SLEEP, -4.0621277, 0.00283289, -2.4598858, -0.7001142),
        (DARWIN, 2.1479875, 0.04970294, 0.0311933, 41.8354733),
        (SHOES, -3.3488765, 0.008538781, -0.6869539, -0.1330461),
    ],
    ids=["sleep", "darwin", "shoes"],
)
def test_student_is_that_of_r(effects: list[float], t: float, p: float, low: float, high: float) -> None:
    result = paired_t(effects)
    assert result is not None
    assert round(result.statistic, 7) == t
    assert result.p == pytest.approx(p, rel=1e-6)
    assert (round(result.interval.low, 7), round(result.interval.high, 7)) == (low, high)
    assert result.mean == pytest.approx(sum(effects) / len(effects))


def test_student_of_immer() -> None:
    result = paired_t(np.subtract(IMMER_1, IMMER_2))
    assert result is not None
    assert round(result.statistic, 7) == 3.3239873
    assert round(result.p, 9) == 0.002412634


def test_wilcoxon_is_that_of_r() -> None:
    asleep, without = wilcoxon(SLEEP), wilcoxon(SLEEP, correction=False)
    sad, maize = wilcoxon(DEPRESSION), wilcoxon(DARWIN)
    assert asleep is not None
    assert without is not None
    assert sad is not None
    assert maize is not None
    assert (asleep.statistic, round(asleep.p, 9), asleep.method) == (0, 0.009090698, WilcoxonMethod.ASYMPTOTIC)
    assert round(without.p, 9) == 0.007632442
    assert (sad.statistic, sad.p, sad.method) == (40, 0.0390625, WilcoxonMethod.EXACT)
    assert sad.p / 2 == 0.01953125
    assert (maize.statistic, round(maize.p, 8), maize.method) == (96, 0.04125977, WilcoxonMethod.EXACT)
    # Of the nine that are left without the zero, all on one side, exactly.
    assert 2 * paired.signed_rank_counts(9)[0] == 0.00390625


def test_hodges_lehmann_is_that_of_r() -> None:
    # R drops the zero before it looks for the centre.
    assert round(hodges_lehmann([effect for effect in SLEEP if effect]), 10) == -1.4
    assert round(hodges_lehmann(DEPRESSION), 10) == 0.46
    sad, maize = hodges_lehmann_interval(DEPRESSION), hodges_lehmann_interval(DARWIN)
    assert sad is not None
    assert maize is not None
    assert (round(sad[0].low, 10), round(sad[0].high, 10), round(sad[1], 4)) == (0.010, 0.786, 0.9609)
    assert hodges_lehmann(DARWIN) == 25
    assert (maize[0].low, maize[0].high) == (4, 41.5)


def test_sign_flip_is_fishers() -> None:
    assert round(sign_flip(DARWIN), 8) == 0.05267334
    assert sign_flip(DARWIN) * 32768 == 1726


@pytest.mark.parametrize(
    ("table", "exact", "mid", "difference", "low", "high"),
    [
        # Agresti's table is read as (control, treatment): 150 pairs lose, 86 win, or the other way round.
        ((794, 86, 150, 570), 3.715936e-05, 2.893390e-05, 0.04, 0.0212304, 0.0587039),
        ((1, 7, 1, 12), 0.0703125, 0.0390625, -0.285714, -0.5069202, -0.0255591),
        ((59, 16, 6, 80), 0.0524788, None, -0.0621118, -0.1186212, -0.0046251),
        ((20, 2, 12, 16), 0.0129395, 0.0073853, 0.2, 0.0561564, 0.3292070),
    ],
    ids=["agresti", "bentur", "cavo", "armitage-berry"],
)
def test_success_in_pairs_is_as_published(
    table: tuple[int, int, int, int], exact: float, mid: float | None, difference: float, low: float, high: float
) -> None:
    result = mcnemar(table[1], table[2])
    assert result.exact_p == pytest.approx(exact, rel=1e-5)
    if mid is not None:
        assert result.mid_p == pytest.approx(mid, rel=1e-5)
    found, interval = newcombe_paired(*table)
    assert round(found, 6) == round(difference, 6)
    assert (round(interval.low, 7), round(interval.high, 7)) == (low, high)


@pytest.mark.parametrize(
    ("fewer", "more", "correction", "statistic", "p"),
    [
        (86, 150, False, 17.355932, 3.099293e-05),
        (86, 150, True, 16.817797, 4.114562e-05),
        (1, 7, False, 4.5, 0.0338949),
        (1, 7, True, 3.125, 0.0770999),
        (6, 16, False, 4.545455, 0.0330063),
        (2, 12, True, 5.785714, 0.0161569),
    ],
)
def test_mcnemars_statistic_is_that_of_r(fewer: int, more: int, correction: bool, statistic: float, p: float) -> None:
    found, found_p = mcnemar_asymptotic(fewer, more, correction=correction)
    assert round(found, 6) == statistic
    assert found_p == pytest.approx(p, rel=2e-6)
    assert mcnemar_asymptotic(more, fewer, correction=correction) == (found, found_p)


def test_intervals_of_rates_are_newcombes_and_wilsons() -> None:
    _, first = newcombe_independent(48, 80, 56, 70)
    _, second = newcombe_independent(3, 10, 9, 10)
    assert (round(first.low, 4), round(first.high, 4)) == (0.0524, 0.3339)
    assert (round(second.low, 4), round(second.high, 4)) == (0.1705, 0.8090)
    rate = wilson(56, 70)
    assert (round(rate.low, 7), round(rate.high, 7)) == (0.6918336, 0.8769526)


def test_power_is_that_of_both_tails() -> None:
    assert round(t_power(20, 0.5), 10) == 0.5645044184
    assert optimize.brentq(lambda n: t_power(n, 0.5) - 0.8, 10, 60) == pytest.approx(33.36713, abs=1e-4)
    table = [[pairs_needed(ratio, sd) for sd in (0.3, 0.5, 0.7)] for ratio in (0.9, 0.8, 0.7, 0.5)]
    assert table == [[66, 179, 349], [17, 42, 80], [8, 18, 33], [4, 7, 11]]
    assert mcnemar_pairs(0.25, 0.05) == 57
    for sd, pairs in ((0.3, 17), (0.5, 42), (0.7, 80)):
        assert smallest_detectable_ratio(pairs, sd) >= 0.8 > smallest_detectable_ratio(pairs - 1, sd)


def test_e_values_are_the_closed_form() -> None:
    assert round(beta_binomial_e_value(1, 7), 7) == 3.5555556
    assert round(beta_binomial_e_value(2, 12), 7) == 12.0029304
    assert round(beta_binomial_e_value(150, 86), 4) == 512.9690
    assert running_e_values([True] * 7 + [False])[-1] == pytest.approx(beta_binomial_e_value(7, 1))


def test_running_intervals_end_in_those_of_all_pairs() -> None:
    effects = np.random.default_rng(7).normal(-0.2, 0.7, 60)
    means, low, high = sequential.running_t(effects)
    for n in (2, 5, 31, 60):
        whole = paired_t(effects[:n])
        assert whole is not None
        assert [means[n - 1], low[n - 1], high[n - 1]] == pytest.approx(
            [whole.mean, whole.interval.low, whole.interval.high]
        )
    # One of them, worked out by hand from the formula.
    _, lower, upper = confidence_sequence(effects, expected=30)
    rho = math.sqrt((-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 30)
    grown = 20 * rho**2 + 1
    half = effects[:20].std(ddof=1) * math.sqrt(2 * grown / (20 * rho) ** 2 * math.log(math.sqrt(grown) / 0.05))
    assert upper[19] - lower[19] == pytest.approx(2 * half)


@pytest.mark.parametrize("module", ["paired", "binary", "planning", "sequential"])
def test_examples_in_the_documentation_are_true(module: str) -> None:
    result = doctest.testmod(import_module(f"autopack_telemetry.core.compare.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_facade_offers_what_it_names() -> None:
    assert all(hasattr(autopack_telemetry, name) for name in autopack_telemetry.__all__)
    with pytest.raises(AttributeError):
        _ = autopack_telemetry.min_p_over_metrics


def test_values_that_cannot_be_compared_are_refused() -> None:
    for call in (
        lambda: paired_t([1.0, math.nan]),
        lambda: wilcoxon([math.inf]),
        lambda: hodges_lehmann([]),
        lambda: geometric_mean_ratio([1, 2], [1]),
        lambda: geometric_mean_ratio([1, 0], [1, 1]),
        lambda: wilson(3, 2),
        lambda: newcombe_paired(0, 0, 0, 0),
        lambda: pairs_needed(1, 0.5),
        lambda: pairs_needed(0.999999, 5),
        lambda: smallest_detectable_ratio(1, 0.5),
        lambda: mcnemar_pairs(0.2, 0.2),
    ):
        with pytest.raises(ValueError):
            call()
    assert paired_t([0.5]) is None
    assert paired_t([0.3] * 9) is None
    assert wilcoxon([0.0, 0.0]) is None


FINITE = st.floats(-50, 50).map(lambda value: round(value, 3))


@settings(deadline=None)
@given(st.lists(FINITE, min_size=6, max_size=40))
def test_tests_are_symmetric_and_intervals_hold_their_estimate(effects: list[float]) -> None:
    flipped = [-value for value in effects]
    one, other = wilcoxon(effects), wilcoxon(flipped)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.p == pytest.approx(other.p)
        assert 0 < one.p <= 1
    assert hodges_lehmann(effects) == pytest.approx(-hodges_lehmann(flipped))
    around = hodges_lehmann_interval(effects)
    assert around is not None
    assert around[0].low <= hodges_lehmann(effects) + 1e-9
    assert hodges_lehmann(effects) <= around[0].high + 1e-9
    assert around[1] >= 0.95


@settings(deadline=None)
@given(st.lists(FINITE.filter(bool), min_size=6, max_size=30, unique_by=abs))
def test_exact_wilcoxon_is_that_of_scipy(effects: list[float]) -> None:
    mine = wilcoxon(effects)
    assert mine is not None
    assert mine.method is WilcoxonMethod.EXACT
    assert mine.p == pytest.approx(stats.wilcoxon(effects, method="exact").pvalue)


@settings(deadline=None)
@given(st.lists(FINITE, min_size=3, max_size=30))
def test_pairwise_means_without_making_them_all_are_the_same(effects: list[float]) -> None:
    values = np.sort(np.array(effects))
    means = np.sort(paired._walsh(values))
    ranks = {1, len(means) // 2 + 1, len(means)}
    assert [paired._walsh_at(values, rank) for rank in ranks] == pytest.approx(
        [means[rank - 1] for rank in ranks], abs=1e-9
    )


@settings(deadline=None)
@given(*[st.integers(0, 60)] * 4)
def test_paired_rates_turn_with_their_arms_and_stay_rates(both: int, first: int, second: int, neither: int) -> None:
    if both + first + second + neither == 0:
        return
    difference, interval = newcombe_paired(both, first, second, neither)
    turned, back = newcombe_paired(both, second, first, neither)
    assert (difference, interval.low) == pytest.approx((-turned, -back.high))
    assert -1 <= interval.low <= difference + 1e-12
    assert difference <= interval.high + 1e-12
    result = mcnemar(first, second)
    assert 0 < result.mid_p <= result.exact_p <= 1


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    assert max(adjusted) <= 1
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)

from __future__ import annotations

import numpy as np
import pytest
from autopack_telemetry import EstimateSource, estimate_of
from autopack_telemetry.core.interval import LEVEL, median_interval, median_ranks
from scipy.stats import binom


@pytest.mark.parametrize("n", range(6))
def test_below_six_observations_not_even_the_extremes_enclose_the_median(n: int) -> None:
    assert median_ranks(n) is None
    assert median_interval(list(range(n))) is None


# The table of ranks for 95 % that books on order statistics print.
@pytest.mark.parametrize(
    ("n", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (25, 8), (30, 10), (50, 18)]
)
def test_ranks_are_those_of_the_printed_table(n: int, rank: int) -> None:
    found = median_ranks(n)
    assert found is not None
    assert found[0] == rank


@pytest.mark.parametrize("n", [6, 7, 30, 100, 999, 1_100, 10_000])
def test_probability_is_the_binomial_one_and_one_rank_further_in_is_too_little(n: int) -> None:
    found = median_ranks(n)
    assert found is not None
    rank, confidence = found
    assert confidence == pytest.approx(1 - 2 * binom.cdf(rank - 1, n, 0.5), abs=1e-9)
    assert confidence >= LEVEL > 1 - 2 * binom.cdf(rank, n, 0.5)


def test_interval_does_not_depend_on_the_order_of_observations() -> None:
    found = median_interval([9, 1, 8, 2, 7, 3, 6, 4, 5])
    assert found is not None
    assert (found.low, found.high) == (2, 8)
    assert found.confidence == 1 - 2 * 10 / 512


def test_estimate_has_its_interval_from_the_usable_observations_alone() -> None:
    few = estimate_of([0, 0, 100, 200, 300, 400, 500], EstimateSource.RUN_LOCAL)
    assert few is not None
    assert (few.n, few.low, few.high, few.confidence_level) == (5, None, None, None)
    enough = estimate_of([0, 600, 100, 200, 300, 400, 500], EstimateSource.RUN_LOCAL)
    assert enough is not None
    assert (enough.tokens, enough.n, enough.low, enough.high) == (350, 6, 100, 600)
    assert enough.confidence_level == 0.96875


@pytest.mark.long
@pytest.mark.parametrize("n", [6, 9, 20, 100])
@pytest.mark.parametrize("spread", [0.5, 2.0])  # of log tokens: agents' calls have such tails
def test_interval_covers_the_median_as_often_as_it_says(n: int, spread: float) -> None:
    generator = np.random.default_rng(20_260_101 + n)
    repetitions, median = 20_000, 12_000
    found = median_ranks(n)
    assert found is not None
    rank, confidence = found
    samples = np.sort(median * generator.lognormal(0.0, spread, (repetitions, n)), axis=1)
    covered = np.mean((samples[:, rank - 1] <= median) & (median <= samples[:, n - rank]))
    # Four standard errors of a share of so many repetitions.
    assert covered == pytest.approx(confidence, abs=4 * (confidence * (1 - confidence) / repetitions) ** 0.5)
    assert covered >= LEVEL - 0.005


@pytest.mark.long
def test_interval_of_rounded_values_with_many_ties_covers_at_least_as_often() -> None:
    generator = np.random.default_rng(7)
    values = generator.integers(0, 5, (5_000, 25))  # the median of 0..4 is 2
    found = [median_interval([int(value) for value in row]) for row in values]
    assert np.mean([item is not None and item.low <= 2 <= item.high for item in found]) >= LEVEL

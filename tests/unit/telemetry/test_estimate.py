from __future__ import annotations

import statistics
from collections.abc import Sequence
from fractions import Fraction

import pytest
from autopack_telemetry import Estimate, EstimateSource, ModelClass, estimate_of, fallback, median
from autopack_telemetry.core.estimate import GLOBAL_OBSERVATIONS, choose
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], 7),
        ([1000, 1000, 50000, 60000], 25500),  # the upper of the middle two would be twice that
        ([8000, 9000, 21000, 60000], 15000),
        ([60000, 8000, 9000, 21000], 15000),
        ([1, 2], 2),  # 1.5 to the even neighbour
        ([2, 3], 2),  # 2.5 to the even neighbour
        ([3, 4], 4),
        ([10**18, 10**18 + 1], 10**18),  # exact where floats are not
    ],
)
def test_median_is_the_mean_of_the_middle_two_with_halves_to_even(values: list[int], expected: int) -> None:
    assert median(values) == expected


def test_median_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=50))
def test_median_equals_the_exact_median_rounded(values: list[int]) -> None:
    assert median(values) == round(statistics.median(map(Fraction, values)))


@pytest.mark.parametrize("values", [[], [5], [5, 6], [0, 0, 0], [0, 5, 6]])
def test_estimate_when_usable_observations_are_under_three_is_none(values: list[int]) -> None:
    assert estimate_of(values, EstimateSource.RUN_LOCAL) is None


def test_estimate_leaves_out_calls_without_tokens_and_counts_the_rest() -> None:
    assert estimate_of([0, 9, 0, 3, 6], EstimateSource.GLOBAL) == Estimate(6, 3, EstimateSource.GLOBAL)


@pytest.mark.parametrize(
    ("model_class", "tokens"),
    [(ModelClass.CHEAP, 10_000), (ModelClass.STRONG, 15_000), (ModelClass.UNKNOWN, 12_000)],
)
def test_fallback_is_a_constant_with_no_observations(model_class: ModelClass, tokens: int) -> None:
    assert fallback(model_class) == Estimate(tokens, 0, EstimateSource.FALLBACK)


async def _choose(
    run: list[int], overall: list[int], run_id: str = "r"
) -> tuple[Estimate, list[tuple[str | None, int]]]:
    asked: list[tuple[str | None, int]] = []

    async def observe(of_run: str | None, limit: int) -> Sequence[int]:
        asked.append((of_run, limit))
        return overall if of_run is None else run

    return await choose(observe, run_id, ModelClass.STRONG), asked


async def test_choose_takes_the_run_s_own_calls_first_and_asks_no_further() -> None:
    estimate, asked = await _choose([1, 2, 3], [7, 8, 9])
    assert estimate == Estimate(2, 3, EstimateSource.RUN_LOCAL)
    assert [run for run, _ in asked] == ["r"]


async def test_choose_when_the_run_has_too_few_takes_the_last_hundred_of_any_run() -> None:
    estimate, asked = await _choose([1, 2], [7, 8, 9])
    assert estimate == Estimate(8, 3, EstimateSource.GLOBAL)
    assert asked[-1] == (None, GLOBAL_OBSERVATIONS)


async def test_choose_when_no_run_is_named_skips_the_run_s_own() -> None:
    estimate, asked = await _choose([1, 2, 3], [7, 8, 9], run_id="")
    assert estimate.source is EstimateSource.GLOBAL
    assert [run for run, _ in asked] == [None]


async def test_choose_when_all_have_too_few_takes_the_constant() -> None:
    estimate, _ = await _choose([1, 2], [7, 8])
    assert estimate == Estimate(15_000, 0, EstimateSource.FALLBACK)

"""The committed calibration is the one that the labelled repositories give, and it is worth its name."""

from __future__ import annotations

import math

import pytest
from autopack_toolchain.core.calibration import MANAGER_SIGNS, STEP_SIGNS, default_calibration

from bench.fit_toolchain import MANAGER_PRIOR, STEP_PRIOR, TARGET, evaluated, fit, fitted, text_of
from bench.toolchain_samples import Sample, Samples, collect
from bench.toolchain_score import Answer, BadInput, corpora, figures, unpacked


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Answers of detection for everything that is labelled."""
    try:
        with unpacked(corpora()) as (trees, examples):
            return collect(corpora(), trees, examples)
    except BadInput as error:
        pytest.skip(f"{error}; set AUTOPACK_CORPORA to the directory of the labelled data")


@pytest.mark.timeout(300)
def test_the_committed_calibration_is_what_the_fit_prints(samples: Samples) -> None:
    assert TARGET.read_text() == text_of(fitted(samples), evaluated(samples)), (
        "run: python -m bench.fit_toolchain --write"
    )


@pytest.mark.timeout(300)
def test_the_fit_is_the_same_twice(samples: Samples) -> None:
    assert fitted(samples) == fitted(samples)
    assert fitted(samples) == default_calibration()


def test_a_fit_without_data_is_the_prior() -> None:
    found = fit([Sample("none", dict.fromkeys(STEP_SIGNS, 0.0), True, 0.0)], STEP_SIGNS, STEP_PRIOR)
    assert found.intercept == STEP_PRIOR["intercept"][0]
    assert found.coefficients == {name: STEP_PRIOR[name][0] for name in STEP_SIGNS}


def test_a_feature_that_misleads_is_left_out_and_not_turned_round() -> None:
    zero = dict.fromkeys(MANAGER_SIGNS, 0.0)
    misleading = [Sample(f"r{i}", {**zero, "weight": float(i % 2)}, i % 2 == 0, 1.0) for i in range(200)]
    assert fit(misleading, MANAGER_SIGNS, MANAGER_PRIOR).coefficients["weight"] == 0


def test_figures_of_a_constant_show_that_it_tells_nothing() -> None:
    found = figures([Answer("r", 0.75, right) for right in (True, True, True, False)])
    assert (found.ece, found.auroc, found.sure) == (0.0, 0.5, 0)
    assert found.brier == 0.1875


def test_figures_of_answers_that_know_when_they_are_wrong() -> None:
    found = figures([Answer("r", 1.0, True), Answer("r", 0.9, True), Answer("r", 0.0, False)])
    assert (found.auroc, found.sure, found.sure_right) == (1.0, 2, 2)
    assert found.ece == pytest.approx(0.1 / 3)
    assert math.isnan(figures([Answer("r", 0.9, True)]).auroc)

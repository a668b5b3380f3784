"""Real repositories with labels from their own CI, where that data is at hand: floors, so that no rule regresses, and a
calibration that is the one these repositories give."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from autopack_toolchain.core.calibration import MANAGER_SIGNS, STEP_SIGNS, default_calibration

from bench.fit_toolchain import MANAGER_PRIOR, STEP_PRIOR, TARGET, evaluated, fit, fitted, text_of
from bench.toolchain import predictions, read_labels
from bench.toolchain_samples import Sample, Samples, collect
from bench.toolchain_score import Answer, BadInput, corpora, examples_right, figures, load_scorer, scored, unpacked

MANAGERS_RIGHT = 40
TESTS_RIGHT = {True: 39, False: 30}
"""Of 42 labels; tests with the CI files in view and with them hidden."""
EXAMPLES_RIGHT = 225
"""Of 237 deploy examples that name a manager."""
CALIBRATION_ERROR = 0.08
DISCRIMINATION = 0.75

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Corpora:
    """The labelled data, unpacked."""

    directory: Path
    trees: Path
    examples: Path


@pytest.fixture(scope="module")
def labelled() -> Iterator[Corpora]:
    """The labelled data, or a skip that says where it is looked for."""
    try:
        with unpacked(corpora()) as (trees, examples):
            yield Corpora(corpora(), trees, examples)
    except BadInput as error:
        pytest.skip(f"{error}; set AUTOPACK_CORPORA to the directory of the labelled data")


@pytest.fixture(scope="module")
def samples(labelled: Corpora) -> Samples:
    """Answers of detection for everything that is labelled."""
    return collect(labelled.directory, labelled.trees, labelled.examples)


@pytest.mark.parametrize("ci", [True, False], ids=["CI visible", "CI hidden"])
def test_managers_and_test_commands_of_real_repositories_are_found(labelled: Corpora, ci: bool) -> None:
    labels = labelled.directory / "labels.jsonl"
    rows = list(predictions(read_labels(labels), labelled.trees, ci=ci))
    counts = scored(load_scorer(labelled.directory), labels, rows)
    assert counts["manager"] >= MANAGERS_RIGHT, counts
    assert counts["test"] >= TESTS_RIGHT[ci], counts
    assert counts["ECE"] <= CALIBRATION_ERROR, counts


def test_managers_of_deploy_examples_are_found(labelled: Corpora) -> None:
    named, first, _, _ = examples_right(labelled.directory, labelled.examples)
    assert (named, first >= EXAMPLES_RIGHT) == (237, True), first


def test_the_committed_calibration_is_what_the_fit_prints(samples: Samples) -> None:
    assert TARGET.read_text() == text_of(fitted(samples), evaluated(samples)), (
        "run: python -m bench.fit_toolchain --write"
    )
    assert fitted(samples) == default_calibration()


def test_confidence_is_worth_its_name_for_repositories_that_the_fit_did_not_see(samples: Samples) -> None:
    quality = evaluated(samples)
    assert quality["all steps"].ece <= CALIBRATION_ERROR
    assert quality["all steps"].auroc >= DISCRIMINATION
    assert quality["manager, CI visible"].ece <= CALIBRATION_ERROR
    assert quality["manager, CI hidden"].ece <= CALIBRATION_ERROR
    assert quality["manager, deploy examples without lock files"].auroc >= DISCRIMINATION


def test_a_fit_without_data_is_the_prior() -> None:
    found = fit([Sample("none", dict.fromkeys(STEP_SIGNS, 0.0), True, 0.0)], STEP_SIGNS, STEP_PRIOR)
    assert found.intercept == STEP_PRIOR["intercept"][0]
    assert found.coefficients == {name: STEP_PRIOR[name][0] for name in STEP_SIGNS}


def test_a_fit_to_much_data_finds_what_made_it() -> None:
    zero = dict.fromkeys(MANAGER_SIGNS, 0.0)
    even = [Sample("r", zero, i % 4 > 0, 1.0) for i in range(4_000)]
    # Right three times of four, and then by half that chance where there is a rival as strong.
    assert fit(even, MANAGER_SIGNS, MANAGER_PRIOR).probability(zero) == pytest.approx(0.75, abs=0.01)
    torn = [Sample("r", zero, i % 4 == 0, 1.0, chance=0.5) for i in range(4_000)]
    assert fit(torn, MANAGER_SIGNS, MANAGER_PRIOR).probability(zero, 0.5) == pytest.approx(0.25, abs=0.01)


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

"""The model of off-goal files against the data it was fitted on, and floors under what it reaches."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from autopack_intention.core.off_goal import default_model

from bench.drift import read_history, read_pairs
from bench.fit_off_goal import (
    LOG_ARGUMENTS,
    TARGET,
    Mixed,
    evaluated,
    figures,
    fitted,
    flagged,
    labelled,
    of_history,
    parse_log,
    plain,
    revision_of,
    threshold_of,
)

ROOT = Path(__file__).resolve().parents[3]
PAIRS = Path(os.environ.get("AUTOPACK_CORPORA", ROOT.parent / "shared" / "corpora")) / "drift"


@pytest.fixture(scope="module")
def changes() -> list[Mixed]:
    if not (PAIRS / "pairs.jsonl").is_file():
        pytest.skip(f"no labelled pairs at {PAIRS}; set AUTOPACK_CORPORA")
    return labelled(read_pairs(PAIRS / "pairs.jsonl"), read_history(PAIRS / "history.jsonl"))


@pytest.fixture(scope="module")
def history() -> tuple[Sequence[Mixed], Sequence[Mixed]]:
    revision = revision_of(TARGET.read_text(encoding="utf-8"))
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run([*git, "cat-file", "-e", f"{revision}^{{commit}}"], capture_output=True, check=False)
    shallow = subprocess.run([*git, "rev-parse", "--is-shallow-repository"], capture_output=True, check=False)
    if known.returncode != 0 or shallow.stdout.strip() != b"false":
        pytest.skip(f"the history up to {revision} is not here; fetch it in full")
    log = subprocess.run([*git, *LOG_ARGUMENTS, revision, "--"], capture_output=True, check=True).stdout
    return of_history(list(parse_log(log)))


def test_the_committed_coefficients_are_those_of_the_fit(changes: list[Mixed]) -> None:
    model = fitted(changes)
    assert model.coefficients == pytest.approx(default_model().coefficients, abs=0.002)
    assert model.intercept == pytest.approx(default_model().intercept, abs=0.002)


def test_in_repositories_it_has_not_seen_it_finds_half_of_what_is_mixed_in(changes: list[Mixed]) -> None:
    reached = evaluated(changes, default_model().threshold)
    assert reached.auc >= 0.95
    assert reached.precision >= 0.95
    assert reached.recall >= 0.5


def test_the_committed_threshold_flags_twelve_percent_of_a_clean_history(
    history: tuple[Sequence[Mixed], Sequence[Mixed]],
) -> None:
    clean, _ = history
    assert threshold_of(default_model(), clean) == pytest.approx(default_model().threshold, abs=0.002)
    assert flagged(default_model(), clean) <= 0.12


def test_on_a_history_it_was_not_fitted_on_four_of_five_listed_files_are_of_another_task(
    history: tuple[Sequence[Mixed], Sequence[Mixed]],
) -> None:
    _, mixed = history
    reached = figures((default_model(), change) for change in mixed)
    assert reached.auc >= 0.88
    assert reached.precision >= 0.77
    assert reached.recall >= 0.38
    assert reached.precision > plain(mixed)[0] + 0.3

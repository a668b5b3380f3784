"""The drift check on labelled (goal, change) pairs of real repositories: floors under what it reaches today."""

from __future__ import annotations

import importlib.util
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAIRS = Path(os.environ.get("AUTOPACK_CORPORA", ROOT.parent / "shared" / "corpora")) / "drift"

pytestmark = pytest.mark.skipif(
    not (PAIRS / "pairs.jsonl").is_file(), reason=f"no labelled pairs at {PAIRS}; set AUTOPACK_CORPORA"
)


def predict(*, echo: bool) -> dict[str, list[Mapping[str, Any]]]:
    spec = importlib.util.spec_from_file_location("bench_drift", ROOT / "bench" / "drift.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    pairs = bench.read_pairs(PAIRS / "pairs.jsonl")
    by_kind = defaultdict(list)
    found = bench.predict(pairs, bench.read_history(PAIRS / "history.jsonl"), echo=echo)
    for row, prediction in zip(pairs, found, strict=True):
        by_kind[row["pair"]].append(prediction)
    return by_kind


@pytest.fixture(scope="module")
def predictions() -> dict[str, list[Mapping[str, Any]]]:
    return predict(echo=False)


def auc(above: Sequence[Mapping[str, Any]], below: Sequence[Mapping[str, Any]]) -> float:
    """Share of (above, below) couples in the right order, ties counted half."""
    others: list[float] = [prediction["z"] for prediction in below]
    better: list[float] = [prediction["z"] for prediction in above]
    wins = sum((one > other) + (one == other) / 2 for one in better for other in others)
    return wins / (len(above) * len(others))


def drifted(predictions: Sequence[Mapping[str, Any]]) -> float:
    verdicts: list[str] = [prediction["verdict"] for prediction in predictions]
    return verdicts.count("DRIFT") / len(verdicts)


@pytest.mark.parametrize(("kind", "floor"), [("hard", 0.94), ("adj", 0.87), ("easy", 0.964)])
def test_work_on_the_goal_ranks_above_other_work(
    predictions: dict[str, list[Mapping[str, Any]]], kind: str, floor: float
) -> None:
    assert auc(predictions["pos"], predictions[kind]) >= floor


def test_few_good_changes_are_flagged(predictions: dict[str, list[Mapping[str, Any]]]) -> None:
    assert drifted(predictions["pos"]) <= 0.10


def test_most_other_work_is_found(predictions: dict[str, list[Mapping[str, Any]]]) -> None:
    assert drifted(predictions["hard"]) >= 0.82
    assert drifted(predictions["adj"]) >= 0.55
    assert drifted(predictions["easy"]) >= 0.90


def test_confidence_is_calibrated(predictions: dict[str, list[Mapping[str, Any]]]) -> None:
    judged = [(p["confidence"], kind == "pos") for kind in ("pos", "hard") for p in predictions[kind]]
    bins = defaultdict(list)
    for confidence, on_goal in judged:
        bins[min(9, int(confidence * 10))].append((confidence, on_goal))
    error = sum(abs(sum(c for c, _ in group) - sum(ok for _, ok in group)) for group in bins.values())
    assert error / len(judged) <= 0.04


def test_a_note_that_echoes_the_goal_hides_little_and_clears_nothing(
    predictions: dict[str, list[Mapping[str, Any]]],
) -> None:
    echoed = predict(echo=True)
    assert drifted(echoed["hard"]) >= 0.75
    for kind, rows in predictions.items():
        cleared = [p["id"] for p, q in zip(rows, echoed[kind], strict=True) if "ON_GOAL" in (q["verdict"],) and p != q]
        assert cleared == []

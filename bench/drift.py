"""The drift check on labelled (goal, change) pairs, and its cost.

``run()`` gives the numbers for ``make bench``. As a program it writes predictions for an outside scorer::

    python bench/drift.py --pairs PAIRS.jsonl --history HISTORY.jsonl --out PREDICTIONS.jsonl

Only paths, hunk headers and added identifiers are compared, never the commit message; each pair is a run of one step.
The background of a pair is up to 50 other on-goal changes of the goal's repository, its own task left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autopack_intention import Evidence, Intention, Profile, Step, Verdict, check_drift
from autopack_intention.core.profile import MAX_CHANGES
from autopack_intention.core.scoring import Scorer

__all__ = ["evidence_of", "intention_of", "predict", "read_history", "read_pairs", "run"]

Row = Mapping[str, Any]
_TIMED_CHECKS = 2_000


def read_pairs(path: Path) -> list[Row]:
    """The pairs of a JSON-lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_history(path: Path) -> dict[str, list[str]]:
    """Commit messages by repository."""
    return {row["repo"]: row["messages"] for row in read_pairs(path)}


def intention_of(row: Row) -> Intention:
    """The goal of a pair."""
    return Intention(row["goal"]["title"], row["goal"]["description"])


def evidence_of(change: Row) -> Evidence:
    """A change, without its message."""
    return Evidence(tuple(change["paths"]), tuple(change["hunk_headers"]), tuple(change["added_identifiers"]))


def predict(
    pairs: Sequence[Row], history: Mapping[str, Sequence[str]], *, echo: bool = False
) -> Iterator[dict[str, Any]]:
    """One prediction per pair: id, z, confidence, verdict, cosine. z is 0 where there is nothing to compare.

    Args:
        echo: every change comes with a note that repeats its goal's title, as an agent's would that has lost its way.
    """
    profiles = {repo: Profile.build(messages) for repo, messages in history.items()}
    changes = _on_goal_changes(pairs)
    for row in pairs:
        repo, task = row["goal_repo"], row["goal_commit"]
        others = [
            counts
            for commit, counts in changes[repo]
            if not commit.startswith(task) and commit != row["evidence"]["commit"]
        ]
        profile = replace(profiles.get(repo, Profile.build()), changes=tuple(others[:MAX_CHANGES]))
        intention = intention_of(row)
        step = Step(evidence_of(row["evidence"]), note=intention.title if echo else "", final=True)
        result = check_drift(intention, step, Scorer(profile))
        yield {
            "id": row["id"],
            "z": 0.0 if math.isnan(result.z) else result.z,
            "confidence": result.confidence,
            "verdict": result.step_verdict.name,
            "cosine": result.cosine,
        }


def _on_goal_changes(pairs: Iterable[Row]) -> dict[str, list[tuple[str, Mapping[str, int]]]]:
    changes: dict[str, list[tuple[str, Mapping[str, int]]]] = defaultdict(list)
    for row in pairs:
        if row["pair"] == "pos":
            counted = Profile.build(changes=[evidence_of(row["evidence"])]).changes
            changes[row["goal_repo"]].extend((row["evidence"]["commit"], counts) for counts in counted)
    return changes


def _rate(predictions: Iterable[Row], pairs: Sequence[Row], kind: str, *, flagged: str) -> float:
    kinds = {row["id"]: row["pair"] for row in pairs}
    chosen = [p for p in predictions if kinds[p["id"]] == kind]
    low = [bool(p["cosine"] < 0.7 if flagged == "cosine" else p["verdict"] == Verdict.DRIFT.name) for p in chosen]
    return sum(low) / len(low)


def _milliseconds_per_check() -> float:
    """Median of checks with a warm profile, on made-up changes of the usual size."""
    words = [
        f"{first}{second}" for first in ("read", "write", "parse", "send", "close") for second in map(str, range(40))
    ]
    changes = [
        Evidence(
            tuple(f"src/{words[(i + j) % 200]}/{words[(i * j) % 200]}.py" for j in range(6)),
            tuple(f"def {words[(i * 3 + j) % 200]}_handler(self, request)" for j in range(6)),
            tuple(f"{words[(i * 7 + j) % 200]}Value" for j in range(30)),
        )
        for i in range(_TIMED_CHECKS)
    ]
    messages = [f"Let {words[i % 200]} handle {words[i * 3 % 200]} values" for i in range(1_000)]
    scorer = Scorer(Profile.build(messages, changes[:MAX_CHANGES]))
    intention = Intention("Let the request handler read values", "The parser must send and close what it reads.")
    spent = []
    for change in changes:
        started = time.perf_counter()
        check_drift(intention, Step(change, earlier_z=(1.0,)), scorer)
        spent.append(time.perf_counter() - started)
    return sorted(spent)[len(spent) // 2] * 1_000


def run() -> list[tuple[str, float, str, str]]:
    """``(name, value, unit, note)`` of each number; those of the labelled pairs only where the corpora are."""
    # Here, as this file is also a program by itself, which is not in the package.
    from bench import drift_cost, fit_off_goal

    rows = [("drift check, warm profile, p50", _milliseconds_per_check(), "ms", "in process"), *drift_cost.run()]
    default = Path(__file__).resolve().parents[1] / "../shared/corpora"
    corpora = Path(os.environ.get("AUTOPACK_CORPORA", default)) / "drift"
    if not (corpora / "pairs.jsonl").is_file():
        return rows
    pairs = read_pairs(corpora / "pairs.jsonl")
    history = read_history(corpora / "history.jsonl")
    predictions = list(predict(pairs, history))
    for kind, name in (("pos", "good work flagged"), ("hard", "other task found"), ("adj", "same directory found")):
        plain = _rate(predictions, pairs, kind, flagged="cosine")
        ours = _rate(predictions, pairs, kind, flagged="verdict")
        rows.append((f"drift: {name}", ours, "share", f"plain cosine >= 0.7: {plain:.2f}"))
    return rows + fit_off_goal.rows(pairs, history)


def main() -> None:
    """Write predictions for the scorer."""
    parser = argparse.ArgumentParser(description="Predict drift for labelled pairs, one JSON object a line.")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with options.out.open("w", encoding="utf-8") as out:
        for prediction in predict(read_pairs(options.pairs), read_history(options.history)):
            out.write(json.dumps(prediction) + "\n")


if __name__ == "__main__":
    main()

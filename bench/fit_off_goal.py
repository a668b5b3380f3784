"""Fits the model that finds files of another task and prints ``data/off_goal.toml``.

::

    python -m bench.fit_off_goal --pairs PAIRS.jsonl --history HISTORY.jsonl [--revision REV] [--write]

The labelled pairs tell what changed by commit, not by file. The model is therefore fitted on changes mixed from commits
of one file each: one of the goal's own task and one or two of other tasks of the same repository. Figures are
leave-one-repository-out. What such changes lack is a second file of the goal's task; so the threshold comes from a git
history, file by file: that above which 12 % of its commits, each with its own message as the goal, would get a
file listed. The same history with files of a commit near by mixed into each commit is the check: no coefficient has
seen it, and the figures of its newer half are those with the threshold of its older half.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import autopack_intention
import numpy as np
from autopack_client.evidence import DIFF_OPTIONS, parse_patch, run_git
from autopack_intention.core.drift import MIN_GOAL_TERMS
from autopack_intention.core.evidence import FileChange
from autopack_intention.core.off_goal import FEATURES, Features, Model, default_model, features_of, is_generated
from autopack_intention.core.profile import Profile, Vocabulary, dot
from autopack_intention.core.scoring import Scorer
from autopack_intention.core.text import count_terms
from autopack_kit.errors import FailedPrecondition

from .drift import read_history, read_pairs

__all__ = [
    "LOG_ARGUMENTS",
    "TARGET",
    "Figures",
    "Mixed",
    "evaluated",
    "figures",
    "fitted",
    "flagged",
    "labelled",
    "of_history",
    "parse_log",
    "plain",
    "revision_of",
    "rows",
    "threshold_of",
]

TARGET = Path(autopack_intention.__file__).parent / "data/off_goal.toml"
ROOT = Path(__file__).resolve().parents[1]

CLEAN_FLAGGED = 0.12
"""Share of clean changes in which a file may be listed: an advisory that is wrong more often is not read."""

DRAWS = 5
"""Times that each change is mixed, with other files each time: fewer would leave the figures to the draw."""

NEAR = 20
"""Commits before and after, from which the files of another task are taken: people mix what is at hand."""

MAX_FILES = 20
"""Commits with more are imports and renames of everything."""

PLAIN_SHARE = 0.25
"""The rule that the model replaces lists a file whose path has less than this share of the best path's cosine."""

RIDGE = 1.0
STEPS = 50
EPSILON = 1e-9
DIGITS = 3
"""Digits of a coefficient: more would differ between builds of the linear algebra and mean nothing."""
SCALE = 1_000

LOG_BYTES = 64 << 20
LOG_ARGUMENTS = ("log", "--no-merges", "--reverse", "--format=%x01%H%x1f%B%x02", "--patch", *DIFF_OPTIONS)


@dataclass(frozen=True, slots=True)
class Mixed:
    """A change of two tasks.

    Attributes:
        group: its repository.
        rows: features of its files.
        judged: the goal is long enough to judge files by it.
        planted: which of them are of the other task.
        plain: which of them the plain rule lists.
    """

    group: str
    rows: list[Features]
    judged: bool
    planted: tuple[bool, ...]
    plain: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the files listed, the share of another task; of those, the share listed."""

    files: int
    planted: int
    auc: float
    precision: float
    recall: float

    def __str__(self) -> str:
        return (
            f"{self.files} files, {self.planted} of another task: AUC {self.auc:.3f}, "
            f"precision {self.precision:.2f}, recall {self.recall:.2f}"
        )


class _Repository:
    """Goals and texts as the service compares them."""

    def __init__(self, name: str, messages: Sequence[str]) -> None:
        self.name = name
        self._vocabulary = Vocabulary.of_messages(messages)
        self._scorer = Scorer(Profile(self._vocabulary))

    def mixed(self, title: str, description: str, own: Sequence[FileChange], other: Sequence[FileChange]) -> Mixed:
        terms = self._scorer.goal(title, description).terms
        goal = self._vocabulary.vector(terms)
        files = [*own, *other]
        rows = features_of(goal, files, self._vocabulary.weights)
        paths = [dot(goal, self._vocabulary.vector(count_terms(file.path))) for file in files]
        plain = tuple(path < PLAIN_SHARE * max(paths) for path in paths)
        planted = (False,) * len(own) + (True,) * len(other)
        return Mixed(self.name, rows, len(terms) >= MIN_GOAL_TERMS, planted, plain)


def labelled(pairs: Sequence[Mapping[str, Any]], history: Mapping[str, Sequence[str]]) -> list[Mixed]:
    """Mixed changes of labelled pairs."""
    repositories = {name: _Repository(name, messages) for name, messages in history.items()}
    commits: dict[str, dict[str, FileChange]] = defaultdict(dict)
    near: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row in pairs:
        evidence, repo = row["evidence"], row["evidence"]["repo"]
        paths = evidence["paths"]
        if len(paths) == 1 and not is_generated(paths[0]):
            commits[repo][evidence["commit"]] = FileChange(
                paths[0], tuple(evidence["hunk_headers"]), tuple(evidence["added_identifiers"])
            )
            if row["pair"] in ("hard", "adj"):
                near[repo, row["goal_commit"]][evidence["commit"]] = None
    found = []
    for draw in range(DRAWS):
        chance = random.Random(draw)
        for row in pairs:
            repo, commit = row["goal_repo"], row["evidence"]["commit"]
            own = commits[repo].get(commit)
            if row["pair"] != "pos" or own is None:
                continue
            at_hand = near[repo, row["goal_commit"]]
            wanted = max(0, chance.choice((1, 1, 2)) - len(at_hand))
            drawn = [*at_hand, *chance.sample(sorted(commits[repo].keys() - {commit}), wanted)]
            other = {commits[repo][one].path: commits[repo][one] for one in drawn}
            other.pop(own.path, None)
            if other:
                goal = row["goal"]
                found.append(repositories[repo].mixed(goal["title"], goal["description"], [own], [*other.values()]))
    return found


async def _log(repository: Path, revision: str) -> bytes:
    return await run_git(repository, (*LOG_ARGUMENTS, "--end-of-options", revision, "--"), max_bytes=LOG_BYTES)


def parse_log(log: bytes) -> Iterator[tuple[str, list[FileChange]]]:
    """Message and files of each commit, the oldest first; without generated files."""
    for record in log.split(b"\x01"):
        head, _, patch = record.partition(b"\x02")
        message = head.partition(b"\x1f")[2].decode("utf-8", "replace").strip()
        files = parse_patch(patch.split(b"\n")).files
        if message:
            yield (
                message,
                [
                    FileChange(file.path, file.hunk_headers, file.added_identifiers, file.added)
                    for file in files
                    if not is_generated(file.path)
                ],
            )


def of_history(commits: Sequence[tuple[str, list[FileChange]]]) -> tuple[list[Mixed], list[Mixed]]:
    """The commits of two files and more as they are, and mixed; in the order of the history."""
    repository = _Repository("history", [message for message, _ in commits])
    clean, mixed = [], []
    chance = random.Random(0)
    for index, (message, own) in enumerate(commits):
        if not 2 <= len(own) <= MAX_FILES:
            continue
        title, _, description = message.partition("\n")
        clean.append(repository.mixed(title, description, own, []))
        around = [files for _, files in (*commits[max(0, index - NEAR) : index], *commits[index + 1 : index + NEAR])]
        paths = {file.path for file in own}
        pools = [pool for files in around if (pool := [file for file in files if file.path not in paths])]
        for _ in range(DRAWS if pools else 0):
            pool = chance.choice(pools)
            count = min(len(pool), chance.randint(1, max(1, len(own) // 2)))
            mixed.append(repository.mixed(title, description, own, chance.sample(pool, count)))
    return clean, mixed


def fitted(changes: Iterable[Mixed]) -> Model:
    """The coefficients; one that would have the wrong sign is 0. The threshold is left at a half."""
    rows = [pair for change in changes for pair in zip(change.rows, change.planted, strict=True)]
    x = np.array([[1.0, *row] for row, _ in rows])
    y = np.array([float(planted) for _, planted in rows])
    kept = list(range(len(FEATURES) + 1))
    while True:
        beta = np.zeros(len(kept))
        penalty = np.diag([EPSILON, *[RIDGE] * (len(kept) - 1)])
        for _ in range(STEPS):
            p = 1 / (1 + np.exp(-(x[:, kept] @ beta)))
            # Each change was drawn several times: its rows count as one.
            gradient = x[:, kept].T @ (y - p) / DRAWS - penalty @ beta
            step = np.linalg.solve((x[:, kept].T * (p * (1 - p) / DRAWS)) @ x[:, kept] + penalty, gradient)
            beta = beta + step
            if float(np.abs(step).max()) < EPSILON:
                break
        solved = dict(zip(kept, (round(float(value), DIGITS) for value in beta), strict=True))
        wrong = [column for column in kept[1:] if solved[column] > 0]
        if not wrong:
            break
        kept.remove(max(wrong, key=lambda column: solved[column]))
    goal, share, anchors, directory = (solved.get(column, 0.0) for column in range(1, len(FEATURES) + 1))
    return Model(solved[0], (goal, share, anchors, directory), 0.5)


def threshold_of(model: Model, clean: Sequence[Mixed]) -> float:
    """The probability from which on a file is listed in at most :data:`CLEAN_FLAGGED` of clean changes."""
    highest = sorted((max(_candidates(model, change).values(), default=0.0) for change in clean), reverse=True)
    allowed = int(len(highest) * CLEAN_FLAGGED)
    # Rounded up, so that the first change beyond is not listed either.
    return math.floor(highest[allowed] * SCALE + 1) / SCALE


def flagged(model: Model, clean: Sequence[Mixed]) -> float:
    """Share of clean changes in which a file is listed."""
    return sum(any(_listed(model, change)) for change in clean) / len(clean)


def _candidates(model: Model, change: Mixed) -> dict[int, float]:
    return dict(model.candidates(change.rows)) if change.judged else {}


def _listed(model: Model, change: Mixed) -> list[bool]:
    candidates = _candidates(model, change)
    return [candidates.get(index, 0.0) >= model.threshold for index in range(len(change.rows))]


def figures(judged: Iterable[tuple[Model, Mixed]]) -> Figures:
    """AUC, precision and recall over all files."""
    above: list[float] = []
    below: list[float] = []
    listed = found = planted = files = 0
    for model, change in judged:
        files += len(change.planted)
        planted += sum(change.planted)
        for row, other in zip(change.rows, change.planted, strict=True):
            (above if other else below).append(model.probability(row))
        for chosen, other in zip(_listed(model, change), change.planted, strict=True):
            listed += chosen
            found += chosen and other
    order = np.sort(np.array(below))
    left, right = np.searchsorted(order, above, "left"), np.searchsorted(order, above, "right")
    auc = float(np.mean(left + right)) / 2 / len(order)
    return Figures(files, planted, auc, found / max(1, listed), found / max(1, planted))


def plain(changes: Sequence[Mixed]) -> tuple[float, float]:
    """Precision and recall of the rule that the model replaces."""
    listed = sum(sum(change.plain) for change in changes)
    found = sum(sum(a and b for a, b in zip(change.plain, change.planted, strict=True)) for change in changes)
    return found / max(1, listed), found / max(1, sum(sum(change.planted) for change in changes))


def evaluated(changes: Sequence[Mixed], threshold: float) -> Figures:
    """Leave-one-repository-out figures."""
    models = {
        group: fitted(change for change in changes if change.group != group)
        for group in dict.fromkeys(change.group for change in changes)
    }
    return figures((_at(models[change.group], threshold), change) for change in changes)


def text_of(model: Model, revision: str, lines: Iterable[str]) -> str:
    """``data/off_goal.toml``."""
    return (
        "\n".join(
            [
                "# How likely a file belongs to another task: 1 / (1 + exp(-(intercept + coefficients x features))).",
                "# Written by `python -m bench.fit_off_goal --write`; do not edit. The features: core/off_goal.py.",
                *(f"# {line}" for line in lines),
                f"# The threshold is from this repository's history up to {revision}.",
                f"intercept = {model.intercept}",
                f"threshold = {model.threshold}",
                "",
                "[coefficients]",
                *(f"{name} = {value}" for name, value in zip(FEATURES, model.coefficients, strict=True)),
            ]
        )
        + "\n"
    )


def _at(model: Model, threshold: float) -> Model:
    return Model(model.intercept, model.coefficients, threshold)


def report(model: Model, changes: Sequence[Mixed], clean: Sequence[Mixed], mixed: Sequence[Mixed]) -> list[str]:
    """What the model reaches, in lines."""
    half = len(clean) // 2
    older = _at(model, threshold_of(model, clean[:half]))
    newer = mixed[len(mixed) // 2 :]
    precision, recall = plain(mixed)
    return [
        f"Two tasks mixed, one file each, leave-one-repository-out: {evaluated(changes, model.threshold)}.",
        f"A history's commits mixed: {figures((model, change) for change in mixed)}; "
        f"a file listed in {flagged(model, clean):.3f} of its {len(clean)} clean commits.",
        f"Its newer half with the threshold of the older: {figures((older, change) for change in newer)}; "
        f"listed in {flagged(older, clean[half:]):.3f} of the clean ones.",
        f"By paths alone, as a share of the best: precision {precision:.2f}, recall {recall:.2f}.",
    ]


def rows(pairs: Sequence[Mapping[str, Any]], history: Mapping[str, Sequence[str]]) -> list[tuple[str, float, str, str]]:
    """For the table of ``python -m bench``: AUC by fits that did not see the repository; the others on the history,
    where it is here. (Labelled changes have one file of the goal's task: no rule can be wrong about a second one.)"""
    model = default_model()
    reached = evaluated(labelled(pairs, history), model.threshold)
    found = [("files of another task: AUC", reached.auc, "", f"{reached.files} files of seven repositories")]
    try:
        log = asyncio.run(_log(ROOT, revision_of(TARGET.read_text(encoding="utf-8"))))
    except FailedPrecondition:  # a shallow clone
        return found
    clean, mixed = of_history(list(parse_log(log)))
    of_mixed = figures((model, change) for change in mixed)
    precision, recall = plain(mixed)
    plainly = sum(any(change.plain) for change in clean) / len(clean)
    return [
        *found,
        ("files of another task: listed rightly", of_mixed.precision, "share", f"by paths alone: {precision:.2f}"),
        ("files of another task: found", of_mixed.recall, "share", f"by paths alone: {recall:.2f}"),
        ("clean commits with a file listed", flagged(model, clean), "share", f"by paths alone: {plainly:.2f}"),
    ]


def revision_of(text: str) -> str:
    """The commit up to which the history was read for the threshold of ``data/off_goal.toml``."""
    return str(re.findall(r"up to ([0-9a-f]{40,64})\.", text)[0])


def main() -> int:
    """Fit, and print or write."""
    corpora = Path(os.environ.get("AUTOPACK_CORPORA", ROOT / "../shared/corpora")) / "drift"
    parser = argparse.ArgumentParser(prog="python -m bench.fit_off_goal", description="Fit data/off_goal.toml.")
    parser.add_argument("--pairs", type=Path, default=corpora / "pairs.jsonl")
    parser.add_argument("--history", type=Path, default=corpora / "history.jsonl")
    parser.add_argument("--repository", type=Path, default=ROOT, help="the git history for the threshold")
    parser.add_argument("--revision", default="HEAD")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name} in place instead of printing it")
    options = parser.parse_args()
    changes = labelled(read_pairs(options.pairs), read_history(options.history))
    clean, mixed = of_history(list(parse_log(asyncio.run(_log(options.repository, options.revision)))))
    model = fitted(changes)
    model = _at(model, threshold_of(model, clean))
    name = asyncio.run(run_git(options.repository, ("rev-parse", options.revision), max_bytes=100)).decode().strip()
    text = text_of(model, name, report(model, changes, clean, mixed))
    if options.write:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

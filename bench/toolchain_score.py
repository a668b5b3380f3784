"""What the predictions of ``bench/toolchain.py`` are worth: the scorer's own count, and the quality of the confidence.

Everything is measured twice: with the files of continuous integration in view, and with them hidden.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import autopack_toolchain
from autopack_toolchain.core.recent import forget

from .toolchain import BadInput, Row, detect_tree_at, predictions, read_labels, tree_of, trees_at

__all__ = [
    "Answer",
    "BadInput",
    "Figures",
    "Judge",
    "corpora",
    "examples_right",
    "figures",
    "load_scorer",
    "manager_right",
    "measure",
    "read_examples",
    "scored",
    "unpacked",
]

BenchRow = tuple[str, float, str, str]
Judge = Callable[[str | None], str | None]

ROOT = Path(__file__).resolve().parents[1]
BINS = 10
SURE = 0.9
NEEDED = ("labels.jsonl", "skeletons.tgz", "examples.jsonl", "examples.tgz")
ROUNDS = 3
"""Detections of each repository; the fastest counts, after one that does not."""
MANAGERS_ELSEWHERE = "original 81 %, railpack's rules 71 %, circleci's 68 % (constants of earlier measurements)"
TESTS_ELSEWHERE = "circleci's rules 47 %, original 42 %, projectile 40 % (constants, none reads CI files)"
SAME_MANAGER = {"yarn": "yarn1", "swiftpm": "swift", "leiningen": "lein"}
"""Our names of managers to those of the examples."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that was judged."""

    repo: str
    confidence: float
    right: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """How well stated confidence foretells whether an answer is right.

    Attributes:
        count, right: answers.
        ece: expected calibration error over ten bins of equal width.
        brier: mean squared distance of the confidence from 1 (right) or 0 (wrong).
        auroc: probability that a right answer has a higher confidence than a wrong one; NaN if there are not both.
        sure, sure_right: answers with a confidence of at least 0.9.
    """

    count: int
    right: int
    ece: float
    brier: float
    auroc: float
    sure: int
    sure_right: int


def figures(answers: Sequence[Answer]) -> Figures:
    """The figures of some answers, at least one."""
    bins: dict[int, list[Answer]] = {}
    for answer in answers:
        bins.setdefault(min(BINS - 1, int(answer.confidence * BINS)), []).append(answer)
    gaps = [abs(sum(a.confidence for a in held) - sum(a.right for a in held)) for held in bins.values()]
    right = [a.confidence for a in answers if a.right]
    wrong = [a.confidence for a in answers if not a.right]
    wins = sum((r > w) + (r == w) / 2 for r in right for w in wrong)
    sure = [a for a in answers if a.confidence >= SURE]
    return Figures(
        count=len(answers),
        right=len(right),
        ece=sum(gaps) / len(answers),
        brier=sum((a.confidence - a.right) ** 2 for a in answers) / len(answers),
        auroc=wins / (len(right) * len(wrong)) if right and wrong else math.nan,
        sure=len(sure),
        sure_right=sum(a.right for a in sure),
    )


def corpora() -> Path:
    """Where the labelled repositories are, if they are anywhere."""
    return Path(os.environ.get("AUTOPACK_CORPORA", ROOT.parent / "shared/corpora")) / "toolchain"


def load_scorer(directory: Path) -> ModuleType:
    """The scorer that stands beside the corpora."""
    path = directory.parents[1] / "tools/score_toolchain.py"
    spec = importlib.util.spec_from_file_location("score_toolchain", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"the scorer is missing at {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def manager_right(name: str, label: Row) -> bool:
    """Whether a manager is one that the label accepts, as the scorer sees it."""
    return name in label["accept_package_managers"] or (name == "yarn" and label["package_manager"].startswith("yarn"))


def examples_right(directory: Path, trees: Path) -> tuple[int, int, int, int]:
    """Counts of deploy examples: that name a manager; whose first project, whose any project has it; without any."""
    named = first = some = nothing = 0
    for row in read_examples(directory):
        projects = detect_tree_at(trees / row["tree"]).projects
        managers = [SAME_MANAGER.get(p.package_manager.name, p.package_manager.name) for p in projects]
        nothing += not projects
        if row["package_managers"]:
            named += 1
            first += bool(managers) and managers[0] in row["package_managers"]
            some += not set(managers).isdisjoint(row["package_managers"])
    return named, first, some, nothing


def read_examples(directory: Path) -> Iterator[Row]:
    """The deploy examples."""
    with (directory / "examples.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@contextlib.contextmanager
def unpacked(directory: Path) -> Iterator[tuple[Path, Path]]:
    """The labelled repositories and the deploy examples, unpacked for as long as the context lasts.

    Raises:
        BadInput: something is missing; the message says what and where.
    """
    if missing := [name for name in NEEDED if not (directory / name).is_file()]:
        raise BadInput(f"{missing[0]} is not in {directory}")
    with trees_at(directory / "skeletons.tgz") as trees, trees_at(directory / "examples.tgz") as examples:
        yield trees, examples


def measure() -> list[BenchRow]:
    """The rows for ``make bench``; only the cost for this project's own tree where the corpora are not."""
    from .fit_toolchain import evaluated  # both import this module
    from .toolchain_samples import collect

    directory = corpora()
    rows = [
        (
            "detection of this project",
            seconds(ROOT, first=True) * 1000,
            "ms",
            f"first look, best of {ROUNDS}, in process",
        )
    ]
    try:
        with unpacked(directory) as (trees, examples):
            labels = read_labels(directory / "labels.jsonl")
            for ci, track in ((True, "visible"), (False, "hidden")):
                rows += track_rows(directory, list(predictions(labels, trees, ci=ci)), f"CI {track}", len(labels))
            rows += cost_rows(labels, trees)
            rows += example_rows(directory, examples)
            quality = evaluated(collect(directory, trees, examples))
    except BadInput as error:
        print(f"toolchain: not scored, {error}; set AUTOPACK_CORPORA", file=sys.stderr)
        return rows
    return rows + [row for name, of in quality.items() for row in confidence_rows(name, of)]


def track_rows(directory: Path, rows: Sequence[Row], track: str, labels: int) -> list[BenchRow]:
    """What the scorer counts."""
    counts = scored(load_scorer(directory), directory / "labels.jsonl", rows)
    return [
        (f"{track}: manager right", counts["manager"], f"of {labels}", MANAGERS_ELSEWHERE),
        (f"{track}: test command right", counts["test"], f"of {labels}", TESTS_ELSEWHERE),
        (f"{track}: test runner right", counts["runner"], f"of {labels}", "circleci's rules 62 % (constant)"),
        (f"{track}: manager ECE, as shipped", counts["ECE"], "", "must be <= 0.08"),
    ]


def confidence_rows(name: str, of: Figures) -> list[BenchRow]:
    """Rows of one set of answers, each judged by a fit that did not see its repository."""
    wrong = of.count - of.right
    constant = of.right / of.count * wrong / of.count
    rows: list[BenchRow] = [
        (f"{name}: ECE, repository left out", of.ece, "", f"must be <= 0.08; {of.count} answers, {wrong} wrong"),
        (f"{name}: Brier", of.brier, "", f"the best constant: {constant:.3f}"),
    ]
    if not math.isnan(of.auroc):
        rows.append((f"{name}: AUROC", of.auroc, "", "must be >= 0.75; a constant: 0.5"))
    if of.sure:
        rows.append((f"{name}: right if >= {SURE}", of.sure_right / of.sure, "share", f"{of.sure} answers"))
    return rows


def example_rows(directory: Path, trees: Path) -> list[BenchRow]:
    """The deploy examples."""
    named, first, some, languages = examples_right(directory, trees)
    return [
        ("deploy examples: manager right", first, f"of {named}", f"railpack's rules 210; of any project: {some}"),
        ("deploy examples: no project found", languages, "of 268", "some are bare static pages or scripts"),
    ]


def scored(scorer: ModuleType, labels: Path, rows: Sequence[Row]) -> dict[str, float]:
    """The last line that the scorer prints, as numbers."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
        file.flush()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            scorer.main(str(labels), file.name)
    last = printed.getvalue().splitlines()[-1]
    return {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)", last)}


def seconds(path: Path, *, first: bool = False) -> float:
    """The fastest of some detections of a directory in a warm process.

    Args:
        path: the directory.
        first: each as a first look: what was read from texts before is forgotten. Else as when the same files are seen
            again, for example in the next worktree of a repository.
    """
    autopack_toolchain.detect(path)
    taken = []
    for _ in range(ROUNDS):
        if first:
            forget()
        start = time.perf_counter()
        autopack_toolchain.detect(path)
        taken.append(time.perf_counter() - start)
    return min(taken)


def cost_rows(labels: Sequence[Row], trees: Path) -> list[BenchRow]:
    """Milliseconds of whole trees."""
    repositories = sorted({label["repo"] for label in labels})
    taken = {repo: seconds(tree_of(trees, repo), first=True) * 1000 for repo in repositories}
    again = [seconds(tree_of(trees, repo)) * 1000 for repo in repositories]
    files = {repo: sum(1 for path in tree_of(trees, repo).rglob("*") if path.is_file()) for repo in taken}
    largest, slowest = max(files, key=lambda repo: files[repo]), max(taken, key=lambda repo: taken[repo])
    p95 = statistics.quantiles(taken.values(), n=20)[-1]
    return [
        (
            "whole tree, median repository",
            statistics.median(taken.values()),
            "ms",
            "first look, must be < 15; original 735",
        ),
        ("whole tree, median, seen before", statistics.median(again), "ms", "the next worktree of a repository"),
        ("whole tree, p95 of repositories", p95, "ms", f"of {len(taken)} repositories"),
        ("whole tree, slowest repository", taken[slowest], "ms", slowest),
        ("whole tree, largest repository", taken[largest], "ms", f"must be < 400; {largest}, {files[largest]:,} files"),
    ]

"""Which files of a change may belong to another task.

A file is compared with the goal and with the anchors: the files of the same change that are nearest to the goal. A
test or a helper often shares no word with a goal, but it shares words and a directory with what does. A small logistic
model weighs this; it was fitted on changes of two tasks mixed together (``python -m bench.fit_off_goal``), and
``data/off_goal.toml`` holds it.

It needs to know what changed in each file: from paths alone, hardly every second file listed was of another task, and
then none is listed at all. Nor is one where nothing is near the goal: the verdict of the whole change speaks of that.
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files as package_files
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from autopack_intention.core.evidence import FileChange
from autopack_intention.core.profile import Vector, dot
from autopack_intention.core.text import count_terms

__all__ = [
    "FEATURES",
    "Features",
    "Model",
    "OffGoalFile",
    "Weights",
    "default_model",
    "features_of",
    "is_generated",
    "off_goal_files",
    "parse_model",
]

Weights = Callable[[Mapping[str, int]], Vector]

Features = tuple[float, float, float, float]
"""In the order of :data:`FEATURES`, each from 0 to 1."""

FEATURES = ("goal", "share", "anchors", "directory")
"""``goal``: cosine with the goal. ``share``: that as a share of the nearest file's. ``anchors``: cosine with the sum of
the anchors. ``directory``: share of the path's directories that it has in common with an anchor. More of any never
makes a file more likely to be of another task: all coefficients are negative or 0."""

_HUNK_HEADERS = 3
_IDENTIFIERS = 20
"""Of a file. With ten and thirty the check costs more and finds no more; with one and ten it finds a quarter less."""

_PIECE_CHARS = 256
_PIECES_KEPT = 8_192
"""Paths, hunk headers and identifiers remembered with what they say: the steps of a run repeat them."""

_MAX_ANCHORS = 3
_ANCHOR_SHARE = 0.5
"""An anchor has at least this share of the nearest file's cosine. With .3 files of the other task become anchors (AUC
.955 against .966); more than three anchors change nothing."""

_MIN_COSINE = 0.05
"""Of the nearest file. Below, what it shares with the goal is chance: unrelated texts are at .06 on average."""

# Written by a tool from other files, or about the whole project: they follow every task and are of none.
_GENERATED_NAMES = frozenset(
    {
        "bun.lock", "bun.lockb", "composer.lock", "go.sum", "go.work.sum", "gradle.lockfile", "npm-shrinkwrap.json",
        "package-lock.json", "packages.lock.json", "pnpm-lock.yaml", "uv.lock", "yarn.lock",
    }
)  # fmt: skip
_GENERATED_STEMS = frozenset({"changelog", "changes", "history", "news", "release-notes", "release_notes", "releases"})
_GENERATED_SUFFIXES = (
    ".lock", ".snap", ".snapshot", ".min.js", ".min.css", ".map", ".pb.go", ".pb.cc", ".pb.h", "_pb2.py", "_pb2.pyi",
    "_pb2_grpc.py", ".g.dart", ".generated.cs", ".designer.cs",
)  # fmt: skip
_GENERATED_DIRECTORIES = frozenset(
    {"__snapshots__", "__generated__", "node_modules", "vendor", "changelog.d", ".changeset", "newsfragments"}
)
_PROSE_SUFFIXES = frozenset({"", ".md", ".rst", ".txt", ".adoc"})


@dataclass(frozen=True, slots=True)
class OffGoalFile:
    """A file that may not belong to the goal, with the probability that it belongs to another task."""

    path: str
    score: float


@dataclass(frozen=True, slots=True)
class Model:
    """Probability = 1 / (1 + exp(-(intercept + coefficients x features))); a file is listed from ``threshold`` on."""

    intercept: float
    coefficients: Features
    threshold: float

    def probability(self, features: Features) -> float:
        """That a file belongs to another task."""
        g, s, a, d = self.coefficients
        goal, share, anchors, directory = features
        return 1 / (1 + math.exp(-(self.intercept + g * goal + s * share + a * anchors + d * directory)))

    def candidates(self, rows: Sequence[Features]) -> list[tuple[int, float]]:
        """Index and probability of the files of a change that may be listed: never the one nearest to the goal, and
        none if even that one is not near."""
        nearest = max(goal for goal, _, _, _ in rows)
        if nearest <= _MIN_COSINE:
            return []
        return [(index, self.probability(row)) for index, row in enumerate(rows) if row[0] < nearest]


@lru_cache(maxsize=_PIECES_KEPT)
def is_generated(path: str) -> bool:
    """A lock file, a changelog, a snapshot or other output of a tool: never listed.

    >>> [is_generated(path) for path in ("web/yarn.lock", "CHANGELOG.md", "src/retry.py", "src/history.py")]
    [True, True, False, False]
    """
    *directories, name = path.lower().split("/")
    if name in _GENERATED_NAMES or name.endswith(_GENERATED_SUFFIXES):
        return True
    if not _GENERATED_DIRECTORIES.isdisjoint(directories):
        return True
    return name.partition(".")[0] in _GENERATED_STEMS and PurePosixPath(name).suffix in _PROSE_SUFFIXES


def off_goal_files(
    goal: Vector, files: Sequence[FileChange], weights: Weights, model: Model | None = None
) -> tuple[OffGoalFile, ...]:
    """The files that the model takes for another task's, the most likely first; never the one nearest to the goal.

    Args:
        goal: unit vector of the goal.
        files: of the change; the first of each path counts.
        weights: of counted terms.
        model: None = the one that ships with the package.
    """
    judged = list({file.path: file for file in reversed(files) if not is_generated(file.path)}.values())
    if len(judged) < 2:
        return ()
    model = model or default_model()
    found = [
        OffGoalFile(judged[index].path, probability)
        for index, probability in model.candidates(features_of(goal, judged, weights))
        if probability >= model.threshold
    ]
    return tuple(sorted(found, key=lambda file: (-file.score, file.path)))


def features_of(goal: Vector, files: Sequence[FileChange], weights: Weights) -> list[Features]:
    """Of each file of a change; there must be one at least."""
    vectors = [weights(_count(file)) for file in files]
    lengths = [math.sqrt(sum([weight * weight for weight in vector.values()])) or 1.0 for vector in vectors]
    cosines = [dot(goal, vector) / length for vector, length in zip(vectors, lengths, strict=True)]
    nearest = max(cosines)
    ranked = sorted(range(len(files)), key=lambda index: (-cosines[index], files[index].path))[:_MAX_ANCHORS]
    anchors = [index for index in ranked if cosines[index] >= _ANCHOR_SHARE * nearest]
    together = _direction([(vectors[index], lengths[index]) for index in anchors])
    directories = [file.path.rpartition("/")[0][:_PIECE_CHARS] for file in files]
    return [
        (
            cosine,
            cosine / nearest if nearest else 0.0,
            dot(vector, together) / length,
            max([_common(own, directories[index]) for index in anchors]),
        )
        for cosine, vector, length, own in zip(cosines, vectors, lengths, directories, strict=True)
    ]


def _count(file: FileChange) -> Counter[str]:
    pieces = (file.path, *file.hunk_headers[:_HUNK_HEADERS], *file.added_identifiers[:_IDENTIFIERS])
    return Counter(chain.from_iterable([_terms(piece[:_PIECE_CHARS]) for piece in pieces]))


@lru_cache(maxsize=_PIECES_KEPT)
def _terms(piece: str) -> tuple[str, ...]:
    return tuple(count_terms(piece).elements())


def _direction(vectors: Iterable[tuple[Vector, float]]) -> Vector:
    """The unit vector of the sum of some vectors, each divided by its length."""
    total: dict[str, float] = {}
    for vector, length in vectors:
        for term, weight in vector.items():
            total[term] = total.get(term, 0.0) + weight / length
    norm = math.sqrt(sum([weight * weight for weight in total.values()]))
    return {term: weight / norm for term, weight in total.items()}


@lru_cache(maxsize=_PIECES_KEPT)
def _common(left: str, right: str) -> float:
    """Directories that two paths share from the root on, the root itself included, as a share of the deeper one's."""
    ours, theirs = (directory.split("/") if directory else [] for directory in (left, right))
    shared = 1
    for a, b in zip(ours, theirs, strict=False):
        if a != b:
            break
        shared += 1
    return shared / (max(len(ours), len(theirs)) + 1)


def parse_model(text: str) -> Model:
    """The model from its TOML text.

    Raises:
        ValueError: a number is missing, unknown or out of its range.
    """
    data: Mapping[str, Any] = tomllib.loads(text)
    coefficients = data["coefficients"]
    numbers = (data["intercept"], data["threshold"], *coefficients.values())
    if coefficients.keys() != set(FEATURES) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"needs an intercept, a threshold and the coefficients {', '.join(FEATURES)}: finite numbers")
    if wrong := [name for name, value in coefficients.items() if value > 0]:
        raise ValueError(f"{wrong[0]} has the wrong sign: more in common with the goal would make a file less of it")
    goal, share, anchors, directory = (coefficients[name] for name in FEATURES)
    return Model(data["intercept"], (goal, share, anchors, directory), data["threshold"])


@cache
def default_model() -> Model:
    """The model that ships with the package."""
    return parse_model(package_files("autopack_intention").joinpath("data/off_goal.toml").read_text(encoding="utf-8"))

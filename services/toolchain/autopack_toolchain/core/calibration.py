"""From the weight of the evidence to a confidence that can be taken at its word.

Ranking decides which answer is best; here it is said how likely it is right. Two small logistic models, one for
package managers and one for steps, were fitted on labelled repositories; ``data/calibration.toml`` holds them. Of the
answers with confidence p about the share p is right. The signs of all coefficients are fixed, so that more evidence for
an answer never lowers its confidence and more evidence for another never raises it.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import groupby

from .model import Evidence, PackageManager, Project, Source, Step, StepKind

__all__ = [
    "CERTAINTY",
    "MANAGER_SIGNS",
    "STEP_SIGNS",
    "Calibration",
    "Logistic",
    "ManagerFeatures",
    "StepFeatures",
    "calibrated",
    "default_calibration",
    "manager_confidence",
    "manager_features",
    "parse_calibration",
    "step_confidence",
    "step_features",
]

CERTAINTY = 0.99
"""No answer from files alone is certain."""

FLOOR = 0.01
"""Weights below this, and answers, count as this: the log odds stay finite and a confidence above 0."""

MANAGER_SIGNS: Mapping[str, int] = {"weight": 1, "pieces": 1, "rival": -1, "guess": -1}
STEP_SIGNS: Mapping[str, int] = {"ci": 1, "weight": 1, "pieces": 1, "rival": -1, "silent_ci": -1, "side": -1}
"""Which way each feature may move the confidence."""


@dataclass(frozen=True, slots=True)
class ManagerFeatures:
    """What is known about the answer to "which package manager".

    Attributes:
        weight: combined weight of its evidence, 0 to 1.
        rival: combined weight of the strongest other manager; 0 if there is none.
        pieces: files that speak for it.
        guess: only the default of the language speaks for it.
    """

    weight: float
    rival: float = 0.0
    pieces: int = 1
    guess: bool = False

    def values(self) -> dict[str, float]:
        """The features as the model takes them."""
        return {
            "weight": log_odds(self.weight),
            "pieces": math.log(max(1, self.pieces)),
            "rival": self.rival,
            "guess": float(self.guess),
        }


@dataclass(frozen=True, slots=True)
class StepFeatures:
    """What is known about the best command for one purpose.

    Attributes:
        source: where it was learned.
        weight: combined weight of its evidence, 0 to 1.
        rival: combined weight of the strongest other command for this purpose; 0 if there is none.
        pieces: files that speak for it.
        silent_ci: the repository has continuous integration, in which no such command was found for this project.
        side: the project stands in a directory such as ``examples/``.
    """

    source: Source
    weight: float
    rival: float = 0.0
    pieces: int = 1
    silent_ci: bool = False
    side: bool = False

    def values(self) -> dict[str, float]:
        """The features as the model takes them."""
        return {
            "ci": float(self.source is Source.CI),
            "weight": log_odds(self.weight),
            "pieces": math.log(max(1, self.pieces)),
            "rival": self.rival,
            "silent_ci": float(self.silent_ci),
            "side": float(self.side),
        }


@dataclass(frozen=True, slots=True)
class Logistic:
    """Probability = 1 / (1 + exp(-(intercept + sum of coefficient x feature)))."""

    intercept: float
    coefficients: Mapping[str, float]

    def probability(self, values: Mapping[str, float]) -> float:
        """The probability of being right, from ``FLOOR`` to ``CERTAINTY``, rounded to four places."""
        z = self.intercept + sum(coefficient * values[name] for name, coefficient in self.coefficients.items())
        # Both forms of the same function: exp() of a large positive number would overflow.
        p = 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))
        return round(min(CERTAINTY, max(FLOOR, p)), 4)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The two fitted models."""

    manager: Logistic
    step: Logistic


def log_odds(weight: float) -> float:
    """The log odds of a weight; weights add up on this scale."""
    bounded = min(CERTAINTY, max(FLOOR, weight))
    return math.log(bounded / (1 - bounded))


def manager_confidence(features: ManagerFeatures, calibration: Calibration | None = None) -> float:
    """How likely a package manager is right."""
    return (calibration or default_calibration()).manager.probability(features.values())


def step_confidence(features: StepFeatures, calibration: Calibration | None = None) -> float:
    """How likely a command is the one that the project itself uses for this purpose."""
    return (calibration or default_calibration()).step.probability(features.values())


def parse_calibration(text: str) -> Calibration:
    """The models from their TOML text.

    Raises:
        ValueError: a coefficient is missing, unknown, no number or has the wrong sign.
    """
    data = tomllib.loads(text)
    return Calibration(_logistic(data, "manager", MANAGER_SIGNS), _logistic(data, "step", STEP_SIGNS))


def _logistic(data: Mapping[str, Mapping[str, float]], name: str, signs: Mapping[str, int]) -> Logistic:
    table = dict(data[name])
    intercept = table.pop("intercept", math.nan)
    if table.keys() != signs.keys() or not all(map(math.isfinite, (intercept, *table.values()))):
        raise ValueError(f"[{name}] needs an intercept and the coefficients {', '.join(signs)}, each a finite number")
    if wrong := [feature for feature, value in table.items() if value * signs[feature] < 0]:
        raise ValueError(f"[{name}] {wrong[0]} has the wrong sign: the confidence would not be monotone")
    return Logistic(intercept, table)


@cache
def default_calibration() -> Calibration:
    """The calibration that ships with the package."""
    return parse_calibration(files("autopack_toolchain").joinpath("data/calibration.toml").read_text("utf-8"))


def calibrated(
    projects: Iterable[Project], side_directories: frozenset[str], *, ci: bool, calibration: Calibration | None = None
) -> list[Project]:
    """Ranked projects with the confidence of managers and steps on one scale.

    Args:
        projects: as ranked; their confidences are combined weights.
        side_directories: names of directories whose projects matter less.
        ci: whether commands of continuous integration were read.
        calibration: the fitted models; the package's own if None.
    """
    models = calibration or default_calibration()
    found = []
    for project in projects:
        manager = _manager(project.package_manager, models)
        side = not side_directories.isdisjoint(project.workdir.split("/"))
        found.append(replace(project, package_manager=manager, steps=_steps(project, manager, side, ci, models)))
    return found


def manager_features(manager: PackageManager) -> ManagerFeatures:
    """What ranking saw of the best manager."""
    return ManagerFeatures(
        weight=combined(manager.evidence),
        rival=max((combined(other.evidence) for other in manager.alternatives), default=0.0),
        pieces=_pieces(manager.evidence),
        guess=not any(item.path for item in manager.evidence),
    )


def step_features(step: Step, others: Sequence[Step], *, side: bool, ci: bool) -> StepFeatures:
    """What ranking saw of one step; ``others`` are those for the same purpose."""
    return StepFeatures(
        source=step.source,
        weight=step.confidence,
        rival=max((other.confidence for other in others if other is not step), default=0.0),
        pieces=_pieces(step.evidence),
        silent_ci=ci and step.source is not Source.CI,
        side=side,
    )


def combined(evidence: Iterable[Evidence]) -> float:
    """The weight of several observations, taken as independent signs."""
    return min(CERTAINTY, 1 - math.prod(1 - item.weight for item in evidence))


def _pieces(evidence: Iterable[Evidence]) -> int:
    return len({item.path for item in evidence})


def _manager(manager: PackageManager, models: Calibration) -> PackageManager:
    if not manager.name:
        return manager
    confidence = manager_confidence(manager_features(manager), models)
    # What is left goes to the others by their weights, beside one share for a manager that nothing speaks for.
    weights = [combined(other.evidence) for other in manager.alternatives]
    alternatives = tuple(
        replace(other, confidence=round((1 - confidence) * weight / (1 + sum(weights)), 4))
        for other, weight in zip(manager.alternatives, weights, strict=True)
    )
    return replace(manager, confidence=confidence, alternatives=alternatives)


def _steps(project: Project, manager: PackageManager, side: bool, ci: bool, models: Calibration) -> tuple[Step, ...]:
    found = []
    for kind, group in groupby(project.steps, lambda step: step.kind):
        steps = list(group)
        # Steps are alternatives, best first; an installation cannot be more certain than what installs.
        limit = manager.confidence if kind is StepKind.INSTALL and manager.name else CERTAINTY
        for step in steps:
            limit = min(limit, step_confidence(step_features(step, steps, side=side, ci=ci), models))
            found.append(replace(step, confidence=limit))
    return tuple(found)

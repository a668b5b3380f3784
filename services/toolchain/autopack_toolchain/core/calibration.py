"""From the weight of the evidence to a confidence that can be taken at its word.

Ranking decides which answer is best; here it is said how likely it is right. Two small logistic models, one for
package managers and one for steps, were fitted on labelled repositories; ``data/calibration.toml`` holds them. Of the
answers with confidence p about the share p is right. The signs of all coefficients are fixed, so that more evidence for
an answer never lowers its confidence and more evidence for another never raises it.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .model import Source, StepKind

__all__ = [
    "CERTAINTY",
    "MANAGER_SIGNS",
    "STEP_SIGNS",
    "Calibration",
    "Logistic",
    "ManagerFeatures",
    "StepFeatures",
    "default_calibration",
    "manager_confidence",
    "parse_calibration",
    "step_confidence",
]

CERTAINTY = 0.99
"""No answer from files alone is certain."""

FLOOR = 0.01
"""Weights below this, and answers, count as this: the log odds stay finite and a confidence above 0."""

LARGEST = 50.0
"""Log odds beyond this are cut: the exponential stays finite, and no probability of four places is changed."""

MANAGER_SIGNS: Mapping[str, int] = {"weight": 1, "pieces": 1, "guess": -1}
STEP_SIGNS: Mapping[str, int] = {
    "test": 1,
    "ci": 1,
    "ci_weight": 1,
    "weight": 1,
    "pieces": 1,
    "rival": -1,
    "variants": -1,
    "opaque": -1,
    "silent_ci": -1,
    "side": -1,
}
"""Which way each feature may move the confidence. (Tests are run as expected more often than the rest is: every
second repository has a way of its own to run its linters.)"""


@dataclass(frozen=True, slots=True)
class ManagerFeatures:
    """What is known about the answer to "which package manager".

    Attributes:
        weight: combined weight of its evidence, 0 to 1.
        rivals: combined weights of the other managers.
        pieces: files that speak for it.
        guess: only the default of the language speaks for it.
    """

    weight: float
    rivals: tuple[float, ...] = ()
    pieces: int = 1
    guess: bool = False

    def values(self) -> dict[str, float]:
        """The features as the model takes them."""
        return {
            "weight": log_odds(self.weight),
            "pieces": math.log(max(1, self.pieces)),
            "guess": float(self.guess),
        }

    @property
    def chances(self) -> tuple[float, ...]:
        """How likely each of the managers, this one first, is the one in use if any of them is: by their odds."""
        odds = [math.exp(log_odds(weight)) for weight in (self.weight, *self.rivals)]
        return tuple(value / sum(odds) for value in odds)


@dataclass(frozen=True, slots=True)
class StepFeatures:
    """What is known about a command for one purpose.

    Attributes:
        kind: the purpose.
        source: where it was learned.
        weight: combined weight of its evidence, 0 to 1.
        rival: combined weight of the strongest other command for this purpose that was learned from as strong a source;
            0 if there is none. The same runner with other arguments is no other command.
        pieces: files that speak for it.
        variants: named tasks of the project that may be for this purpose: where there are many, each is less likely.
        opaque: what runs in the end cannot be seen: the command calls a program or a task that is not known.
        silent_ci: the repository has continuous integration, in which no such command was found for this project.
        side: the project stands in a directory such as ``examples/``.
    """

    kind: StepKind
    source: Source
    weight: float
    rival: float = 0.0
    pieces: int = 1
    variants: int = 0
    opaque: bool = False
    silent_ci: bool = False
    side: bool = False

    def values(self) -> dict[str, float]:
        """The features as the model takes them."""
        ci = self.source is Source.CI
        return {
            "test": float(self.kind is StepKind.TEST),
            "ci": float(ci),
            "ci_weight": self.weight if ci else 0.0,
            "weight": log_odds(self.weight),
            "pieces": math.log(max(1, self.pieces)),
            "rival": self.rival,
            # Where CI names the command, it does not matter how many others there might be or what it runs in the end.
            "variants": 0.0 if ci else math.log(1 + self.variants),
            "opaque": float(self.opaque and not ci),
            "silent_ci": float(self.silent_ci),
            "side": float(self.side),
        }


@dataclass(frozen=True, slots=True)
class Logistic:
    """Probability = ``CERTAINTY`` x chance / (1 + exp(-(intercept + sum of coefficient x feature)))."""

    intercept: float
    coefficients: Mapping[str, float]

    def probability(self, values: Mapping[str, float], chance: float = 1.0) -> float:
        """The probability of being right, above 0 and below ``CERTAINTY``, rounded to four places.

        Args:
            values: the features.
            chance: of this answer among those that have evidence.
        """
        z = self.intercept + sum(coefficient * values[name] for name, coefficient in self.coefficients.items())
        return max(FLOOR, round(CERTAINTY * chance / (1 + math.exp(-max(-LARGEST, min(LARGEST, z)))), 4))


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
    return (calibration or default_calibration()).manager.probability(features.values(), features.chances[0])


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

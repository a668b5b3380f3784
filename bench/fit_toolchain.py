"""Fits the confidence of toolchain detection to labelled repositories and prints ``data/calibration.toml``.

::

    python -m bench.fit_toolchain            # the file on standard output, the figures on standard error
    python -m bench.fit_toolchain --write    # puts the file in place

Logistic regression with a normal prior for each coefficient, because there are few labels and fewer
wrong answers. A coefficient that comes out with the wrong sign is left out and the others are fitted again. All figures
are leave-one-repository-out: what is said of a repository comes from a fit that did not see it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import autopack_toolchain
import numpy as np
from autopack_toolchain.core.calibration import CERTAINTY, MANAGER_SIGNS, STEP_SIGNS, Calibration, Logistic

from .toolchain import BadInput
from .toolchain_samples import Sample, Samples, collect
from .toolchain_score import Answer, Figures, corpora, figures, unpacked

__all__ = ["evaluated", "fit", "fitted", "left_out", "text_of"]

TARGET = Path(autopack_toolchain.__file__).parent / "data/calibration.toml"

Prior = Mapping[str, tuple[float, float]]

MANAGER_PRIOR: Prior = {
    "intercept": (0.0, 1.0),
    "weight": (0.7, 0.3),
    "pieces": (0.3, 0.3),
    "guess": (-1.5, 0.5),
}
"""Mean and standard deviation. Sceptical, though hardly a labelled answer is wrong: detection was written with these
repositories in view, so that for others it will be right less often than the data say."""

STEP_PRIOR: Prior = {
    "intercept": (0.0, 1.0),
    "test": (0.5, 1.0),
    "ci": (0.5, 0.5),
    "ci_weight": (2.0, 1.0),
    "weight": (0.15, 0.15),
    "pieces": (0.3, 0.3),
    "rival": (-0.3, 0.3),
    "variants": (-0.3, 0.3),
    "opaque": (-0.5, 0.5),
    "silent_ci": (-0.5, 0.5),
    "side": (-0.3, 0.3),
}
"""As above, and mild: a weight says that a command would run rather than that the project uses it, but for CI."""

STEPS = 50
"""Steps at most; it takes about ten."""
EPSILON = 1e-9
DIGITS = 3
"""Digits of a coefficient: more would differ between builds of the linear algebra and mean nothing."""


def fit(samples: Sequence[Sample], signs: Mapping[str, int], prior: Prior) -> Logistic:
    """The most probable coefficients; those that would have the wrong sign are 0."""
    names = list(signs)
    while True:
        solved = solve(samples, names, prior)
        wrong = [name for name in names if solved[name] * signs[name] < 0]
        if not wrong:
            break
        # One at a time, the worst first: leaving it out may put the others right.
        names.remove(max(wrong, key=lambda name: abs(solved[name]) / prior[name][1]))
    coefficients = {name: round(solved.get(name, 0.0), DIGITS) for name in signs}
    return Logistic(round(solved["intercept"], DIGITS), coefficients)


def solve(samples: Sequence[Sample], names: Sequence[str], prior: Prior) -> dict[str, float]:
    """The maximum of the posterior by Fisher scoring: each answer is right with ``chance / (1 + exp(-z))``."""
    columns = ["intercept", *names]
    x = np.array([[1.0, *(sample.values[name] for name in names)] for sample in samples])
    y = np.array([float(sample.right) for sample in samples])
    share = np.array([sample.share for sample in samples])
    chance = CERTAINTY * np.array([sample.chance for sample in samples])
    mean = np.array([prior[name][0] for name in columns])
    precision = np.diag([prior[name][1] ** -2 for name in columns])
    beta = mean
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(x @ beta)))
        lost = (1 - p) / (1 - chance * p)
        gradient = x.T @ (share * np.where(y > 0, 1 - p, -chance * p * lost)) - precision @ (beta - mean)
        step = np.linalg.solve((x.T * (share * chance * p * (1 - p) * lost)) @ x + precision, gradient)
        beta = beta + step
        if float(np.abs(step).max()) < EPSILON:
            break
    return dict(zip(columns, map(float, beta), strict=True))


def fitted(samples: Samples) -> Calibration:
    """Both models on everything."""
    return Calibration(fit(samples.managers, MANAGER_SIGNS, MANAGER_PRIOR), fit(samples.steps, STEP_SIGNS, STEP_PRIOR))


def left_out(samples: Sequence[Sample], signs: Mapping[str, int], prior: Prior) -> dict[str, list[Answer]]:
    """By what they are about, the labelled answers with the confidence of a fit that did not see their repository."""
    found: dict[str, list[Answer]] = {}
    for group in dict.fromkeys(sample.group for sample in samples if sample.about):
        model = fit([sample for sample in samples if sample.group != group], signs, prior)
        for sample in samples:
            if sample.group == group and sample.about:
                found.setdefault(sample.about, []).append(
                    Answer(group, model.probability(sample.values, sample.chance), sample.right)
                )
    return found


def evaluated(samples: Samples) -> dict[str, Figures]:
    """Leave-one-repository-out figures by what was asked and the track."""
    managers = left_out(samples.managers, MANAGER_SIGNS, MANAGER_PRIOR)
    steps = left_out(samples.steps, STEP_SIGNS, STEP_PRIOR)
    together = {
        "test, both": [answer for about, found in steps.items() if about.startswith("test,") for answer in found],
        "all steps": [answer for found in steps.values() for answer in found],
    }
    return {about: figures(found) for about, found in (managers | steps | together).items()}


def text_of(calibration: Calibration, quality: Mapping[str, Figures]) -> str:
    """``data/calibration.toml``."""
    lines = [
        f"# How likely an answer is right: {CERTAINTY} x chance / (1 + exp(-(intercept + coefficients x features))).",
        "# Written by `python -m bench.fit_toolchain --write`; do not edit. The features: core/calibration.py.",
        "# Leave-one-repository-out on labelled repositories:",
        *(f"#   {what}: {described(of)}" for what, of in quality.items()),
    ]
    for name, model in (("manager", calibration.manager), ("step", calibration.step)):
        lines += ["", f"[{name}]", f"intercept = {model.intercept}"]
        lines += [f"{feature} = {value}" for feature, value in model.coefficients.items()]
    return "\n".join(lines) + "\n"


def described(of: Figures) -> str:
    """The figures in a line."""
    return (
        f"{of.right} of {of.count} right, ECE {of.ece:.3f}, Brier {of.brier:.3f}, AUROC {of.auroc:.2f}, "
        f"{of.sure_right} of {of.sure} at >= 0.9"
    )


def main() -> int:
    """Fit, and print or write."""
    parser = argparse.ArgumentParser(prog="python -m bench.fit_toolchain", description="Fit data/calibration.toml.")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name} in place instead of printing it")
    options = parser.parse_args()
    try:
        with unpacked(corpora()) as (trees, examples):
            samples = collect(corpora(), trees, examples)
    except (BadInput, OSError) as error:
        parser.exit(2, f"error: {error}; set AUTOPACK_CORPORA to the directory of the labelled repositories\n")
    text = text_of(fitted(samples), evaluated(samples))
    if options.write:
        TARGET.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Fits the confidence of toolchain detection to labelled repositories and prints ``data/calibration.toml``.

::

    python -m bench.fit_toolchain            # the file on standard output, the figures on standard error
    python -m bench.fit_toolchain --write    # puts the file in place

Logistic regression by Newton's method with a normal prior for each coefficient, because there are few labels and fewer
wrong answers. A coefficient that comes out with the wrong sign is left out and the others are fitted again. All figures
are leave-one-repository-out: what is said of a repository comes from a fit that did not see it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import autopack_toolchain
import numpy as np
from autopack_toolchain import Project, StepKind
from autopack_toolchain.core.calibration import (
    MANAGER_SIGNS,
    STEP_SIGNS,
    Calibration,
    Logistic,
)
from autopack_toolchain.core.detect import Ranked, ranked
from autopack_toolchain.core.features import manager_features, step_features
from autopack_toolchain.core.model import Source

from .toolchain import BadInput, NoCI, Row, command_text, family_of, read_labels, tree_of
from .toolchain_score import (
    SAME_MANAGER,
    Answer,
    Figures,
    Judge,
    corpora,
    figures,
    load_scorer,
    manager_right,
    read_examples,
    unpacked,
)

__all__ = ["Sample", "Samples", "collect", "fit", "fitted", "left_out", "text_of"]

TARGET = Path(autopack_toolchain.__file__).parent / "data/calibration.toml"

Prior = Mapping[str, tuple[float, float]]

MANAGER_PRIOR: Prior = {
    "intercept": (0.0, 2.0),
    "weight": (1.0, 0.5),
    "pieces": (0.3, 0.3),
    "rival": (-2.0, 1.0),
    "guess": (-0.5, 0.5),
}
"""Mean and standard deviation: the weights of detectors were meant as probabilities (slope 1), the rest is mild."""

STEP_PRIOR: Prior = {
    "intercept": (0.0, 2.0),
    "ci": (0.5, 0.5),
    "ci_weight": (2.0, 1.0),
    "weight": (0.3, 0.3),
    "pieces": (0.3, 0.3),
    "rival": (-1.0, 0.5),
    "variants": (-0.3, 0.3),
    "silent_ci": (-0.5, 0.5),
    "side": (-0.3, 0.3),
}
"""As above; a weight says that a command would run rather than that the project uses it, hence half the slope."""

VISIBLE, HIDDEN, EXAMPLES = "CI visible", "CI hidden", "deploy examples"
"""The tracks: labelled repositories with and without their CI files, and the deploy examples."""
TRACK_SHARE = 0.5
"""Each label is asked twice, with and without CI files; together they count once."""
EXAMPLE_SHARE = 0.25
"""Deploy examples follow the rules of their tool: each counts as a quarter of a real repository."""
UNLABELLED_SHARE = 1.0
"""All unlabelled projects of one repository together; their own CI says what is right where it is hidden."""
STEPS = 50
"""Newton steps at most; it takes about six."""
EPSILON = 1e-9
DIGITS = 3
"""Digits of a coefficient: more would differ between builds of the linear algebra and mean nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer.

    Attributes:
        group: repository; what is left out together.
        values: features.
        right: whether the answer is.
        share: how much it counts in a fit.
        track: with which others it counts in a figure; empty for an answer that has no label.
    """

    group: str
    values: Mapping[str, float]
    right: bool
    share: float
    track: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything that is fitted."""

    managers: list[Sample]
    steps: list[Sample]


def collect(directory: Path, trees: Path, examples: Path) -> Samples:
    """Answers of detection for all labelled data, before calibration.

    Args:
        directory: where the labels are.
        trees: the labelled repositories, unpacked.
        examples: the deploy examples, unpacked.
    """
    judge: Judge = load_scorer(directory).entry
    labels = read_labels(directory / "labels.jsonl")
    found = Samples([], [])
    for repo in sorted({label["repo"] for label in labels}):
        own = [label for label in labels if label["repo"] == repo]
        visible, hidden = ranked_at(tree_of(trees, repo)), ranked_at(tree_of(trees, repo), ci=False)
        for track, answer in ((VISIBLE, visible), (HIDDEN, hidden)):
            for label in own:
                add_labelled(found, label, answer, track, judge)
        found.steps.extend(unlabelled(own, visible, hidden, judge))
    for row in read_examples(directory):
        found.managers.extend(example(row, ranked_at(examples / row["tree"])))
    return found


def ranked_at(path: Path, *, ci: bool = True) -> Ranked:
    """A directory, ranked and not calibrated."""
    with autopack_toolchain.DirectoryTree(path) as tree:
        return ranked(tree if ci else NoCI(tree))


def add_labelled(found: Samples, label: Row, answer: Ranked, track: str, judge: Judge) -> None:
    """The answers about one label."""
    same = (p for p in answer.projects if (p.workdir, named(p, label)) == (label["workdir"], label["family"]))
    project = next(same, None)
    if project is None:
        return
    if project.package_manager.name:
        right = manager_right(project.package_manager.name, label)
        values = manager_features(project.package_manager).values()
        found.managers.append(Sample(label["repo"], values, right, TRACK_SHARE, track))
    if test := project.step(StepKind.TEST):
        right = judge(command_text(test.command)) == judge(label["test_command"])
        found.steps.append(Sample(label["repo"], test_values(project, answer), right, TRACK_SHARE, track))


def named(project: Project, label: Row) -> str:
    """The family of a project in the words of a label."""
    return family_of(project.ecosystem, (label["family"],))


def test_values(project: Project, answer: Ranked) -> dict[str, float]:
    """The features of the best test step."""
    return step_features(project, StepKind.TEST, answer.context)[0].values()


def unlabelled(labels: Sequence[Row], visible: Ranked, hidden: Ranked, judge: Judge) -> list[Sample]:
    """Projects without a label whose own CI names their tests: what it names is right where it is hidden."""
    skipped = {(label["workdir"], label["family"]) for label in labels}
    truth = {
        (p.workdir, p.ecosystem): test.command
        for p in visible.projects
        if (test := p.step(StepKind.TEST)) and test.source is Source.CI
    }
    answers = []
    for project in hidden.projects:
        command = truth.get((project.workdir, project.ecosystem))
        test = project.step(StepKind.TEST)
        if command and test and not any((project.workdir, named(project, label)) in skipped for label in labels):
            right = judge(command_text(test.command)) == judge(command_text(command))
            answers.append((test_values(project, hidden), right))
    share = min(TRACK_SHARE, UNLABELLED_SHARE / max(1, len(answers)))
    return [Sample(labels[0]["repo"], values, right, share) for values, right in answers]


def example(row: Row, answer: Ranked) -> list[Sample]:
    """The manager of the first project of a deploy example that names one."""
    manager = answer.projects[0].package_manager if answer.projects else None
    if manager is None or not manager.name or not row["package_managers"]:
        return []
    right = SAME_MANAGER.get(manager.name, manager.name) in row["package_managers"]
    return [Sample(row["tree"], manager_features(manager).values(), right, EXAMPLE_SHARE, EXAMPLES)]


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
    """The maximum of the posterior by Newton's method; it is concave, so there is one."""
    columns = ["intercept", *names]
    x = np.array([[1.0, *(sample.values[name] for name in names)] for sample in samples])
    y = np.array([float(sample.right) for sample in samples])
    share = np.array([sample.share for sample in samples])
    mean = np.array([prior[name][0] for name in columns])
    precision = np.diag([prior[name][1] ** -2 for name in columns])
    beta = mean
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(x @ beta)))
        gradient = x.T @ (share * (y - p)) - precision @ (beta - mean)
        step = np.linalg.solve((x.T * (share * p * (1 - p))) @ x + precision, gradient)
        beta = beta + step
        if float(np.abs(step).max()) < EPSILON:
            break
    return dict(zip(columns, map(float, beta), strict=True))


def fitted(samples: Samples) -> Calibration:
    """Both models on everything."""
    return Calibration(fit(samples.managers, MANAGER_SIGNS, MANAGER_PRIOR), fit(samples.steps, STEP_SIGNS, STEP_PRIOR))


def left_out(samples: Sequence[Sample], signs: Mapping[str, int], prior: Prior) -> dict[str, list[Answer]]:
    """By track, the labelled answers with the confidence of a fit that did not see their repository."""
    found: dict[str, list[Answer]] = {}
    for group in dict.fromkeys(sample.group for sample in samples if sample.track):
        model = fit([sample for sample in samples if sample.group != group], signs, prior)
        for sample in samples:
            if sample.group == group and sample.track:
                found.setdefault(sample.track, []).append(Answer(group, model.probability(sample.values), sample.right))
    return found


def evaluated(samples: Samples) -> dict[str, Figures]:
    """Leave-one-repository-out figures by what was asked and the track."""
    asked = {
        "manager": left_out(samples.managers, MANAGER_SIGNS, MANAGER_PRIOR),
        "test": left_out(samples.steps, STEP_SIGNS, STEP_PRIOR),
    }
    return {f"{what}, {track}": figures(found) for what, by in asked.items() for track, found in by.items()}


def text_of(calibration: Calibration, quality: Mapping[str, Figures]) -> str:
    """``data/calibration.toml``."""
    lines = [
        "# How likely an answer is right: 1 / (1 + exp(-(intercept + sum of coefficient x feature))).",
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

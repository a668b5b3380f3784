"""Answers of detection about labelled repositories, before calibration: what confidence is fitted to and judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import autopack_toolchain
from autopack_kit.commands import Command
from autopack_toolchain import Project, StepKind
from autopack_toolchain.core.detect import Ranked, ranked
from autopack_toolchain.core.features import Context, manager_features, step_features
from autopack_toolchain.core.model import Source
from autopack_toolchain.core.registry import default_registry
from autopack_toolchain.core.shell import simple_commands

from .toolchain import Row, Without, command_text, family_of, is_ci, read_labels, tree_of
from .toolchain_score import SAME_MANAGER, Judge, load_scorer, manager_right, read_examples

__all__ = ["Sample", "Samples", "collect"]

VISIBLE, HIDDEN, EXAMPLES = "CI visible", "CI hidden", "deploy examples"
"""The tracks: labelled repositories with and without their CI files, and the deploy examples."""
BARE = "deploy examples without lock files"
"""Here some answers about managers are wrong. Nothing is fitted to these: in a project that really has no lock file the
usual manager is right more often than in one whose lock file is hidden."""

LABELS = {
    "install_command": StepKind.INSTALL,
    "test_command": StepKind.TEST,
    "lint_command": StepKind.LINT,
    "typecheck_command": StepKind.TYPECHECK,
}
FIGURES = {StepKind.INSTALL: "install", StepKind.TEST: "test", StepKind.LINT: "lint", StepKind.TYPECHECK: "lint"}
"""Which fields of a label tell which step, and under which name its answers are counted."""
TRACK_SHARE = 0.5
"""Each label is asked twice, with and without CI files; together they count once."""
EXAMPLE_SHARE = 0.1
"""Deploy examples are small and follow the rules of their tool: ten of them count as much as a real repository."""
UNLABELLED_SHARE = 0.25
"""What only the repository's CI says, read by ourselves, counts as half a label; and all that is said of one repository
counts as two labels at most."""
UNLABELLED_LABELS = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer.

    Attributes:
        group: repository; what is left out together.
        values: features.
        right: whether the answer is.
        share: how much it counts in a fit.
        about: with which others it counts in a figure, such as ``"test, CI hidden"``; empty if it has no label.
        chance: of this answer among those that have evidence.
    """

    group: str
    values: Mapping[str, float]
    right: bool
    share: float
    about: str = ""
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Samples:
    """Everything that is fitted."""

    managers: list[Sample]
    steps: list[Sample]


def collect(directory: Path, trees: Path, examples: Path) -> Samples:
    """Answers about everything that is labelled.

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
        tree = tree_of(trees, repo)
        visible, hidden = ranked_at(tree), ranked_at(tree, is_ci)
        for track, answer in ((VISIBLE, visible), (HIDDEN, hidden)):
            for label in own:
                add_labelled(found, label, answer, track, judge)
        found.steps.extend(unlabelled(own, visible, hidden))
    for row in read_examples(directory):
        tree = examples / row["tree"]
        found.managers.extend(example(row, ranked_at(tree), EXAMPLE_SHARE, EXAMPLES))
        found.managers.extend(example(row, ranked_at(tree, is_lock), 0.0, BARE))
    return found


def ranked_at(path: Path, hidden: Callable[[str], bool] | None = None) -> Ranked:
    """A directory, ranked and not calibrated, without the files that are to be hidden."""
    with autopack_toolchain.DirectoryTree(path) as tree:
        return ranked(Without(tree, hidden) if hidden else tree)


def is_lock(path: str) -> bool:
    """Whether a file tells which versions were locked."""
    return any(path.rpartition("/")[2] in ecosystem.locks for ecosystem in default_registry().ecosystems.values())


def add_labelled(found: Samples, label: Row, answer: Ranked, track: str, judge: Judge) -> None:
    """The answers about one label."""
    project = project_of(label, answer)
    if project is None:
        return
    if project.package_manager.name:
        right = manager_right(project.package_manager.name, label)
        found.managers.append(manager_sample(label["repo"], project, right, TRACK_SHARE, track))
    for field, kind in LABELS.items():
        step = project.step(kind)
        if step is None or not label.get(field):
            continue
        if kind is StepKind.TEST:
            right = judge(command_text(step.command)) == judge(label[field])
        else:
            right = heart_of_line(label[field], project.workdir, answer.context) == heart(step.command, answer.context)
        values = first_values(project, kind, answer)
        found.steps.append(Sample(label["repo"], values, right, TRACK_SHARE, f"{FIGURES[kind]}, {track}"))


def project_of(label: Row, answer: Ranked) -> Project | None:
    """The project that a label is about."""
    wanted = (label["workdir"], label["family"])
    return next((p for p in answer.projects if (p.workdir, named(p, label)) == wanted), None)


def named(project: Project, label: Row) -> str:
    """The family of a project in the words of a label."""
    return family_of(project.ecosystem, (label["family"],))


def heart(command: Command, context: Context) -> str:
    """What commands have in common that differ in wrappers and arguments only."""
    return context.classifier.entry(command.argv, command.cwd) if command.argv else command_text(command)


def heart_of_line(line: str, workdir: str, context: Context) -> str:
    """The same of a command line."""
    first = next((simple.argv for simple in simple_commands(line) if simple.argv), ())
    return context.classifier.entry(first, workdir) if first else line


def first_values(project: Project, kind: StepKind, answer: Ranked) -> dict[str, float]:
    """The features of the best step for a purpose."""
    return step_features(project, kind, answer.context)[0].values()


def unlabelled(labels: Sequence[Row], visible: Ranked, hidden: Ranked) -> Iterator[Sample]:
    """What nobody labelled and the repository's own CI tells: it is right where its files are hidden."""
    skipped = {
        (label["workdir"], label["family"], kind) for label in labels for f, kind in LABELS.items() if label.get(f)
    }
    truth = {
        (project.workdir, project.ecosystem, kind): heart(step.command, visible.context)
        for project in visible.projects
        for kind in StepKind
        if (step := project.step(kind)) and step.source is Source.CI
    }
    answers = []
    for project in hidden.projects:
        families = {named(project, label) for label in labels}
        for kind in StepKind:
            told, step = truth.get((project.workdir, project.ecosystem, kind)), project.step(kind)
            if told and step and skipped.isdisjoint((project.workdir, family, kind) for family in families):
                answers.append((first_values(project, kind, hidden), heart(step.command, hidden.context) == told))
    share = min(UNLABELLED_SHARE, UNLABELLED_LABELS / max(1, len(answers)))
    return (Sample(labels[0]["repo"], values, right, share) for values, right in answers)


def example(row: Row, answer: Ranked, share: float, track: str) -> list[Sample]:
    """The manager of the first project of a deploy example that names one."""
    manager = answer.projects[0].package_manager if answer.projects else None
    if manager is None or not manager.name or not row["package_managers"]:
        return []
    right = SAME_MANAGER.get(manager.name, manager.name) in row["package_managers"]
    return [manager_sample(row["tree"], answer.projects[0], right, share, track)]


def manager_sample(group: str, project: Project, right: bool, share: float, track: str) -> Sample:
    """The answer about a manager."""
    features = manager_features(project.package_manager)
    return Sample(group, features.values(), right, share, f"manager, {track}", features.chances[0])

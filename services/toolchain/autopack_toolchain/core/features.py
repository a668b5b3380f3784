"""What bears on the confidence of an answer, read from the answer itself, and the confidence that follows from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from .calibration import (
    CERTAINTY,
    Calibration,
    ManagerFeatures,
    StepFeatures,
    default_calibration,
    manager_confidence,
    step_confidence,
)
from .classify import TOOL_ECOSYSTEMS, Classifier, name_kinds
from .model import Evidence, PackageManager, Project, Source, Step, StepKind
from .tasks import Task

__all__ = ["Context", "calibrated", "manager_features", "step_features"]


@dataclass(frozen=True, slots=True)
class Context:
    """What bears on confidence beside the ranked projects.

    Attributes:
        classifier: tells which commands are the same at heart.
        variants: number of named tasks by directory, purpose and ecosystem (empty = any).
        side_directories: names of directories whose projects matter less.
        ci: whether commands of continuous integration were read.
    """

    classifier: Classifier
    variants: Mapping[tuple[str, StepKind, str], int]
    side_directories: frozenset[str]
    ci: bool

    @classmethod
    def of(
        cls, classifier: Classifier, tasks: Iterable[Task], side_directories: frozenset[str], *, ci: bool
    ) -> Context:
        """The context of one tree."""
        variants = Counter(
            (task.directory, kind, TOOL_ECOSYSTEMS.get(task.tool, ""))
            for task in tasks
            for kind in name_kinds(classifier.programs, task.name)
        )
        return cls(classifier, variants, side_directories, ci)

    def heart(self, step: Step) -> str:
        """What two commands have in common that differ in wrappers and arguments only."""
        command = step.command
        return self.classifier.entry(command.argv, command.cwd) if command.argv else command.line()

    def opaque(self, step: Step) -> bool:
        """Whether it cannot be seen what a step runs in the end."""
        command = step.command
        uses = self.classifier.uses(command.argv, command.cwd) if command.argv else ()
        return not any(use.kind is step.kind and use.runner for use in uses)


def calibrated(projects: Iterable[Project], context: Context, calibration: Calibration | None = None) -> list[Project]:
    """Ranked projects with the confidence of managers and steps on one scale.

    Args:
        projects: as ranked; their confidences are combined weights.
        context: what else is known.
        calibration: the fitted models; the package's own if None.
    """
    models = calibration or default_calibration()
    found = []
    for project in projects:
        manager = _manager(project.package_manager, models)
        found.append(replace(project, package_manager=manager, steps=_steps(project, manager, context, models)))
    return found


def manager_features(manager: PackageManager) -> ManagerFeatures:
    """What ranking saw of the best manager."""
    return ManagerFeatures(
        weight=combined(manager.evidence),
        rivals=tuple(combined(other.evidence) for other in manager.alternatives),
        pieces=len({item.path for item in manager.evidence}),
        guess=not any(item.path for item in manager.evidence),
    )


def step_features(project: Project, kind: StepKind, context: Context) -> list[StepFeatures]:
    """What ranking saw of the steps for one purpose, in their order."""
    steps = [step for step in project.steps if step.kind is kind]
    hearts = [context.heart(step) for step in steps] if len(steps) > 1 else [""]
    side = not context.side_directories.isdisjoint(project.workdir.split("/"))
    variants = sum(context.variants.get((project.workdir, kind, of), 0) for of in (project.ecosystem, ""))
    return [
        StepFeatures(
            kind=kind,
            source=step.source,
            weight=step.confidence,
            rival=_rival(step, heart, steps, hearts),
            pieces=_pieces(heart, steps, hearts),
            variants=variants,
            opaque=context.opaque(step),
            silent_ci=context.ci and step.source is not Source.CI,
            side=side,
        )
        for step, heart in zip(steps, hearts, strict=False)
    ]


def _rival(step: Step, heart: str, steps: Sequence[Step], hearts: Sequence[str]) -> float:
    others = zip(steps, hearts, strict=True)
    return max((o.confidence for o, name in others if name != heart and o.source >= step.source), default=0.0)


def _pieces(heart: str, steps: Sequence[Step], hearts: Sequence[str]) -> int:
    same = (step for step, name in zip(steps, hearts, strict=True) if name == heart)
    return len({item.path for step in same for item in step.evidence})


def combined(evidence: Iterable[Evidence]) -> float:
    """The weight of several observations, taken as independent signs."""
    return min(CERTAINTY, 1 - math.prod(1 - item.weight for item in evidence))


def _manager(manager: PackageManager, models: Calibration) -> PackageManager:
    if not manager.name:
        return manager
    features = manager_features(manager)
    confidence = manager_confidence(features, models)
    first, *others = features.chances
    alternatives = tuple(
        replace(other, confidence=round(confidence / first * chance, 4))
        for other, chance in zip(manager.alternatives, others, strict=True)
    )
    return replace(manager, confidence=confidence, alternatives=alternatives)


def _steps(project: Project, manager: PackageManager, context: Context, models: Calibration) -> tuple[Step, ...]:
    found = []
    for kind, group in groupby(project.steps, lambda step: step.kind):
        # Steps are alternatives, best first; an installation cannot be more certain than what installs.
        limit = manager.confidence if kind is StepKind.INSTALL and manager.name else CERTAINTY
        for step, features in zip(group, step_features(project, kind, context), strict=True):
            limit = min(limit, step_confidence(features, models))
            found.append(replace(step, confidence=limit))
    return tuple(found)

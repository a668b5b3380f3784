"""What a run installs and what validates it: the batch's own steps, else the detected ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autopack_kit.commands import Command

from autopack_orchestrator.core.model import RunSpec, StepKind

__all__ = ["DetectedProject", "DetectedStep", "StepPlan", "plan_steps"]

MIN_CONFIDENCE = 0.3  # below, a guess would fail more runs than it validates


@dataclass(frozen=True, slots=True)
class DetectedStep:
    """One step of a project, as the toolchain service reports it."""

    kind: StepKind
    command: Command
    confidence: float


@dataclass(frozen=True, slots=True)
class DetectedProject:
    """One project of the repository, as the toolchain service reports it."""

    workdir: str
    ecosystem: str
    package_manager: str
    steps: tuple[DetectedStep, ...]

    def best(self, kind: StepKind) -> Command | None:
        """The surest step of a kind, if it is sure enough; the first of equals. The others are alternatives to it."""
        steps = [step for step in self.steps if step.kind is kind and step.confidence >= MIN_CONFIDENCE]
        return max(steps, key=lambda step: step.confidence).command if steps else None


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The commands of a run, in the order in which they run."""

    install: tuple[Command, ...] = ()
    validate: tuple[Command, ...] = ()


def plan_steps(spec: RunSpec, projects: Sequence[DetectedProject]) -> StepPlan:
    """The steps of ``spec``: one INSTALL step per project, and its best step of each kind that validates."""
    install = spec.install or _detected(projects, (StepKind.INSTALL,))
    validate = spec.validate or _detected(projects, spec.validate_kinds)
    return StepPlan(install=install, validate=validate)


def _detected(projects: Sequence[DetectedProject], kinds: Sequence[StepKind]) -> tuple[Command, ...]:
    found = (project.best(kind) for project in projects for kind in kinds)
    # dict.fromkeys would need hashable commands; their environment is a mapping.
    commands: list[Command] = []
    for command in found:
        if command is not None and command not in commands:
            commands.append(command)
    return tuple(commands)

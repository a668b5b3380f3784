"""What detection says: projects, their package managers and steps, and the evidence for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from autopack_kit.commands import Command

__all__ = [
    "Candidate",
    "Detection",
    "DetectionWarning",
    "Evidence",
    "PackageManager",
    "Project",
    "RuntimeVersion",
    "Source",
    "Step",
    "StepKind",
    "WorkspaceInfo",
]


class StepKind(Enum):
    """What a step is for; the order is the order in which steps are listed."""

    INSTALL = "install"
    BUILD = "build"
    TEST = "test"
    LINT = "lint"
    TYPECHECK = "typecheck"
    FORMAT = "format"
    RUN = "run"


class Source(IntEnum):
    """Where a command was learned from. A stronger source wins over a weaker one whatever the weights are."""

    DEFAULT = 1
    """What people of this language usually run."""
    FILES = 2
    """What the test files import or declare."""
    CONFIGURATION = 3
    """A declared tool or its configuration."""
    TASK = 4
    """A named task of the project's own: a package script, a make target that does more than call the runner."""
    CI = 5
    """A command that the project's own continuous integration runs."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation that speaks for an answer.

    Attributes:
        path: file relative to the root of the source; empty when it is not in a file.
        line: from 1; 0 = the file as a whole.
        signal: what was seen, as a short stable phrase.
        weight: how strongly it speaks for the answer, 0 to 1.
    """

    path: str
    line: int
    signal: str
    weight: float


@dataclass(frozen=True, slots=True)
class PackageManager:
    """The tool that installs the dependencies; ``alternatives`` are the others that have evidence, best first."""

    name: str
    version: str
    confidence: float
    alternatives: tuple[PackageManager, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """A runtime and the versions the project accepts, as its source writes them."""

    name: str
    constraint: str
    source: Evidence


@dataclass(frozen=True, slots=True)
class Step:
    """One command for one purpose; ``source`` is the strongest of what names it."""

    kind: StepKind
    command: Command
    confidence: float
    evidence: tuple[Evidence, ...]
    source: Source = Source.DEFAULT

    @property
    def tool(self) -> str:
        """The program that must be on PATH to run it; empty for a program of the repository itself (``./mvnw``)."""
        script = self.command.script
        program = (script.interpreter if script else self.command.argv)[0]
        return "" if "/" in program else program


@dataclass(frozen=True, slots=True)
class WorkspaceInfo:
    """Several packages that one tool installs or builds together.

    Attributes:
        tool: what ties them together, for example ``"pnpm"``, ``"nx"`` or ``"cargo"``.
        root: directory of the root.
        members: their directories, sorted; only on the project that is the root.
        evidence: where they are declared.
    """

    tool: str
    root: str
    members: tuple[str, ...]
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Project:
    """One directory with a manifest of one ecosystem.

    ``package_manager`` has an empty name and confidence 0 where nothing manages packages. ``steps`` are best first
    within a kind: alternatives, not a sequence. ``workspace`` is set on the root and on the members of one.
    """

    workdir: str
    ecosystem: str
    confidence: float
    package_manager: PackageManager
    runtime_versions: tuple[RuntimeVersion, ...]
    steps: tuple[Step, ...]
    evidence: tuple[Evidence, ...]
    workspace: WorkspaceInfo | None = None

    def step(self, kind: StepKind) -> Step | None:
        """The best step of a kind, or None."""
        return next((step for step in self.steps if step.kind is kind), None)


@dataclass(frozen=True, slots=True)
class DetectionWarning:
    """Something the reader should know: stable ``reason``, a sentence with the remedy, and the files it is about."""

    reason: str
    message: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """The whole answer, ordered by workdir, then confidence."""

    projects: tuple[Project, ...]
    warnings: tuple[DetectionWarning, ...]

    @property
    def tools(self) -> frozenset[str]:
        """Every program that some step needs on PATH."""
        return frozenset(step.tool for project in self.projects for step in project.steps if step.tool)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A claim of a detector, before ranking: a project, a manager, a step or a runtime version.

    One of ``manager``, ``command``, ``runtime`` and ``workspace`` is the claim; with none of them it claims the
    project itself.

    Attributes:
        workdir: directory of the project.
        ecosystem: for example ``"python"``.
        evidence: why; the weights are combined by :mod:`.ranking`.
        manager: name of a package manager.
        version: version of that manager, or empty.
        kind, command: a step.
        only_with: managers with which this step makes sense; empty = any.
        runtime: a runtime version.
        workspace: what the project is the root or a member of.
        source: where a step was learned.
    """

    workdir: str
    ecosystem: str
    evidence: tuple[Evidence, ...]
    manager: str = ""
    version: str = ""
    kind: StepKind | None = None
    command: Command | None = None
    only_with: tuple[str, ...] = ()
    runtime: RuntimeVersion | None = None
    workspace: WorkspaceInfo | None = None
    source: Source = Source.DEFAULT

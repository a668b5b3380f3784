"""What a diagnosis is made of: the failure that comes in, the explanation that goes out.

Values read from the output (captures, names, paths) are attacker-controlled text: nothing here is ever executed, and an
action holds only what the caller's own facts say.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from autopack_kit.commands import Command

from autopack_hardening.core.actions import (
    Action,
    ActionKind,
    ChangeCwd,
    DeclaredAtBase,
    DirectoryExists,
    EditCommand,
    FileExists,
    InstallDeclared,
    PathAbsent,
    Precondition,
    RegenerateLockfile,
    RemoveStaleLock,
    RestoreOutOfScope,
    RetryWithBackoff,
    RunCommand,
    RunFormatter,
    SetEnv,
    SwitchRuntime,
)

__all__ = [
    "Action",
    "ActionKind",
    "Approval",
    "ChangeCwd",
    "DeclaredAtBase",
    "DeclaredDependency",
    "Diagnosis",
    "DiagnosisResult",
    "DirectoryExists",
    "EditCommand",
    "Ending",
    "Failure",
    "FileExists",
    "InstallDeclared",
    "Mitigation",
    "Outcome",
    "PathAbsent",
    "Precondition",
    "ProjectFacts",
    "RegenerateLockfile",
    "RemoveStaleLock",
    "RestoreOutOfScope",
    "RetryWithBackoff",
    "Risk",
    "RunCommand",
    "RunFormatter",
    "Runtime",
    "SetEnv",
    "Suggestion",
    "SwitchRuntime",
]


class Outcome(enum.Enum):
    """The result of a diagnosis as a whole."""

    MATCHED = "MATCHED"
    AMBIGUOUS = "AMBIGUOUS"
    NO_MATCH = "NO_MATCH"
    NO_OUTPUT = "NO_OUTPUT"
    SUCCEEDED = "SUCCEEDED"


class Risk(enum.Enum):
    """What a mitigation may touch, from the process alone to code that nobody reviewed."""

    NONE = "NONE"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"

    @property
    def degree(self) -> int:
        """0 for the least."""
        return list(Risk).index(self)


class Approval(enum.Enum):
    """How freely a mitigation may be applied."""

    AUTOMATIC = "AUTOMATIC"
    """Without asking, if what it needs holds."""
    CONSENT = "CONSENT"
    """Only if a person or a policy agreed."""
    NEVER = "NEVER"
    """There is only advice."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended: exactly one of the three.

    Attributes:
        exit_code: its exit code.
        signal: number of the signal that ended it.
        timed_out: it was killed because its time was over.
    """

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False

    def __post_init__(self) -> None:
        if (self.exit_code is not None) + (self.signal is not None) + self.timed_out != 1:
            raise ValueError("a command ends in exactly one way: exit_code, signal or timed_out")

    @property
    def succeeded(self) -> bool:
        """True for exit code 0 and nothing else."""
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class DeclaredDependency:
    """A dependency as a manifest or lock file declares it.

    Attributes:
        name: name of the distribution, as declared.
        path: the declaring file, relative to the workspace.
        declared_at_base: whether the same file declared it at the run's base commit. What the run itself added is not
            trusted: it may come from the same invented name that fails now.
    """

    name: str
    path: str
    declared_at_base: bool


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """What is known of one project.

    Attributes:
        workdir: directory relative to the workspace; ``"."`` is the root.
        ecosystem: ``"python"``, ``"node"``, ...
        package_manager: ``"pip"``, ``"npm"``, ...
        install: the project's own install commands, best first.
        dependencies: what it declares.
    """

    workdir: str
    ecosystem: str
    package_manager: str = ""
    install: tuple[Command, ...] = ()
    dependencies: tuple[DeclaredDependency, ...] = ()


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that is installed on the host of the command.

    Attributes:
        name: ``python``, ``node``, ``java``, ...
        version: ``3.12.4``.
        directory: absolute directory of its programs.
    """

    name: str
    version: str
    directory: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One command that ended, and what is known of its workspace.

    Attributes:
        command: what ran; None if unknown, and then no action is proposed, only advice.
        ending: how it ended.
        output: stdout and stderr as they came, any bytes; of a long one the tail.
        projects: the projects of the workspace.
        paths: files and directories of the workspace, relative; directories end in ``/``.
        scope: globs (gitwildmatch) in which the run may change files; empty = everywhere.
        out_of_scope_paths: what the run changed outside, as far as the caller knows.
        head: the beginning of the output, where ``output`` is its tail.
        first_line: number of the first line of ``output`` in the whole, from 1; 0 = it follows ``head``.
        runtimes: what is installed beside the runtime in use.
    """

    command: Command | None
    ending: Ending
    output: bytes
    projects: tuple[ProjectFacts, ...] = ()
    paths: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    out_of_scope_paths: tuple[str, ...] = ()
    head: bytes = b""
    first_line: int = 0
    runtimes: tuple[Runtime, ...] = ()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Advice, never executed.

    Attributes:
        text: what to consider.
        risk: what could go wrong if it is followed blindly.
    """

    text: str
    risk: str = ""


@dataclass(frozen=True, slots=True)
class Mitigation:
    """A fix as typed actions (all or none, in order) and advice.

    Attributes:
        actions: may be empty: then there is only advice.
        suggestions: advice for a person or an agent.
        risk: what the actions may touch.
        automatic: whether the actions are safe to apply without asking; never without actions.
        consent_reason: why they are not, where they are not.
        verify: how to prove that it helped.
    """

    actions: tuple[Action, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    risk: Risk = Risk.NONE
    automatic: bool = False
    consent_reason: str = ""
    verify: str = ""

    @property
    def approval(self) -> Approval:
        """How freely it may be applied."""
        if not self.actions:
            return Approval.NEVER
        return Approval.AUTOMATIC if self.automatic else Approval.CONSENT


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One explanation of a failure.

    Attributes:
        pattern_id: the pattern that matched.
        title: a few words.
        priority: 1 comes first.
        confidence: 0 to 1: a judgement per expression, lowered where the facts do not confirm it.
        excerpt: the line that decided, at most 400 bytes.
        line: its number in the output as sent, from 1; 0 if the ending alone decided.
        captures: what was read from the output.
        mitigation: what to do.
        aliases: earlier names of the pattern.
    """

    pattern_id: str
    title: str
    priority: int
    confidence: float
    excerpt: bytes
    line: int
    captures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    mitigation: Mitigation = field(default_factory=Mitigation)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiagnosisResult:
    """The outcome, and the diagnoses, best first; empty unless MATCHED or AMBIGUOUS."""

    outcome: Outcome
    diagnoses: tuple[Diagnosis, ...] = ()

"""The closed set of things that a mitigation may do, and the conditions that are checked just before.

An action is fully resolved: whoever applies it decides nothing. Nothing in it comes from an output, except where the
caller's own facts say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autopack_kit.commands import Command

__all__ = [
    "Action",
    "ActionKind",
    "ChangeCwd",
    "DeclaredAtBase",
    "DirectoryExists",
    "EditCommand",
    "FileExists",
    "InstallDeclared",
    "PathAbsent",
    "Precondition",
    "RegenerateLockfile",
    "RemoveStaleLock",
    "RestoreOutOfScope",
    "RetryWithBackoff",
    "RunCommand",
    "RunFormatter",
    "SetEnv",
    "SwitchRuntime",
]


@dataclass(frozen=True, slots=True)
class FileExists:
    """A regular file exists at ``path``."""

    path: str


@dataclass(frozen=True, slots=True)
class DirectoryExists:
    """A directory exists at ``path``."""

    path: str


@dataclass(frozen=True, slots=True)
class PathAbsent:
    """Nothing exists at ``path``."""

    path: str


@dataclass(frozen=True, slots=True)
class DeclaredAtBase:
    """The file at ``path`` declares ``name`` at the base commit."""

    name: str
    path: str


Precondition = FileExists | DirectoryExists | PathAbsent | DeclaredAtBase


@dataclass(frozen=True, slots=True)
class InstallDeclared:
    """Install what the project declares with the project's own commands.

    Attributes:
        commands: the project's install commands, in order; never built from the output.
        distributions: what this should make present.
        declared_in: the file that declares the first of them.
    """

    commands: tuple[Command, ...]
    distributions: tuple[str, ...]
    declared_in: str


@dataclass(frozen=True, slots=True)
class ChangeCwd:
    """Run the same command again in ``cwd``, relative to the workspace."""

    cwd: str


@dataclass(frozen=True, slots=True)
class SetEnv:
    """Run the same command again with variables set, for that command alone."""

    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run one command of the pattern's own words, then the same command again."""

    command: Command


@dataclass(frozen=True, slots=True)
class RunFormatter:
    """Let a formatter rewrite files of the scope, then run the same command again.

    Attributes:
        command: the formatter, with ``paths`` as its last words.
        paths: what it may rewrite, relative to the workspace.
    """

    command: Command
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegenerateLockfile:
    """Resolve again what the manifest declares, show the difference of the lock file, run the same command again.

    Attributes:
        command: the package manager's own command for it.
        files: the lock files that may change; nothing else may.
    """

    command: Command
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SwitchRuntime:
    """Run the same command again with another runtime that is installed already.

    Attributes:
        name: ``python``, ``node``, ``java``, ``go``, ``rust``, ...
        version: of the runtime that fits.
        directory: absolute directory of its programs, which comes first on the search path; from the caller's facts.
    """

    name: str
    version: str
    directory: str


@dataclass(frozen=True, slots=True)
class RemoveStaleLock:
    """Remove a lock that its owner left behind.

    Attributes:
        path: relative to the workspace.
        min_age_s: seconds for which it must not have been touched; nobody may hold it open either.
    """

    path: str
    min_age_s: int


@dataclass(frozen=True, slots=True)
class RetryWithBackoff:
    """Run the same command again after a pause that doubles, with jitter.

    Attributes:
        attempts: how often at most.
        initial_s: seconds before the first.
        max_s: seconds of the longest pause.
    """

    attempts: int
    initial_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class EditCommand:
    """Run another command instead of the failed one: the same with words of the pattern's own put in or left out."""

    command: Command


@dataclass(frozen=True, slots=True)
class RestoreOutOfScope:
    """Bring files back to the base commit."""

    paths: tuple[str, ...]


ActionKind = (
    InstallDeclared
    | ChangeCwd
    | SetEnv
    | RunCommand
    | RunFormatter
    | RegenerateLockfile
    | SwitchRuntime
    | RemoveStaleLock
    | RetryWithBackoff
    | EditCommand
    | RestoreOutOfScope
)


@dataclass(frozen=True, slots=True)
class Action:
    """One change, and what must hold in the workspace just before it."""

    kind: ActionKind
    preconditions: tuple[Precondition, ...] = ()

"""What every reader of a CI system gives: commands with where, when and under what conditions they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ..shell import MAX_SHELL_BYTES

__all__ = ["MAX_CI_COMMANDS", "CiCommand", "Gathered", "system_of"]

MAX_CI_COMMANDS = 2000
"""Commands at most from one repository: the largest of 38 surveyed has 900."""


@dataclass(frozen=True, slots=True)
class CiCommand:
    """One step of a CI job: a piece of script, or an action that it uses.

    Expressions of the CI system whose value is not known stand as :data:`..shell.PLACEHOLDER` in all texts.

    Attributes:
        path: the CI file.
        line: the line on which the text of the script begins, from 1; 0 = not known.
        workflow: name of the workflow or pipeline; its file's name if it has none.
        job: key of the job.
        step: name of the step, or empty.
        script: the text of the script; empty where ``uses`` is set.
        workdir: where it starts, relative to the root of the repository; ``"."`` by default, ``"?"`` = not known.
        shell: the program that reads the script: ``bash``, ``sh``, ``pwsh``, ``cmd``, ``python`` ...
        env: variables whose values are literal, of workflow, job and step.
        system: ``linux``, ``windows``, ``macos``, or empty where it is not told.
        triggers: what starts the workflow: ``push``, ``pull_request``, ``schedule``, ``release`` (tags too),
            ``manual``, ``call`` (only other repositories start it) ...
        condition: conditions of job and step as they are written, joined by ``&&``.
        uses: the action or orb, without its version.
        with_: the inputs of that action.
        depth: 0 = in the workflow itself; more = reached through actions, workflows or templates of the repository.
    """

    path: str
    line: int = 0
    workflow: str = ""
    job: str = ""
    step: str = ""
    script: str = ""
    workdir: str = "."
    shell: str = "bash"
    env: Mapping[str, str] = field(default_factory=dict)
    system: str = ""
    triggers: frozenset[str] = frozenset()
    condition: str = ""
    uses: str = ""
    with_: Mapping[str, str] = field(default_factory=dict)
    depth: int = 0


class Gathered:
    """Commands in the order in which they were read, at most :data:`MAX_CI_COMMANDS`, each once."""

    def __init__(self) -> None:
        self.commands: list[CiCommand] = []
        self._seen: set[tuple[object, ...]] = set()

    @property
    def full(self) -> bool:
        """Whether no more are taken."""
        return len(self.commands) >= MAX_CI_COMMANDS

    def add(self, command: CiCommand) -> None:
        """Takes a command, unless the same of the same job is there."""
        if not (command.script.strip() or command.uses) or len(command.script) > MAX_SHELL_BYTES or self.full:
            return
        inputs = tuple(command.with_.items())
        key = (command.path, command.line, command.job, command.script, command.workdir, command.uses, inputs)
        if key not in self._seen:
            self._seen.add(key)
            self.commands.append(command)


_SYSTEMS = (
    ("windows", ("windows", "win-", "win20", "vs20", "visual studio")),
    ("macos", ("macos", "mac-", "osx", "xcode", "darwin")),
    (
        "linux",
        ("ubuntu", "linux", "debian", "fedora", "alpine", "centos", "xenial", "bionic", "focal", "jammy", "noble"),
    ),
)


@lru_cache(maxsize=256)  # a few labels, asked for at every step
def system_of(*labels: str) -> str:
    """The operating system that labels or names of images of a runner tell; empty if they do not."""
    for system, words in _SYSTEMS:
        if any(word in label.lower() for label in labels for word in words):
            return system
    return ""

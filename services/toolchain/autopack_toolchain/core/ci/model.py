"""What every reader of a CI system gives: commands with where, when and under what conditions they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ..shell import MAX_SHELL_BYTES
from ..workspace import Workspace
from .document import Value, load

__all__ = ["MAX_CI_COMMANDS", "CiCommand", "Gathered", "system_of"]

MAX_CI_COMMANDS = 2000
"""Commands at most from one repository: the largest of 38 surveyed has 824."""

MAX_CI_FILES = 40
"""Files at most that are parsed, the likeliest first: the largest of 38 surveyed repositories has 28 that matter."""

MAX_CI_CHARACTERS = 1 << 20
"""Characters at most that are parsed, because that costs 0.2 ms a KiB. The largest of 38 surveyed has 312,000."""

MAX_SCRIPT_CHARACTERS = 256 << 10
"""Characters at most of all scripts together: they are read again as shell text, and one alias may stand for many. The
largest of 38 surveyed repositories has 94,000."""

MAX_LOOKS = 20_000
"""Steps, variables, jobs, templates and lines of lists at most that are looked at: they may use each other, so that few
lines make many. The largest of 38 surveyed repositories needs 1,000."""

MAX_VARIABLES = 100
"""Variables or inputs at most of one level of a file: of 38 surveyed repositories none sets more than 34."""


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
    """Commands in the order in which they were read, each once; and what reading may still cost."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.commands: list[CiCommand] = []
        self._places: dict[tuple[object, ...], int] = {}
        self._parsed: set[str] = set()
        self._characters = MAX_CI_CHARACTERS
        self._looks = MAX_LOOKS
        self._left = MAX_SCRIPT_CHARACTERS

    @property
    def full(self) -> bool:
        """Whether no more are taken."""
        return len(self.commands) >= MAX_CI_COMMANDS or self._looks <= 0 or self._left <= 0

    def look(self, count: int = 1) -> bool:
        """Counts looks at steps, jobs and the like, which may use each other; False if no more are taken."""
        self._looks -= count
        return not self.full

    def documents(self, path: str) -> list[Value]:
        """The documents of a file; none if it is broken (a warning then), or one file too many."""
        if path not in self._parsed:
            size = len(self.workspace.text(path))
            if len(self._parsed) >= MAX_CI_FILES or size > self._characters:
                message = (
                    f"More than {MAX_CI_FILES} CI files, or {MAX_CI_CHARACTERS:,} characters of them: some were not "
                    "read. Those whose names tell of tests and checks come first; name them so."
                )
                self.workspace.warn("TOO_MANY_CI_FILES", message)
                return []
            self._parsed.add(path)
            self._characters -= size
        return load(self.workspace, path)

    def root(self, path: str) -> Value:
        """The first document of a file, or nothing."""
        return next(iter(self.documents(path)), Value(None))

    def add(self, command: CiCommand) -> None:
        """Takes a command; one that is there already, because several workflows use it, gains what starts it."""
        if not (command.script.strip() or command.uses) or len(command.script) > MAX_SHELL_BYTES or self.full:
            return
        variables = (tuple(command.with_.items()), tuple(command.env.items()))
        key = (command.path, command.line, command.job, command.script, command.workdir, command.uses, variables)
        place = self._places.setdefault(key, len(self.commands))
        if place == len(self.commands):
            self._left -= len(command.script)
            self.commands.append(command)
        elif not command.triggers <= self.commands[place].triggers:
            known = self.commands[place]
            self.commands[place] = replace(known, triggers=known.triggers | command.triggers)


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

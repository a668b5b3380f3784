"""Steps of GitHub Actions: scripts, actions, and the composite actions of the same repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..shell import PLACEHOLDER, UNKNOWN, directory_after
from ..workspace import Workspace, join
from .document import Value, load
from .expressions import fill
from .matrix import Row, known_values, variants
from .model import CiCommand, Gathered, system_of

__all__ = ["Place", "StepReader", "inputs_of"]

MAX_DEPTH = 4
"""Actions and workflows within each other at most: GitHub allows workflows four deep."""

_COMMAND_INPUTS = frozenset({"command", "cmd", "run", "script", "args", "arguments", "tests"})


@dataclass(frozen=True, slots=True)
class Place:
    """What steps inherit from their job.

    Attributes:
        command: what all commands of the job have in common.
        values: references whose values are known.
        rows: rows of the matrix.
        runner: ``runs-on``.
        checkout: where the repository is checked out to below the workspace; empty = in it.
        inherited: default ``working-directory`` and ``shell``, as they are written.
        env: variables of workflow and job as they are written.
    """

    command: CiCommand
    values: Mapping[str, str]
    rows: list[Row]
    runner: tuple[str, ...] = ()
    checkout: str = ""
    inherited: tuple[str, str] = ("", "")
    env: Mapping[str, str] = field(default_factory=dict)


class StepReader:
    """Reads the steps of jobs and actions into ``gathered``."""

    def __init__(self, workspace: Workspace, gathered: Gathered) -> None:
        self._workspace = workspace
        self._gathered = gathered

    def read(self, steps: list[Value], place: Place) -> None:
        """The steps of a job or an action, in order."""
        for step in steps:
            if self._gathered.full:
                return
            self._step(step, place)

    def _step(self, step: Value, place: Place) -> None:
        run, uses = step.get("run").text, step.get("uses").text
        inputs = step.get("with").texts()
        workdir = step.get("working-directory").text or place.inherited[0]
        env = {**place.env, **step.get("env").texts()}
        telling = [run, workdir, *(text for name, text in inputs.items() if name in _COMMAND_INPUTS)]
        for rows in variants(place.rows, telling):
            values = _with_env({**place.values, **_told_by(rows, place.runner)}, env)
            filled = {name: fill(text, values) for name, text in env.items()}
            command = replace(
                place.command,
                line=step.get("run" if run else "uses").line,
                step=fill(step.get("name").text, values),
                env={name: text for name, text in filled.items() if PLACEHOLDER not in text},
                system=_system(place.runner, rows) or place.command.system,
                condition=" && ".join(filter(None, (place.command.condition, step.get("if").text))),
                workdir=_workdir(fill(workdir, values), place.checkout),
            )
            if run:
                shell = fill(step.get("shell").text or place.inherited[1], {**values, **_first(rows)})
                self._gathered.add(replace(command, script=fill(run, values), shell=_shell(shell, command.system)))
            elif uses:
                self._use(uses, {name: fill(text, values) for name, text in inputs.items()}, command, place)

    def _use(self, uses: str, inputs: dict[str, str], command: CiCommand, place: Place) -> None:
        path = self._local(uses, place.checkout)
        if path is None:
            self._gathered.add(replace(command, uses=uses.partition("@")[0], with_=inputs, workdir="."))
        elif path and command.depth < MAX_DEPTH:
            action = next(iter(load(self._workspace, path)), Value(None))
            inner = replace(command, path=path, depth=command.depth + 1, workdir=".")
            values = {"github.workspace": "$GITHUB_WORKSPACE", **inputs_of(action.get("inputs"), inputs)}
            env = {name: text for name, text in command.env.items() if "${{" not in text}
            self.read(
                action.get("runs", "steps").items(), Place(inner, values, [{}], (), place.checkout, ("", ""), env)
            )

    def _local(self, uses: str, checkout: str) -> str | None:
        """The file of an action of this repository; empty if it is not there, None if it is no local one."""
        directory = uses.removeprefix("./").rstrip("/") or "."
        if not uses.startswith("./"):
            _, marker, below = uses.partition("@")[0].partition("/.github/actions/")
            directory = f".github/actions/{below.rstrip('/')}" if marker else ""
        elif checkout:
            directory = directory.removeprefix(checkout + "/")
        names = self._workspace.names(directory) if directory else set()
        for name in ("action.yml", "action.yaml"):
            if name in names:
                return join(directory, name)
        return "" if uses.startswith("./") else None


def inputs_of(declared: Value, given: Mapping[str, str]) -> dict[str, str]:
    """The inputs of an action or workflow as references: what is given, else the default, else empty."""
    values = {
        f"inputs.{name.lower()}": given.get(name, declaration.get("default").text)
        for name, declaration in declared.entries().items()
    }
    return {name: text for name, text in values.items() if PLACEHOLDER not in text and "${{" not in text}


def _told_by(rows: list[Row], runner: tuple[str, ...]) -> dict[str, str]:
    names = {"linux": "Linux", "windows": "Windows", "macos": "macOS"}
    system = _system(runner, rows)
    return {**known_values(rows), **({"runner.os": names[system]} if system else {})}


def _system(runner: tuple[str, ...], rows: list[Row]) -> str:
    """The system of the first row: rows for Linux stand first."""
    return system_of(*(fill(label, _first(rows)) for label in runner))


def _first(rows: list[Row]) -> Row:
    return rows[0] if rows else {}


def _with_env(values: dict[str, str], env: Mapping[str, str]) -> dict[str, str]:
    for name, text in env.items():
        filled = fill(text, values)
        if PLACEHOLDER not in filled:
            values[f"env.{name.lower()}"] = filled
    return values


def _workdir(text: str, checkout: str) -> str:
    directory = directory_after(".", text) if text else "."
    if not checkout or directory == UNKNOWN:
        return directory
    if directory == checkout:
        return "."
    return directory.removeprefix(checkout + "/") if directory.startswith(checkout + "/") else UNKNOWN


def _shell(text: str, system: str) -> str:
    """The program's name; what runs where none is named depends on the system."""
    words = text.split()
    if not words or PLACEHOLDER in words[0]:
        return "pwsh" if system == "windows" else "bash"
    return words[0].replace("\\", "/").rpartition("/")[2].lower().removesuffix(".exe")


def checkout_path(steps: list[Value]) -> Iterator[str]:
    """Where steps check the repository itself out to."""
    for step in steps:
        if step.get("uses").text.startswith("actions/checkout@") and not step.get("with", "repository"):
            path = step.get("with", "path").text.removeprefix("./").strip("/")
            yield "" if "${{" in path else path

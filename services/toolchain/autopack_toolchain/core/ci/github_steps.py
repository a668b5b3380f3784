"""Steps of GitHub Actions: scripts, actions, and the composite actions of the same repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from ..shell import MAX_SHELL_BYTES, PLACEHOLDER, UNKNOWN, directory_after
from ..workspace import join
from .document import Value
from .expressions import fill
from .matrix import Row, known_values, variants, varying_keys
from .model import MAX_VARIABLES, CiCommand, Gathered, system_of

__all__ = ["Place", "StepReader", "checkout_path", "env_of", "inputs_of"]

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

    def __init__(self, gathered: Gathered) -> None:
        self._workspace = gathered.workspace
        self._gathered = gathered

    def read(self, steps: list[Value], place: Place) -> None:
        """The steps of a job or an action, in order."""
        known = _known(place, place.rows, {})
        varying = varying_keys(place.rows)
        for step in steps:
            if not self._gathered.look():
                return
            self._step(step, place, known, varying)

    def _step(self, step: Value, place: Place, of_job: _Known, varying: frozenset[str]) -> None:
        fields = step.entries()
        texts = step.texts()
        run = texts.get("run", "")
        uses = "" if run else texts.get("uses", "")
        if not (run or uses) or len(run) > MAX_SHELL_BYTES:
            return
        inputs = fields["with"].texts() if uses and "with" in fields else {}
        workdir = texts.get("working-directory") or place.inherited[0]
        env = env_of(step) if "env" in fields else {}
        self._gathered.look(len(env) + len(place.env) if env else 0)
        telling = [run, workdir, *(text for name, text in inputs.items() if name in _COMMAND_INPUTS)]
        condition = " && ".join(filter(None, (place.command.condition, texts.get("if", ""))))
        for rows in variants(place.rows, varying, telling):
            known = of_job if rows is place.rows and not env else _known(place, rows, env)
            command = CiCommand(
                path=place.command.path,
                line=fields["run" if run else "uses"].line,
                workflow=place.command.workflow,
                job=place.command.job,
                step=fill(texts.get("name", ""), known.values),
                script=fill(run, known.values),
                workdir=_workdir(fill(workdir, known.values), place.checkout) if run else ".",
                shell=_shell(fill(texts.get("shell") or place.inherited[1], known.first), known.system),
                env=known.env,
                system=known.system,
                triggers=place.command.triggers,
                condition=condition,
                uses=uses.partition("@")[0],
                with_={name: fill(text, known.values) for name, text in inputs.items()},
                depth=place.command.depth,
            )
            if run:
                self._gathered.add(command)
            else:
                self._use(uses, command, place)

    def _use(self, uses: str, command: CiCommand, place: Place) -> None:
        path = self._local(uses, place.checkout)
        if path is None:
            self._gathered.add(command)
        elif path and command.depth < MAX_DEPTH:
            action = self._gathered.root(path)
            inner = replace(command, path=path, depth=command.depth + 1, uses="", with_={})
            values = {"github.workspace": "$GITHUB_WORKSPACE", **inputs_of(action.get("inputs"), command.with_)}
            place = Place(inner, values, [{}], (), place.checkout, ("", ""), command.env)
            self.read(action.get("runs", "steps").items(), place)

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


def env_of(value: Value) -> dict[str, str]:
    """The variables of a workflow, a job or a step as they are written."""
    return dict(islice(value.get("env").texts().items(), MAX_VARIABLES))


def inputs_of(declared: Value, given: Mapping[str, str]) -> dict[str, str]:
    """The inputs of an action or workflow as references: what is given, else the default, else empty."""
    values = {
        f"inputs.{name.lower()}": given.get(name, declaration.get("default").text)
        for name, declaration in islice(declared.entries().items(), MAX_VARIABLES)
    }
    return {name: text for name, text in values.items() if PLACEHOLDER not in text and "${{" not in text}


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known where a step runs: references, those of the first row of the matrix too, variables, system."""

    values: Mapping[str, str]
    first: Mapping[str, str]
    env: Mapping[str, str]
    system: str


_NAMES_OF_SYSTEMS = {"linux": "Linux", "windows": "Windows", "macos": "macOS"}


def _known(place: Place, rows: list[Row], env: Mapping[str, str]) -> _Known:
    """The first row of a matrix decides on the system: rows for Linux stand first."""
    first = rows[0] if rows else {}
    system = system_of(*(fill(label, first) for label in place.runner)) or place.command.system
    values = {**place.values, **known_values(rows)}
    if system:
        values["runner.os"] = _NAMES_OF_SYSTEMS[system]
    literal: dict[str, str] = {}
    for name, text in (*place.env.items(), *env.items()):
        literal.pop(name, None)
        filled = fill(text, values)
        if PLACEHOLDER not in filled:
            literal[name] = values[f"env.{name.lower()}"] = filled
    return _Known(values, {**values, **first}, literal, system)


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

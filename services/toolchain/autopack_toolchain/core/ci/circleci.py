"""CircleCI: the jobs of the workflows, with reusable commands, parameters and what orbs are used for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, product

from ..shell import PLACEHOLDER, directory_after
from ..workspace import join
from .document import Value
from .matrix import MAX_VARIANTS
from .model import MAX_VARIABLES, CiCommand, Gathered, system_of

__all__ = ["read_circleci"]

DIRECTORY = ".circleci"

MAX_DEPTH = 6
"""Commands and conditions within each other at most."""

_PARAMETER = re.compile(r"<<[ \t]*((?:parameters|pipeline|matrix)\.[\w.-]+)[ \t]*>>")
_CHANGE = frozenset({"push"})
_BUILT_IN = frozenset(
    {"checkout", "restore_cache", "save_cache", "store_artifacts", "store_test_results", "persist_to_workspace",
     "attach_workspace", "add_ssh_keys", "setup_remote_docker", "deploy"}
)  # fmt: skip


def read_circleci(gathered: Gathered) -> None:
    """Gathers the commands of the configuration and of those that it continues with."""
    workspace = gathered.workspace
    names = [name for name in workspace.names(DIRECTORY) if name.endswith((".yml", ".yaml"))]
    for name in sorted(names, key=lambda name: (not name.startswith("config."), name)):
        path = join(DIRECTORY, name)
        _Reader(gathered.root(path), path, gathered).read()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where steps are read: what their job gives, and the parameters that are known, by reference."""

    command: CiCommand
    values: Mapping[str, str]
    given: Mapping[str, Value]
    home: str
    depth: int = 0


class _Reader:
    def __init__(self, root: Value, path: str, gathered: Gathered) -> None:
        self._root = root
        self._path = path
        self._gathered = gathered
        self._orbs = {name: orb.text.partition("@")[0] for name, orb in root.get("orbs").entries().items()}
        self._pipeline = {
            f"pipeline.parameters.{name}": parameter.get("default").text
            for name, parameter in root.get("parameters").entries().items()
            if parameter.get("default")
        }

    def read(self) -> None:
        jobs = self._root.get("jobs").entries()
        started = False
        for name, workflow in self._root.get("workflows").entries().items():
            triggers = _triggers(workflow)
            for entry in workflow.get("jobs").items():
                started = True
                self._entry(name, entry, triggers)
        if not started:
            for key in jobs:
                self._job("", key, Value(None), {}, _CHANGE)

    def _entry(self, workflow: str, entry: Value, triggers: frozenset[str]) -> None:
        if entry.text:
            self._job(workflow, entry.text, Value(None), {}, triggers)
            return
        for key, given in islice(entry.entries().items(), 1):
            filters = given.get("filters")
            if filters.get("tags") and filters.get("branches", "ignore").strings() == ["/.*/"]:
                triggers = frozenset({"release"})
            for row in _rows(given.get("matrix", "parameters")):
                self._job(workflow, key, given, row, triggers)

    def _job(self, workflow: str, key: str, given: Value, row: Mapping[str, str], triggers: frozenset[str]) -> None:
        if not self._gathered.look():
            return
        job = self._root.get("jobs", key)
        orb, slash, _ = key.partition("/")
        command = CiCommand(
            self._path, given.line or job.line, workflow or "CircleCI", key, triggers=triggers, system="linux"
        )
        if not job:
            if slash and orb in self._orbs:
                self._add_orb(key, given, replace(command, line=given.line), {**self._pipeline, **row})
            return
        values = {**self._pipeline, **self._parameters(job, given, row)}
        executor = self._executor(job, values)
        env = {name: text for part in (executor, job) for name, text in _environment(part.get("environment")).items()}
        home = job.get("working_directory").text or executor.get("working_directory").text
        shell = _program(job.get("shell").text or executor.get("shell").text)
        command = replace(command, system=_system(job, executor), env=_literal(env, values), shell=shell)
        frame = _Frame(command, values, given.entries(), home)
        self._steps(given.get("pre-steps"), frame)
        self._steps(job.get("steps"), frame)
        self._steps(given.get("post-steps"), frame)

    def _parameters(self, declared: Value, given: Value, row: Mapping[str, str]) -> dict[str, str]:
        """What is given, else the default; parameters that are lists of steps are looked up when they are used."""
        found: dict[str, str] = {}
        for name, parameter in islice(declared.get("parameters").entries().items(), MAX_VARIABLES):
            value = given.get(name) or parameter.get("default")
            if value and not value.is_sequence:
                found[f"parameters.{name}"] = value.text
        return {**found, **row}

    def _executor(self, job: Value, values: Mapping[str, str]) -> Value:
        name = job.get("executor", "name").text or job.get("executor").text
        return self._root.get("executors", _fill(name, values)) if name else Value(None)

    def _steps(self, steps: Value, frame: _Frame) -> None:
        for step in steps.items():
            if frame.depth > MAX_DEPTH or not self._gathered.look():
                return
            self._step(step, frame)

    def _step(self, step: Value, frame: _Frame) -> None:
        if step.text:
            self._use(step.text, step, Value(None), frame)
            return
        for key, given in islice(step.entries().items(), 1):
            if key == "run":
                self._run(given, frame)
            elif key in ("when", "unless"):
                self._when(key, given, frame)
            elif key == "steps":
                self._steps(self._given_steps(given, frame), replace(frame, depth=frame.depth + 1))
            else:
                self._use(key, step, given, frame)

    def _given_steps(self, value: Value, frame: _Frame) -> Value:
        """A list of steps, or the one that the caller gave as a parameter."""
        name = value.text.strip("<> ").removeprefix("parameters.")
        return frame.given.get(name, Value(None)) if value.text else value

    def _when(self, key: str, given: Value, frame: _Frame) -> None:
        condition = _fill(given.get("condition").text, frame.values) or "condition"
        told = {"true": True, "false": False, "": False}.get(condition.lower())
        if told is not None and told is not (key == "when"):
            return
        if told is None:
            frame = replace(frame, command=replace(frame.command, condition=f"{key} {condition}"))
        self._steps(given.get("steps"), replace(frame, depth=frame.depth + 1))

    def _run(self, given: Value, frame: _Frame) -> None:
        source = given if given.text else given.get("command")
        values = frame.values
        workdir = _fill(given.get("working_directory").text, values)
        env = {**frame.command.env, **_literal(_environment(given.get("environment")), values)}
        when = given.get("when").text
        self._gathered.add(
            replace(
                frame.command,
                line=source.line,
                step=_fill(given.get("name").text, values),
                script=_fill(source.text, values),
                workdir=_workdir(workdir, _fill(frame.home, values)),
                shell=_program(given.get("shell").text) if given.get("shell") else frame.command.shell,
                env=env,
                condition=" && ".join(filter(None, (frame.command.condition, when if when != "always" else ""))),
            )
        )

    def _use(self, name: str, step: Value, given: Value, frame: _Frame) -> None:
        """A reusable command of the configuration, a command of an orb, or a step of CircleCI itself."""
        declared = self._root.get("commands", name)
        if declared:
            arguments = _Arguments(given, frame.values)
            values = {**self._pipeline, **arguments.over(self._parameters(declared, given, {}))}
            command = replace(frame.command, depth=frame.command.depth + 1)
            inner = _Frame(command, values, given.entries(), frame.home, frame.depth + 1)
            self._steps(declared.get("steps"), inner)
        elif "/" in name and name.partition("/")[0] in self._orbs:
            self._add_orb(name, given, replace(frame.command, line=step.line), frame.values)
        elif name not in _BUILT_IN and name.strip("<> ").startswith("parameters."):
            self._steps(self._given_steps(step, frame), replace(frame, depth=frame.depth + 1))

    def _add_orb(self, name: str, given: Value, command: CiCommand, values: Mapping[str, str]) -> None:
        orb, _, rest = name.partition("/")
        inputs = {key: _fill(text, values) for key, text in given.texts().items()}
        self._gathered.add(replace(command, uses=f"{self._orbs[orb]}/{rest}", with_=inputs))


@dataclass(frozen=True, slots=True)
class _Arguments:
    """What a caller gives, in which its own parameters may stand."""

    given: Value
    values: Mapping[str, str]

    def over(self, parameters: dict[str, str]) -> dict[str, str]:
        """The parameters with those of the caller put in; what stays unknown is left out."""
        filled = {name: _fill(text, self.values) for name, text in parameters.items()}
        return {name: text for name, text in filled.items() if PLACEHOLDER not in text}


def _fill(text: str, values: Mapping[str, str]) -> str:
    """A text with its parameters put in; ``<<`` of a here-document stays."""

    def value(match: re.Match[str]) -> str:
        name = match[1].replace("matrix.", "parameters.", 1) if match[1].startswith("matrix.") else match[1]
        return values.get(name, PLACEHOLDER)

    return _PARAMETER.sub(value, text) if "<<" in text else text


def _rows(parameters: Value) -> Iterator[dict[str, str]]:
    """The first combinations of a matrix; one empty one if there is none."""
    axes = [
        [(f"parameters.{name}", text) for text in values.strings()] for name, values in parameters.entries().items()
    ]
    yield from (dict(row) for row in islice(product(*(axis for axis in axes if axis)), MAX_VARIANTS))


def _triggers(workflow: Value) -> frozenset[str]:
    scheduled = any(trigger.get("schedule") for trigger in workflow.get("triggers").items())
    return frozenset({"schedule"}) if scheduled else _CHANGE


def _environment(value: Value) -> dict[str, str]:
    """Variables, given as a mapping or as a list of such."""
    found = value.texts()
    for item in value.items()[:MAX_VARIABLES]:
        found |= item.texts()
    return dict(islice(found.items(), MAX_VARIABLES))


def _literal(env: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    filled = {name: _fill(text, values) for name, text in env.items()}
    return {name: text for name, text in filled.items() if PLACEHOLDER not in text and "$" not in text}


def _system(job: Value, executor: Value) -> str:
    for place in (job, executor):
        if place.get("macos"):
            return "macos"
        if place.get("docker"):
            return "linux"
        machine = place.get("machine")
        name = place.get("executor", "name").text or place.get("executor").text
        if found := system_of(machine.get("image").text, machine.text, name.replace("win/", "windows/")):
            return found
    return "linux"


def _program(text: str) -> str:
    words = text.split()
    name = words[0].replace("\\", "/").rpartition("/")[2].lower().removesuffix(".exe") if words else "bash"
    return name if PLACEHOLDER.lower() not in name else "bash"


def _workdir(text: str, home: str) -> str:
    """A step's directory. The repository is checked out to the job's, wherever that is."""
    home = home.rstrip("/") or "~/project"
    if text in ("", ".", home):
        return "."
    if text.startswith(home + "/"):
        text = text[len(home) + 1 :]
    return directory_after(".", text)

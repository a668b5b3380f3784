"""Azure Pipelines: stages, jobs and steps, with the templates of the same repository."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from ..shell import PLACEHOLDER, directory_after
from .document import Value
from .expressions import evaluate, replace_expressions
from .matrix import MAX_VARIANTS
from .model import MAX_VARIABLES, CiCommand, Gathered, system_of

__all__ = ["read_azure"]

MAX_DEPTH = 6
"""Templates, stages, jobs and conditions within each other at most."""

_NAMES = ("azure-pipelines.yml", "azure-pipelines.yaml")
_DIRECTORIES = (".azure-pipelines", "azure-pipelines", ".azuredevops", ".azure", ".pipelines", "pipelines")
_SCRIPTS = {"script": "", "bash": "bash", "pwsh": "pwsh", "powershell": "powershell"}
_SCRIPT_TASKS = {"bash": "bash", "cmdline": "", "powershell": "powershell", "shellscript": "bash", "batchscript": "cmd"}
_ROOTS = (
    "build.sourcesdirectory",
    "system.defaultworkingdirectory",
    "build.repository.localpath",
    "pipeline.workspace/s",
)
_CONDITION = re.compile(r"\$\{\{\s*(?:if|elseif|else|each|insert)\b[^}]*\}\}:?")
_MACRO = re.compile(r"[A-Za-z_][\w.-]*")


def read_azure(gathered: Gathered) -> None:
    """Gathers the commands of the pipelines at the root and in the usual directories."""
    workspace = gathered.workspace
    paths = [name for name in sorted(workspace.names(".")) if name in _NAMES or _is_pipeline(name)]
    for directory in _DIRECTORIES:
        paths += [
            f"{directory}/{name}" for name in sorted(workspace.names(directory)) if name.endswith((".yml", ".yaml"))
        ]
    for path in paths:
        root = gathered.root(path)
        if not root.get("parameters") or path in _NAMES or root.get("trigger") or root.get("pr"):
            _Reader(gathered).read(path, root)


def _is_pipeline(name: str) -> bool:
    return name.startswith(("azure-pipelines", ".azure-pipelines")) and name.endswith((".yml", ".yaml"))


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where steps are read: what pipeline, stage and job give.

    Attributes:
        command: what their commands have in common.
        values: parameters and variables that are known, by reference in small letters.
        given: parameters that are lists.
        images: what names the system.
        depth: templates, jobs and conditions above.
    """

    command: CiCommand
    values: Mapping[str, str]
    given: Mapping[str, Value]
    images: tuple[str, ...] = ()
    depth: int = 0


class _Reader:
    def __init__(self, gathered: Gathered) -> None:
        self._workspace = gathered.workspace
        self._gathered = gathered

    def read(self, path: str, root: Value) -> None:
        """A whole pipeline."""
        command = CiCommand(path, workflow=root.get("name").text or path.rpartition("/")[2], triggers=_triggers(root))
        frame = _Frame(command, _defaults(root), {})
        extends = root.get("extends")
        if extends:
            self._template(extends, "", frame)
        self._level(root, frame)

    def _level(self, value: Value, frame: _Frame) -> None:
        """A pipeline, a stage, a job or a template: each may hold any of the lower levels."""
        if frame.depth > MAX_DEPTH or self._gathered.full:
            return
        pool = value.get("pool")
        images = (pool.get("vmImage").text, pool.get("name").text, pool.text) if pool else frame.images
        values = {**frame.values, **_variables(value.get("variables"))}
        condition = " && ".join(filter(None, (frame.command.condition, value.get("condition").text)))
        frame = replace(
            frame,
            values=values,
            images=images,
            depth=frame.depth + 1,
            command=replace(frame.command, condition=condition),
        )
        for level in ("stages", "jobs"):
            for item in self._items(value.get(level), frame):
                if item.get("template"):
                    self._template(item, level, frame)
                else:
                    name = next((item.get(key).text for key in ("job", "deployment") if item.get(key)), "")
                    inner = replace(frame, command=replace(frame.command, job=name or frame.command.job))
                    self._level(item, inner)
        for row in _rows(value.get("strategy", "matrix")):
            self._steps(value.get("steps"), replace(frame, values={**values, **row}))
        for key in ("runOnce", "rolling"):
            self._steps(value.get("strategy", key, "deploy", "steps"), frame)

    def _items(self, value: Value, frame: _Frame, depth: int = MAX_DEPTH) -> Iterator[Value]:
        """Items of a list, also those under ``${{ if }}`` and ``${{ each }}`` and of a list given as a parameter."""
        for item in value.items():
            if not self._gathered.look():
                return
            entries = item.entries()
            key = next(iter(entries), "")
            if depth and _CONDITION.fullmatch(key):
                yield from self._items(entries[key], frame, depth - 1)
            elif item.text and depth:
                yield from self._items(self._given(item, frame), frame, depth - 1)
            elif entries:
                yield item
        if value.text and depth:
            yield from self._items(self._given(value, frame), frame, depth - 1)

    def _given(self, value: Value, frame: _Frame) -> Value:
        name = value.text.removeprefix("${{").removesuffix("}}").strip().lower()
        return frame.given.get(name, Value(None))

    def _steps(self, steps: Value, frame: _Frame) -> None:
        for step in self._items(steps, frame):
            if self._gathered.full:
                return
            if step.get("template"):
                self._template(step, "steps", frame)
            else:
                self._step(step, frame)

    def _step(self, step: Value, frame: _Frame) -> None:
        system = system_of(*(_fill(image, frame.values) for image in frame.images))
        task = step.get("task").text.partition("@")[0]
        inputs = {key: _fill(text, frame.values) for key, text in step.get("inputs").texts().items()}
        workdir = _fill(step.get("workingDirectory").text or inputs.get("workingDirectory", ""), frame.values)
        env = {name: _fill(text, frame.values) for name, text in step.get("env").texts().items()}
        command = replace(
            frame.command,
            step=_fill(step.get("displayName").text or step.get("name").text, frame.values),
            system=system,
            env={**_as_env(frame.values), **{k: v for k, v in env.items() if PLACEHOLDER not in v and "$" not in v}},
            condition=" && ".join(filter(None, (frame.command.condition, step.get("condition").text))),
            workdir=directory_after(".", workdir) if workdir else ".",
        )
        for key, shell in _SCRIPTS.items():
            if source := step.get(key):
                self._script(source, shell, command, frame)
                return
        if task.lower() in _SCRIPT_TASKS:
            source = step.get("inputs", "script") or step.get("inputs", "filePath") or step.get("inputs", "scriptPath")
            self._script(source, _SCRIPT_TASKS[task.lower()], command, frame)
        elif task:
            self._gathered.add(replace(command, line=step.get("task").line, uses=task, with_=inputs, workdir="."))

    def _script(self, source: Value, shell: str, command: CiCommand, frame: _Frame) -> None:
        shell = shell or ("cmd" if command.system == "windows" else "bash")
        script = _fill(source.text, frame.values)
        self._gathered.add(replace(command, line=source.line, script=script, shell=shell))

    def _template(self, item: Value, level: str, frame: _Frame) -> None:
        """A template of the same repository; its path is relative to the file that uses it, or to the root."""
        name = _fill(item.get("template").text, frame.values).removesuffix("@self")
        path = self._path(name, frame.command.path)
        if not path or frame.depth > MAX_DEPTH or not self._gathered.look():
            return
        root = self._gathered.root(path)
        parameters = item.get("parameters").entries()
        values = {key: value for key, value in frame.values.items() if not key.startswith("parameters.")} | _defaults(
            root
        )
        for key, value in parameters.items():
            filled = _fill(value.text, frame.values)
            values.pop(f"parameters.{key.lower()}", None)
            if value.text and PLACEHOLDER not in filled:
                values[f"parameters.{key.lower()}"] = filled
        lists = {f"parameters.{key.lower()}": value for key, value in parameters.items() if value.is_sequence}
        command = replace(frame.command, path=path, depth=frame.command.depth + 1)
        inner = replace(frame, command=command, values=values, given=lists, depth=frame.depth + 1)
        if level == "steps":
            self._steps(root.get("steps"), inner)
        else:
            self._level(root, inner)

    def _path(self, name: str, user: str) -> str:
        if "@" in name or PLACEHOLDER in name or not name.endswith((".yml", ".yaml")):
            return ""
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(user), name)) if not name.startswith("/") else ""
        for path in (beside, posixpath.normpath(name.lstrip("/"))):
            if path and self._workspace.has(".", path) and self._workspace.registry.wants_content(path):
                return path
        return ""


def _fill(text: str, values: Mapping[str, str]) -> str:
    """Template expressions, runtime expressions and macros; a macro of no variable is a substitution of the shell."""
    text = replace_expressions(text, "${{", "}}", lambda expression: evaluate(expression, values))
    text = replace_expressions(text, "$[", "]", lambda expression: evaluate(expression, values))
    return replace_expressions(text, "$(", ")", lambda name: _macro(name, values)) if "$(" in text else text


def _macro(name: str, values: Mapping[str, str]) -> str | None:
    lower = name.lower()
    if lower in _ROOTS:
        return "$BUILD_SOURCESDIRECTORY"
    value = values.get(f"variables.{lower}")
    if value is not None:
        return value
    return None if "." in name and _MACRO.fullmatch(name) else f"$({name})"


def _defaults(root: Value) -> dict[str, str]:
    """Parameters with their defaults: a mapping, or a list of ``name`` and ``default``."""
    parameters = root.get("parameters")
    texts = islice(parameters.texts().items(), MAX_VARIABLES)
    found = {f"parameters.{key.lower()}": text for key, text in texts}
    for item in parameters.items()[:MAX_VARIABLES]:
        if item.get("default").text:
            found[f"parameters.{item.get('name').text.lower()}"] = item.get("default").text
    return found


def _variables(variables: Value) -> dict[str, str]:
    """Literal variables: a mapping, or a list of ``name`` and ``value``."""
    found = dict(islice(variables.texts().items(), MAX_VARIABLES))
    for item in variables.items()[:MAX_VARIABLES]:
        if item.get("name").text:
            found[item.get("name").text] = item.get("value").text
    return {f"variables.{key.lower()}": text for key, text in found.items() if "$" not in text}


def _as_env(values: Mapping[str, str]) -> dict[str, str]:
    """Variables of a pipeline as a script sees them."""
    env = {}
    for name, text in values.items():
        if name.startswith("variables."):
            env[name.removeprefix("variables.").upper().replace(".", "_")] = text
    return env


def _rows(matrix: Value) -> list[dict[str, str]]:
    """Rows of a matrix as variables, Linux first; one empty row if there is none."""
    rows = [
        {f"variables.{name.lower()}": text for name, text in row.texts().items() if "$" not in text}
        for row in list(matrix.entries().values())[:MAX_VARIANTS]
    ]
    rows.sort(key=lambda row: system_of(*row.values()) not in ("", "linux"))
    return rows or [{}]


def _triggers(root: Value) -> frozenset[str]:
    trigger, pr = root.get("trigger"), root.get("pr")
    found = {"pull_request"} if pr.text != "none" else set()
    if trigger.text != "none":
        found.add("release" if trigger.get("tags") and not trigger.get("branches") else "push")
    return frozenset(found or {"schedule" if root.get("schedules") else "manual"})

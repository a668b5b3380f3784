"""Tasks of a Taskfile (https://taskfile.dev, version 3), its local includes read too."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..workspace import Workspace, join, listing, strings, table
from .model import MAX_BODY, MAX_TASKS, Task, bodies, first_line, key_lines, readable, unique, within
from .text import MAX_FILES

__all__ = ["TASKFILES", "read_taskfile"]

TASKFILES = (
    *("Taskfile.yml", "taskfile.yml", "Taskfile.yaml", "taskfile.yaml"),
    *("Taskfile.dist.yml", "taskfile.dist.yml", "Taskfile.dist.yaml", "taskfile.dist.yaml"),
)
"""The order in which ``task`` looks for them."""

MAX_VALUE = 1_000
"""Characters at most of a variable: variables made of each other would double at each line."""

MAX_PREFIX = 100
"""Characters at most of ``include:include:``: files that include each other end here."""

_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_PLAIN = re.compile(r"^-?[ \t]*\.(\w+)[ \t]*-?$")
_DEFAULT = re.compile(r'^default[ \t]+"([^"]*)"[ \t]+\.(\w+)$|^\.(\w+)[ \t]*\|[ \t]*default[ \t]+"([^"]*)"$')
_OWN = {"CLI_ARGS": "", "TASKFILE_DIR": ".", "ROOT_DIR": ".", "USER_WORKING_DIR": ".", "exeExt": "", "EXE_EXT": ""}


@dataclass(frozen=True, slots=True)
class _File:
    """One file: where its tasks run relative to the call, the prefix of their names, and the variables known."""

    path: str
    directory: str
    prefix: str
    variables: Mapping[str, str]


def read_taskfile(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per task and alias, ``include:task`` for included ones, and one for ``task`` alone."""
    name = next(name for name in TASKFILES if name in workspace.names(directory))
    found = list(_read(workspace, directory, _File(join(directory, name), "", "", _OWN), set()))
    default = next((task for task in found if task.name == "default"), None)
    if default is not None:
        yield Task("task", "", default.path, default.line, directory, ("task",), needs=("default",))
    yield from found[:MAX_TASKS]


def _read(workspace: Workspace, directory: str, file: _File, seen: set[tuple[str, str]]) -> Iterator[Task]:
    if len(seen) >= MAX_FILES or (file.path, file.prefix) in seen or len(file.prefix) > MAX_PREFIX:
        return
    seen.add((file.path, file.prefix))
    data = workspace.yaml(file.path)
    variables = {**file.variables, **_variables(data.get("vars"), file.variables)}
    lines = key_lines(workspace, file.path, "tasks:")
    tasks = table(data, "tasks")
    names = {file.prefix + name for name in tasks}
    for name, value in tasks.items():
        task = _task(directory, file, lines.get(name, 0), name, value, variables, names)
        yield task
        for alias in strings(value.get("aliases")) if isinstance(value, dict) else ():
            argv = ("task", file.prefix + alias)
            yield Task("task", file.prefix + alias, task.path, task.line, directory, argv, needs=(task.name,))
    for namespace, value in table(data, "includes").items():
        if included := _included(workspace, file, namespace, value, variables):
            yield from _read(workspace, directory, included, seen)


def _included(
    workspace: Workspace, file: _File, namespace: str, value: object, variables: Mapping[str, str]
) -> _File | None:
    options = value if isinstance(value, dict) else {"taskfile": value}
    base = file.path.rpartition("/")[0]
    place = _expanded(str(options.get("taskfile", "")), variables)
    target = posixpath.normpath(posixpath.join(base, place))
    choices = [target, *(join(target, name) for name in TASKFILES)]
    path = next((choice for choice in choices if readable(workspace, choice)), "")
    if not place or not path:
        return None
    inner = _expanded(str(options.get("dir", "")), variables)
    prefix = file.prefix if options.get("flatten") is True else f"{file.prefix}{namespace}:"
    return _File(path, posixpath.join(file.directory, inner), prefix, variables)


def _task(
    directory: str,
    file: _File,
    line: int,
    name: str,
    value: Any,
    variables: Mapping[str, str],
    names: set[str],
) -> Task:
    options = value if isinstance(value, dict) else {"cmds": value}
    known = {**variables, **_variables(options.get("vars"), variables), "TASK": name}
    commands = options.get("cmds", options.get("cmd"))
    needs = [_reference(item) for item in listing(options.get("deps"))]
    lines: list[str] = []
    for command in [commands] if isinstance(commands, str | dict) else listing(commands):
        if isinstance(command, str):
            lines.append(command)
        elif isinstance(command, dict) and isinstance(command.get("cmd"), str):
            lines.append(command["cmd"])
        else:
            needs.append(_reference(command))
    inner = posixpath.join(file.directory, _expanded(str(options.get("dir", "")), known))
    return Task(
        "task",
        file.prefix + name,
        file.path,
        line,
        directory,
        ("task", file.prefix + name),
        bodies(within(inner, (_expanded(text, known) for text in lines))),
        unique(_resolved((_expanded(need, known) for need in needs), file.prefix, names), file.prefix + name),
        first_line(options.get("desc") or options.get("summary")),
    )


def _reference(item: object) -> str:
    """The task that an item of ``deps`` or ``cmds`` calls; empty if it calls none."""
    named = item.get("task") if isinstance(item, dict) else item
    return named if isinstance(named, str) else ""


def _resolved(needs: Iterable[str], prefix: str, names: set[str]) -> Iterator[str]:
    """Names as they are called from outside: ``:name`` stands for the root, others for the file they are in."""
    for need in needs:
        yield need[1:] if need.startswith(":") else prefix + need if prefix + need in names or need else need


def _variables(value: object, known: Mapping[str, str]) -> dict[str, str]:
    """Variables with a literal value or a command."""
    found: dict[str, str] = {}
    known = {**known}
    for name, item in table(value).items():
        if isinstance(item, dict):
            command = item.get("sh")
            found[name] = f"$({_expanded(command, known)})"[:MAX_VALUE] if isinstance(command, str) else "${_}"
        elif isinstance(item, str | int | float):
            found[name] = _expanded(str(item), known)[:MAX_VALUE]
        if name in found:
            known[name] = found[name]
    return found


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """``{{.NAME}}``, also with a default, replaced by its value; other templates by ``${_}``."""
    if "{{" not in text:
        return text

    def value(match: re.Match[str]) -> str:
        inner = match[1].strip()
        if name := _PLAIN.match(inner):
            return known.get(name[1], f"${{{name[1]}}}")
        if default := _DEFAULT.match(inner):
            return known.get(default[2] or default[3]) or default[1] or default[4] or ""
        return "${_}"

    return _TEMPLATE.sub(value, text[:MAX_BODY])[:MAX_BODY]

"""Tasks of mise: tables of its configuration files, and executable files in its task directories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..workspace import Workspace, join, listing, strings, table
from .model import MAX_TASKS, Task, bodies, first_line, header_lines, key_lines, readable, script, unique, within
from .text import is_shell

__all__ = ["MISE_DIRECTORIES", "MISE_FILES", "read_mise"]

MISE_FILES = (
    *("mise.toml", ".mise.toml", "mise/config.toml", ".mise/config.toml"),
    *(".config/mise.toml", ".config/mise/config.toml"),
)
"""Configuration files that belong to a repository; those of one machine (``*.local.toml``) do not."""

MISE_DIRECTORIES = ("mise-tasks", ".mise-tasks", "mise/tasks", ".mise/tasks", ".config/mise/tasks")
"""Where files are tasks."""

_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_HEADER = re.compile(r"^(?:#|//)[ \t]*\[?MISE\]?[ \t]+(description|depends|dir|alias)[ \t]*=[ \t]*(.*)$")
_QUOTED = re.compile(r"""["']([^"']*)["']""")

MAX_HEADER_LINES = 40
"""Lines of a file task in which its header stands."""


def read_mise(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per table, string or file; the first definition of a name holds."""
    found: dict[str, Task] = {}
    places = list(MISE_DIRECTORIES)
    for name in MISE_FILES:
        if not workspace.has(directory, name):
            continue
        path = join(directory, name)
        data = workspace.toml(path)
        for task in _tables(workspace, directory, path, table(data, "tasks"), "tasks."):
            found.setdefault(task.name, task)
        for place in strings(table(data, "task_config").get("includes")):
            included = join(directory, place)
            if place.endswith(".toml") and readable(workspace, included):
                for task in _tables(workspace, directory, included, workspace.toml(included), ""):
                    found.setdefault(task.name, task)
            else:
                places.append(place.strip("/"))
    for place in places:
        for task in _files(workspace, directory, place):
            found.setdefault(task.name, task)
    yield from list(found.values())[:MAX_TASKS]


def _tables(workspace: Workspace, directory: str, path: str, tasks: dict[str, Any], start: str) -> Iterator[Task]:
    if not tasks:
        return
    keys = key_lines(workspace, path, "[tasks]") if start else key_lines(workspace, path)
    headers = header_lines(workspace, path)
    for name, value in tasks.items():
        options = value if isinstance(value, dict) else {"run": value}
        lines: list[str] = []
        needs = _names(options.get("depends")) + _names(options.get("depends_post"))
        run = options.get("run")
        for item in [run] if isinstance(run, str) else listing(run):
            if isinstance(item, dict):
                needs += _names(item.get("task")) + _names(item.get("tasks"))
            elif isinstance(item, str):
                lines.append(_expanded(item))
        if isinstance(file := options.get("file"), str) and "://" not in file:
            lines.append(file if file.startswith(("./", "/")) else f"./{file}")
        line = headers.get(f"[{start}{name}]", 0)
        inner = _expanded(str(options.get("dir", "")))
        yield Task(
            "mise",
            name,
            path,
            line or keys.get(name, 0),
            directory,
            ("mise", "run", name),
            bodies(within(inner, lines)),
            unique(needs, name),
            first_line(options.get("description")),
        )


def _names(value: object) -> list[str]:
    """Names of tasks, each of which may carry arguments."""
    found = [item[0] if isinstance(item, list) and item else item for item in listing(value)]
    words = [value] if isinstance(value, str) else [item for item in found if isinstance(item, str)]
    return [word.split()[0] for word in words if word.strip()]


def _files(workspace: Workspace, directory: str, place: str) -> Iterator[Task]:
    """File tasks: ``build`` is named so, ``test/unit`` is ``test:unit``, and ``test/_default`` is ``test``."""
    base = join(directory, place)
    if base not in workspace.directories:
        return
    # A snapshot carries what is in the standard places, also further below.
    carried = workspace.registry.wants_content(f"{base}/task")
    inside = sorted(below for below in workspace.directories if below == base or below.startswith(f"{base}/"))
    for below in inside:
        for file in sorted(workspace.names(below)):
            path = join(below, file)
            if file.startswith(".") or file.endswith((".toml", ".md")):
                continue
            lines = workspace.lines(path) if carried else []
            if workspace.executable(path) or (lines and lines[0].startswith("#!")):
                yield _file_task(directory, path, path.removeprefix(f"{base}/"), lines)


def _file_task(directory: str, path: str, inner: str, lines: list[str]) -> Task:
    stem = inner.rsplit(".", 1)[0] if "." in inner.rpartition("/")[2] else inner
    name = stem.replace("/", ":").removesuffix(":_default")
    headers: dict[str, str] = {}
    for line in lines[:MAX_HEADER_LINES]:
        if match := _HEADER.match(line):
            headers[match[1]] = match[2]
    needs = [word.split()[0] for word in _QUOTED.findall(headers.get("depends", "")) if word.strip()]
    description = next(iter(_QUOTED.findall(headers.get("description", ""))), "")
    shell = script("\n".join(lines)) if lines and is_shell(lines[0]) else ()
    argv = ("mise", "run", name)
    return Task("mise", name, path, 1, directory, argv, shell, unique(needs, name), description)


def _expanded(text: str) -> str:
    """Templates: the root of the configuration is ".", arguments are not there, and others are ``${_}``."""
    if "{{" not in text:
        return text

    def value(match: re.Match[str]) -> str:
        inner = match[1].strip()
        if inner in {"config_root", "cwd"}:
            return "."
        return "" if inner.startswith(("arg(", "flag(", "option(", "arg (", "usage.")) else "${_}"

    return _TEMPLATE.sub(value, text)

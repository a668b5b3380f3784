"""Task tables of pyproject.toml and its like: poe, pdm, hatch and pixi."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..workspace import Workspace, join, listing, strings, table
from .model import MAX_TASKS, Task, bodies, first_line, header_lines, key_lines, unique, within
from .text import command_line

__all__ = ["read_hatch", "read_pdm", "read_pixi", "read_poe"]

MAX_NESTED = 4
"""Sequences within sequences of poe that are followed."""

_PDM_PLACEHOLDER = re.compile(r"\{(?:args|pdm)(?::([^{}]*))?\}")
_HATCH_FIELD = re.compile(r"\{(\w+)(?::([^{}]*))?\}")


def _command(value: object) -> list[str]:
    """A command that is written as text or as a list of words."""
    if isinstance(value, str):
        return [" ".join(value.split("\n")) if "\n" in value else value]
    words = strings(value)
    return [command_line(words)] if words else []


# poe

_POE_PLACES = (
    ("pyproject.toml", ("tool", "poe", "tasks")),
    ("poe_tasks.toml", ("tasks",)),
    ("poe_tasks.toml", ("tool", "poe", "tasks")),
)
"""Where the tasks stand; in a file of their own the name of the tool may be left out."""


def read_poe(workspace: Workspace, directory: str) -> Iterator[Task]:
    """Tasks of poethepoet in pyproject.toml or poe_tasks.toml."""
    for name, keys in _POE_PLACES:
        path = join(directory, name)
        tasks = table(workspace.toml(path), *keys) if workspace.has(directory, name) else {}
        prefix = "[" + ".".join(keys)
        lines = key_lines(workspace, path, f"{prefix}]") if tasks else {}
        headers = header_lines(workspace, path) if tasks else {}
        for task, value in list(tasks.items())[:MAX_TASKS]:
            options = value if isinstance(value, dict) else {}
            commands, needs = _poe(value, 0)
            commands = within(str(options.get("cwd", "")).replace("${POE_ROOT}/", ""), commands)
            yield Task(
                "poe",
                task,
                path,
                lines.get(task) or headers.get(f"{prefix}.{task}]", 0),
                directory,
                ("poe", task),
                bodies(commands),
                unique(needs + _poe_references(options.get("deps")), task),
                first_line(options.get("help")),
                _poe_required(options.get("args")),
            )


def _poe(value: Any, depth: int) -> tuple[list[str], list[str]]:
    """Shell lines and the names of other tasks, in order, of a task that is text, a list or a table."""
    if isinstance(value, str):
        return _command(value), []
    options = value if isinstance(value, dict) else {"sequence": value}
    commands: list[str] = []
    needs: list[str] = []
    for key in ("cmd", "shell"):
        plain = options.get("interpreter") in {None, "posix", "sh", "bash", "zsh"} or key == "cmd"
        commands += _command(options.get(key)) if key == "cmd" else strings(options.get(key)) if plain else []
    if isinstance(call := options.get("script"), str):
        module = call.partition(":")[0].partition("(")[0].strip()
        commands.append(f"python -m {module}")
    needs += _poe_references(options.get("ref"))
    plain_type = options.get("default_item_type", "ref")
    for item in [*listing(options.get("sequence")), *listing(options.get("parallel"))] if depth < MAX_NESTED else []:
        if isinstance(item, str) and plain_type == "ref":
            needs += _poe_references(item)
        else:
            more, others = _poe(item, depth + 1)
            commands += more
            needs += others
    return commands, needs


def _poe_references(value: object) -> list[str]:
    return [text.split()[0] for text in strings(value) if text.strip()]


def _poe_required(value: object) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [{"name": k, **table(v)} for k, v in table(value).items()]
    return tuple(str(e["name"]) for e in entries if isinstance(e, dict) and e.get("required") is True and "name" in e)


# pdm


def read_pdm(workspace: Workspace, directory: str) -> Iterator[Task]:
    """``[tool.pdm.scripts]``; ``pre_X`` and ``post_X`` are needs of ``X``."""
    path = join(directory, "pyproject.toml")
    scripts = table(workspace.toml(path), "tool", "pdm", "scripts")
    if not scripts:
        return
    lines = key_lines(workspace, path, "[tool.pdm.scripts]")
    headers = header_lines(workspace, path)
    for name, value in list(scripts.items())[:MAX_TASKS]:
        if name == "_":  # options that hold for all scripts
            continue
        options = value if isinstance(value, dict) else {"cmd": value}
        needs = [other for other in (f"pre_{name}", f"post_{name}") if other in scripts]
        commands = _command(options.get("cmd")) + strings(options.get("shell"))
        if isinstance(call := options.get("call"), str):
            commands.append(f"python -m {call.partition(':')[0]}")
        for item in strings(options.get("composite")):
            called = item.split()[0] if item.strip() else ""
            if called in scripts:
                needs.append(called)
            else:
                commands.append(item)
        commands = [_PDM_PLACEHOLDER.sub(lambda match: match[1] or "", text) for text in commands]
        yield Task(
            "pdm-script",
            name,
            path,
            lines.get(name) or headers.get(f"[tool.pdm.scripts.{name}]", 0),
            directory,
            ("pdm", "run", name),
            bodies(within(str(options.get("working_dir", "")), commands)),
            unique(needs, name),
            first_line(options.get("help")),
        )


# hatch


def read_hatch(workspace: Workspace, directory: str) -> Iterator[Task]:
    """Scripts of hatch environments; ``hatch test`` and ``hatch fmt`` where their environments are configured."""
    for name, keys in (("pyproject.toml", ("tool", "hatch", "envs")), ("hatch.toml", ("envs",))):
        path = join(directory, name)
        environments = table(workspace.toml(path), *keys) if workspace.has(directory, name) else {}
        for environment, options in list(environments.items())[:MAX_TASKS]:
            header = f"[{'.'.join(keys)}.{environment}"
            yield from _hatch_environment(workspace, directory, path, header, environment, environments)
            yield from _hatch_builtin(workspace, directory, path, header, environment, table(options))


def _hatch_environment(
    workspace: Workspace, directory: str, path: str, header: str, environment: str, environments: dict[str, Any]
) -> Iterator[Task]:
    scripts = table(environments, environment, "scripts")
    template = str(table(environments, environment).get("template", "default"))
    inherited = table(environments, template, "scripts")
    lines = key_lines(workspace, path, f"{header}.scripts]") if scripts else {}
    for name, value in list(scripts.items())[:MAX_TASKS]:
        commands, needs = [], []
        for text in strings(value):
            called = text.removeprefix("- ").split()[0] if text.strip() else ""
            if called != name and called in scripts:
                needs.append(_hatch_name(environment, called))
            elif called in inherited and called not in scripts:
                needs.append(_hatch_name(template, called))
            else:
                commands.append(_hatch_expanded(text.removeprefix("- ")))
        full = _hatch_name(environment, name)
        argv = ("hatch", "run", full)
        line = lines.get(name) or header_lines(workspace, path).get(f"{header}]", 0)
        yield Task("hatch", full, path, line, directory, argv, bodies(commands), unique(needs, full))


def _hatch_name(environment: str, script: str) -> str:
    """How ``hatch run`` names a script: the environment ``default`` is left out."""
    return script if environment == "default" else f"{environment}:{script}"


def _hatch_builtin(
    workspace: Workspace, directory: str, path: str, header: str, environment: str, options: dict[str, Any]
) -> Iterator[Task]:
    """Commands of hatch's own; their environments have these scripts unless the project replaces them."""
    line = header_lines(workspace, path).get(f"{header}]", 0)
    own = table(options, "scripts")
    if environment == "hatch-test" and "run" not in own:
        arguments = strings(options.get("default-args")) or ["tests"]
        lines = bodies([f"python -m pytest {' '.join(arguments)}"])
        yield Task("hatch", "hatch-test:run", path, line, directory, ("hatch", "test"), lines)
    if environment == "hatch-static-analysis" and "lint-check" not in own:
        argv = ("hatch", "fmt", "--check")
        yield Task("hatch", "hatch-static-analysis:lint-check", path, line, directory, argv, ("ruff check .",))


def _hatch_expanded(text: str) -> str:
    """``{args:default}`` is its default, ``{root}`` the directory; what else there may be is ``${_}``."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "args":
            return match[2] or ""
        if match[1] == "env" and match[2]:
            variable, colon, default = match[2].partition(":")
            return default if colon else f"${{{variable}}}"
        return "." if match[1] == "root" else "${_}"

    return _HATCH_FIELD.sub(value, text).strip()


# pixi


def read_pixi(workspace: Workspace, directory: str) -> Iterator[Task]:
    """Tasks of pixi in pixi.toml or pyproject.toml, of features and of Linux too."""
    for name, keys in (("pixi.toml", ()), ("pyproject.toml", ("tool", "pixi"))):
        path = join(directory, name)
        data = table(workspace.toml(path), *keys) if workspace.has(directory, name) else {}
        prefix = "".join(f"{key}." for key in keys)
        places: list[tuple[str, dict[str, Any]]] = [("tasks", table(data, "tasks"))]
        places += [(f"feature.{f}.tasks", table(data, "feature", f, "tasks")) for f in table(data, "feature")]
        places += [(f"target.{t}.tasks", table(data, "target", t, "tasks")) for t in ("linux", "linux-64", "unix")]
        found: dict[str, Task] = {}
        for place, tasks in places:
            header = f"[{prefix}{place}]"
            lines = key_lines(workspace, path, header) if tasks else {}
            for task, value in list(tasks.items())[:MAX_TASKS]:
                line = lines.get(task) or header_lines(workspace, path).get(f"{header[:-1]}.{task}]", 0)
                found.setdefault(task, _pixi(directory, path, line, task, value))
        yield from found.values()


def _pixi(directory: str, path: str, line: int, name: str, value: object) -> Task:
    options = value if isinstance(value, dict) else {"cmd": value} if isinstance(value, str) else {"depends-on": value}
    items = [*_one_or_many(options.get("depends-on")), *_one_or_many(options.get("depends_on"))]
    needs = [str(item.get("task", "")) if isinstance(item, dict) else str(item) for item in items]
    lines = bodies(within(str(options.get("cwd", "")), _command(options.get("cmd"))))
    argv = ("pixi", "run", name)
    description = first_line(options.get("description"))
    return Task("pixi", name, path, line, directory, argv, lines, unique(needs, name), description)


def _one_or_many(value: object) -> list[Any]:
    return [value] if isinstance(value, str | dict) else listing(value)

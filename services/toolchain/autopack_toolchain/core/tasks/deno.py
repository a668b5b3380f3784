"""Tasks of deno.json and deno.jsonc."""

from __future__ import annotations

from collections.abc import Iterator

from ..workspace import Workspace, join, strings, table
from .model import MAX_TASKS, Task, bodies, first_line, key_lines, unique

__all__ = ["DENO_FILES", "read_deno"]

DENO_FILES = ("deno.json", "deno.jsonc")


def read_deno(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per entry: a command, or a table with a command and dependencies (Deno 2)."""
    path = join(directory, next(name for name in DENO_FILES if name in workspace.names(directory)))
    tasks = table(workspace.json5(path), "tasks")
    lines = key_lines(workspace, path, '"tasks"') if tasks else {}
    for name, value in list(tasks.items())[:MAX_TASKS]:
        options = value if isinstance(value, dict) else {"command": value}
        yield Task(
            "deno",
            name,
            path,
            lines.get(name, 0),
            directory,
            ("deno", "task", name),
            bodies(strings(options.get("command"))),
            unique(strings(options.get("dependencies")), name),
            first_line(options.get("description")),
        )

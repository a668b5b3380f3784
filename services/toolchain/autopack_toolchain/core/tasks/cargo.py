"""Aliases of cargo (``cargo xtask``) in .cargo/config.toml."""

from __future__ import annotations

from collections.abc import Iterator

from ..workspace import Workspace, join, strings, table
from .model import MAX_TASKS, Task, bodies, key_lines
from .text import command_line

__all__ = ["CARGO_FILES", "read_cargo"]

CARGO_FILES = (".cargo/config.toml", ".cargo/config")
"""The name without an ending is the older one; cargo prefers it where both are there, and warns."""


def read_cargo(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per alias; what it stands for is the body."""
    path = join(directory, next(name for name in reversed(CARGO_FILES) if workspace.has(directory, name)))
    aliases = table(workspace.toml(path), "alias")
    lines = key_lines(workspace, path, "[alias]") if aliases else {}
    for name, value in list(aliases.items())[:MAX_TASKS]:
        text = value if isinstance(value, str) else command_line(strings(value))
        argv = ("cargo", name)
        yield Task("cargo-alias", name, path, lines.get(name, 0), directory, argv, bodies([f"cargo {text}"]))

"""Scripts of composer.json."""

from __future__ import annotations

from collections.abc import Iterator

from ..workspace import Workspace, join, strings, table
from .model import MAX_TASKS, Task, bodies, first_line, key_lines, unique

__all__ = ["read_composer"]

_BUILTIN = frozenset(
    {"about", "archive", "audit", "bump", "check-platform-reqs", "config", "depends", "diagnose", "exec", "fund"}
    | {"init", "install", "licenses", "outdated", "remove", "require", "run", "search", "show", "status", "update"}
    | {"validate"}
)
"""Commands of composer's own: a script of this name is called by ``composer run-script``."""


def read_composer(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per script; ``@name`` in a script is a need, and a call of a PHP method is no shell line."""
    path = join(directory, "composer.json")
    data = workspace.json(path)
    scripts = table(data, "scripts")
    if not scripts:
        return
    lines = key_lines(workspace, path, '"scripts"')
    descriptions = table(data, "scripts-descriptions")
    for name, value in list(scripts.items())[:MAX_TASKS]:
        commands: list[str] = []
        needs: list[str] = []
        for text in strings(value):
            word, _, rest = text.strip().partition(" ")
            if word.startswith("@") and word[1:] in scripts:
                needs.append(word[1:])
            elif word in {"@php", "@composer"}:
                commands.append(f"{word[1:]} {rest}")
            elif word == "@putenv":
                commands.append(f"export {rest}")
            elif word and not word.startswith("@") and not ("::" in word or ("\\" in word and not rest)):
                commands.append(text)
        argv = ("composer", "run-script", name) if name in _BUILTIN else ("composer", name)
        description = first_line(descriptions.get(name))
        yield Task(
            "composer",
            name,
            path,
            lines.get(name, 0),
            directory,
            argv,
            bodies(commands),
            unique(needs, name),
            description,
        )

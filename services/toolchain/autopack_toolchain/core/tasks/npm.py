"""Scripts of package.json, and the tables of wireit that stand behind some of them."""

from __future__ import annotations

from collections.abc import Iterator

from ..workspace import Workspace, join, listing, table
from .model import MAX_TASKS, Task, bodies, key_lines, unique

__all__ = ["read_npm"]


def read_npm(workspace: Workspace, directory: str) -> Iterator[Task]:
    """One task per script. ``preX`` and ``postX`` are needs of ``X``, as npm, yarn 1, pnpm and bun run them."""
    path = join(directory, "package.json")
    data = workspace.json(path)
    scripts = {name: text for name, text in table(data, "scripts").items() if isinstance(text, str)}
    if not scripts:
        return
    lines = key_lines(workspace, path, '"scripts"')
    for name, text in list(scripts.items())[:MAX_TASKS]:
        needs = [other for other in (f"pre{name}", f"post{name}") if other in scripts]
        if text.strip() == "wireit":
            wired = table(data, "wireit", name)
            text = str(wired.get("command", ""))
            needs += _dependencies(wired.get("dependencies"), scripts)
        yield Task(
            "npm-script", name, path, lines.get(name, 0), directory, ("run", name), bodies([text]), unique(needs, name)
        )


def _dependencies(value: object, scripts: dict[str, str]) -> list[str]:
    """Scripts of the same package in a wireit list; those of other packages carry a path."""
    named = [item.get("script") if isinstance(item, dict) else item for item in listing(value)]
    return [name for name in named if isinstance(name, str) and name in scripts]

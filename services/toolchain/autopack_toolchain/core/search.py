"""Patterns in manifests that no parser reads."""

from __future__ import annotations

from functools import cache
from typing import Any

import re2

from .workspace import Workspace

__all__ = ["captured", "captures", "count_text", "find_text"]

MAX_SIGNAL = 48
"""Characters of a matched text that are shown as evidence."""


@cache
def _compiled(pattern: str) -> Any:
    """Patterns run on foreign text: RE2 is linear whatever they are."""
    return re2.compile(f"(?m){pattern}")


def find_text(workspace: Workspace, path: str, pattern: str) -> tuple[int, str]:
    """(line, shortened text) of the first match in a file; line 0 if there is none."""
    text = workspace.text(path)
    match = _compiled(pattern).search(text) if text else None
    if match is None:
        return 0, ""
    lead = len(match[0]) - len(match[0].lstrip())
    shown = "".join(c for c in " ".join(match[0].split()) if c.isprintable())
    return text.count("\n", 0, match.start() + lead) + 1, shown[:MAX_SIGNAL]


def captured(workspace: Workspace, path: str, pattern: str) -> tuple[str, int]:
    """(first group that matched, its line) of the first match in a file; ("", 0) if there is none."""
    text = workspace.text(path)
    match = _compiled(pattern).search(text) if text else None
    group = next((n for n, found in enumerate(match.groups(), 1) if found), 0) if match else 0
    if match is None or not group:
        return "", 0
    return match[group], text.count("\n", 0, match.start(group)) + 1


def count_text(workspace: Workspace, path: str, pattern: str) -> int:
    """Number of matches in a file."""
    return sum(1 for _ in _compiled(pattern).finditer(workspace.text(path)))


def captures(workspace: Workspace, path: str, pattern: str, limit: int) -> list[str]:
    """The first groups of all matches in a file, each once, at most ``limit``."""
    text = workspace.text(path)
    found = dict.fromkeys(match[1] for match in _compiled(pattern).finditer(text)) if text else {}
    return list(found)[:limit]

"""Globs of workspaces on directories: ``*`` stays within one level, ``**`` does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import re2

__all__ = ["directory_matcher"]

MAX_PATTERNS = 200
"""Globs of one workspace that are matched; the largest workspace surveyed has 10."""

MAX_PATTERN = 200
"""Characters of one glob; a path of a package has well below 100."""

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\{|\}|,|[^*?{},]+")
_MEANING = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}


def directory_matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a directory is meant: by one glob without ``!`` in front and by none that has it. Linear in the path."""
    usable = [pattern for pattern in patterns if len(pattern) <= MAX_PATTERN][:MAX_PATTERNS]
    wanted = _together(pattern for pattern in usable if not pattern.startswith("!"))
    refused = _together(pattern.lstrip("!") for pattern in usable if pattern.startswith("!"))
    return lambda directory: wanted(directory) and not refused(directory)


def _together(patterns: Iterable[str]) -> Callable[[str], bool]:
    plain = (pattern.strip().removeprefix("./").rstrip("/") for pattern in patterns)
    expressions = [_expression(pattern) for pattern in plain if pattern]
    if not expressions:
        return lambda _: False
    compiled = re2.compile("|".join(f"(?:{expression})" for expression in expressions))
    return lambda directory: compiled.fullmatch(directory) is not None


def _expression(pattern: str) -> str:
    """The glob as a regular expression; one whose braces do not fit together is literal."""
    depth = 0
    parts = []
    for piece in _PIECE.findall(pattern):
        depth += (piece == "{") - (piece == "}")
        if depth < 0:
            break
        if piece == "," and not depth:
            parts.append(",")
        else:
            parts.append(_MEANING.get(piece) or re.escape(piece))
    return "".join(parts) if depth == 0 else re.escape(pattern)

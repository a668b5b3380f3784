"""Globs of a plan (gitwildmatch, as ``autopack_kit.globs`` and ``.gitignore`` read them) for files and directories as
they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from pathspec import GitIgnoreSpec

__all__ = ["ALL", "MAX_GLOB_BYTES", "matching", "of_directory", "of_file"]

ALL = "**"
"""Every file."""

MAX_GLOB_BYTES = 1_024
"""Bytes of a glob: what the scope of a run takes."""

_SPECIAL = re.compile(r"([\\*?\[\]])")


def of_file(path: str) -> str:
    """The glob of one file; characters that mean something are escaped.

    >>> of_file("src/[id].ts"), of_file("README.md")
    ('src/\\\\[id\\\\].ts', '/README.md')
    """
    escaped = _escaped(path)
    return escaped if "/" in path else f"/{escaped}"


def of_directory(path: str) -> str:
    """The glob of all files below a directory, ``"."`` for the root."""
    return ALL if path == "." else f"{_escaped(path)}/**"


def matching(paths: Sequence[str], globs: Iterable[str]) -> list[str]:
    """The paths that match a glob, in their order."""
    spec = _compiled(tuple(globs))
    return [path for path in paths if spec.match_file(path)] if len(spec) else []


def _escaped(path: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", path)
    escaped = f"\\{escaped}" if escaped[:1] in ("!", "#") else escaped
    return escaped[:-1] + "\\ " if escaped.endswith(" ") else escaped


@lru_cache(maxsize=256)
def _compiled(globs: tuple[str, ...]) -> GitIgnoreSpec:
    # RE2, not `re`: a glob of the text such as "*a*a*a*a*b" backtracks for minutes there.
    return GitIgnoreSpec.from_lines(globs, backend="re2")

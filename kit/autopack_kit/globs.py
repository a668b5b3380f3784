"""Which changed paths lie outside what was declared: exact, and so the only judgement that may block by default.

Pure: ``core/`` packages may import it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import re2
from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

__all__ = ["MalformedGlob", "check_globs", "out_of_scope"]

_RECENT_SCOPES = 512
"""Compiled scopes kept: one per run that is going on, about 2 KiB each."""
_RECENT_GLOBS = 4_096
"""Globs whose check is remembered: compiling one takes 0.1 ms, and every step of a run sends its scope again."""


@dataclass(frozen=True, slots=True)
class MalformedGlob(ValueError):
    """A glob that cannot be compiled.

    Attributes:
        index: its position in the sequence.
        glob: the glob itself.
        problem: what is wrong with it.
    """

    index: int
    glob: str
    problem: str = "is not a gitwildmatch glob"

    def __str__(self) -> str:
        return f"{self.glob!r} {self.problem}"


def check_globs(globs: Sequence[str]) -> None:
    """Check that every glob compiles and can match something, and that all of them can be matched together.

    Raises:
        MalformedGlob: the first that does not: a scope that silently matches nothing would condemn every change. Or the
            longest, where each compiles but not all at once: 200 of 1,000 characters are too much for RE2's memory.
    """
    for index, glob in enumerate(globs):
        if not _compiles(glob):
            raise MalformedGlob(index, glob)
    try:
        _compiled(tuple(globs))
    except re2.error as error:
        longest = max(range(len(globs)), key=lambda index: len(globs[index]))
        raise MalformedGlob(longest, globs[longest], "and the others are too complex to be matched at once") from error


def out_of_scope(paths: Sequence[str], scope: Sequence[str] = (), non_goals: Sequence[str] = ()) -> tuple[str, ...]:
    """The paths that match no glob of ``scope`` or some glob of ``non_goals``, in their order, each once.

    Globs are those of ``.gitignore`` (``src/``, ``*.md``, ``docs/**/*.rst``, ``!docs/keep.rst``), the last match wins.
    An empty ``scope`` allows everything. Pass both ends of a rename, and deleted files.

    Raises:
        GitIgnorePatternError: a malformed glob; :func:`check_globs` says which.
    """
    if not scope and not non_goals:
        return ()
    allowed, forbidden = _compiled(tuple(scope)), _compiled(tuple(non_goals))
    return tuple(
        path for path in dict.fromkeys(paths) if (scope and not allowed.match_file(path)) or forbidden.match_file(path)
    )


@lru_cache(maxsize=_RECENT_SCOPES)
def _compiled(globs: tuple[str, ...]) -> GitIgnoreSpec:
    # RE2, not `re`: a glob such as "*a*a*a*a*b" backtracks for minutes there.
    return GitIgnoreSpec.from_lines(globs, backend="re2")


@lru_cache(maxsize=_RECENT_GLOBS)
def _compiles(glob: str) -> bool:
    try:
        spec = GitIgnoreSpec.from_lines([glob], backend="re2")
    except (GitIgnorePatternError, re.error, re2.error):
        return False
    return any(pattern.include is not None for pattern in spec.patterns)

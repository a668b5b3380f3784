"""Checks a pattern file as its writer needs it: everything that is wrong, by pattern, not only the first thing.

Needs neither a server nor the stubs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autopack_hardening.adapters.registry import built_in, read_patterns
from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.patternfile import parse_file
from autopack_hardening.core.patterns import Pattern, PatternError
from autopack_hardening.core.proving import duplicates, prove
from autopack_hardening.core.rules import check_step

__all__ = ["Checked", "check_patterns"]

MAX_FILE_BYTES = 1 << 20
"""Bytes of a pattern file; the largest built-in one has a tenth."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a pattern file.

    Attributes:
        patterns: the sound ones.
        errors: what is wrong, each with file and id; of other files only what these patterns break.
        core: the sound ones with all built-in patterns of other files, ready to diagnose.
    """

    patterns: tuple[Pattern, ...]
    errors: tuple[PatternError, ...]
    core: Diagnostician


def check_patterns(file: Path) -> Checked:
    """Reads ``file`` and proves its patterns, with the built-in patterns of all other files at work.

    A file named as a built-in family stands for that family; any other has custom patterns.

    Raises:
        OSError: the file cannot be read.
    """
    good, bad = read_patterns()
    is_built_in = file.name in {pattern.source for pattern in good} | {error.source for error in bad}
    others = [pattern for pattern in good if pattern.source != file.name]
    own, errors = _read(file, is_custom=not is_built_in)
    errors += duplicates([*others, *own])
    core = built_in([*others, *own])
    known = {pattern.id for pattern in own}
    # An own near miss that another pattern matches, and a near miss of another that an own one matches, are both told.
    errors += prove(core, own)
    errors += [error for error in prove(core, others) if error.pattern_id in known or _is_taken(error, known)]
    return Checked(tuple(own), tuple(errors), core)


def _read(file: Path, *, is_custom: bool) -> tuple[list[Pattern], list[PatternError]]:
    content = file.read_bytes()
    if len(content) > MAX_FILE_BYTES:
        return [], [PatternError(file.name, "", f"has {len(content)} bytes; at most {MAX_FILE_BYTES} are read")]
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return [], [PatternError(file.name, "", f"is no valid TOML: {error}")]
    return parse_file(data, file.name, check_step, is_custom=is_custom)


def _is_taken(error: PatternError, known: Sequence[str] | set[str]) -> bool:
    """Whether another pattern's example is now diagnosed as one of the ``known``."""
    return any(f"is diagnosed as {name} before" in error.problem for name in known)

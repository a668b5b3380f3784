"""Patterns that users write: read from a definition, and proven against everything that is known already."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.patternfile import parse_file
from autopack_hardening.core.patterns import Pattern, PatternError
from autopack_hardening.core.proving import disturbed, duplicates, prove
from autopack_hardening.core.rules import check_step

__all__ = ["MAX_DEFINITION_BYTES", "Entry", "StoredPattern", "disproof", "problems_with", "read_definition"]

MAX_DEFINITION_BYTES = 64 << 10
"""Bytes of a definition; the largest built-in pattern has a tenth, samples included."""
MAX_EXPRESSIONS = 20
"""Expressions of a pattern; each one may cost some kilobytes in every process."""
MAX_SAMPLES = 20
MAX_ID = 128
LAST_PRIORITY = 10
"""In lists, what does not work comes after what does."""
SOURCE = "definition"
"""What messages call it, where a packaged pattern has a file."""


@dataclass(frozen=True, slots=True)
class StoredPattern:
    """A custom pattern as it is kept.

    Attributes:
        revision: grows with every change, and is never used again.
        definition: a pattern file.
    """

    id: str
    revision: int
    definition: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A pattern as it is listed.

    Attributes:
        pattern: None if this version cannot use it.
        stored: as it is kept, if it is a custom one.
        disabled_reason: why it does not work; empty = it does.
    """

    id: str
    pattern: Pattern | None
    stored: StoredPattern | None = None
    disabled_reason: str = ""

    @property
    def key(self) -> tuple[int, str]:
        """By which patterns are listed: those that do not work come last."""
        return (self.pattern.priority if self.pattern is not None else LAST_PRIORITY, self.id)


def read_definition(definition: str) -> Pattern:
    """The one pattern of a definition.

    Raises:
        PatternError: it is no pattern file with exactly one pattern, or the pattern is bad.
    """
    size = len(definition.encode())
    if size > MAX_DEFINITION_BYTES:
        raise PatternError(SOURCE, "", f"has {size} bytes; at most {MAX_DEFINITION_BYTES} are read")
    try:
        data = tomllib.loads(definition)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PatternError(SOURCE, "", f"is no valid TOML: {error}") from error
    tables = data.get("pattern")
    if isinstance(tables, list) and len(tables) != 1:
        raise PatternError(SOURCE, "", f"has {len(tables)} patterns; a definition has exactly one")
    good, bad = parse_file(data, SOURCE, check_step, is_custom=True)
    if bad or not good:
        raise bad[0] if bad else PatternError(SOURCE, "", "has no [[pattern]]")
    problem = _too_much(good[0])
    if problem:
        raise PatternError(SOURCE, good[0].id, problem)
    return good[0]


def problems_with(pattern: Pattern, built_in: Diagnostician, others: Sequence[Pattern]) -> list[PatternError]:
    """What speaks against working with ``pattern``: its own samples, and those of all that is known.

    Args:
        pattern: the new one.
        built_in: the packaged patterns.
        others: the tenant's other patterns.
    """
    core = built_in.with_custom([*others, pattern])
    errors = [*duplicates([*built_in.patterns, *others, pattern]), *prove(core, [pattern])]
    return errors or list(disturbed(core, pattern, built_in))


def disproof(pattern: Pattern, core: Diagnostician) -> str:
    """Why ``pattern``, one of ``core``, does not do what its own samples say; empty = it does."""
    return next((error.problem for error in prove(core, [pattern]) if error.pattern_id == pattern.id), "")


def _too_much(pattern: Pattern) -> str:
    expressions = len(pattern.any) + len(pattern.all) + len(pattern.none)
    if expressions > MAX_EXPRESSIONS:
        return f"has {expressions} expressions; at most {MAX_EXPRESSIONS} are allowed"
    samples = len(pattern.examples) + len(pattern.near_misses)
    if samples > MAX_SAMPLES:
        return f"has {samples} samples; at most {MAX_SAMPLES} are allowed"
    if len(pattern.id) > MAX_ID:
        return f"the id has {len(pattern.id)} characters; at most {MAX_ID} are allowed"
    return ""

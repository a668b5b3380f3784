"""Attribute values as numbers and labels. What cannot be one is refused, never made into a number nobody sent."""

from __future__ import annotations

import math
import re
from typing import Any

from autopack_telemetry.core.model import Tokens

__all__ = ["Malformed", "cost_of", "count_of", "disjoint", "label_of", "run_problem"]

MAX_TOKENS = 10**12
"""Tokens of one record, as RecordUsage takes them."""
MAX_COST_MICROUSD = 10**12
MAX_NAME = 128
MAX_ID = 256

_DIGITS = re.compile(r"-?[0-9]{1,19}")
_NOT_STORED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What a terminal or a log would act on, and halves of surrogate pairs; databases take neither."""
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Malformed(Exception):
    """An item that cannot be recorded. The text names the attribute and what it must be; it repeats no value that could
    be a prompt."""


def count_of(value: Any, key: str) -> int:
    """A number of tokens: a whole number, as int, as float or in decimal digits (agents send all three).

    Raises:
        Malformed: it is none, negative, or over 10^12.
    """
    kind = type(value)
    if kind is int:
        number = value
    elif kind is str and _DIGITS.fullmatch(value):
        number = int(value)
    elif kind is float and math.isfinite(value) and abs(value - round(value)) < 1e-6:
        number = round(value)  # sums of histograms are floats
    else:
        raise Malformed(f"{key} must be a whole number")
    if not 0 <= number <= MAX_TOKENS:
        raise Malformed(f"{key} must be 0 to {MAX_TOKENS}")
    return int(number)


def cost_of(value: Any, key: str) -> int:
    """US dollars in millionths, rounded.

    Raises:
        Malformed: no number, negative, or over a million dollars.
    """
    try:
        dollars = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        dollars = math.nan
    if not 0 <= dollars <= MAX_COST_MICROUSD / 1e6:
        raise Malformed(f"{key} must be an amount of US dollars, 0 to {MAX_COST_MICROUSD // 1_000_000}")
    return round(dollars * 1e6)


def label_of(value: Any, key: str, limit: int) -> str:
    """A name or an id of at most ``limit`` characters.

    Raises:
        Malformed: longer, with control characters, or neither text nor number.
    """
    if type(value) is str:
        if len(value) <= limit and value.isprintable():
            return value
    else:
        if type(value) not in (int, float):
            raise Malformed(f"{key} must be text")
        value = str(value)
    if len(value) > limit:
        raise Malformed(f"{key} must have at most {limit} characters")
    if _NOT_STORED.search(value):
        raise Malformed(f"{key} must not contain control characters")
    return str(value)


def run_problem(run_id: str) -> str:
    """Why this cannot be the id of a run; "" if it can."""
    return "" if _RUN_ID.fullmatch(run_id) else f"must be 1 to {MAX_NAME} letters, digits, '.', '_' and '-'"


def disjoint(counts: dict[str, int], *, input_includes_cache: bool, output_includes_reasoning: bool) -> Tokens:
    """The columns of a row from what was told: input without what came from or went to a cache, output with reasoning.

    Args:
        counts: by the columns of the mapping; ``uncached_input`` and ``response_output`` win over a difference.
        input_includes_cache: how the sender counts its input.
        output_includes_reasoning: how it counts its output.

    Raises:
        Malformed: a part is larger than what it must be a part of.
    """
    read, write = counts.get("cache_read", 0), counts.get("cache_write", 0)
    reasoning = counts.get("reasoning", 0)
    told = counts.get("input")
    if "uncached_input" in counts:
        uncached = counts["uncached_input"]
    elif told is not None and input_includes_cache:
        uncached = told - read - write
        if uncached < 0:
            raise Malformed(f"the input of {told} must include the cached {read + write}")
    else:
        uncached = told or 0
    output = counts.get("output")
    if output is None:
        output = counts.get("response_output", 0) + reasoning
    elif not output_includes_reasoning:
        output += reasoning
    elif reasoning > output:
        raise Malformed(f"the output of {output} must include the reasoning of {reasoning}")
    return Tokens(uncached + counts.get("tool_input", 0), read, write, output, reasoning)

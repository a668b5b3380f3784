"""What an importer finds in a file, and how it reads values that it cannot trust."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from autopack_telemetry.core.model import Tokens, UsageRecord

__all__ = [
    "MAX_ID",
    "MAX_TEXT",
    "MAX_WARNINGS",
    "Entry",
    "Format",
    "Found",
    "count",
    "digest",
    "mapping",
    "microseconds",
    "microusd",
    "sequence",
    "split_model",
    "text",
    "timestamp",
    "tokens_of",
]

MAX_WARNINGS = 20
"""Warnings that are told; a file of a million bad lines needs no million of them."""
MAX_TEXT = 128
"""Characters of the name of a model; longer ones are no names."""
MAX_ID = 256
MAX_COUNT = 10**12
"""Tokens of one entry, as for usage that is sent."""
_MICRO = 1_000_000


class Format(Enum):
    """The formats; the value is what people call them by."""

    AIDER = "aider-analytics"
    MINI_SWE_AGENT = "mini-swe-agent"
    CODEX = "codex-exec"
    CLAUDE = "claude-result"
    GEMINI = "gemini-result"
    OPENHANDS = "openhands-state"


@dataclass(slots=True)
class Found:
    """What was found in a file.

    Attributes:
        records: the usage, in the order of the file.
        warnings: entries that could not be read, with why; the first :data:`MAX_WARNINGS`.
    """

    records: list[UsageRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        """Keeps a warning, unless there are enough."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(sentence)


@dataclass(frozen=True, slots=True)
class Entry:
    """A JSON value of a file.

    Attributes:
        place: where it stands, for people: ``line 3``.
        value: an object.
    """

    place: str
    value: dict[str, Any]


def mapping(value: Any, *keys: str) -> dict[str, Any]:
    """The object at a path of keys; an empty one where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: Any, limit: int = MAX_TEXT) -> str:
    """The value if it is a printable text of at most ``limit`` characters, else an empty one."""
    return value if isinstance(value, str) and len(value) <= limit and value.isprintable() else ""


def count(value: Any, name: str) -> int:
    """A count of tokens; absent is 0.

    Raises:
        ValueError: it is no whole number from 0 to 10^12; with ``name``.
    """
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{name} is {str(value)[:40]!r}, which is no number of tokens")
    return value


def tokens_of(
    *, inclusive: int, cache_read: int, cache_write: int, output: int, reasoning: int, what: str = "input"
) -> Tokens:
    """Tokens where the count of the input includes what was read from and written to a cache, as most providers count.

    Raises:
        ValueError: the parts are more than the whole.
    """
    fresh = inclusive - cache_read - cache_write
    if fresh < 0:
        raise ValueError(f"{what} of {inclusive} is less than its cached part of {cache_read + cache_write}")
    if reasoning > output:
        raise ValueError(f"output of {output} is less than its reasoning of {reasoning}")
    return Tokens(fresh, cache_read, cache_write, output, reasoning)


def microusd(value: Any, tokens: Tokens) -> int | None:
    """A cost in US dollars as millionths; None for 0, which agents write for models whose price they do not know."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    cost = round(value * _MICRO)
    return cost if value > 0 and cost <= 10**12 and tokens.total else None


def microseconds(value: Any) -> int | None:
    """Seconds since 1970 as microseconds; None if it is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**33:
        return None
    return int(value * _MICRO)


def timestamp(value: Any) -> int | None:
    """A time in ISO 8601 with its zone as microseconds since 1970; None if it is none."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return microseconds(moment.timestamp()) if moment.tzinfo is not None else None


def split_model(name: Any) -> tuple[str, str]:
    """Provider and model of a name as LiteLLM writes it.

    >>> split_model("openai/gpt-4o"), split_model("gpt-4o"), split_model("openrouter/meta/llama")
    (('openai', 'gpt-4o'), ('', 'gpt-4o'), ('openrouter', 'meta/llama'))
    """
    provider, slash, model = text(name).partition("/")
    return (provider, model) if slash else ("", provider)


def digest(*parts: Any) -> str:
    """A short id of values: the same for the same file, whenever it is read."""
    data = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(data.encode()).hexdigest()[:32]

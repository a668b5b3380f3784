"""Long lists of values, in parts that a statement bears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["CHUNK", "chunks"]

T = TypeVar("T")

CHUNK = 500
"""Values of one statement: of five columns each they are a twelfth of what SQLite allows, and the text stays short."""


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in parts of at most :data:`CHUNK`."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]

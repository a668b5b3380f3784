"""Stored values as JSON, typed both ways: a dataclass in, the same dataclass out."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

__all__ = ["dumps", "loads"]


def dumps(value: object) -> str:
    """``value`` as JSON; the same value gives the same text."""
    return msgspec.json.encode(value, enc_hook=_plain, order="deterministic").decode()


def loads(text: str, type_: type[T]) -> T:
    """The value of ``type_`` in ``text``.

    Fields that the text lacks take their defaults, so that rows written by an earlier version stay readable.
    """
    return msgspec.json.decode(text, type=type_)


def _plain(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored")

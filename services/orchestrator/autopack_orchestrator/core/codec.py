"""Stored values as JSON, typed both ways: a dataclass in, the same dataclass out."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

__all__ = ["dumps", "loads"]

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_building = threading.Lock()


def dumps(value: object) -> str:
    """``value`` as JSON; the same value gives the same text."""
    return msgspec.json.encode(value, enc_hook=_plain, order="deterministic").decode()


def loads(text: str, type_: type[T]) -> T:
    """The value of ``type_`` in ``text``.

    Fields that the text lacks take their defaults, so that rows written by an earlier version stay readable.
    """
    value: T = _decoder(type_).decode(text)
    return value


def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a type, built once.

    Under a lock: msgspec leaves half-built descriptions of dataclasses where other threads find them, and a process in
    which two threads build at once can crash (seen with 0.22).
    """
    decoder = _decoders.get(type_)
    if decoder is None:
        with _building:
            decoder = _decoders.setdefault(type_, msgspec.json.Decoder(type_))
    return decoder


def _plain(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored")

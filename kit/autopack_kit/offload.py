"""Where a request is worked on: small ones at once, large ones in a thread, so that they do not hold up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from google.protobuf.message import Message

__all__ = ["compute"]

P = ParamSpec("P")
R = TypeVar("R")

INLINE_BYTES = 8 << 10
"""A request up to this size is converted and answered in under a millisecond."""


async def compute(request: Message, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """``function(*args)``, whose time grows with the size of ``request``: in a thread if that is over 8 KiB."""
    if request.ByteSize() <= INLINE_BYTES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)

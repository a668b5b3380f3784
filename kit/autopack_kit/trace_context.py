"""Which trace the present call belongs to, for the calls that it makes: W3C Trace Context over gRPC metadata.

Apart from :mod:`autopack_kit.tracing`, because every channel asks it and most processes trace nothing.
"""

from __future__ import annotations

import hashlib
from contextvars import ContextVar

__all__ = ["TRACEPARENT", "begin_trace", "current_traceparent", "outgoing"]

TRACEPARENT = "traceparent"
"""Metadata key, as in https://www.w3.org/TR/trace-context/."""

current_traceparent: ContextVar[str] = ContextVar("autopack_traceparent", default="")
"""Of the call that is being answered; empty outside of one, and where nothing is traced."""


def outgoing() -> tuple[tuple[str, str], ...]:
    """Metadata for a call that the present one makes."""
    parent = current_traceparent.get()
    return ((TRACEPARENT, parent),) if parent else ()


def begin_trace(name: str) -> None:
    """Lets the calls that this task makes from now on belong to one trace, for work that no call began.

    The trace id is derived from the name, so that work which is taken up again, by whichever process, goes on in the
    same trace: its first 16 bytes of SHA-256. The trace is sampled.
    """
    digest = hashlib.sha256(name.encode()).hexdigest()
    current_traceparent.set(f"00-{digest[:32]}-{digest[32:48]}-01")

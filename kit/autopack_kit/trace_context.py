"""Which trace the present call belongs to, for the calls that it makes: W3C Trace Context over gRPC metadata.

Apart from :mod:`autopack_kit.tracing`, because every channel asks it and most processes trace nothing.
"""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["TRACEPARENT", "current_traceparent", "outgoing"]

TRACEPARENT = "traceparent"
"""Metadata key, as in https://www.w3.org/TR/trace-context/."""

current_traceparent: ContextVar[str] = ContextVar("autopack_traceparent", default="")
"""Of the call that is being answered; empty outside of one, and where nothing is traced."""


def outgoing() -> tuple[tuple[str, str], ...]:
    """Metadata for a call that the present one makes."""
    parent = current_traceparent.get()
    return ((TRACEPARENT, parent),) if parent else ()

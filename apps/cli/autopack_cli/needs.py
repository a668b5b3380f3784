"""What a command asks of the server that it makes for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ALL", "Needs"]

ALL = ("toolchain", "hardening", "intention", "orchestrator", "telemetry")
"""The names of the services."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a command asks of its server.

    Attributes:
        services: those that it calls, and those that they call.
        roots: directories that the command was given; the embedded server may read these and no others.
        carry_out: whether runs are carried out; a command that only looks must not start an agent that was left behind.
    """

    services: Sequence[str] = ALL
    roots: Sequence[Path] = ()
    carry_out: bool = False

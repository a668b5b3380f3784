"""The times that keep two attempts of a run apart."""

from __future__ import annotations

import socket

from autopack_kit.errors import InvalidArgument

from autopack_orchestrator.execution.commands import TERM_GRACE_S
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["KILL_TIME_S", "check_timing", "host_name", "standstill_s"]

KILL_TIME_S = TERM_GRACE_S + 2.0
"""From the decision to end what a run has started until it is over: its grace, and a loaded machine's time to kill."""
MARGIN_S = 2.0  # of a watchdog that is late itself
MAX_HOST = 255


def standstill_s(settings: OrchestratorSettings) -> float:
    """Seconds that a worker may stand still: killed then, its agents' supervisors end them in time."""
    return (settings.stale_after - settings.cluster_fence_grace).total_seconds() - MARGIN_S


def check_timing(settings: OrchestratorSettings) -> None:
    """Refuse times with which a run could begin on one host before it has ended on another.

    Raises:
        InvalidArgument: ``STALE_AFTER_TOO_SHORT``.
    """
    least = settings.cluster_fence_grace.total_seconds() + KILL_TIME_S
    if settings.stale_after.total_seconds() > least:
        return
    raise InvalidArgument(
        f"stale_after ({settings.stale_after.total_seconds():g} s) must be longer than cluster_fence_grace plus "
        f"{KILL_TIME_S:g} s, which ending a run takes; else two attempts of a run could be at work at once.",
        reason="STALE_AFTER_TOO_SHORT",
        remedy=f"Set AUTOPACK_ORCHESTRATOR_STALE_AFTER above {least:g}s, the same on all hosts, or shorten the fence.",
    )


def host_name() -> str:
    """This host, for people."""
    return socket.gethostname()[:MAX_HOST]

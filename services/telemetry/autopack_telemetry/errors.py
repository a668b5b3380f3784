"""What can go wrong in the telemetry service, with what to do about it."""

from __future__ import annotations

from autopack_kit.errors import AlreadyExists, NotFound

__all__ = ["run_not_found", "session_of_another_run"]


def run_not_found(run_id: str) -> NotFound:
    """``RUN_NOT_FOUND``: nothing was recorded for it under this tenant."""
    return NotFound(
        f"Nothing was recorded for run {run_id!r}.",
        reason="RUN_NOT_FOUND",
        remedy="Check the id, and that telemetry was on (AUTOPACK_TELEMETRY_ENABLED) when the run took place.",
        metadata={"run_id": run_id},
    )


def session_of_another_run(agent: str, session_id: str, run_id: str) -> AlreadyExists:
    """``SESSION_OF_ANOTHER_RUN``: what it tells belongs there, and moving it would change that run's sums."""
    return AlreadyExists(
        f"Session {session_id!r} of {agent!r} belongs to run {run_id!r}.",
        reason="SESSION_OF_ANOTHER_RUN",
        remedy="Give each run a session of its own.",
        metadata={"agent": agent, "session_id": session_id, "run_id": run_id},
    )

"""What can go wrong in the telemetry service, with what to do about it."""

from __future__ import annotations

from autopack_kit.errors import NotFound

__all__ = ["run_not_found"]


def run_not_found(run_id: str) -> NotFound:
    """``RUN_NOT_FOUND``: nothing was recorded for it under this tenant."""
    return NotFound(
        f"Nothing was recorded for run {run_id!r}.",
        reason="RUN_NOT_FOUND",
        remedy="Check the id, and that telemetry was on (AUTOPACK_TELEMETRY_ENABLED) when the run took place.",
        metadata={"run_id": run_id},
    )

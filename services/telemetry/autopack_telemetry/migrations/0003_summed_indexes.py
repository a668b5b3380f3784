"""Indexes that hold all that is summed of a run."""

from __future__ import annotations

from alembic import op

revision = "telemetry_0003"
down_revision = "telemetry_0002"

_SUMMED_OF_PHASES = (
    "hardening_triggered",
    "mitigated",
    "doctor_called",
    "doctor_skipped",
    "context_bytes",
    "duration",
    "avoided_tokens",
    "avoided_n",
)
_SUMMED_OF_USAGE = (
    "role",
    "input",
    "cache_read",
    "cache_write",
    "output",
    "reasoning",
    "total",
    "reported_cost_microusd",
    "cost_microusd",
    "price_source",
    "price_version",
)


def upgrade() -> None:
    op.create_index(
        "phases_by_outcome",
        "phases",
        ["tenant", "run_id", "outcome", "avoided_source", "pattern_id", *_SUMMED_OF_PHASES],
    )
    op.drop_index("usage_by_session", "usage")
    op.create_index(
        "usage_by_session",
        "usage",
        ["tenant", "run_id", "agent", "session_id", "signal", "shadow", "id", *_SUMMED_OF_USAGE],
    )

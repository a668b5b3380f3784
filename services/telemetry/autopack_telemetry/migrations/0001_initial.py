"""Phases and usage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from autopack_kit.db import RowId

revision = "telemetry_0001"
down_revision = None


def upgrade() -> None:
    _phases()
    _usage()


def _phases() -> None:
    op.create_table(
        "phases",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("phase_id", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("duration", sa.BigInteger),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("hardening_triggered", sa.Boolean),
        sa.Column("pattern_id", sa.String(128)),
        sa.Column("mitigated", sa.Boolean),
        sa.Column("doctor_called", sa.Boolean),
        sa.Column("doctor_skipped", sa.Boolean),
        sa.Column("avoided_tokens", sa.BigInteger),
        sa.Column("avoided_n", sa.Integer),
        sa.Column("avoided_source", sa.String(16)),
        sa.Column("context_bytes", sa.Integer),
        sa.Column("drift_z", sa.Float(53)),
        sa.Column("drift_verdict", sa.String(128)),
        sa.Column("retries", sa.Integer),
        sa.Column("errors", sa.Integer),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("phases_once", "phases", ["tenant", "run_id", "phase_id"], unique=True)
    op.create_index("phases_by_run", "phases", ["tenant", "run_id", "id"])


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("usage_id", sa.String(256), nullable=False),
        sa.Column("phase_id", sa.String(128), nullable=False),
        sa.Column("agent", sa.String(128), nullable=False),
        sa.Column("provider", sa.String(128), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("model_class", sa.String(16), nullable=False),
        sa.Column("input", sa.BigInteger, nullable=False),
        sa.Column("cache_read", sa.BigInteger, nullable=False),
        sa.Column("cache_write", sa.BigInteger, nullable=False),
        sa.Column("output", sa.BigInteger, nullable=False),
        sa.Column("reasoning", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("cost_microusd", sa.BigInteger),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("usage_once", "usage", ["tenant", "run_id", "usage_id"], unique=True)
    op.create_index("usage_by_run", "usage", ["tenant", "run_id", "role", "id"])
    op.create_index("usage_by_class", "usage", ["tenant", "role", "model_class", "time", "id"])
    op.create_index("usage_by_time", "usage", ["tenant", "role", "time", "id"])

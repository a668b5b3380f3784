"""Batches, runs and their events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(128)),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("base_commit", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("max_concurrent_runs", sa.Integer, nullable=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("tenant", "request_id", name="uq_batches_request"),
    )
    op.create_index("ix_batches_page", "batches", ["tenant", "created_at", "batch_id"])
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(160), primary_key=True),
        sa.Column("batch_id", sa.String(64), sa.ForeignKey("batches.batch_id", name="fk_runs_batch"), nullable=False),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("activity", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("branch", sa.String(256), nullable=False),
        sa.Column("base_commit", sa.String(64), nullable=False),
        sa.Column("lease_owner", sa.String(64), nullable=False),
        sa.Column("lease_epoch", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("result", sa.Text, nullable=False),
        sa.UniqueConstraint("batch_id", "position", name="uq_runs_position"),
    )
    op.create_index("ix_runs_state", "runs", ["state", "created_at", "position"])
    op.create_index("ix_runs_page", "runs", ["tenant", "created_at", "batch_id", "position"])
    op.create_table(
        "events",
        sa.Column(
            "batch_id", sa.String(64), sa.ForeignKey("batches.batch_id", name="fk_events_batch"), primary_key=True
        ),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("run_id", sa.String(160), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
    )

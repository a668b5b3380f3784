"""Custom patterns, outcomes of mitigations, and clusters of failures that nothing explains."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "hardening_0001"
down_revision = None


def upgrade() -> None:
    _patterns()
    _outcomes()
    _clusters()


def _patterns() -> None:
    op.create_table(
        "patterns",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pattern_sets",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(256), primary_key=True),
        sa.Column("pattern_id", sa.String(128), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("outcomes_by_time", "outcomes", ["tenant", "recorded_at"])
    op.create_table(
        "outcome_counts",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("pattern_id", sa.String(128), primary_key=True),
        sa.Column("fixed", sa.BigInteger, nullable=False),
        sa.Column("progressed", sa.BigInteger, nullable=False),
        sa.Column("unchanged", sa.BigInteger, nullable=False),
        sa.Column("worse", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
    )


def _clusters() -> None:
    op.create_table(
        "clusters",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("bucket", sa.String(64), nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("met", sa.BigInteger, nullable=False),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("programs", sa.Text, nullable=False),
        sa.Column("examples", sa.Text, nullable=False),
    )
    op.create_index("clusters_by_bucket", "clusters", ["tenant", "bucket"])
    op.create_index("clusters_by_count", "clusters", ["tenant", "met", "id"])

"""Profiles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "intention_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "profiles",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("last_used", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("profiles_by_use", "profiles", ["tenant", "last_used", "id", "size"])

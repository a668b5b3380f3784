"""Notes and their comments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from autopack_kit.db import RowId

revision = "notes_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "notes",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.UniqueConstraint("author", "text", name="notes_once"),
    )
    op.create_table(
        "comments",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("note_id", RowId, sa.ForeignKey("notes.id", ondelete="CASCADE"), nullable=False),
    )

"""The author is now called writer: on SQLite the table is made anew, and its comments must survive that."""

from __future__ import annotations

from alembic import op

revision = "notes_0002"
down_revision = "notes_0001"


def upgrade() -> None:
    with op.batch_alter_table("notes") as table:
        table.alter_column("author", new_column_name="writer")

"""What Alembic runs for every service: its revisions, on the connection and in the transaction that it was given."""

from __future__ import annotations

from alembic import context

# render_as_batch: SQLite cannot alter most of a table; Alembic then makes a new one and copies.
context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()

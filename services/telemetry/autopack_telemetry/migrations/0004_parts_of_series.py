"""What series of metrics told, part by part."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "telemetry_0004"
down_revision = "telemetry_0003"


def upgrade() -> None:
    op.add_column("usage", sa.Column("parts", sa.Text))

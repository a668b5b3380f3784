"""Whose cost it is, which signal told of usage, sessions, runs, and what else is known of a phase."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from autopack_kit.db import RowId

revision = "telemetry_0002"
down_revision = "telemetry_0001"

_RESPONSE = sa.text("response_id IS NOT NULL")
_DOCTOR = sa.text("role = 'doctor' AND NOT failed AND NOT shadow AND total > 0")
_REGISTERED = sa.text("registered")


def upgrade() -> None:
    _usage()
    _phases()
    _runs()
    _sessions()


def _usage() -> None:
    for name in ("usage_by_run", "usage_by_class", "usage_by_time"):
        op.drop_index(name, "usage")
    # What was recorded as "cost" is what senders said; the name is now that of the derived cost. Two steps, as one
    # could not tell the column that gets the name from the one that loses it.
    with op.batch_alter_table("usage") as usage:
        usage.alter_column("cost_microusd", new_column_name="reported_cost_microusd", existing_type=sa.BigInteger)
    with op.batch_alter_table("usage") as usage:
        usage.add_column(sa.Column("cost_microusd", sa.BigInteger))
        usage.add_column(sa.Column("price_source", sa.String(64)))
        usage.add_column(sa.Column("price_version", sa.String(64)))
        usage.add_column(sa.Column("signal", sa.String(8), nullable=False, server_default="api"))
        usage.add_column(sa.Column("session_id", sa.String(256), nullable=False, server_default=""))
        usage.add_column(sa.Column("response_id", sa.String(256)))
        usage.add_column(sa.Column("shadow", sa.Boolean, nullable=False, server_default=sa.false()))
        usage.add_column(sa.Column("cumulative", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index(
        "usage_response_once",
        "usage",
        ["tenant", "response_id", "agent", "signal", "total"],
        unique=True,
        sqlite_where=_RESPONSE,
        postgresql_where=_RESPONSE,
    )
    op.create_index(
        "usage_by_session", "usage", ["tenant", "run_id", "agent", "session_id", "signal", "shadow", "total"]
    )
    for name, columns in (("doctor_by_run", ["run_id"]), ("doctor_by_class", ["model_class"]), ("doctor_by_time", [])):
        op.create_index(
            name, "usage", ["tenant", *columns, "time", "id"], sqlite_where=_DOCTOR, postgresql_where=_DOCTOR
        )


def _phases() -> None:
    with op.batch_alter_table("phases") as phases:
        phases.add_column(sa.Column("avoided_low", sa.BigInteger))
        phases.add_column(sa.Column("avoided_high", sa.BigInteger))
        phases.add_column(sa.Column("avoided_confidence", sa.Float(53)))
        phases.add_column(sa.Column("context_source", sa.String(128)))
        phases.add_column(sa.Column("plan_normalized", sa.Boolean))
        phases.add_column(sa.Column("plan_confidence", sa.Float(53)))
        for name in ("plan_warnings", "plan_deliverables", "scope_size", "warnings"):
            phases.add_column(sa.Column(name, sa.Integer))
    op.create_index("phases_by_age", "phases", ["recorded_at"])


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("task", sa.String(256)),
        sa.Column("batch_id", sa.String(128)),
        sa.Column("base_commit", sa.String(128)),
        sa.Column("spec_hash", sa.String(128)),
        sa.Column("agent", sa.String(128)),
        sa.Column("agent_version", sa.String(128)),
        sa.Column("models", sa.Text),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("duration", sa.BigInteger),
        sa.Column("outcome", sa.String(16)),
        sa.Column("retries", sa.Integer),
        sa.Column("token_limit", sa.BigInteger),
        sa.Column("time_limit", sa.BigInteger),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("runs_once", "runs", ["tenant", "run_id"], unique=True)
    op.create_index("runs_by_age", "runs", ["recorded_at"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("agent", sa.String(128), nullable=False),
        sa.Column("session_id", sa.String(256), nullable=False),
        sa.Column("phase_id", sa.String(128), nullable=False),
        sa.Column("registered", sa.Boolean, nullable=False),
        sa.Column("signals", sa.Integer, nullable=False),
        sa.Column("named_signals", sa.Integer, nullable=False),
        sa.Column("first_time", sa.BigInteger),
        sa.Column("last_time", sa.BigInteger),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("sessions_once", "sessions", ["tenant", "run_id", "agent", "session_id"], unique=True)
    op.create_index(
        "sessions_registered_once",
        "sessions",
        ["tenant", "agent", "session_id"],
        unique=True,
        sqlite_where=_REGISTERED,
        postgresql_where=_REGISTERED,
    )
    op.create_index("sessions_by_run", "sessions", ["tenant", "run_id", "id"])
    op.create_index("sessions_by_tenant", "sessions", ["tenant", "id"])
    op.create_index("sessions_by_age", "sessions", ["recorded_at"])

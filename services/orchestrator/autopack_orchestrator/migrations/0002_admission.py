"""Queues with priority, retries, needs, turns of tenants, throttled agents, pauses."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "orchestrator_0002"
down_revision = "orchestrator_0001"

PAGE = 1000  # rows in memory at once
DEFAULT_RETRY = json.dumps({"max_attempts": 2, "on": ["lost"], "initial_backoff": "PT1S", "max_backoff": "PT300S"})


def upgrade() -> None:
    with op.batch_alter_table("batches") as batches:
        batches.add_column(sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
        batches.add_column(sa.Column("retry", sa.Text, nullable=False, server_default=sa.text(f"'{DEFAULT_RETRY}'")))
        batches.add_column(sa.Column("queue_timeout", sa.BigInteger))
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("gate", sa.String(8), nullable=False, server_default=""))
        runs.add_column(sa.Column("lane", sa.String(256), nullable=False, server_default=""))
        runs.add_column(sa.Column("rank", sa.BigInteger, nullable=False, server_default="0"))
        runs.add_column(sa.Column("not_before", sa.BigInteger))
        runs.add_column(sa.Column("queue_deadline", sa.BigInteger))
        runs.add_column(sa.Column("counted", sa.Integer, nullable=False, server_default="1"))
        runs.add_column(sa.Column("excused", sa.Integer, nullable=False, server_default="0"))
        runs.add_column(sa.Column("retry_request", sa.String(128), nullable=False, server_default=""))
    _fill(op.get_bind())
    op.create_index("ix_runs_queue", "runs", ["gate", "lane", "rank", "batch_id", "position"])
    op.create_index("ix_runs_later", "runs", ["gate", "not_before"])
    op.create_index("ix_runs_deadline", "runs", ["queue_deadline"])
    op.create_table(
        "needs",
        sa.Column("needed", sa.String(160), sa.ForeignKey("runs.run_id", name="fk_needs_needed"), primary_key=True),
        sa.Column("run_id", sa.String(160), sa.ForeignKey("runs.run_id", name="fk_needs_run"), primary_key=True),
    )
    op.create_index("ix_needs_run", "needs", ["run_id"])
    op.create_table(
        "turns",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "throttles",
        sa.Column("agent", sa.String(64), primary_key=True),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pauses",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )


def _fill(connection: sa.Connection) -> None:
    """Where each run that exists waits or works, as the code of this version would have written it."""
    connection.execute(sa.text("UPDATE runs SET counted = attempt, rank = created_at"))
    connection.execute(sa.text("UPDATE runs SET gate = 'open' WHERE state = 'queued'"))
    last = ""
    while True:
        query = sa.text(
            "SELECT runs.run_id, runs.tenant, runs.spec, batches.repository FROM runs "
            "JOIN batches ON batches.batch_id = runs.batch_id "
            "WHERE runs.run_id > :last ORDER BY runs.run_id LIMIT :page"
        )
        rows = connection.execute(query, {"last": last, "page": PAGE}).all()
        if not rows:
            return
        values = [{"run_id": row[0], "lane": _lane(row[1], row[2], row[3])} for row in rows]
        connection.execute(sa.text("UPDATE runs SET lane = :lane WHERE run_id = :run_id"), values)
        last = rows[-1][0]


def _lane(tenant: str, spec: str, repository: str) -> str:
    digest = hashlib.sha256(repository.encode(errors="surrogateescape")).hexdigest()[:16]
    parsed: dict[str, Any] = json.loads(spec)
    agent = (parsed.get("agent") or {}).get("name", "")
    return f"{tenant}\n{digest}\n{agent}"

"""The tables of the orchestrator. Times are microseconds since 1970, so that both databases keep them alike."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = ["BATCHES", "EVENTS", "METADATA", "RUNS"]

METADATA = MetaData()

BATCHES = Table(
    "batches",
    METADATA,
    Column("batch_id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("name", String(64), nullable=False),
    Column("request_id", String(128)),
    Column("request_hash", String(64), nullable=False),
    Column("repository", Text, nullable=False),
    Column("base_commit", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("max_concurrent_runs", Integer, nullable=False),
    Column("budget", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("last_sequence", BigInteger, nullable=False),
    UniqueConstraint("tenant", "request_id", name="uq_batches_request"),
    Index("ix_batches_page", "tenant", "created_at", "batch_id"),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", String(160), primary_key=True),
    Column("batch_id", String(64), ForeignKey("batches.batch_id", name="fk_runs_batch"), nullable=False),
    Column("tenant", String(128), nullable=False),
    Column("name", String(64), nullable=False),
    Column("position", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("activity", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("branch", String(256), nullable=False),
    Column("base_commit", String(64), nullable=False),
    Column("lease_owner", String(64), nullable=False),
    Column("lease_epoch", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("result", Text, nullable=False),
    UniqueConstraint("batch_id", "position", name="uq_runs_position"),
    Index("ix_runs_state", "state", "created_at", "position"),
    Index("ix_runs_page", "tenant", "created_at", "batch_id", "position"),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("batch_id", String(64), ForeignKey("batches.batch_id", name="fk_events_batch"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", String(160), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("attributes", Text, nullable=False),
)

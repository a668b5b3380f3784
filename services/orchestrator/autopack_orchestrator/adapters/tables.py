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

__all__ = ["BATCHES", "EVENTS", "METADATA", "NEEDS", "OBJECTS", "PAUSES", "RUNS", "THROTTLES", "TURNS", "WORKERS"]

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
    Column("priority", Integer, nullable=False),
    Column("retry", Text, nullable=False),
    Column("queue_timeout", BigInteger),
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
    # While it is queued: "open" for its turn, "later" for its retry, "needs" for other runs; else empty.
    Column("gate", String(8), nullable=False),
    Column("lane", String(256), nullable=False),
    Column("rank", BigInteger, nullable=False),
    Column("not_before", BigInteger),
    Column("queue_deadline", BigInteger),
    Column("counted", Integer, nullable=False),
    Column("excused", Integer, nullable=False),
    Column("retry_request", String(128), nullable=False),
    UniqueConstraint("batch_id", "position", name="uq_runs_position"),
    Index("ix_runs_queue", "gate", "lane", "rank", "batch_id", "position"),
    Index("ix_runs_later", "gate", "not_before"),
    Index("ix_runs_deadline", "queue_deadline"),
    Index("ix_runs_state", "state", "created_at", "position"),
    Index("ix_runs_page", "tenant", "created_at", "batch_id", "position"),
)

#: Which run waits for which.
NEEDS = Table(
    "needs",
    METADATA,
    Column("needed", String(160), ForeignKey("runs.run_id", name="fk_needs_needed"), primary_key=True),
    Column("run_id", String(160), ForeignKey("runs.run_id", name="fk_needs_run"), primary_key=True),
    Index("ix_needs_run", "run_id"),
)

#: When each tenant had its last turn: a number that only grows.
TURNS = Table(
    "turns",
    METADATA,
    Column("tenant", String(128), primary_key=True),
    Column("turn", BigInteger, nullable=False),
)

#: Agents whose provider is overloaded, and how many runs of them may be at work since when.
THROTTLES = Table(
    "throttles",
    METADATA,
    Column("agent", String(64), primary_key=True),
    Column("runs", Integer, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

#: Engines that start nothing for now, and why; a row that is not renewed counts no more.
PAUSES = Table(
    "pauses",
    METADATA,
    Column("owner", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

#: Those processes of a cluster that hold leases. Who is not in it holds none; ``beat`` grows while it is alive.
WORKERS = Table(
    "workers",
    METADATA,
    Column("owner", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("beat", BigInteger, nullable=False),
)

#: What an attempt left in the object store. A log is many objects, each with the offset of its first byte.
OBJECTS = Table(
    "objects",
    METADATA,
    Column("run_id", String(160), ForeignKey("runs.run_id", name="fk_objects_run"), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("key", String(512), nullable=False),
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

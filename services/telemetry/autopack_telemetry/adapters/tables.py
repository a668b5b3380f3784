"""The tables, as the newest migration leaves them.

Every key begins with the tenant, because every read is filtered by it. Times are BIGINT microseconds: both databases
then agree to the digit, whatever their time zones.
"""

from __future__ import annotations

from autopack_kit.db import RowId
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table

__all__ = ["METADATA", "PHASES", "USAGE"]

METADATA = MetaData()

PHASES = Table(
    "phases",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("run_id", String(128), nullable=False),
    Column("phase_id", String(128), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("attempt", Integer),
    Column("started_at", BigInteger),
    Column("duration", BigInteger),
    Column("outcome", String(16), nullable=False),
    Column("hardening_triggered", Boolean),
    Column("pattern_id", String(128)),
    Column("mitigated", Boolean),
    Column("doctor_called", Boolean),
    Column("doctor_skipped", Boolean),
    Column("avoided_tokens", BigInteger),
    Column("avoided_n", Integer),
    Column("avoided_source", String(16)),
    Column("context_bytes", Integer),
    Column("drift_z", Float(53)),
    Column("drift_verdict", String(128)),
    Column("retries", Integer),
    Column("errors", Integer),
    Column("recorded_at", BigInteger, nullable=False),
    # The upsert's key.
    Index("phases_once", "tenant", "run_id", "phase_id", unique=True),
    # Pages by id: without it PostgreSQL walks the primary key past all other runs.
    Index("phases_by_run", "tenant", "run_id", "id"),
)

USAGE = Table(
    "usage",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("run_id", String(128), nullable=False),
    Column("usage_id", String(256), nullable=False),
    Column("phase_id", String(128), nullable=False),
    Column("agent", String(128), nullable=False),
    Column("provider", String(128), nullable=False),
    Column("model", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("model_class", String(16), nullable=False),
    Column("input", BigInteger, nullable=False),
    Column("cache_read", BigInteger, nullable=False),
    Column("cache_write", BigInteger, nullable=False),
    Column("output", BigInteger, nullable=False),
    Column("reasoning", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("cost_microusd", BigInteger),
    Column("time", BigInteger, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("usage_once", "tenant", "run_id", "usage_id", unique=True),
    # The doctor's calls of a run; they are few among its others.
    Index("usage_by_run", "tenant", "run_id", "role", "id"),
    # The last calls of a role, of one class of models and of any: each order needs an index of its own.
    Index("usage_by_class", "tenant", "role", "model_class", "time", "id"),
    Index("usage_by_time", "tenant", "role", "time", "id"),
)

"""The tables, as the newest migration leaves them.

Every key begins with the tenant, because every read is filtered by it. Times are BIGINT microseconds: both databases
then agree to the digit, whatever their time zones.
"""

from __future__ import annotations

from autopack_kit.db import RowId
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, false, text

__all__ = ["DOCTOR_CALL", "METADATA", "PHASES", "RUNS", "SESSIONS", "USAGE"]

METADATA = MetaData()

DOCTOR_CALL = text("role = 'doctor' AND NOT failed AND NOT shadow AND total > 0")
"""What an estimate is made from. In words, not in bound values: only so does a planner see that an index has it all."""

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
    Column("avoided_low", BigInteger),
    Column("avoided_high", BigInteger),
    Column("avoided_confidence", Float(53)),
    Column("context_bytes", Integer),
    Column("context_source", String(128)),
    Column("plan_normalized", Boolean),
    Column("plan_confidence", Float(53)),
    Column("plan_warnings", Integer),
    Column("plan_deliverables", Integer),
    Column("scope_size", Integer),
    Column("drift_z", Float(53)),
    Column("drift_verdict", String(128)),
    Column("retries", Integer),
    Column("errors", Integer),
    Column("warnings", Integer),
    Column("recorded_at", BigInteger, nullable=False),
    # The upsert's key.
    Index("phases_once", "tenant", "run_id", "phase_id", unique=True),
    # Pages by id: without it PostgreSQL walks the primary key past all other runs.
    Index("phases_by_run", "tenant", "run_id", "id"),
    # All that is summed of a run, in groups as they are told: read alone, without a look at each phase.
    Index(
        "phases_by_outcome",
        "tenant",
        "run_id",
        "outcome",
        "avoided_source",
        "pattern_id",
        "hardening_triggered",
        "mitigated",
        "doctor_called",
        "doctor_skipped",
        "context_bytes",
        "duration",
        "avoided_tokens",
        "avoided_n",
    ),
    Index("phases_by_age", "recorded_at"),
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
    # As the sender says; as a price list says, and which; NULL is "not known", never nothing.
    Column("reported_cost_microusd", BigInteger),
    Column("cost_microusd", BigInteger),
    Column("price_source", String(64)),
    Column("price_version", String(64)),
    Column("time", BigInteger, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("signal", String(8), nullable=False, server_default="api"),
    Column("session_id", String(256), nullable=False, server_default=""),
    Column("response_id", String(256)),
    Column("shadow", Boolean, nullable=False, server_default=false()),
    Column("cumulative", Boolean, nullable=False, server_default=false()),
    Column("recorded_at", BigInteger, nullable=False),
    # JSON, of a series of a metric: what it told of each column, see core/otlp/parts.py.
    Column("parts", Text),
    Index("usage_once", "tenant", "run_id", "usage_id", unique=True),
    # A response that several sessions tell of. The total is a part, as some servers' ids are of three digits only.
    Index(
        "usage_response_once",
        "tenant",
        "response_id",
        "agent",
        "signal",
        "total",
        unique=True,
        sqlite_where=text("response_id IS NOT NULL"),
        postgresql_where=text("response_id IS NOT NULL"),
    ),
    # What one session told: moved when it is registered, weighed when a better signal speaks. It holds all that is
    # summed of a run, as a look at each call costs several times as much. The id comes before that, so that a call is
    # put behind the others of its session, not among them by the number of its tokens, which takes twice as long.
    Index(
        "usage_by_session",
        "tenant",
        "run_id",
        "agent",
        "session_id",
        "signal",
        "shadow",
        "id",
        "role",
        "input",
        "cache_read",
        "cache_write",
        "output",
        "reasoning",
        "total",
        "reported_cost_microusd",
        "cost_microusd",
        "price_source",
        "price_version",
    ),
    # The doctor's last calls: of a run, of any of a class of models, of any. Partial, as they are few among all calls,
    # which then pay nothing for them.
    *(
        Index(name, "tenant", *columns, "time", "id", sqlite_where=DOCTOR_CALL, postgresql_where=DOCTOR_CALL)
        for name, columns in (
            ("doctor_by_run", ("run_id",)),
            ("doctor_by_class", ("model_class",)),
            ("doctor_by_time", ()),
        )
    ),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("run_id", String(128), nullable=False),
    Column("task", String(256)),
    Column("batch_id", String(128)),
    Column("base_commit", String(128)),
    Column("spec_hash", String(128)),
    Column("agent", String(128)),
    Column("agent_version", String(128)),
    # A JSON object.
    Column("models", Text),
    Column("started_at", BigInteger),
    Column("duration", BigInteger),
    Column("outcome", String(16)),
    Column("retries", Integer),
    Column("token_limit", BigInteger),
    Column("time_limit", BigInteger),
    Column("recorded_at", BigInteger, nullable=False),
    Index("runs_once", "tenant", "run_id", unique=True),
    Index("runs_by_age", "recorded_at"),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("tenant", String(64), nullable=False),
    # Empty for a session of no run.
    Column("run_id", String(128), nullable=False),
    Column("agent", String(128), nullable=False),
    # Empty for usage that names no session: one such row for each agent of a run.
    Column("session_id", String(256), nullable=False),
    Column("phase_id", String(128), nullable=False),
    Column("registered", Boolean, nullable=False),
    # Bits, see core/signals.py: of this session; and, in the row without session, of all sessions of the agent.
    Column("signals", Integer, nullable=False),
    Column("named_signals", Integer, nullable=False),
    Column("first_time", BigInteger),
    Column("last_time", BigInteger),
    Column("recorded_at", BigInteger, nullable=False),
    Index("sessions_once", "tenant", "run_id", "agent", "session_id", unique=True),
    # A session belongs to one run at most.
    Index(
        "sessions_registered_once",
        "tenant",
        "agent",
        "session_id",
        unique=True,
        sqlite_where=text("registered"),
        postgresql_where=text("registered"),
    ),
    # Pages.
    Index("sessions_by_run", "tenant", "run_id", "id"),
    Index("sessions_by_tenant", "tenant", "id"),
    Index("sessions_by_age", "recorded_at"),
)

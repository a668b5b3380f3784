"""The tables, as the newest migration leaves them. Times are microseconds since 1970."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table, Text

__all__ = ["CLUSTERS", "COUNTS", "METADATA", "OUTCOMES", "PATTERNS", "SETS"]

METADATA = MetaData()

PATTERNS = Table(
    "patterns",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("definition", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

SETS = Table(
    "pattern_sets",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    # Grows with every change of the tenant's patterns: what other replicas look at.
    Column("version", BigInteger, nullable=False),
)

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    Column("id", String(256), primary_key=True),
    Column("pattern_id", String(128), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("run_id", String(128), nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("outcomes_by_time", "tenant", "recorded_at"),
)

COUNTS = Table(
    "outcome_counts",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    Column("pattern_id", String(128), primary_key=True),
    Column("fixed", BigInteger, nullable=False),
    Column("progressed", BigInteger, nullable=False),
    Column("unchanged", BigInteger, nullable=False),
    Column("worse", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)

CLUSTERS = Table(
    "clusters",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    Column("id", String(16), primary_key=True),
    Column("bucket", String(64), nullable=False),
    Column("words", Text, nullable=False),
    Column("met", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("programs", Text, nullable=False),
    Column("examples", Text, nullable=False),
    Index("clusters_by_bucket", "tenant", "bucket"),
    Index("clusters_by_count", "tenant", "met", "id"),
)

"""The table, as the newest migration leaves it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, String, Table

__all__ = ["METADATA", "PROFILES"]

METADATA = MetaData()

PROFILES = Table(
    "profiles",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    Column("id", String(64), primary_key=True),
    # Microseconds since 1970, in BIGINT: both databases then agree to the digit.
    Column("last_used", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    # All that eviction looks at, so that it never reads a profile.
    Index("profiles_by_use", "tenant", "last_used", "id", "size"),
)

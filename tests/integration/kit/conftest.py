from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from autopack_kit.db import Database, RowId
from autopack_kit.db.testing import fresh_url
from sqlalchemy import Column, ForeignKey, MetaData, String, Table, Text, UniqueConstraint

MIGRATIONS = Path(__file__).parent / "notes_migrations"

METADATA = MetaData()
NOTES = Table(
    "notes",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("writer", String(64), nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("writer", "text", name="notes_once"),
)
COMMENTS = Table(
    "comments",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("note_id", RowId, ForeignKey("notes.id", ondelete="CASCADE"), nullable=False),
)


@pytest.fixture
def migrations() -> Path:
    return MIGRATIONS


@pytest.fixture
def metadata() -> MetaData:
    return METADATA


@pytest.fixture
def notes() -> Table:
    return NOTES


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path, "notes") as fresh:
        yield fresh


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database.open(url, name="notes", migrations=MIGRATIONS, capacity=100)
    yield opened
    await opened.close()

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from autopack_kit.db.testing import fresh_url
from autopack_telemetry.adapters.store import SqlStore


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    with fresh_url(request.param, tmp_path, "telemetry") as fresh:
        yield fresh


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    """An open store."""
    opened = await asyncio.to_thread(SqlStore.open, url, queue_rows=100_000)
    yield opened
    await opened.close()

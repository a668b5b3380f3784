from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autopack_client import AsyncClient, connect
from autopack_hardening import create
from autopack_hardening.settings import HardeningSettings
from autopack_kit.testing import running


@pytest.fixture
def settings(tmp_path: Path) -> HardeningSettings:
    """With a database of its own."""
    return HardeningSettings(database_url=f"sqlite:///{tmp_path}/hardening.sqlite3")


@pytest.fixture
async def client(settings: HardeningSettings) -> AsyncIterator[AsyncClient]:
    """Of a service of its own."""
    async with running(create(settings)) as target, connect(target.address) as client:
        yield client

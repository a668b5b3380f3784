from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.db.testing import fresh_url
from autopack_kit.testing import running
from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path, "telemetry") as url:
        yield url


@pytest.fixture
async def stub(database_url: str) -> AsyncIterator[pb_grpc.TelemetryServiceAsyncStub]:
    async with running(create(TelemetrySettings(database_url=database_url))) as target:
        yield pb_grpc.TelemetryServiceStub(target.channel)

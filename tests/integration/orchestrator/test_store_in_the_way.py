"""A database that cannot be asked for a moment while a run is carried out: not the fault of the run."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_kit.errors import Unavailable
from autopack_orchestrator.adapters.store import Store

from tests.robustness.processes import HANG_LIMIT_S
from tests.service.orchestrator.bench import bench, repository, run


async def test_a_run_whose_store_could_not_be_read_for_a_moment_goes_on_and_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked = Store.started, 0

    async def started(self: Store, batch_id: str) -> dict[str, datetime]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Unavailable("The database cannot be reached.", reason="DATABASE_UNREACHABLE")
        return await ask(self, batch_id)

    monkeypatch.setattr(Store, "started", started)
    async with bench(tmp_path) as stack, asyncio.timeout(HANG_LIMIT_S):
        (done,) = await stack.finish(repository(tmp_path / "calc"), run("one"))
    assert (done.state, done.attempt) == (pb.RUN_STATE_SUCCEEDED, 2)

"""How runs get the profile that drift is measured against."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from autopack_api.intention.v1 import intention_pb2 as intention_pb
from autopack_client import connect, watch_batch
from autopack_intention.service import IntentionService
from autopack_intention.settings import IntentionSettings
from autopack_kit.testing import running

from tests.service.orchestrator.bench import bench, repository, run


class Counting(IntentionService):
    """Notes each profile that it is sent, and answers when ``hold`` returns."""

    def __init__(self, settings: IntentionSettings, hold: Callable[[], Awaitable[None]]) -> None:
        super().__init__(settings)
        self.put: list[str] = []
        self._hold = hold

    async def PutProfile(
        self, request: intention_pb.PutProfileRequest, context: Any
    ) -> intention_pb.PutProfileResponse:
        response = await super().PutProfile(request, context)
        self.put.append(response.profile_id)
        await self._hold()
        return response


async def test_runs_that_begin_at_once_profile_their_commit_once(tmp_path: Path) -> None:
    names = ["one", "two", "three"]
    submitted = asyncio.get_running_loop().create_future()

    async def all_run() -> None:
        at_work = set()
        async for event in watch_batch(stack.client, await submitted):
            if event.attributes.get("to") == "running":
                at_work.add(event.run_id)
            if len(at_work) == len(names):
                return

    service = Counting(IntentionSettings(database_url=f"sqlite:///{tmp_path}/intention.sqlite3"), all_run)
    async with (
        running(service) as target,
        bench(tmp_path, without=["intention"], intention_address=target.address) as stack,
    ):
        batch = await stack.submit(repository(tmp_path / "calc"), *map(run, names))
        submitted.set_result(batch.batch_id)
        await stack.watch(batch.batch_id)
        done = [await stack.get(f"{batch.batch_id}.{name}") for name in names]
    assert len(service.put) == 1
    assert all(item.drift_verdict and not item.warnings for item in done)


async def test_a_profile_that_the_intention_service_lost_is_put_again(tmp_path: Path) -> None:
    file = tmp_path / "intention.sqlite3"
    service = IntentionService(IntentionSettings(database_url=f"sqlite:///{file}", profiles_in_memory=1))
    repo = repository(tmp_path / "calc")
    async with (
        running(service) as target,
        bench(tmp_path, without=["intention"], intention_address=target.address) as stack,
        connect(target.address) as client,
    ):
        await stack.finish(repo, run("one"))
        (stored,) = profiles(file)
        takes_the_place_in_memory = intention_pb.Profile(messages=["another"])
        await client.intention.PutProfile(intention_pb.PutProfileRequest(profile=takes_the_place_in_memory))
        profiles(file, drop=stored)
        (done,) = await stack.finish(repo, run("two"))
        assert done.drift_verdict
        assert not done.warnings
        assert stored in profiles(file)


def profiles(file: Path, *, drop: str = "") -> list[str]:
    """The stored profiles, without the one to drop."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM profiles WHERE id = ?", [drop])
        return [row[0] for row in connection.execute("SELECT id FROM profiles")]

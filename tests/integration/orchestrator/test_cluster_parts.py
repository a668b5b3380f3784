"""The parts of the cluster engine, each by itself."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import autopack_orchestrator
import pytest
from autopack_kit.db.testing import postgres_url
from autopack_kit.errors import AutopackError, FailedPrecondition, InvalidArgument
from autopack_kit.kit_settings import KitSettings
from autopack_kit.server import ServiceContext
from autopack_kit.settings import load
from autopack_orchestrator.execution.cluster import watchdog
from autopack_orchestrator.execution.cluster.jobs import Jobs
from autopack_orchestrator.execution.cluster.timing import KILL_TIME_S, check_timing, standstill_s
from autopack_orchestrator.settings import OrchestratorSettings

from tests.robustness.processes import HANG_LIMIT_S, until

SETTINGS = OrchestratorSettings()


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    with postgres_url() as url:
        opened = Jobs(url)
        await opened.open()
        try:
            yield opened
        finally:
            await opened.close()


async def delivered(jobs: Jobs, concurrency: int = 4) -> AsyncIterator[str]:
    """Run ids as they come; the queue is served until the caller has enough."""
    found: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(jobs.serve(found.put, concurrency))
    try:
        async with asyncio.timeout(HANG_LIMIT_S):
            while True:
                yield await found.get()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.postgres
async def test_a_run_is_delivered_once_however_often_it_was_asked_for_and_again_after_that(jobs: Jobs) -> None:
    for name in ("one", "one", "two", "one", "last"):
        await jobs.submit(name)
    found: list[str] = []
    async for name in delivered(jobs):
        found.append(name)
        if name == "last":
            if found.count("last") == 2:
                break
            await jobs.submit("one")
            await jobs.submit("last")
    assert found == ["one", "two", "last", "one", "last"]


@pytest.mark.postgres
async def test_a_job_that_was_forgotten_is_not_delivered_also_one_that_somebody_is_at(jobs: Jobs) -> None:
    stuck, forever = asyncio.Event(), asyncio.Event()

    async def never(run_id: str) -> None:
        stuck.set()
        await forever.wait()

    await jobs.submit("one")
    serving = asyncio.create_task(jobs.serve(never, 1))
    await asyncio.wait_for(stuck.wait(), HANG_LIMIT_S)
    await jobs.submit("one")
    await jobs.submit("two")
    await jobs.cancel("one")
    forever.set()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await jobs.submit("last")
    found: list[str] = []
    async for name in delivered(jobs, 1):
        found.append(name)
        if name == "last":
            break
    assert "one" not in found


def test_times_with_which_two_attempts_could_be_at_work_at_once_are_refused() -> None:
    fence = timedelta(seconds=5)
    least = fence + timedelta(seconds=KILL_TIME_S)
    check_timing(SETTINGS)
    check_timing(replace(SETTINGS, cluster_fence_grace=fence, stale_after=least + timedelta(seconds=1)))
    with pytest.raises(InvalidArgument, match="stale_after") as caught:
        check_timing(replace(SETTINGS, cluster_fence_grace=fence, stale_after=least))
    assert "AUTOPACK_ORCHESTRATOR_STALE_AFTER" in caught.value.remedy


def test_a_worker_that_stands_still_is_killed_in_time_for_its_supervisors_to_end_its_runs() -> None:
    assert standstill_s(SETTINGS) + SETTINGS.cluster_fence_grace.total_seconds() < SETTINGS.stale_after.total_seconds()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"object_store_url": "file:///tmp/objects"}, "ENGINE_NEEDS_POSTGRESQL"),
        ({}, "OBJECT_STORE_MISSING"),
    ],
)
async def test_a_cluster_without_what_it_needs_does_not_start(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    kit = load(KitSettings, {"AUTOPACK_DATA_DIR": str(tmp_path)})
    service = autopack_orchestrator.create(OrchestratorSettings(**settings), kit, role="cluster")  # type: ignore[arg-type]  # texts
    with pytest.raises(AutopackError) as caught:
        await service.start(ServiceContext(address="", services=frozenset()))
    await service.stop(0)
    assert isinstance(caught.value, FailedPrecondition)
    assert caught.value.reason == reason
    assert "AUTOPACK_ORCHESTRATOR_" in caught.value.remedy


WORKER = """
import sys, time
sys.path.insert(0, sys.argv[1])
import watchdog
dog = watchdog.Watchdog(float(sys.argv[2]))
while True:
    dog.moving()
    print(dog._process.pid, flush=True)
    time.sleep(0.05)
"""


def a_worker(limit_s: float) -> tuple[subprocess.Popen[str], int]:
    """A process with a watchdog, and the watchdog's number."""
    directory = str(Path(watchdog.__file__).parent)
    words = [sys.executable, "-c", WORKER, directory, str(limit_s)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


async def test_a_process_that_stands_still_is_killed_by_its_watchdog() -> None:
    process, _ = a_worker(0.5)
    process.send_signal(signal.SIGSTOP)
    assert await asyncio.to_thread(process.wait, HANG_LIMIT_S) == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()


async def test_a_process_that_moves_is_left_alone_and_its_watchdog_ends_with_it() -> None:
    process, dog = a_worker(10)
    assert process.stdout is not None
    for _ in range(20):
        assert int(process.stdout.readline()) == dog
    process.kill()
    assert await asyncio.to_thread(process.wait, HANG_LIMIT_S) == -signal.SIGKILL
    process.stdout.close()
    await until(lambda: not Path(f"/proc/{dog}").exists(), "the watchdog has ended")

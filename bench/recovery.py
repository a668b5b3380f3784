"""Recovery of runs: from the start of the next one after ``kill -9`` until all are taken up."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.intention.v1.intention_pb2 import Intention
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import PREPARE_NONE, BatchSpec, RunSpec
from autopack_client import AsyncClient, connect, watch_batch

__all__ = ["run"]

Row = tuple[str, float, str, str]
RUNS = 8
ROUNDS = 3
LIMIT_S = 60.0
TAKEN_UP = "taken up after a restart: the agent is still at work"


@contextmanager
def _server(root: Path, number: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    address = f"unix:{root}/{number}.s"
    settings = {
        "AUTOPACK_DATA_DIR": str(root / "data"),
        "AUTOPACK_ORCHESTRATOR_ALLOWED_ROOTS": str(root),
        "AUTOPACK_ORCHESTRATOR_MAX_CONCURRENT_RUNS": str(RUNS),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "autopack_orchestrator", "--address", address],
        env={**os.environ, **settings},
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # its address, once it answers
        yield address, process
    finally:
        process.kill()
        process.communicate()


def _repository(path: Path) -> None:
    path.mkdir()
    (path / "a.txt").write_text("a\n")
    user = ("-c", "user.name=A User", "-c", "user.email=user@example.com")
    for words in (("init", "-q"), ("add", "-A"), (*user, "commit", "-qm", "Start")):
        subprocess.run(["git", *words], cwd=path, check=True)


async def _begin(address: str, repo: Path) -> str:
    """A batch of agents that wait to be ended."""
    waits = Command(argv=Argv(words=["sleep", "600"]))
    common = {"intention": Intention(title="Wait"), "command": waits, "validate": [waits], "prepare": PREPARE_NONE}
    runs = [RunSpec(name=f"r{number}", **common) for number in range(RUNS)]  # type: ignore[arg-type]  # typed by name
    async with asyncio.timeout(LIMIT_S), connect(address) as client:
        spec = BatchSpec(path=str(repo), runs=runs, max_concurrent_runs=RUNS)
        batch = (await client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))).batch
    return batch.batch_id


def _wait_for_agents(root: Path) -> None:
    """Until all are at work: the event of their phase is written before they are started."""
    end = time.monotonic() + LIMIT_S
    while len(list(root.glob("data/orchestrator/runs/*/*/attempt-1/exec/*-agent/pid"))) < RUNS:
        assert time.monotonic() < end, "the agents did not start"
        time.sleep(0.05)


async def _seen(client: AsyncClient, batch_id: str, message: str, after: int = 0) -> int:
    """Wait until every run of the batch has an event with this message; returns the number of the last."""
    runs: set[str] = set()
    async for event in watch_batch(client, batch_id, after):
        if message in event.message:
            runs.add(event.run_id)
            if len(runs) == RUNS:
                return event.sequence
    raise AssertionError(f"the batch ended before all runs were: {message}")


def run() -> list[Row]:
    """Rows of (name, value, unit, note)."""
    with tempfile.TemporaryDirectory(prefix="ap-bench-") as directory:
        root = Path(directory)
        _repository(root / "repo")
        waits = []
        with _server(root, 0) as (address, _):
            batch_id = asyncio.run(_begin(address, root / "repo"))
            _wait_for_agents(root)
        last = 0
        for number in range(1, ROUNDS + 1):
            begun = time.perf_counter()
            with _server(root, number) as (address, _):
                last = asyncio.run(_taken_up(address, batch_id, last))
                waits.append(time.perf_counter() - begun)
                if number == ROUNDS:
                    asyncio.run(_cancel(address, batch_id))
    note = f"{RUNS} runs under way, after kill -9; median of {ROUNDS}, the start of the server included"
    return [("restart until every run is taken up", statistics.median(waits), "s", note)]


async def _taken_up(address: str, batch_id: str, after: int) -> int:
    async with asyncio.timeout(LIMIT_S), connect(address) as client:
        return await _seen(client, batch_id, TAKEN_UP, after)


async def _cancel(address: str, batch_id: str) -> None:
    async with asyncio.timeout(LIMIT_S), connect(address) as client:
        await client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=batch_id))
        async for _ in watch_batch(client, batch_id):
            continue

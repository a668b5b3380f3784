"""The cluster engine: how fast runs reach workers, and how soon the run of a dead worker begins elsewhere.

Needs a PostgreSQL server, which ``tools/with_postgres python -m bench cluster`` starts.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from autopack_api.common.v1.common_pb2 import Argv
from autopack_api.common.v1.common_pb2 import Command as CommandMessage
from autopack_api.intention.v1.intention_pb2 import Intention as IntentionMessage
from autopack_api.orchestrator.v1 import batch_pb2
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import connect
from autopack_kit.commands import Command
from autopack_kit.db.testing import POSTGRES_VARIABLE, postgres_url
from autopack_orchestrator.adapters.fleet import ADMITTED, PREFIX, Fleet
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.model import Batch, BatchState, Budget, Intention, Run, RunResult, RunSpec, RunState
from autopack_orchestrator.core.names import branch, run_id
from autopack_orchestrator.execution.cluster.jobs import Jobs

Row = tuple[str, float, str, str]

CLAIMS = 200
AT_ONCE = 8
STALE_AFTER_S = 10.0
LIMIT_S = 120.0
OWNER = f"{PREFIX}bench"
PROGRAM = str(Path(sys.executable).with_name("autopack"))
AGENT = 'echo "$AUTOPACK_ATTEMPT $(date +%s.%N)" >> "$WITNESS"; [ $AUTOPACK_ATTEMPT -gt 1 ] || sleep 1000; echo x > a'


def run() -> list[Row]:
    """Rows of (name, value, unit, note)."""
    if not os.environ.get(POSTGRES_VARIABLE):
        print("cluster: skipped without PostgreSQL: use tools/with_postgres python -m bench", file=sys.stderr)
        return []
    with postgres_url() as url:
        claims = asyncio.run(_claims(url))
    with tempfile.TemporaryDirectory() as directory, postgres_url() as url:
        takeover = asyncio.run(_takeover(Path(directory), url))
    target = f"kill -9, stale_after {STALE_AFTER_S:g} s; target <= {STALE_AFTER_S + 2:g}"
    return [
        ("runs admitted, delivered and taken", claims, "1/s", f"{CLAIMS} runs; no-op jobs alone were 102/s (research)"),
        ("from a worker's death to its run's next agent", takeover, "s", target),
    ]


async def _claims(url: str) -> float:
    """Runs per second through admission, queue and lease; nothing is carried out."""
    store, jobs = await asyncio.to_thread(Store.open, url), Jobs(url)
    await jobs.open()
    fleet, taken, done = Fleet(store.database), 0, asyncio.Event()
    await fleet.join(OWNER, "bench", CLAIMS)
    await store.create_batch(*_batch(), "", "")

    async def take(name: str) -> None:
        nonlocal taken
        found = await fleet.take(name, OWNER, "bench")
        taken += found is not None
        if taken == CLAIMS:
            done.set()

    serving = asyncio.create_task(jobs.serve(take, AT_ONCE))
    began = time.perf_counter()
    while (claimed := await store.claim(ADMITTED, limit=CLAIMS)) is not None:
        await jobs.submit(claimed.run_id)
    async with asyncio.timeout(LIMIT_S):
        await done.wait()
    seconds = time.perf_counter() - began
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await jobs.close()
    await store.close()
    return CLAIMS / seconds


def _batch() -> tuple[Batch, list[Run]]:
    now = datetime.now(UTC)
    batch = Batch(
        batch_id="bench", tenant="default", name="bench", repository="/none", base_commit="0" * 40,
        state=BatchState.ACTIVE, max_concurrent_runs=CLAIMS, budget=Budget(), create_time=now, end_time=None,
        last_sequence=0, runs_by_state={},
    )  # fmt: skip
    runs = []
    for position in range(CLAIMS):
        name = f"r{position}"
        spec = RunSpec(name=name, intention=Intention(title="x"), command=Command.of("true"))
        one = Run(
            run_id=run_id("bench", name), batch_id="bench", tenant="default", name=name, position=position, spec=spec,
            state=RunState.QUEUED, activity="", attempt=1, branch=branch("bench", name, 1), base_commit="0" * 40,
            lease_epoch=0, cancel_requested=False, create_time=now, start_time=None, end_time=None, result=RunResult(),
        )  # fmt: skip
        runs.append(one)
    return batch, runs


async def _takeover(directory: Path, url: str) -> float:
    """Seconds from ``kill -9`` of a worker until the next attempt's agent is at work on another one."""
    repository, witness = directory / "repository", directory / "witness"
    _make_repository(repository)
    witness.touch()
    settings = {
        "AUTOPACK_ORCHESTRATOR_DATABASE_URL": url,
        "AUTOPACK_ORCHESTRATOR_OBJECT_STORE_URL": f"file://{directory}/objects",
        "AUTOPACK_ORCHESTRATOR_ALLOWED_ROOTS": str(directory),
        "AUTOPACK_ORCHESTRATOR_STALE_AFTER": f"{STALE_AFTER_S:g}s",
        "AUTOPACK_ORCHESTRATOR_CLUSTER_FENCE_GRACE": "2s",
        "AUTOPACK_ORCHESTRATOR_SANDBOX": "none",
    }
    address = f"unix:{directory}/s"
    command = CommandMessage(argv=Argv(words=["sh", "-c", AGENT]), env={"WITNESS": str(witness)})
    spec = batch_pb2.RunSpec(
        name="one", intention=IntentionMessage(title="Take over"), command=command, prepare=batch_pb2.PREPARE_NONE,
        validate=[CommandMessage(argv=Argv(words=["true"]))],
    )  # fmt: skip
    with ExitStack() as stack:
        serve = ["serve", "orchestrator", "--engine", "cluster", "--address", address]
        stack.enter_context(_started(directory, "data", serve, settings))
        first = stack.enter_context(_started(directory, "data-1", ["worker", "--concurrency", "1"], settings))
        async with connect(address) as client:
            wanted = batch_pb2.BatchSpec(path=str(repository), runs=[spec])
            await client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=wanted))
            await _attempt(witness, 1)
            stack.enter_context(_started(directory, "data-2", ["worker", "--concurrency", "1"], settings))
            killed = time.time()
            first.kill()
            return await _attempt(witness, 2) - killed


async def _attempt(witness: Path, number: int) -> float:
    """When an attempt's agent began; it is waited for."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for line in witness.read_text().splitlines():
                attempt, _, at = line.partition(" ")
                if attempt == str(number):
                    return float(at)
            await asyncio.sleep(0.05)


def _make_repository(path: Path) -> None:
    git = ("git", "-c", "user.name=Bench", "-c", "user.email=bench@example.com")
    for words in (("init", "-q", str(path)), ("-C", str(path), "commit", "-q", "--allow-empty", "-m", "Start")):
        subprocess.run([*git, *words], check=True)


@contextmanager
def _started(
    directory: Path, data: str, words: list[str], settings: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "AUTOPACK_DATA_DIR": str(directory / data)}
    with (directory / f"{data}.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, *words], env={**environment, **settings}, stdout=subprocess.PIPE, stderr=log, cwd=directory
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), (directory / f"{data}.log").read_text()
        yield process
    finally:
        process.terminate()
        process.wait()

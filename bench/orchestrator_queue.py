"""A server with 10, 1,000 and 10,000 queued runs: its memory, and how soon a run starts that may start at once.

Ten batches with one run at work each hold the queue: all their other runs wait, and the server passes them for each run
that is submitted beside them. The agents are mocks; what is measured is the orchestrator. Beside it, what one decision
costs in the store, without a server.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.intention.v1.intention_pb2 import Intention as WireIntention
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import PREPARE_NONE, BatchSpec, MockExecutor, RunSpec
from autopack_client import AsyncClient, connect, watch_batch
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core import model
from autopack_orchestrator.core.checks import MAX_RUNS
from google.protobuf.duration_pb2 import Duration

from bench.echo import server

__all__ = ["run"]

QUEUED = (10, 1000, 10_000)
BATCHES = 10
PROBES = 20
CLAIMS = 100
AT_WORK = 32
MOST_GROWTH = 20.0  # percent, from 1,000 to 10,000
CREATE_SECONDS = 120.0
Row = tuple[str, float, str, str]


def run() -> list[Row]:
    """Memory, start latency and the cost of a claim at each length of the queue, and how they grow."""
    served = {count: asyncio.run(_served(count)) for count in QUEUED}
    claims = {count: asyncio.run(_claims(count)) for count in QUEUED}
    columns = {
        "memory of the server": ({count: memory for count, (memory, _) in served.items()}, "MB"),
        "submit to start, p50": ({count: latency for count, (_, latency) in served.items()}, "ms"),
        "decision and lease in the store, p50": (claims, "ms"),
    }
    rows: list[Row] = []
    for name, (values, unit) in columns.items():
        rows += [(f"{name}, {count:,} queued", value, unit, "") for count, value in values.items()]
        growth = (values[QUEUED[2]] / values[QUEUED[1]] - 1) * 100
        rows.append((f"{name}: growth", growth, "%", f"1,000 to 10,000; must be <= {MOST_GROWTH:.0f}"))
    return rows


async def _served(count: int) -> tuple[float, float]:
    """Megabytes of a server with ``count`` queued runs, and milliseconds from submitting one more to its start."""
    with tempfile.TemporaryDirectory(prefix="ap-bench-") as name:
        directory = Path(name)
        repo = _repository(directory / "repo")
        async with _server(directory) as (client, pid):
            await _fill(client, repo, count)
            waits = [await _probe(client, repo, number) for number in range(PROBES)]
            return _resident_mb(pid), statistics.median(waits) * 1000


@asynccontextmanager
async def _server(directory: Path) -> AsyncIterator[tuple[AsyncClient, int]]:
    address = f"unix:{directory}/socket"
    argv = [
        "env", f"AUTOPACK_ORCHESTRATOR_ALLOWED_ROOTS={directory}",
        f"AUTOPACK_ORCHESTRATOR_MAX_CONCURRENT_RUNS={AT_WORK}",
        sys.executable, "-m", "autopack_orchestrator", "--address", address,
    ]  # fmt: skip
    async with server(argv, address, str(directory), {0}), connect(address) as client:
        yield client, _process_of(address)


def _process_of(address: str) -> int:
    """The process whose command line names the address."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and address.encode() in (path / "cmdline").read_bytes().split(b"\0"):
            return int(path.name)
    raise LookupError(address)


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _repository(path: Path) -> Path:
    path.mkdir()
    (path / "a.txt").write_text("a\n")
    user = ("-c", "user.name=A User", "-c", "user.email=user@example.com")
    for words in (("init", "-q"), ("add", "-A"), (*user, "commit", "-qm", "Start")):
        subprocess.run(["git", *words], cwd=path, check=True)
    return path


def _run(name: str, seconds: int) -> RunSpec:
    return RunSpec(
        name=name,
        intention=WireIntention(title="Something to do"),
        mock=MockExecutor(duration=Duration(seconds=seconds)),
        validate=[Command(argv=Argv(words=["true"]))],
        prepare=PREPARE_NONE,
    )


async def _create(client: AsyncClient, spec: BatchSpec) -> str:
    request = pb.CreateBatchRequest(spec=spec)
    return (await client.orchestrator.CreateBatch(request, timeout=CREATE_SECONDS)).batch.batch_id


async def _fill(client: AsyncClient, repo: Path, count: int) -> None:
    """``count`` runs that wait, in batches each of which has the one run at work that it may have."""
    at_work = []
    for _ in range(BATCHES):
        runs = [_run(f"r{number}", 3600) for number in range(min(count // BATCHES + 1, MAX_RUNS))]
        at_work.append(await _create(client, BatchSpec(path=str(repo), runs=runs, max_concurrent_runs=1)))
    for batch_id in at_work:
        async for event in watch_batch(client, batch_id):
            if event.attributes["to"] == "running":
                break


async def _probe(client: AsyncClient, repo: Path, number: int) -> float:
    """Seconds from the request to the event that says that the run has started."""
    spec = BatchSpec(name=f"probe-{number}", path=str(repo), runs=[_run("one", 0)])
    begun = time.perf_counter()
    batch_id = await _create(client, spec)
    taken = 0.0
    async for event in watch_batch(client, batch_id):
        if event.attributes["to"] == "preparing":
            taken = time.perf_counter() - begun
    return taken


async def _claims(count: int) -> float:
    """Milliseconds of one claim, with its lease, from a queue of ``count``."""
    with tempfile.TemporaryDirectory() as directory:
        store = await asyncio.to_thread(Store.open, f"sqlite:///{directory}/queue.sqlite3")
        for number in range(BATCHES):
            await _store_batch(store, number, max(CLAIMS // BATCHES, count // BATCHES))
        taken = []
        for _ in range(min(CLAIMS, count)):
            begun = time.perf_counter()
            await store.claim("bench", limit=2 * CLAIMS)
            taken.append(time.perf_counter() - begun)
        await store.close()
        return statistics.median(taken) * 1000


async def _store_batch(store: Store, number: int, count: int) -> None:
    now, batch_id = datetime.now(UTC), f"b{number}"
    batch = model.Batch(
        batch_id=batch_id, tenant=f"t{number % 3}", name="b", repository=f"/r{number % 4}", base_commit="0",
        state=model.BatchState.ACTIVE, max_concurrent_runs=CLAIMS, budget=model.Budget(), create_time=now,
        end_time=None, last_sequence=0, runs_by_state={},
    )  # fmt: skip
    runs = [
        model.Run(
            run_id=f"{batch_id}.r{index}", batch_id=batch_id, tenant=batch.tenant, name=f"r{index}", position=index,
            spec=model.RunSpec(name=f"r{index}", intention=model.Intention(title="x"), mock=model.MockExecutor()),
            state=model.RunState.QUEUED, activity="", attempt=1, branch="", base_commit="0", lease_epoch=0,
            cancel_requested=False, create_time=now, start_time=None, end_time=None, result=model.RunResult(),
        )
        for index in range(count)
    ]  # fmt: skip
    await store.create_batch(batch, runs, "", "")

"""Telemetry under load and with history: a phase recorded by 200 clients at once, and questions to a million rows.

PostgreSQL is asked too where ``AUTOPACK_TEST_POSTGRES_URL`` names a server (``tools/with_postgres python -m bench
telemetry_load``).
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.channel import open_channel
from autopack_kit.db import Database
from autopack_kit.db.testing import POSTGRES_VARIABLE, fresh_url
from autopack_telemetry import ModelClass, PhaseOutcome, PhaseRecord, Tokens, UsageRecord, UsageRole
from autopack_telemetry.adapters.store import MIGRATIONS, SqlStore
from autopack_telemetry.adapters.tables import USAGE
from autopack_telemetry.core.estimate import choose
from sqlalchemy import Connection, create_engine, literal, select, text

from bench.telemetry import serving

__all__ = ["run"]

CLIENTS = 200
SECONDS = 10
PHASES = 10_000
ROWS_OF_RUN = 30_000
ROWS = 1_000_000
QUESTIONS = 25
BATCH = 10_000

Row = tuple[str, float, str, str]


def run() -> list[Row]:
    """``(name, value, unit, note)`` of each number."""
    rows = asyncio.run(_record_phases())
    for kind in ("sqlite", *(("postgres",) if os.environ.get(POSTGRES_VARIABLE) else ())):
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            rows += asyncio.run(_history(kind, stack.enter_context(fresh_url(kind, directory, "telemetry"))))
    return rows


async def _record_phases() -> list[Row]:
    """Each client records a phase a second, as a run does at its busiest, on a channel of its own."""
    spent: list[float] = []

    async def client(stub: pb_grpc.TelemetryServiceAsyncStub, number: int) -> None:
        generator = random.Random(number)
        await asyncio.sleep(generator.random())
        for phase in range(SECONDS):
            message = pb.Phase(run_id=f"run-{number}", phase_id=str(phase), outcome=pb.PHASE_OUTCOME_SUCCEEDED)
            started = time.perf_counter()
            await stub.RecordPhases(pb.RecordPhasesRequest(phases=[message]))
            spent.append(time.perf_counter() - started)
            await asyncio.sleep(generator.uniform(0.5, 1.5))

    with tempfile.TemporaryDirectory(prefix="ap-") as directory, serving(directory) as address:
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(open_channel(address)) for _ in range(CLIENTS)]
            stubs = [pb_grpc.TelemetryServiceStub(channel) for channel in channels]
            await asyncio.gather(*(_connected(stub) for stub in stubs))  # before it counts
            gc.freeze()  # what holds up this process is not what holds up the server's callers
            await asyncio.gather(*(client(stub, number) for number, stub in enumerate(stubs)))
    note = f"{CLIENTS} clients, a phase a second each, {len(spent):,} calls, SQLite; sender in another process"
    return [
        ("RecordPhases at the caller, p50", _percentile(spent, 50) * 1e3, "ms", note),
        ("RecordPhases at the caller, p99", _percentile(spent, 99) * 1e3, "ms", "target: at most 20"),
    ]


async def _connected(stub: pb_grpc.TelemetryServiceAsyncStub) -> None:
    await stub.EstimateAvoidedTokens(pb.EstimateAvoidedTokensRequest())


async def _history(kind: str, url: str) -> list[Row]:
    """Questions to a store with a million rows of usage, of which one run has 30,000, and 10,000 phases."""
    store = await asyncio.to_thread(SqlStore.open, url, queue_rows=ROWS)
    phases = [
        PhaseRecord("run-0", str(number), outcome=PhaseOutcome.SUCCEEDED, duration=1, pattern_id=f"p{number % 9}")
        for number in range(PHASES)
    ]
    for start in range(0, PHASES, BATCH):
        await store.record_phases("default", phases[start : start + BATCH], 1)
    usage = [
        UsageRecord(
            "run-0", str(number), 1_000_000 * number, Tokens(100 + number % 977, 2_000, 300, 50), str(number % PHASES),
            "claude", "anthropic", "claude-sonnet-4-5", UsageRole.DOCTOR if number % 100 == 0 else UsageRole.AGENT,
        )
        for number in range(ROWS_OF_RUN)
    ]  # fmt: skip
    for start in range(0, ROWS_OF_RUN, BATCH):
        await store.record_usage("default", usage[start : start + BATCH], 1)
    await store.close()
    await asyncio.to_thread(_multiply, url)
    store = await asyncio.to_thread(SqlStore.open, url, queue_rows=ROWS)

    async def of_any(run_id: str | None, limit: int) -> list[int]:
        return await store.doctor_calls("default", run_id, ModelClass.UNKNOWN, limit)

    async def summary() -> None:
        found = await store.summary("default", "run-0")
        assert found is not None
        assert (found.phases, found.usage_records) == (PHASES, ROWS_OF_RUN)

    async def estimate() -> None:
        assert (await choose(of_any, "", ModelClass.UNKNOWN)).n == 100

    async def page() -> None:
        assert len(await store.phases("default", "run-0", PHASES // 2, 1_000)) == 1_000

    note = f"{ROWS:,} rows of usage, {kind}"
    try:
        return [
            ("summary of a run of 10,000 phases", await _median(summary), "ms", f"{note}; target: at most 50"),
            ("estimate from the last 100 doctor calls", await _median(estimate), "ms", f"{note}; target: at most 2"),
            ("page of 1,000 phases", await _median(page), "ms", note),
        ]
    finally:
        await store.close()


def _multiply(url: str) -> None:
    """Copies the usage of the run to other runs within the database: it is history, not what is measured."""
    database = Database.open(url, name="telemetry", migrations=MIGRATIONS)
    names = [column.name for column in USAGE.columns if column.name != "id"]
    copies = range(1, -(-ROWS // ROWS_OF_RUN))

    def work(connection: Connection) -> None:
        for number in copies:
            columns = [literal(f"run-{number}") if name == "run_id" else USAGE.c[name] for name in names]
            connection.execute(USAGE.insert().from_select(names, select(*columns).where(USAGE.c.run_id == "run-0")))

    async def write() -> None:
        await database.write(work)
        await database.write(lambda connection: connection.execute(text("ANALYZE")))
        await database.close()

    asyncio.run(write())
    if url.startswith("postgresql"):  # as its own daemon does with history: only then its indexes answer alone
        with create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))


async def _median(question: Callable[[], Awaitable[None]]) -> float:
    """Milliseconds; the first answers warm what a running service has warm."""
    spent = []
    for number in range(QUESTIONS + 3):
        started = time.perf_counter()
        await question()
        if number >= 3:
            spent.append(time.perf_counter() - started)
    return statistics.median(spent) * 1e3


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]

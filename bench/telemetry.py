"""Usage records through the whole service: over gRPC, checked, committed to SQLite by the one writer, acknowledged."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.channel import open_channel
from autopack_telemetry import Tokens, UsageRecord
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.adapters.tables import USAGE

__all__ = ["run", "serving"]

BATCH = 512
BATCHES = 80
SENDERS = 4
REPEATS = 3
TARGET = "target: at least 20,000; sender in another process"


def run() -> list[tuple[str, float, str, str]]:
    """``(name, value, unit, note)`` of each number, the best of a few repeats."""
    bare = max(_bare(number) for number in range(REPEATS))
    store = max(asyncio.run(_store(number)) for number in range(REPEATS))
    served = max(asyncio.run(_served(number)) for number in range(REPEATS))
    beside = f"bare sqlite3 executemany, same rows and indexes: {bare:,.0f}"
    return [
        ("usage committed by the writer", store, "records/s", beside),
        ("usage over gRPC, committed, acknowledged", served, "records/s", TARGET),
    ]


def _bare(repeat: int) -> float:
    """The least that SQLite needs for such rows."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_make(directory))
        names = [column.name for column in USAGE.columns if column.name != "id"]
        marks = ",".join("?" * len(names))
        statement = f"INSERT INTO usage ({','.join(names)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
        values: dict[str, object] = {
            "tenant": "default",
            "run_id": "run-1",
            "failed": False,
            "model": "m",
            "role": "agent",
        } | {"response_id": None}
        connection = sqlite3.connect(Path(directory) / "t.sqlite3")
        connection.execute("PRAGMA synchronous=NORMAL")
        rows = [
            tuple(f"{repeat}-{index}" if name == "usage_id" else values.get(name, 1) for name in names)
            for index in range(BATCH * BATCHES)
        ]
        started = time.perf_counter()
        for batch in range(BATCHES):
            with connection:
                connection.executemany(statement, rows[batch * BATCH : (batch + 1) * BATCH])
        spent = time.perf_counter() - started
        connection.close()
    return len(rows) / spent


async def _make(directory: str) -> None:
    await (await asyncio.to_thread(_open, directory)).close()


def _open(directory: str) -> SqlStore:
    return SqlStore.open(f"sqlite:///{directory}/t.sqlite3", queue_rows=BATCH * BATCHES)


async def _store(repeat: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        store = await asyncio.to_thread(_open, directory)
        batches = [
            [UsageRecord("run-1", f"{repeat}-{batch}-{index}", 1, Tokens(100, 20, 3, 40)) for index in range(BATCH)]
            for batch in range(BATCHES)
        ]
        started = time.perf_counter()
        await asyncio.gather(*(store.record_usage("default", records, 1) for records in batches))
        spent = time.perf_counter() - started
        await store.close()
    return BATCH * BATCHES / spent


async def _served(repeat: int) -> float:
    requests = [
        pb.RecordUsageRequest(
            records=[
                pb.UsageRecord(
                    run_id="run-1",
                    usage_id=f"{repeat}-{batch}-{index}",
                    agent="claude-code",
                    provider="anthropic",
                    model="claude-sonnet",
                    tokens=TokenUsage(input=100, cache_read=20, cache_write=3, output=40),
                )
                for index in range(BATCH)
            ]
        )
        for batch in range(BATCHES)
    ]
    with tempfile.TemporaryDirectory(prefix="ap-") as directory, serving(directory) as address:
        async with open_channel(address) as channel:
            stub = pb_grpc.TelemetryServiceStub(channel)

            async def send(sender: int) -> None:
                for request in requests[sender::SENDERS]:
                    await stub.RecordUsage(request)

            # Once in the life of a service, so no part of this: the first call loads the prices, in half a second.
            await stub.RecordUsage(requests.pop())
            started = time.perf_counter()
            await asyncio.gather(*(send(sender) for sender in range(SENDERS)))
            spent = time.perf_counter() - started
    return BATCH * len(requests) / spent


@contextmanager
def serving(directory: str, package: str = "autopack_telemetry") -> Iterator[str]:
    """A server in a process of its own, as the sender's work must not count as its."""
    command = [sys.executable, "-m", package, "--address", f"unix:{directory}/s"]
    environment = {"PATH": os.environ["PATH"], "AUTOPACK_DATA_DIR": directory, "AUTOPACK_LOG_LEVEL": "warning"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(30)

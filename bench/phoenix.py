"""Arize Phoenix's collector, as it installs, in an environment of its own: the same spans, over gRPC, on one core."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc.aio

__all__ = ["measure"]

PACKAGE = "arize-phoenix==20.26.1"
METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
START_SECONDS = 240.0
"""It imports for a minute on a busy machine."""
COMMIT_SECONDS = 300.0
SENDERS = 4


def measure(requests: list[bytes], spans: int) -> tuple[float, float]:
    """Spans per second that it acknowledged, and that it had committed to SQLite: it answers before it commits.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
        TimeoutError: it did not start, or did not commit.
    """
    with tempfile.TemporaryDirectory(prefix="phoenix-") as directory:
        python = Path(directory) / "venv/bin/python"
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE], check=True)
        with _server(python.with_name("phoenix"), Path(directory) / "data") as (address, database):
            return asyncio.run(_send(address, database, requests, spans))


async def _send(address: str, database: Path, requests: list[bytes], spans: int) -> tuple[float, float]:
    async with grpc.aio.insecure_channel(address) as channel:
        export: Any = channel.unary_unary(METHOD)

        async def send(sender: int) -> None:
            for request in requests[sender::SENDERS]:
                await export(request)

        started = time.perf_counter()
        await asyncio.gather(*(send(sender) for sender in range(SENDERS)))
        acknowledged = time.perf_counter() - started
        while _committed(database) < spans:
            if time.perf_counter() - started > COMMIT_SECONDS:
                raise TimeoutError(f"{_committed(database)} of {spans} spans were committed")
            await asyncio.sleep(0.05)
    return spans / acknowledged, spans / (time.perf_counter() - started)


def _committed(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM spans").fetchone()[0])


@contextmanager
def _server(program: Path, directory: Path) -> Iterator[tuple[str, Path]]:
    port, web = _free_port(), _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PHOENIX_WORKING_DIR": str(directory),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(web),
        "PHOENIX_GRPC_PORT": str(port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    quiet = subprocess.DEVNULL
    with subprocess.Popen([program, "serve"], env=environment, stdout=quiet, stderr=quiet) as process:
        os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        try:
            _wait(port, process)
            yield f"127.0.0.1:{port}", directory / "phoenix.db"
        finally:
            process.terminate()
            process.wait(60)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError("Phoenix did not start")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

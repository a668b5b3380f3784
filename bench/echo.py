"""What Autopack adds to a unary call: a real method through the whole stack beside a bare grpc.aio echo.

The method is toolchain's GetSnapshotSpec, which computes nothing: what is measured is authentication, deadline, log
line, error mapping and the conversion of its answer.

Both servers are processes of their own on one core, the client is on another where there are two, all on UNIX sockets.
Rounds alternate, so that whatever else the machine does meets both alike; one call is in flight at a time.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from autopack_api.toolchain.v1 import toolchain_pb2, toolchain_pb2_grpc
from autopack_kit.channel import open_channel

Row = tuple[str, float, str, str]
Call = Callable[[], Awaitable[Any]]

ROUNDS = 20
CALLS = 200
WARM_UP = 300
# A server imports grpc and its service in about a second; much more means that it hangs.
START_SECONDS = 60
# About the size of the answer that the echo is compared with.
PAYLOAD_BYTES = 4200
ECHO = "/bench.Echo/Echo"
TARGET_RATIO = 1.3
ROOT = Path(__file__).resolve().parent.parent


def run() -> list[Row]:
    """The medians and their ratio."""
    servers, client = cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, client)
    try:
        return asyncio.run(compare(servers))
    finally:
        os.sched_setaffinity(0, before)


def cores() -> tuple[set[int], set[int]]:
    """One core for the servers, one for the client; the same where there is one only."""
    allowed = sorted(os.sched_getaffinity(0))
    return {allowed[0]}, {allowed[-1]}


async def compare(servers: set[int]) -> list[Row]:
    """Measure both, in turns."""
    with tempfile.TemporaryDirectory(prefix="ap-bench-") as directory:
        async with AsyncExitStack() as stack:
            bare = f"unix:{directory}/bare"
            ours = f"unix:{directory}/autopack"
            own = [sys.executable, "-m", "autopack_toolchain", "--address", ours]
            await stack.enter_async_context(
                server([sys.executable, "-m", "bench.echo", bare], bare, directory, servers)
            )
            await stack.enter_async_context(server(own, ours, directory, servers))
            counted = f"unix:{directory}/counted"
            counting = [*own[:-1], counted, "--http-address", "127.0.0.1:0"]
            await stack.enter_async_context(server(counting, counted, directory, servers))
            calls = {
                "bare grpc.aio echo": await stack.enter_async_context(echo_call(bare)),
                "GetSnapshotSpec, bare client": await stack.enter_async_context(own_call(ours, own_channel=False)),
                "GetSnapshotSpec, metrics on": await stack.enter_async_context(own_call(counted, own_channel=False)),
                "GetSnapshotSpec, Autopack's client": await stack.enter_async_context(own_call(ours, own_channel=True)),
            }
            return rows(await rounds(calls))


async def rounds(calls: dict[str, Call]) -> dict[str, list[float]]:
    """Seconds of each call, by name."""
    for call in calls.values():
        await timed(call, WARM_UP)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            taken[name] += await timed(call, CALLS)
    return taken


async def timed(call: Call, count: int) -> list[float]:
    """Seconds of ``count`` calls, one after the other."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - start)
    return taken


def rows(taken: dict[str, list[float]]) -> list[Row]:
    """Medians in milliseconds, and ratios to the first."""
    medians = {name: statistics.median(values) for name, values in taken.items()}
    base = next(iter(medians.values()))
    found: list[Row] = []
    for name, median in medians.items():
        p99 = statistics.quantiles(taken[name], n=100)[98] * 1000
        found.append((f"{name}, p50", median * 1000, "ms", f"p99 {p99:.2f} ms, {len(taken[name])} calls"))
    ours = list(medians)[1:]
    beside = f"must be <= {TARGET_RATIO}"
    return found + [(f"{name} / echo", medians[name] / base, "x", beside) for name in ours]


@asynccontextmanager
async def server(argv: list[str], address: str, data: str, affinity: set[int]) -> AsyncIterator[str]:
    """A server in a process of its own; gives its address once it answers."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, affinity)  # a process starts with the cores of the thread that starts it
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=ROOT, env={**os.environ, "AUTOPACK_DATA_DIR": data},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        os.sched_setaffinity(0, own)
    try:
        async with asyncio.timeout(START_SECONDS), grpc.aio.insecure_channel(address) as channel:
            await channel.channel_ready()
        yield address
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def echo_call(address: str) -> AsyncIterator[Call]:
    """A call of the bare server, with a bare channel."""
    payload = os.urandom(PAYLOAD_BYTES)
    async with grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.unary_unary(ECHO)

        async def call() -> None:
            assert await method(payload) == payload

        yield call


@asynccontextmanager
async def own_call(address: str, *, own_channel: bool) -> AsyncIterator[Call]:
    """A call of a real method of Autopack, through a bare channel or through its own."""
    request = toolchain_pb2.GetSnapshotSpecRequest()
    opened = open_channel(address) if own_channel else grpc.aio.insecure_channel(address)
    async with opened as channel:
        stub = toolchain_pb2_grpc.ToolchainServiceStub(channel)

        async def call() -> None:
            response = await stub.GetSnapshotSpec(request)
            assert response.max_files

        yield call


async def serve_bare(address: str) -> None:
    """The least that answers."""

    async def echo(request: bytes, context: Any) -> bytes:
        return request

    bare = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(echo)
    bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    bare.add_insecure_port(address)
    await bare.start()
    print("ready", flush=True)
    await bare.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve_bare(sys.argv[1]))

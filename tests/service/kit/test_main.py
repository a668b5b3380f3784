"""A service started as a program: its settings, its address, its exit status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from autopack_kit.auth import read_token
from autopack_kit.channel import open_channel
from grpc_health.v1 import health_pb2, health_pb2_grpc

PROGRAM = """
    from dataclasses import dataclass
    from typing import ClassVar
    from autopack_kit.main import main
    from autopack_kit.settings import setting

    @dataclass(frozen=True)
    class Settings:
        PREFIX: ClassVar[str] = "AUTOPACK_TOOLCHAIN"
        depth: int = setting(1, help="Depth.")

    class Nothing:
        name = "toolchain"
        full_names = ("test.v1.NothingService",)
        def __init__(self, settings): assert settings.depth
        def add_to(self, server): pass
        async def start(self, context): pass
        async def stop(self, grace): pass

    raise SystemExit(main("toolchain", Nothing, Settings))
"""


@asynccontextmanager
async def program(data: Path, *arguments: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environ = {"PATH": os.environ["PATH"], "AUTOPACK_DATA_DIR": str(data), **variables}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(PROGRAM), *arguments, env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()


async def test_program_on_tcp_makes_a_token_announces_its_address_and_ends_on_sigterm(tmp_path: Path) -> None:
    arguments = ("--address", "127.0.0.1:0", "--health-address", "127.0.0.1:0")
    async with program(tmp_path, *arguments, AUTOPACK_HARDENING_ANYTHING="of another service") as process:
        address = await first_line(process)
        async with open_channel(address, token=read_token(tmp_path / "token")) as channel:
            request = health_pb2.HealthCheckRequest(service="test.v1.NothingService")
            answer = await health_pb2_grpc.HealthStub(channel).Check(request)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0


@pytest.mark.parametrize(
    ("arguments", "variables", "opened"),
    [
        (("--http-address", "127.0.0.1:0"), {}, True),
        ((), {"AUTOPACK_HTTP_ADDRESS": "127.0.0.1:0"}, True),
        (("--http-address", "none"), {"AUTOPACK_HTTP_ADDRESS": "127.0.0.1:0"}, False),
        ((), {}, False),
    ],
)
async def test_http_port_is_where_the_argument_says_else_the_setting_else_nowhere(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], opened: bool
) -> None:
    async with program(tmp_path, "--address", "127.0.0.1:0", *arguments, AUTOPACK_LOG_FORMAT="json", **variables) as it:
        await first_line(it)
        it.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(it.communicate(), 60)
    lines = [json.loads(line) for line in errors.decode().splitlines()]
    serving = next(line for line in lines if line["event"] == "serving")
    assert serving["http_address"].startswith("http://127.0.0.1:") == opened
    assert it.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ((), {"AUTOPACK_TOOLCHAIN_DEPHT": "1"}, "did you mean AUTOPACK_TOOLCHAIN_DEPTH"),
        ((), {"AUTOPACK_TOOLCHAIN_DEPTH": "x"}, "AUTOPACK_TOOLCHAIN_DEPTH is 'x'"),
        (("--address", "nowhere"), {}, "'nowhere' is not an address"),
        (("--address", "0.0.0.0:0"), {}, "--tls-terminated-elsewhere"),
        (("--address", "127.0.0.1:0"), {"AUTOPACK_TLS_KEY_FILE": "/k"}, "TLS needs both"),
        (("--http-address", "0.0.0.0:0"), {}, "--tls-terminated-elsewhere"),
        (("--http-address", "nowhere"), {}, "'nowhere' is not an address"),
        ((), {"AUTOPACK_OTLP_TRACES_ENDPOINT": "nowhere"}, "AUTOPACK_OTLP_TRACES_ENDPOINT"),
    ],
)
async def test_program_with_a_mistake_exits_with_status_2_and_the_remedy(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], expected: str
) -> None:
    async with program(tmp_path, *arguments, **variables) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert expected in errors.decode()
    assert "Traceback" not in errors.decode()

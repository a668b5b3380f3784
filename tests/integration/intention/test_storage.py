"""The schema of the service, and a server of its own under many checks at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_api.intention.v1 import intention_pb2_grpc as pb_grpc
from autopack_intention.adapters.store import MIGRATIONS
from autopack_intention.adapters.tables import METADATA
from autopack_kit.channel import open_channel
from autopack_kit.db import differences, migrate
from autopack_kit.db.testing import fresh_url

MAX_GROWTH_KIB = 256 << 10
"""Twice what a server takes to have that many calls open."""
HANG_SECONDS = 150.0


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path, "intention") as fresh:
        yield fresh


def test_migrations_make_exactly_the_tables_that_the_code_declares(url: str) -> None:
    migrate(url, name="intention", migrations=MIGRATIONS)
    assert differences(url, name="intention", metadata=METADATA) == []
    assert migrate(url, name="intention", migrations=MIGRATIONS) == ()


# A server that bounds waiting calls drops those beyond a thousand: three thousand tell it as ten thousand do.
@pytest.mark.parametrize("checks", [3_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_thousands_of_checks_at_once_are_answered_in_bounded_memory(tmp_path: Path, checks: int) -> None:
    profile = pb.Profile(
        messages=[f"Let the worker{n % 90} of service{n % 12} load its value{n}" for n in range(1_000)],
        background=[
            pb.ChangeEvidence(paths=[f"src/area{n}.py"], added_identifiers=[f"area{n}_{word}" for word in "abcdef"])
            for n in range(50)
        ],
    )
    with serving(tmp_path) as (address, pid):
        async with open_channel(address) as channel:
            stub = pb_grpc.IntentionServiceStub(channel)
            request = pb.CheckDriftRequest(
                intention=pb.Intention(title="Let the workers of the service load their values"),
                evidence=pb.ChangeEvidence(
                    paths=["src/service1/worker.py"], added_identifiers=["load", "value", "area"]
                ),
                profile_id=(await stub.PutProfile(pb.PutProfileRequest(profile=profile))).profile_id,
            )
            alone = await stub.CheckDrift(request)
            before = memory(pid, "VmRSS")
            calls = (stub.CheckDrift(request, timeout=HANG_SECONDS) for _ in range(checks))
            answers = await asyncio.gather(*calls)
            peak = memory(pid, "VmHWM")
    assert len(answers) == checks
    assert all(answer == alone for answer in answers)
    assert peak - before < MAX_GROWTH_KIB


@contextmanager
def serving(data: Path) -> Iterator[tuple[str, int]]:
    """A server in a process of its own; gives its address and process id once it answers."""
    environment = {"PATH": os.environ["PATH"], "AUTOPACK_DATA_DIR": str(data), "AUTOPACK_LOG_LEVEL": "error"}
    # A test's own directory may be too deep for a socket.
    with tempfile.TemporaryDirectory(prefix="ap-") as directory:
        command = [sys.executable, "-m", "autopack_intention", "--address", f"unix:{directory}/s"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()
            assert process.wait(60) == 0


def memory(pid: int, field: str) -> int:
    """KiB of a process: VmRSS now, VmHWM at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {field}")

"""Without a sandbox a command may stop its own supervisor: whoever waits is not left hanging."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from autopack_orchestrator.adapters.supervisor import (
    Handle,
    Outcome,
    Reason,
    attach,
    client,
    control,
    execution_dir,
    read_outcome,
    start,
)

from tests.integration.orchestrator.test_supervisor import HANG_LIMIT_S, alive, make_spec, supervisor_pid

STOP = "kill -STOP $PPID"
STOP_ALWAYS = "while kill -STOP $PPID; do sleep 0.02; done"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LOOK_S", 0.2)
    monkeypatch.setattr(control, "ANSWER_LIMIT_S", 0.5)


async def _run(tmp_path: Path, script: str, timeout_s: float) -> Outcome:
    spec = make_spec(tmp_path, "sh", "-c", script, timeout_s=timeout_s)
    handle = await start(execution_dir(spec.marker, 1, "agent"), spec)
    return await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)


async def _stopped(tmp_path: Path) -> Handle:
    """An execution whose supervisor was stopped after it greeted; by the test, as a command would."""
    spec = make_spec(tmp_path, "sleep", "1000")
    handle = await start(execution_dir(spec.marker, 1, "agent"), spec)
    os.kill(supervisor_pid(handle.exec_dir), signal.SIGSTOP)
    return handle


async def test_a_supervisor_that_was_stopped_once_goes_on_and_keeps_its_deadline(tmp_path: Path) -> None:
    outcome = await _run(tmp_path, f"{STOP}; sleep 1000", timeout_s=1.0)
    assert outcome.reason is Reason.TIMEOUT
    assert alive(tmp_path / "run") == []


async def test_a_supervisor_that_is_stopped_again_and_again_is_killed_with_all_it_started(tmp_path: Path) -> None:
    outcome = await _run(tmp_path, f"({STOP_ALWAYS}) & setsid sleep 1000 & sleep 1000", timeout_s=HANG_LIMIT_S)
    assert outcome.reason is Reason.LOST
    assert "found stopped 4 times" in outcome.error
    assert alive(tmp_path / "run") == []
    kept = read_outcome(execution_dir(tmp_path / "run", 1, "agent"))
    assert kept is not None
    assert kept.reason is Reason.LOST


async def test_a_cancel_of_a_stopped_supervisor_ends_the_command(tmp_path: Path) -> None:
    handle = await _stopped(tmp_path)
    async with asyncio.timeout(HANG_LIMIT_S):
        await handle.cancel()
        outcome = await handle.wait()
    assert outcome.reason is Reason.CANCELLED
    assert alive(tmp_path / "run") == []


async def test_a_stopped_supervisor_is_found_again_and_goes_on(tmp_path: Path) -> None:
    first = await _stopped(tmp_path)
    found = await asyncio.wait_for(attach(first.exec_dir), HANG_LIMIT_S)
    assert isinstance(found, Handle)
    await found.cancel()
    assert (await asyncio.wait_for(found.wait(), HANG_LIMIT_S)).reason is Reason.CANCELLED
    assert (await asyncio.wait_for(first.wait(), HANG_LIMIT_S)).reason is Reason.CANCELLED


async def test_a_supervisor_that_only_takes_long_is_left_alone(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "sh", "-c", "sleep 2")
    handle = await start(execution_dir(spec.marker, 1, "agent"), spec)
    outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert (outcome.reason, outcome.exit_code) == (Reason.EXITED, 0)

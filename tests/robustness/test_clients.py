"""Clients that vanish, and clients that are interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import connect

from tests.robustness.history import finish, sightings
from tests.robustness.machine import FENCE_GRACE_S, PROGRAM, SHORT_FENCE, Machine
from tests.robustness.processes import HANG_LIMIT_S, descriptors, marked, until
from tests.robustness.traffic import batch, gated, git, run, submit
from tests.robustness.validators import nothing_is_left, validate

# Makes its standard input its controlling terminal, as a shell does for a program that it starts.
_ON_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


async def test_clients_that_vanish_in_the_middle_of_streams_leave_nothing_in_the_server(machine: Machine) -> None:
    server = await machine.serve()
    async with server.client() as client:
        spec = batch(machine.repo, [run("one", gated(), witness=machine.witness, gate=machine.gate)])
        batch_id = await submit(client, spec)
        await until(lambda: sightings(machine.witness), "the agent is at work")
        await vanish(server.address, batch_id)
        before = descriptors(server.pid)
        for _ in range(10):
            await asyncio.gather(*(vanish(server.address, batch_id) for _ in range(5)))
        await until(lambda: ended_streams(machine) == 2 * 51, "the server has ended every stream")
        await until(lambda: descriptors(server.pid) <= before, f"descriptors are {before} again")
        machine.gate.touch()
        history = await finish(client, batch_id, machine.witness)
    validate(history)
    await nothing_is_left(machine, history)


def ended_streams(machine: Machine) -> int:
    """How many streams the server's log says have ended because their client was gone."""
    # What else it prints there, such as the address of its HTTP port, is no record.
    records = (json.loads(line) for line in machine.log.read_text().splitlines() if line.startswith("{"))
    return sum(
        record["event"] == "call"
        and record["method"].endswith(("/WatchBatch", "/ReadLog"))
        and record["code"] == "CANCELLED"
        for record in records
    )


async def vanish(address: str, batch_id: str) -> None:
    """Open two streams that would go on for as long as the run does, read a little, and go."""
    client = connect(address)
    events = client.orchestrator.WatchBatch(pb.WatchBatchRequest(batch_id=batch_id))
    log = client.orchestrator.ReadLog(pb.ReadLogRequest(run_id=f"{batch_id}.one", follow=True))
    assert await anext(aiter(events)) is not None
    assert await anext(aiter(log)) is not None
    await client.channel.close(None)


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, machine: Machine, *words: str) -> None:
        self._own, theirs = pty.openpty()
        with closing(os.fdopen(theirs, "rb", closefd=True)):
            self.process = subprocess.Popen(
                [sys.executable, "-c", _ON_TERMINAL, str(PROGRAM), *words],
                env={**machine.environment(SHORT_FENCE), "TERM": "xterm"},
                cwd=machine.root,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            )
        self.output = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._own, 1 << 16)
            except OSError:  # nobody has the other end open any more
                return
            self.output += data

    def press(self, key: bytes) -> None:
        """As if typed."""
        os.write(self._own, key)

    async def ended(self) -> int:
        """The exit status."""
        try:
            return await asyncio.to_thread(self.process.wait, HANG_LIMIT_S)
        finally:
            self.process.kill()


@pytest.mark.parametrize("times", [1, 2])
async def test_ctrl_c_cancels_the_batch_and_leaves_nothing_running(machine: Machine, times: int) -> None:
    """Once: it waits for the end of the agents. Twice, with agents that are deaf: they are ended without it."""
    (machine.root / "agent.sh").write_text(("trap '' TERM\n" if times == 2 else "") + gated())
    words = ["--repo", str(machine.repo), "--goal", "Add a function", "--runs", "2"]
    command = f"env WITNESS={machine.witness} GATE={machine.gate} sh {machine.root}/agent.sh"
    terminal = Terminal(machine, "run", *words, "--command", command)
    await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 2, "both agents are at work")
    for _ in range(times):
        terminal.press(b"\x03")
        await until(lambda: b"ancelling" in terminal.output, "it says that it cancels")
    assert await terminal.ended() == 130, terminal.output
    if times == 1:
        assert not marked(machine.data)
    await until(lambda: not marked(machine.data), "nothing is alive", FENCE_GRACE_S + 2 + 5)
    server = await machine.serve()
    async with server.client() as client:
        (listed,) = (await client.orchestrator.ListBatches(pb.ListBatchesRequest())).batches
        history = await finish(client, listed.batch_id, machine.witness)
    validate(history, crashes=1)
    assert {one.state for one in history.runs} == {pb.RUN_STATE_CANCELLED}
    await nothing_is_left(machine, history)
    assert git(machine.repo, "branch", "--list", "autopack/*") == ""

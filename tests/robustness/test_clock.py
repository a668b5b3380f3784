"""The machine's clock is set while runs are at work: a day ahead, and then a day behind."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb

from tests.robustness.history import finish, sightings
from tests.robustness.machine import SHORT_FENCE, Machine
from tests.robustness.processes import until
from tests.robustness.traffic import agent, batch, gated, run, submit
from tests.robustness.validators import nothing_is_left

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed (apt install faketime)"),
]


def _seen(machine: Machine, count: int) -> bool:
    return len(sightings(machine.witness)) >= count


async def test_a_clock_that_jumps_ends_no_run_and_the_next_one_begins(machine: Machine) -> None:
    """Leases, fences and times of commands are measured on a clock that cannot be set."""
    clock = machine.root / "clock"
    clock.write_text("+0\n")
    settings = {
        **SHORT_FENCE,
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    server = await machine.serve(settings=settings)
    names = ("one", "two")
    runs = [run(name, gated(), witness=machine.witness, gate=machine.gate) for name in names]
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, runs))
        await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 2, "both agents are at work")
        ended: list[str] = []
        for offset in ("+1d\n", "-1d\n"):
            clock.write_text(offset)
            enough = len(sightings(machine.witness)) + 40
            await until(functools.partial(_seen, machine, enough), "agents work on")
            spec = batch(machine.repo, [run(f"at{len(ended)}", agent(1), witness=machine.witness)])
            ended.append(await submit(client, spec))
        machine.gate.touch()
        created = [(await client.orchestrator.GetBatch(pb.GetBatchRequest(batch_id=one))).batch for one in ended]
        assert created[0].create_time.seconds - created[1].create_time.seconds > 47 * 3600
        async with asyncio.timeout(120):
            histories = [await finish(client, one, machine.witness) for one in (batch_id, *ended)]
    for history in histories:
        assert [(one.state, one.attempt) for one in history.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)] * len(history.runs)
    await nothing_is_left(machine, *histories)

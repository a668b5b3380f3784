"""An orderly end of the server, and the end of a supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import AutopackError, watch_batch

from tests.robustness.history import finish, log_of, sightings, taken_up
from tests.robustness.machine import Machine, Server
from tests.robustness.processes import alive, supervisors, until
from tests.robustness.traffic import agent, batch, gated, gated_step, run, submit
from tests.robustness.validators import nothing_is_left, validate


async def test_a_terminated_server_hands_its_agents_off_and_the_next_one_takes_them_up(machine: Machine) -> None:
    names = ("one", "two")
    spec = batch(machine.repo, [run(name, gated(), witness=machine.witness, gate=machine.gate) for name in names])
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, spec)
        watching = asyncio.create_task(watch(server, batch_id))  # a stream that stays open must not hold it up
        await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 2, "both agents are at work")
    pids = {seen.pid for seen in sightings(machine.witness)}
    async with asyncio.timeout(15):  # the longest grace is 20 s: it was not used up
        assert await server.terminate() == 0
    assert all(map(alive, pids))
    watching.cancel()
    server = await machine.serve()
    async with server.client() as client:
        await taken_up(client, batch_id, *names)
        machine.gate.touch()
        history = await finish(client, batch_id, machine.witness)
    validate(history)
    assert [(one.state, one.attempt) for one in history.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)] * 2
    assert {seen.pid for seen in history.sightings} == pids
    await nothing_is_left(machine, history)


async def watch(server: Server, batch_id: str) -> None:
    """A client that only listens."""
    with suppress(AutopackError):
        async with server.client() as client:
            async for _ in watch_batch(client, batch_id):
                continue


async def test_a_server_that_is_terminated_again_and_again_ends_every_run(machine: Machine) -> None:
    """Also in the middle of preparing, validating and delivering."""
    spec = batch(machine.repo, [run(f"r{n}", agent(n), witness=machine.witness) for n in range(1, 7)], at_once=3)
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, spec)
    for _ in range(3):
        async with server.client() as client:
            seen = 0
            async for _ in watch_batch(client, batch_id):
                seen += 1
                if seen > 20:
                    break
        assert await server.terminate() == 0
        server = await machine.serve()
    async with server.client() as client:
        history = await finish(client, batch_id, machine.witness)
    validate(history, crashes=3)
    assert {one.state for one in history.runs} == {pb.RUN_STATE_SUCCEEDED}
    await nothing_is_left(machine, history)


async def test_a_run_whose_supervisor_is_killed_begins_anew_and_nothing_of_it_stays_alive(machine: Machine) -> None:
    left = "setsid sleep 1000 & "
    spec = batch(machine.repo, [run("one", left + gated(), witness=machine.witness, gate=machine.gate)])
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, spec)
        await until(lambda: sightings(machine.witness), "the agent is at work")
        (supervisor,) = supervisors(machine.data)
        os.kill(supervisor, signal.SIGKILL)
        await until(lambda: {seen.attempt for seen in sightings(machine.witness)} == {1, 2}, "a second attempt")
        (first,) = {seen.pid for seen in sightings(machine.witness) if seen.attempt == 1}
        assert not alive(first)
        machine.gate.touch()
        history = await finish(client, batch_id, machine.witness)
        assert b"begins attempt 1" in await log_of(client, history.runs[0].run_id, attempt=1)
    validate(history)
    assert (history.runs[0].state, history.runs[0].attempt) == (pb.RUN_STATE_SUCCEEDED, 2)
    await nothing_is_left(machine, history)


@pytest.mark.parametrize("ended_by", ["cancel", "supervisor"])
async def test_a_step_that_is_ended_from_outside_ends_its_run_with_the_reason(machine: Machine, ended_by: str) -> None:
    step = gated_step(machine.witness, machine.gate)
    spec = batch(machine.repo, [run("one", agent(1), witness=machine.witness, validate=[step])])
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, spec)
        await until(lambda: any(seen.what == "step" for seen in sightings(machine.witness)), "the step is at work")
        if ended_by == "cancel":
            await client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=batch_id))
        else:
            (supervisor,) = supervisors(machine.data)
            os.kill(supervisor, signal.SIGKILL)
        history = await finish(client, batch_id, machine.witness)
    validate(history, crashes=1)
    (one,) = history.runs
    expected = {"cancel": (pb.RUN_STATE_CANCELLED, "CANCELLED"), "supervisor": (pb.RUN_STATE_FAILED, "STEP_LOST")}
    assert (one.state, one.error.reason) == expected[ended_by]
    assert one.patch_bytes > 0
    await nothing_is_left(machine, history)

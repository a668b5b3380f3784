"""The orchestrator's own database cannot be written for a while."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import AsyncClient

from tests.robustness.history import finish, runs_of, sightings
from tests.robustness.machine import Machine
from tests.robustness.processes import HANG_LIMIT_S, until
from tests.robustness.traffic import agent, batch, gated, run, submit
from tests.robustness.validators import nothing_is_left, validate


async def test_runs_go_on_after_the_database_could_not_be_written_for_a_while(machine: Machine) -> None:
    """Agents end meanwhile; their work is not lost, and no run fails for it."""
    names = ("one", "two")
    specs = [run(name, gated(), witness=machine.witness, gate=machine.gate) for name in names]
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, specs))
        await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 2, "both agents are at work")
        with closing(sqlite3.connect(machine.data / "orchestrator" / "orchestrator.sqlite3")) as database:
            database.execute("BEGIN IMMEDIATE")
            machine.gate.touch()
            # Whichever write comes first: of a run, or of the engine, which then hands its runs to itself.
            said = (b"a run could not be stored", b"the engine begins anew")
            await until(lambda: any(words in machine.log.read_bytes() for words in said), "the server says so")
            database.rollback()
        history = await finish(client, batch_id, machine.witness)
    validate(history, crashes=1)
    assert [(one.state, one.attempt) for one in history.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)] * 2
    await nothing_is_left(machine, history)


async def test_runs_that_are_cancelled_at_random_moments_end_once(machine: Machine) -> None:
    """While they are prepared, at work, validated, delivered, ended, or over."""
    chance = random.Random(7)
    specs = [run(f"r{n}", agent(chance.randint(1, 6)), witness=machine.witness) for n in range(24)]
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, specs, at_once=6))
        # For each run the state in which it is cancelled, and how soon after that was seen.
        states = [pb.RUN_STATE_PREPARING, pb.RUN_STATE_RUNNING, pb.RUN_STATE_VALIDATING, pb.RUN_STATE_SUCCEEDED]
        waiting = {f"{batch_id}.r{n}": (chance.choice(states), chance.uniform(0, 0.3)) for n in range(24)}
        async with asyncio.timeout(HANG_LIMIT_S), asyncio.TaskGroup() as group:
            while waiting:
                await asyncio.sleep(0.05)
                for one in await runs_of(client, batch_id):
                    if one.run_id in waiting and one.state >= waiting[one.run_id][0]:
                        group.create_task(cancel(client, one.run_id, waiting.pop(one.run_id)[1]))
        history = await finish(client, batch_id, machine.witness)
    validate(history)
    assert {one.state for one in history.runs} == {pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_CANCELLED}
    await nothing_is_left(machine, history)


async def cancel(client: AsyncClient, run_id: str, delay: float) -> None:
    """Ask for the end of a run a little later."""
    await asyncio.sleep(delay)
    await client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=run_id))

"""The server is killed with SIGKILL at any moment, and no run is lost, done twice, or left lying around."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import pytest
from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import ON_SCOPE_VIOLATION_FAIL, PREPARE_AUTO
from autopack_client import AutopackError

from tests.robustness.failpoints import PASSED_BY_A_RUN
from tests.robustness.history import event_of, finish, log_of, sightings, taken_up
from tests.robustness.machine import FENCE_GRACE_S, SHORT_FENCE, Machine
from tests.robustness.processes import alive, marked, supervisors, until
from tests.robustness.traffic import agent, batch, gated, gated_step, git, run, submit
from tests.robustness.validators import fingerprint, nothing_is_left, validate

#: Their neighbours in the list are as telling; the suite has few minutes.
RARELY = {"worktree-recorded", "before-running", "before-validating", "worktree-removed", "worktree-added", "published"}


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=[pytest.mark.long] if point in RARELY else []) for point in PASSED_BY_A_RUN]
)
async def test_a_server_killed_at_a_point_loses_no_run(machine: Machine, point: str) -> None:
    before = fingerprint(machine.repo)
    spec = batch(machine.repo, [run(name, agent(2), witness=machine.witness) for name in ("one", "two")])
    server = await machine.serve(f"{point}:2")
    async with server.client() as client:
        batch_id = await submit(client, spec)
    assert await server.ended() == -signal.SIGKILL
    server = await machine.serve()
    async with server.client() as client:
        history = await finish(client, batch_id, machine.witness)
    validate(history, crashes=1)
    assert {pb.RunState.Name(run.state) for run in history.runs} == {"RUN_STATE_SUCCEEDED"}
    await nothing_is_left(machine, history)
    assert fingerprint(machine.repo) == before


@pytest.mark.parametrize("point", ["adopted", "queued-again"])
async def test_a_server_killed_while_it_recovers_loses_no_run(machine: Machine, point: str) -> None:
    spec = batch(machine.repo, [run(name, agent(2), witness=machine.witness) for name in ("one", "two")])
    server = await machine.serve("worktree-added:2")
    async with server.client() as client:
        batch_id = await submit(client, spec)
    assert await server.ended() == -signal.SIGKILL
    # It may die before it answers.
    server = await machine.serve(point, answers=False)
    assert await server.ended() == -signal.SIGKILL
    server = await machine.serve()
    async with server.client() as client:
        history = await finish(client, batch_id, machine.witness)
    validate(history, crashes=2)
    assert {run.state for run in history.runs} == {pb.RUN_STATE_SUCCEEDED}
    # A third, if the second was claimed already when the server was killed again: neither has cost one that counts.
    assert max(run.attempt for run in history.runs) in (2, 3)
    await nothing_is_left(machine, history)


async def test_without_a_restart_nothing_outlives_the_fence_and_a_late_restart_begins_anew(machine: Machine) -> None:
    """Also what left its session and is deaf to SIGTERM."""
    deaf = """setsid sh -c 'trap "" TERM; while :; do sleep 1000; done' & """
    runs = [
        run("again", deaf + gated(), witness=machine.witness, gate=machine.gate),
        run("last", gated(), witness=machine.witness, gate=machine.gate),
    ]
    runs[1].max_attempts = 1
    server = await machine.serve(settings=SHORT_FENCE)
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, runs))
        await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 2, "both agents are at work")
        before = await log_of(client, f"{batch_id}.again")
    assert b"again begins attempt 1" in before
    assert len(marked(machine.data)) >= 4
    await server.kill()
    await until(lambda: not marked(machine.data), "nothing of a run is alive", FENCE_GRACE_S + 2)

    machine.gate.touch()
    server = await machine.serve()
    async with server.client() as client:
        history = await finish(client, batch_id, machine.witness)
        assert (await log_of(client, f"{batch_id}.again", attempt=1)).startswith(before)
    validate(history, crashes=1)
    again, last = history.runs
    assert (again.state, again.attempt, again.branch) == (
        pb.RUN_STATE_SUCCEEDED,
        2,
        f"autopack/{batch_id}/again-2",
    )
    assert (last.state, last.attempt, last.error.reason) == (pb.RUN_STATE_LOST, 1, "LOST")
    await nothing_is_left(machine, history)


async def test_a_restart_within_the_grace_takes_the_agents_up(machine: Machine) -> None:
    names = ("one", "two", "three")
    runs = [run(name, gated(), witness=machine.witness, gate=machine.gate) for name in names]
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, runs))
        await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 3, "all agents are at work")
        before = [await log_of(client, f"{batch_id}.{name}") for name in names]
    pids = {seen.pid for seen in sightings(machine.witness)}
    await server.kill()
    assert all(map(alive, pids))
    server = await machine.serve()
    async with server.client() as client:
        await taken_up(client, batch_id, *names)
        machine.gate.touch()
        history = await finish(client, batch_id, machine.witness)
        for name, start in zip(names, before, strict=True):
            assert (await log_of(client, f"{batch_id}.{name}")).startswith(start)
    validate(history, crashes=1)
    assert [(run.state, run.attempt) for run in history.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)] * 3
    assert {seen.pid for seen in history.sightings} == pids
    await nothing_is_left(machine, history)


@pytest.mark.parametrize("phase", ["install", "validate 1/1"])
async def test_a_step_at_work_when_the_server_was_killed_never_works_beside_its_repetition(
    machine: Machine, phase: str
) -> None:
    """While preparing, the attempt is repeated; while validating, only the validation."""
    step = gated_step(machine.witness, machine.gate)
    installs = phase == "install"
    fields = {"prepare": PREPARE_AUTO, "install": [step]} if installs else {"validate": [step]}
    spec = batch(machine.repo, [run("one", agent(1), witness=machine.witness, **fields)])
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, spec)
        await event_of(client, batch_id, pb.EVENT_KIND_PHASE_STARTED, phase=phase)
        await until(lambda: steps(machine), "the step is at work")
    (first,) = steps(machine)
    await server.kill()
    server = await machine.serve()
    async with server.client() as client:
        await until(lambda: len(steps(machine)) == 2, "the step is at work again")
        assert not alive(first)
        machine.gate.touch()
        history = await finish(client, batch_id, machine.witness)
    (run_,) = history.runs
    assert (run_.state, run_.attempt) == (pb.RUN_STATE_SUCCEEDED, 2 if installs else 1)
    one, two = sorted(steps(machine).values())
    assert one[-1] < two[0]
    await nothing_is_left(machine, history)


def steps(machine: Machine) -> dict[int, list[int]]:
    """By process, when each execution of the gated step was seen at work."""
    found: dict[int, list[int]] = {}
    for seen in sightings(machine.witness):
        if seen.what == "step":
            found.setdefault(seen.pid, []).append(seen.at)
    return found


async def crash_at_random(machine: Machine, seed: int, runs: int, kills: int) -> None:
    """Kill the server again and again while it works through a batch."""
    chance = random.Random(seed)
    before = fingerprint(machine.repo)
    specs = [run(f"r{n}", agent(chance.randint(1, 8)), witness=machine.witness) for n in range(runs)]
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, specs, at_once=4))
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.05, 1.5))  # the moment of the crash, not a wait for anything
        await server.kill()
        server = await machine.serve(answers=False)
        await server.ready()
    async with server.client() as client:
        history = await finish(client, batch_id, machine.witness)
    validate(history, crashes=kills)
    for one in history.runs:
        assert one.state in (pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_LOST), one
        assert one.state == pb.RUN_STATE_SUCCEEDED or one.attempt == 5
    await nothing_is_left(machine, history)
    assert fingerprint(machine.repo) == before


async def test_a_server_killed_at_random_moments_loses_no_run(machine: Machine) -> None:
    await crash_at_random(machine, seed=1, runs=8, kills=4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 7))
async def test_a_server_killed_very_often_loses_no_run(machine: Machine, seed: int) -> None:
    await crash_at_random(machine, seed=seed, runs=16, kills=12)


async def test_what_an_interrupted_validation_wrote_is_no_part_of_the_change(machine: Machine) -> None:
    script = 'echo junk > lib/report_$$.txt; echo junk > report.txt; until [ -e "$GATE" ]; do sleep 0.1; done'
    step = Command(argv=Argv(words=["sh", "-c", script]), env={"GATE": str(machine.gate)})
    spec = run("one", agent(1), witness=machine.witness, validate=[step], on_scope_violation=ON_SCOPE_VIOLATION_FAIL)
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, [spec]))
        await until(lambda: list(machine.data.glob("orchestrator/workspaces/*/report.txt")), "the step is at work")
    await server.kill()
    machine.gate.touch()
    server = await machine.serve()
    async with server.client() as client:
        history = await finish(client, batch_id, machine.witness)
    (one,) = history.runs
    assert (one.state, one.attempt, one.error.message) == (pb.RUN_STATE_SUCCEEDED, 1, "")
    assert git(machine.repo, "diff", "--name-only", "main", one.branch) == "lib/made_one.py"
    await nothing_is_left(machine, history)


@pytest.mark.parametrize("point", ["mirror-cloned", "batch-stored"])
async def test_a_batch_whose_creation_was_interrupted_is_created_once_when_asked_for_again(
    machine: Machine, point: str
) -> None:
    spec = batch(machine.repo, [run("one", agent(1), witness=machine.witness)])
    server = await machine.serve(point)
    async with server.client() as client:
        with pytest.raises(AutopackError):
            await submit(client, spec, request_id="the-same")
    assert await server.ended() == -signal.SIGKILL
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, spec, request_id="the-same")
        history = await finish(client, batch_id, machine.witness)
        assert len((await client.orchestrator.ListBatches(pb.ListBatchesRequest())).batches) == 1
    validate(history)
    assert [one.attempt for one in history.runs] == [1]
    await nothing_is_left(machine, history)


async def test_when_the_supervisor_is_killed_with_the_server_the_restart_ends_what_is_left(machine: Machine) -> None:
    spec = run("one", "setsid sleep 1000 & " + gated(), witness=machine.witness, gate=machine.gate)
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, [spec]))
        await until(lambda: sightings(machine.witness), "the agent is at work")
    await server.kill()
    for pid in supervisors(machine.data):
        os.kill(pid, signal.SIGKILL)
    left = marked(machine.data)
    machine.gate.touch()
    server = await machine.serve()
    async with server.client() as client:
        history = await finish(client, batch_id, machine.witness)
    assert left
    assert not any(map(alive, left))
    validate(history, crashes=1)
    assert (history.runs[0].state, history.runs[0].attempt) == (pb.RUN_STATE_SUCCEEDED, 2)
    await nothing_is_left(machine, history)

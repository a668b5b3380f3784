"""The machine fails: the server stands still, its disk is full, its database goes away, a directory is deleted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import AutopackError

from tests.robustness.history import finish, runs_of, sightings
from tests.robustness.machine import FENCE_GRACE_S, SHORT_FENCE, Machine
from tests.robustness.mounts import again_with_own_mounts, mount_small_disk
from tests.robustness.postgres import own_postgres
from tests.robustness.processes import HANG_LIMIT_S, parent, supervisors, until
from tests.robustness.traffic import agent, batch, gated, run, submit
from tests.robustness.validators import fingerprint, nothing_is_left, validate

DISK = "96m"
SPARE = 1 << 20
# Does all of its work, and only then waits: what comes after the gate is the servers' own writing.
WORKS_THEN_WAITS = agent(1) + '\nuntil [ -e "$GATE" ]; do sleep 0.1; done\n'


async def test_a_server_that_stands_still_for_longer_than_the_fence_keeps_its_runs(machine: Machine) -> None:
    """It still holds its lock and its agents' connections, so nobody ends them and nobody else begins them."""
    names = ("one", "two")
    first = await machine.serve(settings=SHORT_FENCE)
    second = await machine.serve(settings=SHORT_FENCE)
    spec = batch(machine.repo, [run(name, gated(), witness=machine.witness, gate=machine.gate) for name in names])
    async with second.client() as client:
        batch_id = await submit(client, spec)
        await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 2, "both agents are at work")
        before = {seen.pid for seen in sightings(machine.witness)}
        os.kill(first.pid, signal.SIGSTOP)
        try:
            now = max(seen.at for seen in sightings(machine.witness))
            beyond = now + int((FENCE_GRACE_S + 1) * 1e9)
            await until(lambda: max(seen.at for seen in sightings(machine.witness)) > beyond, "agents work on")
            assert {parent(pid) for pid in supervisors(machine.data)} == {first.pid}
            assert {one.state for one in await runs_of(client, batch_id)} == {pb.RUN_STATE_RUNNING}
        finally:
            os.kill(first.pid, signal.SIGCONT)
        machine.gate.touch()
        history = await finish(client, batch_id, machine.witness)
    validate(history)
    assert [(one.state, one.attempt) for one in history.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)] * 2
    assert {seen.pid for seen in history.sightings} == before
    await nothing_is_left(machine, history)


async def test_a_full_disk_loses_no_run_and_work_goes_on_when_there_is_room(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    """While it is full nothing new starts, and what cannot be stored is stored later."""
    if not again_with_own_mounts(request):
        return
    mount_small_disk(machine.data, DISK)
    before = fingerprint(machine.repo)
    names = ("one", "two")
    specs = [run(name, WORKS_THEN_WAITS, witness=machine.witness, gate=machine.gate) for name in names]
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, specs))
        await until(lambda: sum(seen.what == "end" for seen in sightings(machine.witness)) == 2, "both have worked")
        await asyncio.to_thread(fill, machine)
        with pytest.raises(AutopackError) as refused:
            await submit(
                client, batch(machine.repo, [run("r" * 50, agent(1) + "#" * 200_000, witness=machine.witness)])
            )
        assert refused.value.reason != "INTERNAL", refused.value.message
        machine.gate.touch()
        await until(lambda: not supervisors(machine.data), "both agents have ended")
        (machine.data / "filler").unlink()
        history = await finish(client, batch_id, machine.witness)
        again = await submit(client, batch(machine.repo, [run("later", agent(1), witness=machine.witness)]))
        later = await finish(client, again, machine.witness)
    validate(history, crashes=2)
    for one in history.runs:
        room = "No space left" in one.error.message or "disk" in one.error.message
        assert one.state == pb.RUN_STATE_SUCCEEDED or room, one.error
    assert [(one.state, one.attempt) for one in later.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)]
    await nothing_is_left(machine, history, later)
    assert fingerprint(machine.repo) == before


def fill(machine: Machine) -> None:
    """Leave not a byte free on the disk of the data directory."""
    with (machine.data / "filler").open("wb", buffering=0) as file:
        for size in (SPARE, 4096, 1):
            while True:
                try:
                    if not file.write(b"x" * size):
                        break
                except OSError:
                    break


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGQUIT, marks=pytest.mark.long)])
async def test_postgres_that_is_restarted_under_load_costs_no_run_its_attempt(
    machine: Machine, how: signal.Signals
) -> None:
    """Once in order and once as in a crash; it is away for as long as it takes the server to notice."""
    with own_postgres() as database:
        names = [f"r{n}" for n in range(6)]
        specs = [run(name, gated() if n < 3 else agent(n), witness=machine.witness, gate=machine.gate)
                 for n, name in enumerate(names)]  # fmt: skip
        server = await machine.serve(settings={"AUTOPACK_ORCHESTRATOR_DATABASE_URL": database.url})
        async with server.client() as client:
            batch_id = await submit(client, batch(machine.repo, specs, at_once=4))
            await until(lambda: len({seen.run for seen in sightings(machine.witness)}) >= 4, "four agents are at work")
            await asyncio.to_thread(database.stop, how)
            machine.gate.touch()
            said = (b"a run could not be stored", b"the engine begins anew")
            await until(lambda: any(words in machine.log.read_bytes() for words in said), "the server says so")
            with pytest.raises(AutopackError) as refused:
                await runs_of(client, batch_id)
            assert refused.value.reason.startswith("DATABASE_")
            await asyncio.to_thread(database.start)
            history = await finish(client, batch_id, machine.witness)
        validate(history, crashes=1)
        assert [(one.state, one.attempt) for one in history.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)] * 6
        await nothing_is_left(machine, history)
        await server.terminate()


@pytest.mark.parametrize("what", ["the worktree", "git's data of it"])
async def test_a_worktree_that_is_deleted_under_its_agent_ends_that_run_alone(machine: Machine, what: str) -> None:
    names = ("deleted", "other")
    specs = [run(name, gated(), witness=machine.witness, gate=machine.gate) for name in names]
    server = await machine.serve()
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, specs))
        await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 2, "both agents are at work")
        where = "workspaces/*.deleted-1" if what == "the worktree" else "mirrors/*/worktrees/*.deleted-1"
        (target,) = (machine.data / "orchestrator").glob(where)
        await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        machine.gate.touch()
        history = await finish(client, batch_id, machine.witness)
    validate(history)
    deleted, other = history.runs
    assert (other.state, other.attempt) == (pb.RUN_STATE_SUCCEEDED, 1)
    if what == "the worktree":
        assert deleted.state == pb.RUN_STATE_FAILED
        assert deleted.error.reason not in ("", "INTERNAL"), deleted.error
    else:
        assert deleted.error.reason != "INTERNAL", deleted.error
    await nothing_is_left(machine, history)


async def test_output_without_end_is_cut_and_ends_with_the_time_of_its_run(machine: Machine) -> None:
    """What is kept of it stays small, and reading it ends too."""
    cap = 1 << 20
    server = await machine.serve(settings={"AUTOPACK_ORCHESTRATOR_OUTPUT_CAP_BYTES": str(cap)})
    spec = run("one", "yes '0123456789 0123456789 0123456789'", witness=machine.witness)
    spec.timeout.FromSeconds(3)
    async with server.client() as client:
        batch_id = await submit(client, batch(machine.repo, [spec]))
        request = pb.ReadLogRequest(run_id=f"{batch_id}.one", follow=True)
        async with asyncio.timeout(HANG_LIMIT_S):
            size = sum([len(response.data) async for response in client.orchestrator.ReadLog(request)])
        history = await finish(client, batch_id, machine.witness)
    validate(history)
    (one,) = history.runs
    assert (one.state, one.error.reason) == (pb.RUN_STATE_TIMED_OUT, "TIMEOUT")
    assert cap <= size <= cap + (64 << 10)
    kept = sum(path.stat().st_size for path in (machine.data / "orchestrator" / "runs").rglob("*") if path.is_file())
    assert kept < 2 * cap
    await nothing_is_left(machine, history)

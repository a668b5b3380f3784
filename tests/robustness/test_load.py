"""Many runs at once, from two servers on one data directory, on one repository."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb

from tests.robustness.history import finish, sightings, taken_up
from tests.robustness.machine import Machine
from tests.robustness.processes import parent, supervisors, until
from tests.robustness.traffic import agent, batch, gated, git, run, submit
from tests.robustness.validators import fingerprint, nothing_is_left, validate


@asynccontextmanager
async def fetching(repo: Path) -> AsyncIterator[list[tuple[int, str]]]:
    """The user fetches into their repository again and again; yields the exit codes and complaints."""
    ended: list[tuple[int, str]] = []
    over = asyncio.Event()

    async def fetch() -> None:
        while not over.is_set():
            done = await asyncio.to_thread(
                subprocess.run, ["git", "fetch", "-q", "origin"], cwd=repo, capture_output=True, text=True, check=False
            )
            ended.append((done.returncode, done.stderr))
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        group.create_task(fetch())
        try:
            yield ended
        finally:
            over.set()


@pytest.mark.parametrize("each", [8, pytest.param(32, marks=pytest.mark.long)])
async def test_runs_from_two_servers_on_one_repository_all_succeed_at_the_first_attempt(
    machine: Machine, each: int
) -> None:
    git(machine.repo, "clone", "-q", "--bare", ".", str(machine.root / "origin.git"))
    git(machine.repo, "remote", "add", "origin", str(machine.root / "origin.git"))
    git(machine.repo, "fetch", "-q", "origin")
    (machine.repo / ".git" / "FETCH_HEAD").unlink()  # the user's own fetches write it
    before = fingerprint(machine.repo)
    many = {"AUTOPACK_ORCHESTRATOR_MAX_CONCURRENT_RUNS": "64"}
    first, second = await asyncio.gather(machine.serve(settings=many), machine.serve(settings=many))
    specs = [
        batch(machine.repo, [run(f"{side}{n}", agent(1), witness=machine.witness) for n in range(each)])
        for side in "ab"
    ]
    async with first.client() as one, second.client() as two, fetching(machine.repo) as fetched:
        ids = await asyncio.gather(submit(one, specs[0]), submit(two, specs[1]))
        histories = await asyncio.gather(finish(one, ids[0], machine.witness), finish(two, ids[1], machine.witness))
    assert fetched
    assert set(fetched) == {(0, "")}
    for history in histories:
        validate(history)
        assert [(one.state, one.attempt) for one in history.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)] * each
        assert [list(one.warnings) for one in history.runs] == [[]] * each
    await nothing_is_left(machine, *histories)
    (machine.repo / ".git" / "FETCH_HEAD").unlink()
    assert fingerprint(machine.repo) == before


async def test_of_two_servers_one_works_and_the_other_takes_over_when_it_is_killed(machine: Machine) -> None:
    first = await machine.serve()
    second = await machine.serve()
    names = ("one", "two")
    spec = batch(machine.repo, [run(name, gated(), witness=machine.witness, gate=machine.gate) for name in names])
    async with second.client() as client:
        batch_id = await submit(client, spec)
        await until(lambda: len({seen.run for seen in sightings(machine.witness)}) == 2, "both agents are at work")
        assert {parent(pid) for pid in supervisors(machine.data)} == {first.pid}
        await first.kill()
        await taken_up(client, batch_id, *names)
        machine.gate.touch()
        history = await finish(client, batch_id, machine.witness)
    validate(history, crashes=1)
    assert [(one.state, one.attempt) for one in history.runs] == [(pb.RUN_STATE_SUCCEEDED, 1)] * 2
    await nothing_is_left(machine, history)

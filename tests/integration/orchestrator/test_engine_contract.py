"""What a user may expect of a run, whichever engine carries it out: one suite for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import AsyncClient, AutopackError, get_patch, read_log, watch_batch
from google.protobuf.duration_pb2 import Duration

from tests.integration.orchestrator.site import KINDS, Site, site
from tests.robustness.history import Sighting, sightings
from tests.robustness.processes import HANG_LIMIT_S, marked, until
from tests.robustness.traffic import agent, batch, gated, git, run, submit

AT_ONCE = 2


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=[pytest.mark.postgres] if "postgres" in kind else []) for kind in KINDS],
)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests of an engine: each has batches of its own."""
    with site(request.param, tmp_path_factory.mktemp("site"), at_once=AT_ONCE) as made:
        made.start()
        yield made


@pytest.fixture
def witness(place: Site, request: pytest.FixtureRequest) -> Path:
    path = place.machine.root / f"witness-{request.node.originalname}"
    path.touch()
    return path


@pytest.fixture
def gate(place: Site, request: pytest.FixtureRequest) -> Path:
    return place.machine.root / f"gate-{request.node.originalname}"


async def ended(place: Site, batch_id: str) -> tuple[list[pb.Event], list[pb.Run]]:
    """The events and runs of a batch once it has ended; events have no gaps."""
    async with asyncio.timeout(2 * HANG_LIMIT_S), place.client() as client:
        events = [event async for event in watch_batch(client, batch_id)]
        runs = (await client.orchestrator.ListRuns(pb.ListRunsRequest(batch_id=batch_id))).runs
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return events, list(runs)


async def log_of(client: AsyncClient, run_id: str, **fields: Any) -> bytes:
    """The log of a run, or a part of it."""
    return b"".join([piece async for piece in read_log(client, run_id, **fields)])


async def at_work(witness: Path, count: int = 1) -> None:
    await until(lambda: len({seen.pid for seen in sightings(witness)}) >= count, f"{count} agents are at work")


async def test_a_run_that_succeeds_is_delivered_with_its_log_and_its_patch(place: Site, witness: Path) -> None:
    async with place.client() as client:
        batch_id = await submit(client, batch(place.machine.repo, [run("one", agent(3), witness=witness)]))
        events, (done,) = await ended(place, batch_id)
        assert (done.state, done.attempt) == (pb.RUN_STATE_SUCCEEDED, 1), done.error
        log = await log_of(client, done.run_id)
        patch = b"".join([piece async for piece in get_patch(client, done.run_id)])
    states = [event.attributes["to"] for event in events if event.run_id and event.attributes.get("to")]
    assert states == ["preparing", "running", "validating", "succeeded"]
    assert log.index(b"one begins attempt 1") < log.index(b"one is done") < log.index(b"validated")
    assert b"+def made_by_1(): return 1" in patch
    assert git(place.machine.repo, "rev-parse", f"{done.branch}^{{tree}}") == done.tree_id
    git(place.machine.repo, "checkout", "-q", done.base_commit, "--detach")


async def test_the_log_of_a_run_at_work_is_followed_to_its_end(place: Site, witness: Path, gate: Path) -> None:
    async with place.client() as client:
        spec = run("one", gated(), witness=witness, gate=gate)
        batch_id = await submit(client, batch(place.machine.repo, [spec]))
        await at_work(witness)
        following = asyncio.create_task(log_of(client, f"{batch_id}.one", follow=True))
        await until(lambda: early(place, f"{batch_id}.one"), "the first line is there")
        assert not following.done()
        gate.touch()
        _, (done,) = await ended(place, batch_id)
        assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
        async with asyncio.timeout(HANG_LIMIT_S):
            followed = await following
        whole = await log_of(client, done.run_id)
        assert followed == whole
        assert await log_of(client, done.run_id, offset=7) == whole[7:]
        assert await log_of(client, done.run_id, offset=-11) == whole[-11:]


async def early(place: Site, run_id: str) -> bool:
    async with place.client() as client:
        return b"begins attempt 1" in await log_of(client, run_id)


async def test_a_run_that_fails_says_why_and_keeps_its_patch(place: Site, witness: Path) -> None:
    spec = run(
        "one", agent(1), witness=witness, validate=[Command(argv=Argv(words=["sh", "-c", "grep -q x lib/none"]))]
    )
    spec.fail_on_pre_existing = True
    async with place.client() as client:
        batch_id = await submit(client, batch(place.machine.repo, [spec]))
        _, (done,) = await ended(place, batch_id)
        assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "VALIDATION_FAILED")
        assert b"+def made_by_1()" in b"".join([piece async for piece in get_patch(client, done.run_id)])
    assert git(place.machine.repo, "branch", "--list", done.branch) == ""


async def test_a_run_that_is_cancelled_before_it_begins_never_begins(place: Site, witness: Path, gate: Path) -> None:
    runs = [run(name, gated(), witness=witness, gate=gate) for name in ("first", "second")]
    async with place.client() as client:
        batch_id = await submit(client, batch(place.machine.repo, runs, at_once=1))
        await at_work(witness)
        await client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=f"{batch_id}.second"))
        gate.touch()
        _, (first, second) = await ended(place, batch_id)
    assert (first.state, second.state) == (pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_CANCELLED)
    assert {seen.run for seen in sightings(witness)} == {"first"}


async def test_a_run_that_is_cancelled_at_work_ends_with_everything_it_started(
    place: Site, witness: Path, gate: Path
) -> None:
    spec = run("one", "setsid sleep 1000 & " + gated(), witness=witness, gate=gate)
    async with place.client() as client:
        batch_id = await submit(client, batch(place.machine.repo, [spec]))
        await at_work(witness)
        await client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=f"{batch_id}.one"))
        _, (done,) = await ended(place, batch_id)
    assert done.state == pb.RUN_STATE_CANCELLED
    assert not [words for data in place.directories for words in marked(data).values()]


async def test_a_run_whose_time_is_over_is_timed_out(place: Site, witness: Path, gate: Path) -> None:
    spec = run("one", gated(), witness=witness, gate=gate, timeout=Duration(seconds=1))
    async with place.client() as client:
        batch_id = await submit(client, batch(place.machine.repo, [spec]))
        _, (done,) = await ended(place, batch_id)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_TIMED_OUT, "TIMEOUT")


async def test_never_more_runs_are_at_work_than_may_be_and_all_of_them_end(place: Site, witness: Path) -> None:
    runs = [run(f"r{number}", agent(3), witness=witness) for number in range(6)]
    async with place.client() as client:
        batch_id = await submit(client, batch(place.machine.repo, runs))
        _, done = await ended(place, batch_id)
    assert {item.state for item in done} == {pb.RUN_STATE_SUCCEEDED}
    assert most_at_once(sightings(witness)) <= AT_ONCE


def most_at_once(seen: list[Sighting]) -> int:
    """The most agents that were at work at any time."""
    begin: dict[tuple[str, int], int] = {}
    end: dict[tuple[str, int], int] = {}
    for item in seen:
        key = (item.run, item.attempt)
        begin[key] = min(begin.get(key, item.at), item.at)
        end[key] = max(end.get(key, item.at), item.at)
    return max(sum(begin[other] <= at <= end[other] for other in begin) for at in begin.values())


async def test_the_same_request_makes_one_batch_and_another_body_is_refused(place: Site, witness: Path) -> None:
    spec = batch(place.machine.repo, [run("one", agent(1), witness=witness)])
    other = batch(place.machine.repo, [run("two", agent(1), witness=witness)])
    async with place.client() as client:
        ids = await asyncio.gather(*(submit(client, spec, request_id="contract") for _ in range(16)))
        with pytest.raises(AutopackError, match="another content"):
            await submit(client, other, request_id="contract")
        assert len(set(ids)) == 1
        _, (done,) = await ended(place, ids[0])
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert [seen.what for seen in sightings(witness)].count("start") == 1


async def test_a_run_whose_worker_was_killed_is_tried_again_and_never_beside_itself(
    place: Site, witness: Path, gate: Path
) -> None:
    """The last test of a site: it loses its first worker."""
    spec = run("one", gated(), witness=witness, gate=gate)
    async with place.client() as client:
        batch_id = await submit(client, batch(place.machine.repo, [spec]))
        await at_work(witness)
        before = await logged(place, f"{batch_id}.one")
    await place.crash()
    await until(lambda: not any(marked(data) for data in place.directories), "the fence has ended the first attempt")
    await place.recover()
    await until(lambda: {seen.attempt for seen in sightings(witness)} == {1, 2}, "the second attempt is at work")
    gate.touch()
    _, (done,) = await ended(place, batch_id)
    assert (done.state, done.attempt, done.branch) == (pb.RUN_STATE_SUCCEEDED, 2, f"autopack/{batch_id}/one-2")
    seen = sightings(witness)
    assert max(item.at for item in seen if item.attempt == 1) < min(item.at for item in seen if item.attempt == 2)
    async with place.client() as client:
        assert (await log_of(client, done.run_id, attempt=1)).startswith(before)
        assert b"one begins attempt 2" in await log_of(client, done.run_id)


async def logged(place: Site, run_id: str) -> bytes:
    """What the log of a run at work has, once it has anything."""
    await until(lambda: early(place, run_id), "the first line is there")
    async with place.client() as client:
        return await log_of(client, run_id)

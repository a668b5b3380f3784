"""Watching, reading logs and patches, and cancelling."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import MockExecutor
from autopack_client import connect, watch_batch
from autopack_kit.errors import FailedPrecondition, InvalidArgument, NotFound, OutOfRange
from google.protobuf.duration_pb2 import Duration

from tests.service.orchestrator.bench import Bench, bench, git, marked, run

HANGS = "echo begun; (setsid sh -c 'trap \"\" TERM HUP; sleep 600' &) ; sleep 600"


async def gone(data: Path) -> list[str]:
    """What is still alive of any run, once it had the time that a process needs to be reaped."""
    for _ in range(100):
        if not (found := await asyncio.to_thread(marked, data)):
            return []
        await asyncio.sleep(0.1)
    return found


async def test_a_watch_is_resumed_from_any_number_without_a_gap(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one"))
    events = stack.events[done.batch_id]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.attributes["to"] for event in events if event.kind == pb.EVENT_KIND_STATE]
    assert states == ["active", "preparing", "running", "validating", "succeeded", "succeeded"]
    for after in (1, len(events) // 2, len(events)):
        rest = [event async for event in watch_batch(stack.client, done.batch_id, after)]
        assert [event.sequence for event in rest] == list(range(after + 1, len(events) + 1))
    with pytest.raises(InvalidArgument):
        [event async for event in watch_batch(stack.client, done.batch_id, -1)]
    started = [event.attributes["phase"] for event in events if event.kind == pb.EVENT_KIND_PHASE_STARTED]
    finished = [event.attributes["phase"] for event in events if event.kind == pb.EVENT_KIND_PHASE_FINISHED]
    assert started == finished == ["prepare", "agent", "validate 1/1", "deliver"]


async def test_a_client_that_goes_away_in_the_middle_of_its_streams_disturbs_nobody(stack: Bench, repo: Path) -> None:
    batch = await stack.submit(repo, run("one", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; echo x > made.txt"))
    for _ in range(5):
        async with connect(stack.target.address) as other:
            async for _ in watch_batch(other, batch.batch_id):
                break
            async for _ in other.orchestrator.ReadLog(pb.ReadLogRequest(run_id=f"{batch.batch_id}.one", follow=True)):
                break
    await stack.watch(batch.batch_id)
    assert (await stack.get(f"{batch.batch_id}.one")).state == pb.RUN_STATE_SUCCEEDED


async def test_two_servers_on_one_directory_see_each_others_events(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path) as first, bench(tmp_path) as second:
        batch = await second.submit(repo, run("one", "sleep 0.3; echo x > made.txt"))
        both = await asyncio.gather(first.watch(batch.batch_id), second.watch(batch.batch_id))
        assert [event.sequence for event in both[0]] == [event.sequence for event in both[1]]
        assert (await first.get(f"{batch.batch_id}.one")).state == pb.RUN_STATE_SUCCEEDED
        again = await second.submit(repo, run("long", HANGS))
        await second.until(again.batch_id, pb.EVENT_KIND_STATE, to="running")
        await second.client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=again.batch_id))
        await first.watch(again.batch_id)
        assert (await first.get(f"{again.batch_id}.long")).state == pb.RUN_STATE_CANCELLED


async def test_a_log_is_read_from_any_place_and_followed_to_its_end(stack: Bench, repo: Path) -> None:
    batch = await stack.submit(
        repo, run("one", "echo first; sleep 0.5; printf '\\377\\376 second\\n'; echo > made.txt")
    )
    run_id = f"{batch.batch_id}.one"
    followed = await stack.log(run_id, follow=True)
    assert (await stack.get(run_id)).state == pb.RUN_STATE_SUCCEEDED
    whole = await stack.log(run_id)
    assert followed == whole
    assert b"first\n\xff\xfe second\n" in whole
    assert await stack.log(run_id, offset=5) == whole[5:]
    assert await stack.log(run_id, offset=-7) == whole[-7:]
    assert await stack.log(run_id, offset=-(10**9)) == whole
    assert await stack.log(run_id, offset=len(whole)) == b""
    with pytest.raises(OutOfRange) as error:
        await stack.log(run_id, offset=len(whole) + 1)
    assert error.value.metadata["size"] == str(len(whole))
    for attempt in (2, -1):
        with pytest.raises(NotFound):
            await stack.log(run_id, attempt=attempt)


async def test_the_log_of_a_run_that_waits_is_empty_and_can_be_followed(tmp_path: Path, repo: Path) -> None:
    gate = tmp_path / "gate"
    async with bench(tmp_path, max_concurrent_runs=1) as stack:
        batch = await stack.submit(
            repo, run("one", f"until [ -e {gate} ]; do sleep 0.05; done; echo > made.txt"), run("two")
        )
        assert await stack.log(f"{batch.batch_id}.two") == b""
        reading = asyncio.create_task(stack.log(f"{batch.batch_id}.two", follow=True))
        gate.touch()
        assert b"agent: sh -ec" in await reading


@pytest.mark.parametrize("replace", ["mkfifo", "ln -s /etc/hosts"])
async def test_a_log_that_an_agent_replaced_is_neither_followed_nor_waited_for(
    stack: Bench, repo: Path, replace: str
) -> None:
    script = f'log="$(dirname "$AUTOPACK_CONTEXT_FILE")/log"; rm "$log"; {replace} "$log"; echo x > made.txt'
    (done,) = await stack.finish(repo, run("one", script))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "NOT_A_PLAIN_FILE")
    with pytest.raises(FailedPrecondition) as error:
        await stack.log(done.run_id)
    assert error.value.reason == "NOT_A_PLAIN_FILE"


async def test_a_patch_applied_to_the_base_gives_the_tree(stack: Bench, repo: Path, tmp_path: Path) -> None:
    script = (
        "rm README.md; printf '\\000\\001' > blob.bin; chmod +x src/calc.py; ln -s src/calc.py link; "
        "mkdir 'a b'; echo é > 'a b/ü.txt'"
    )
    (done,) = await stack.finish(repo, run("one", script))
    git(tmp_path, "clone", "-q", str(repo), str(tmp_path / "fresh"))
    git(tmp_path / "fresh", "checkout", "-q", done.base_commit)
    git(tmp_path / "fresh", "apply", "--binary", "--index", stdin=await stack.patch(done.run_id))
    assert git(tmp_path / "fresh", "write-tree") == done.tree_id
    assert git(repo, "rev-parse", f"{done.head_commit}^{{tree}}") == done.tree_id
    assert len(await stack.patch(done.run_id)) == done.patch_bytes


async def test_a_run_without_a_patch_says_so(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one", "true"))
    assert done.error.reason == "NO_CHANGES"
    with pytest.raises(FailedPrecondition) as error:
        await stack.patch(done.run_id)
    assert error.value.reason == "PATCH_NOT_READY"


async def test_a_cancelled_run_leaves_no_process_no_worktree_and_no_branch(stack: Bench, repo: Path) -> None:
    batch = await stack.submit(repo, run("one", "echo x > made.txt; " + HANGS))
    run_id = f"{batch.batch_id}.one"
    async for piece in stack.client.orchestrator.ReadLog(pb.ReadLogRequest(run_id=run_id, follow=True)):
        if b"begun" in piece.data.replace(b"echo begun", b""):
            break
    assert await asyncio.to_thread(marked, stack.data)
    answer = await stack.client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=run_id))
    assert answer.run.cancel_requested
    events = await stack.watch(batch.batch_id)
    done = await stack.get(run_id)
    assert done.state == pb.RUN_STATE_CANCELLED
    assert done.error.reason == "CANCELLED"
    assert b"+x" in await stack.patch(run_id)
    assert await gone(stack.data) == []
    kinds = [event.kind for event in events]
    assert kinds.count(pb.EVENT_KIND_PHASE_STARTED) == kinds.count(pb.EVENT_KIND_PHASE_FINISHED)
    ended = next(event for event in events if event.attributes["phase"] == "agent" and "outcome" in event.attributes)
    assert ended.attributes["outcome"] == "cancelled"
    again = await stack.client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=run_id))
    assert again.run.state == pb.RUN_STATE_CANCELLED
    await stack.target.server.stop(grace=0)
    assert list((stack.data / "orchestrator" / "workspaces").iterdir()) == []
    (mirror,) = (stack.data / "orchestrator" / "mirrors").glob("*.git")
    assert git(mirror, "for-each-ref", "refs/heads") == ""
    assert git(repo, "branch", "--list", "autopack/*") == ""


async def test_cancelling_a_batch_ends_what_waits_and_what_works(stack: Bench, repo: Path) -> None:
    batch = await stack.submit(repo, run("one", HANGS), run("two"), run("three"), max_concurrent_runs=1)
    await stack.until(batch.batch_id, pb.EVENT_KIND_STATE, to="running")
    answer = await stack.client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=batch.batch_id))
    assert answer.batch.runs_by_state["cancelled"] == 2
    await stack.watch(batch.batch_id)
    ended = (await stack.client.orchestrator.GetBatch(pb.GetBatchRequest(batch_id=batch.batch_id))).batch
    assert ended.state == pb.BATCH_STATE_CANCELLED
    assert dict(ended.runs_by_state) == {"cancelled": 3}
    assert await gone(stack.data) == []
    waited = await stack.get(f"{batch.batch_id}.three")
    assert not waited.HasField("start_time")
    assert await stack.log(waited.run_id) == b""


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.08, 0.15, 0.25, 0.4])
async def test_a_run_cancelled_at_any_moment_ends_and_leaves_nothing(stack: Bench, repo: Path, delay: float) -> None:
    batch = await stack.submit(repo, *(run(f"r{number}", "echo x > made.txt") for number in range(3)))
    await asyncio.sleep(delay)
    await stack.client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=batch.batch_id))
    await stack.watch(batch.batch_id)
    states = {(await stack.get(f"{batch.batch_id}.r{number}")).state for number in range(3)}
    assert states <= {pb.RUN_STATE_CANCELLED, pb.RUN_STATE_SUCCEEDED}
    await stack.target.server.stop(grace=0)
    assert await gone(stack.data) == []
    assert list((stack.data / "orchestrator" / "workspaces").iterdir()) == []
    delivered = set(git(repo, "branch", "--list", "autopack/*", "--format=%(refname:short)").split())
    (mirror,) = (stack.data / "orchestrator" / "mirrors").glob("*.git")
    assert set(git(mirror, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()) == delivered
    assert len(delivered) == sum(
        event.attributes.get("to") == "succeeded" for event in stack.events[batch.batch_id] if event.run_id
    )


async def test_a_mock_ends_as_its_seed_says_and_within_its_timeout(stack: Bench, repo: Path) -> None:
    runs = [
        run("works", mock=MockExecutor(seed=1)),
        run("fails", mock=MockExecutor(seed=1, failure_rate=1)),
        run("slow", mock=MockExecutor(duration=Duration(seconds=600)), timeout=Duration(nanos=50_000_000)),
    ]
    works, fails, slow = await stack.finish(repo, *runs)
    assert works.state == pb.RUN_STATE_SUCCEEDED
    assert [change.path for change in works.changes] == ["mock-works.txt"]
    assert (fails.state, fails.error.reason, fails.agent_exit_code) == (pb.RUN_STATE_FAILED, "AGENT_FAILED", 1)
    assert (slow.state, slow.error.reason) == (pb.RUN_STATE_TIMED_OUT, "TIMEOUT")

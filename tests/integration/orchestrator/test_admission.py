"""Whole batches: who starts when, what is tried again, what follows what, and when nothing starts at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from autopack_api.intention.v1.intention_pb2 import Intention
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import (
    RETRY_ON_AGENT_FAILED,
    RETRY_ON_VALIDATION_FAILED,
    AgentPreset,
    BatchSpec,
    Budget,
    MockExecutor,
    RetryPolicy,
)
from autopack_client import watch_batch
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_orchestrator.core import retry as retry_rules
from autopack_orchestrator.core.guard import Machine, Room
from autopack_orchestrator.execution import intake
from google.protobuf.duration_pb2 import Duration

from tests.service.orchestrator.bench import Bench, bench, git, repository, run, shell

AT_ONCE = Duration(nanos=1)
SOON = RetryPolicy(max_attempts=3, on=[RETRY_ON_AGENT_FAILED, RETRY_ON_VALIDATION_FAILED], initial_backoff=AT_ONCE)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "calc")


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as running:
        yield running


async def retry(stack: Bench, run_id: str, request_id: str = "") -> pb.Run:
    request = pb.RetryRunRequest(run_id=run_id, request_id=request_id)
    return (await stack.client.orchestrator.RetryRun(request)).run


# ---- one after the other ----


async def test_a_run_starts_from_the_commit_of_the_run_that_it_needs(stack: Bench, repo: Path) -> None:
    first = run("first", "echo one > one.txt")
    second = run("second", "test -e one.txt; echo two > two.txt", needs=["first"])
    one, two = await stack.finish(repo, first, second)
    assert (one.state, two.state) == (pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_SUCCEEDED), two.error
    assert two.base_commit == one.head_commit
    assert git(repo, "rev-parse", f"{two.branch}^") == one.head_commit
    assert [change.path for change in two.changes] == ["two.txt"]


async def test_a_run_that_needs_several_starts_from_all_of_them_merged(stack: Bench, repo: Path) -> None:
    runs = [
        run("a", "echo a > a.txt"),
        run("b", "echo b > b.txt"),
        run("c", "echo '# c' >> README.md"),
        run("all", "cat a.txt b.txt > ab.txt; grep -q '# c' README.md", needs=["a", "b", "c"]),
    ]
    *_, last = await stack.finish(repo, *runs)
    assert last.state == pb.RUN_STATE_SUCCEEDED, last.error
    assert [change.path for change in last.changes] == ["ab.txt"]
    ancestors = git(repo, "rev-list", last.head_commit).split()
    for name in "abc":
        assert git(repo, "rev-parse", f"autopack/{last.batch_id}/{name}") in ancestors


async def test_needs_that_conflict_end_the_run_with_the_files(stack: Bench, repo: Path) -> None:
    runs = [
        run("a", "echo '# a' > README.md"),
        run("b", "echo '# b' > README.md"),
        run("both", needs=["a", "b"]),
        run("after", needs=["both"]),
    ]
    *_, both, after = await stack.finish(repo, *runs)
    assert (both.state, both.error.reason) == (pb.RUN_STATE_FAILED, "DEPENDENCY_CONFLICT")
    assert "'README.md'" in both.error.message
    assert (after.state, after.error.reason) == (pb.RUN_STATE_FAILED, "DEPENDENCY_FAILED")
    assert not after.HasField("start_time")


async def test_what_is_wrong_with_needs_and_limits_is_named(stack: Bench, repo: Path) -> None:
    spec = BatchSpec(
        path=str(repo),
        priority=11,
        retry=RetryPolicy(max_attempts=6, initial_backoff=Duration(seconds=10), max_backoff=Duration(seconds=1)),
        queue_timeout=Duration(seconds=-1),
        runs=[run("a", needs=["b"]), run("b", needs=["a"])],
    )
    with pytest.raises(InvalidArgument) as error:
        await stack.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))
    assert [violation.field for violation in error.value.violations] == [
        "priority", "queue_timeout", "retry.max_attempts", "retry.max_backoff", "runs[0].needs",
    ]  # fmt: skip


async def test_parallel_runs_with_scopes_that_overlap_are_told_at_once(stack: Bench, repo: Path) -> None:
    scope = Intention(title="x", scope=["src/**"])
    runs = [run("a", intention=scope), run("b", intention=scope), run("c", intention=scope, needs=["a", "b"])]
    request = pb.CreateBatchRequest(spec=BatchSpec(path=str(repo), runs=runs), validate_only=True)
    response = await stack.client.orchestrator.CreateBatch(request)
    (warning,) = response.warnings
    assert warning.startswith("a (src/**) and b (src/**) may change the same files")


# ---- once more ----


async def test_a_failure_that_the_policy_names_is_tried_again_on_a_branch_of_its_own(stack: Bench, repo: Path) -> None:
    script = 'echo "$AUTOPACK_ATTEMPT" >> src/calc.py; echo "attempt $AUTOPACK_ATTEMPT"; test "$AUTOPACK_ATTEMPT" != 1'
    item = run("one", script, validate=[shell("! grep -qx 2 src/calc.py")])
    (done,) = await stack.finish(repo, item, retry=SOON)
    assert (done.state, done.attempt) == (pb.RUN_STATE_SUCCEEDED, 3), done.error
    assert done.branch == f"autopack/{done.batch_id}/one-3"
    told = [event for event in stack.events_of(done, pb.EVENT_KIND_WARNING) if event.attributes["about"] == "retry"]
    assert [event.attributes["reason"] for event in told] == ["AGENT_FAILED", "VALIDATION_FAILED"]
    assert b"attempt 1\n" in await stack.log(done.run_id, attempt=1)
    assert git(repo, "branch", "--list", "autopack/*") == done.branch
    await stack.settled()
    assert list((stack.data / "orchestrator" / "workspaces").iterdir()) == []


async def test_the_last_attempt_ends_the_run_with_its_error_and_a_wait_is_told(stack: Bench, repo: Path) -> None:
    policy = RetryPolicy(max_attempts=2, on=[RETRY_ON_AGENT_FAILED], initial_backoff=Duration(seconds=3))
    batch = await stack.submit(repo, run("one", "exit 3"), retry=policy)
    await stack.until(batch.batch_id, pb.EVENT_KIND_STATE, to="queued")
    waiting = await stack.get(f"{batch.batch_id}.one")
    assert (waiting.state, waiting.activity) == (pb.RUN_STATE_QUEUED, "waits for its retry")
    assert waiting.HasField("not_before")
    await stack.watch(batch.batch_id)
    done = await stack.get(waiting.run_id)
    assert (done.state, done.error.reason, done.attempt) == (pb.RUN_STATE_FAILED, "AGENT_FAILED", 2)
    assert not done.HasField("not_before")


async def test_an_ended_run_is_queued_again_on_request_with_those_that_need_it(stack: Bench, repo: Path) -> None:
    first = run("first", 'test "$AUTOPACK_ATTEMPT" = 2; echo one > one.txt')
    one, two = await stack.finish(repo, first, run("second", "echo two > two.txt", needs=["first"]))
    assert (one.error.reason, two.error.reason) == ("AGENT_FAILED", "DEPENDENCY_FAILED")
    with pytest.raises(FailedPrecondition) as error:
        await retry(stack, two.run_id)
    assert one.run_id in error.value.remedy
    again = await asyncio.gather(*(retry(stack, one.run_id, "once") for _ in range(4)))
    assert {item.attempt for item in again} == {2}
    await stack.watch(one.batch_id)
    one, two = await stack.get(one.run_id), await stack.get(two.run_id)
    assert (one.state, two.state) == (pb.RUN_STATE_SUCCEEDED, pb.RUN_STATE_SUCCEEDED)
    assert two.base_commit == one.head_commit
    assert (one.attempt, two.attempt) == (2, 1)
    assert (await retry(stack, one.run_id, "once")).attempt == 2  # known, so no error either
    with pytest.raises(FailedPrecondition) as error:
        await retry(stack, one.run_id)
    assert error.value.reason == "RUN_NOT_RETRYABLE"


async def test_a_server_that_stops_while_preparing_costs_no_attempt(tmp_path: Path, repo: Path) -> None:
    item = run("one", prepare=1, install=[shell('test "$AUTOPACK_ATTEMPT" = 2 || sleep 300')], max_attempts=1)
    async with bench(tmp_path) as stack:
        batch = await stack.submit(repo, item)
        await stack.until(batch.batch_id, pb.EVENT_KIND_PHASE_STARTED, phase="install")
    async with bench(tmp_path) as stack:
        await stack.watch(batch.batch_id)
        done = await stack.get(f"{batch.batch_id}.one")
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert done.attempt == 2


async def test_an_overloaded_provider_slows_its_agents_down_and_costs_no_attempt(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = tmp_path_factory.mktemp("bin") / "claude"
    agent.write_text(
        "#!/bin/sh\n"
        'test "$AUTOPACK_ATTEMPT" = 1 && { echo "API Error: 529 overloaded_error"; exit 1; }\n'
        'echo "# $AUTOPACK_RUN_NAME" > "$AUTOPACK_RUN_NAME.py"\n'
    )
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{agent.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(retry_rules, "OVERLOAD_BACKOFF", timedelta(seconds=1))
    async with bench(tmp_path, max_concurrent_runs=4) as stack:
        runs = [run(name, agent=AgentPreset(name="claude"), max_attempts=1) for name in ("a", "b", "c")]
        done = await stack.finish(repo, *runs)
        assert [(item.state, item.attempt) for item in done] == [(pb.RUN_STATE_SUCCEEDED, 2)] * 3, done
        told = [event for item in done for event in stack.events_of(item, pb.EVENT_KIND_WARNING)]
        queued = [event for event in told if event.attributes["about"] == "retry"]
        assert [event.attributes["counts"] for event in queued] == ["false"] * 3
        assert all("At most 1 of claude are at work for now" in event.message for event in queued)


# ---- not at all ----


@pytest.mark.parametrize("when", ["before", "preparing", "running", "after"])
async def test_a_run_is_cancelled_whatever_it_does(tmp_path: Path, repo: Path, when: str) -> None:
    installs = [shell("sleep 300")] if when == "preparing" else []
    script = "sleep 300" if when == "running" else "echo '# more' >> src/calc.py"
    async with bench(tmp_path, max_concurrent_runs=1) as stack:
        blocker = await stack.submit(repo, run("blocks", "sleep 300")) if when == "before" else None
        if blocker:
            await stack.until(blocker.batch_id, pb.EVENT_KIND_STATE, to="running")
        item = run("one", script, prepare=1 if installs else 2, install=installs)
        batch = await stack.submit(repo, item, retry=SOON)
        if when in ("preparing", "running"):
            phase = "install" if installs else "agent"
            await stack.until(batch.batch_id, pb.EVENT_KIND_PHASE_STARTED, phase=phase)
        elif when == "after":
            await stack.watch(batch.batch_id)
        await stack.client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=f"{batch.batch_id}.one"))
        await stack.watch(batch.batch_id)
        done = await stack.get(f"{batch.batch_id}.one")
        assert done.state == (pb.RUN_STATE_SUCCEEDED if when == "after" else pb.RUN_STATE_CANCELLED)
        assert done.attempt == 1


async def test_a_machine_without_room_starts_nothing_says_why_and_goes_on_by_itself(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [0]

    def look(directory: Path, *, least_disk: int, least_memory: int) -> Machine:
        return Machine(Room(1 << 40, free[0], least_disk), None)

    monkeypatch.setattr(intake, "look", look)
    monkeypatch.setattr(intake, "LOOK_S", 0.0)
    async with bench(tmp_path) as stack:
        batch = await stack.submit(repo, run("one"))
        told = asyncio.create_task(stack.until(batch.batch_id, pb.EVENT_KIND_WARNING, about="intake"))
        async with asyncio.timeout(60):
            while not (now := await _batch(stack, batch.batch_id)).waiting_reason:  # noqa: ASYNC110  no event of its own
                await asyncio.sleep(0.05)
        assert "MIN_FREE_DISK_BYTES" in now.waiting_reason
        assert now.runs_by_state == {"queued": 1}
        free[0] = 1 << 39
        await stack.watch(batch.batch_id)
        now = await _batch(stack, batch.batch_id)
        assert (now.state, now.waiting_reason) == (pb.BATCH_STATE_SUCCEEDED, "")
        told.cancel()


async def _batch(stack: Bench, batch_id: str) -> pb.Batch:
    return (await stack.client.orchestrator.GetBatch(pb.GetBatchRequest(batch_id=batch_id))).batch


async def test_an_agent_whose_time_ends_with_the_budget_has_used_it_up(stack: Bench, repo: Path) -> None:
    (done,) = await stack.finish(repo, run("one", "sleep 600", budget=Budget(max_wall_time=Duration(seconds=1))))
    assert (done.state, done.error.reason) == (pb.RUN_STATE_TIMED_OUT, "BUDGET")
    assert "of the run is used up" in done.error.message


async def test_a_batch_that_has_used_up_its_wall_time_begins_nothing_more(stack: Bench, repo: Path) -> None:
    budget = Budget(max_wall_time=Duration(seconds=2))
    runs = [run("one", "sleep 3; echo x > x"), run("two", "touch never")]
    _, two = await stack.finish(repo, *runs, budget=budget, max_concurrent_runs=1)
    assert (two.state, two.error.reason) == (pb.RUN_STATE_TIMED_OUT, "BUDGET")
    assert "did not begin" in two.error.message


async def test_a_run_that_waits_for_too_long_is_told_so(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, max_concurrent_runs=1) as stack:
        blocker = await stack.submit(repo, run("blocks", "sleep 300"))
        await stack.until(blocker.batch_id, pb.EVENT_KIND_STATE, to="running")
        (done,) = await stack.finish(repo, run("one"), queue_timeout=Duration(seconds=1))
        assert (done.state, done.error.reason) == (pb.RUN_STATE_TIMED_OUT, "QUEUE_TIMEOUT")


async def test_a_higher_priority_is_begun_first(tmp_path: Path, repo: Path) -> None:
    mock = MockExecutor(seed=1)
    async with bench(tmp_path, max_concurrent_runs=1) as stack:
        blocker = await stack.submit(repo, run("blocks", "sleep 3"))
        await stack.until(blocker.batch_id, pb.EVENT_KIND_STATE, to="running")
        low = await stack.submit(repo, run("low", mock=mock), name="low")
        high = await stack.submit(repo, run("high", mock=mock), name="high", priority=1)
        started = []
        for batch in (low, high):
            async for _ in watch_batch(stack.client, batch.batch_id):
                pass
            item = await stack.get(f"{batch.batch_id}.{batch.name}")
            started.append(item.start_time.ToDatetime())
        assert started[1] < started[0]

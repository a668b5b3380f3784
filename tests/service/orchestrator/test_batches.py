"""Creating, checking and listing batches."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable
from pathlib import Path

import pytest
from autopack_api.intention.v1.intention_pb2 import Intention
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import AgentPreset, BatchSpec, Budget, MockExecutor, RunSpec
from autopack_api.toolchain.v1.toolchain_pb2 import STEP_KIND_INSTALL
from autopack_kit.errors import (
    AlreadyExists,
    AutopackError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from autopack_kit.identity import Principal, Scope
from google.protobuf.duration_pb2 import Duration

from tests.service.orchestrator.bench import Bench, argv, bench, fingerprint, git, repository, run

BAD_NAMES = ["", "..", "a..b", "a.", "x.lock", "a/b", "-x", "x" * 65, "a b", "é", "a\n", ".hidden", "a\0b"]


def mock(name: str) -> RunSpec:
    """A run that needs no process."""
    return run(name, mock=MockExecutor(seed=1))


def request(spec: BatchSpec, **fields: object) -> pb.CreateBatchRequest:
    return pb.CreateBatchRequest(spec=spec, **fields)  # type: ignore[arg-type]  # whatever the test says


async def refused(stack: Bench, spec: BatchSpec, **fields: object) -> AutopackError:
    with pytest.raises(AutopackError) as error:
        await stack.client.orchestrator.CreateBatch(request(spec, **fields))
    return error.value


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_bad_name_of_a_run_is_refused_by_its_field(stack: Bench, repo: Path, name: str) -> None:
    error = await refused(stack, BatchSpec(path=str(repo), runs=[mock("good"), mock(name)]))
    assert isinstance(error, InvalidArgument)
    assert error.reason == "BATCH_INVALID"
    assert [violation.field for violation in error.violations] == ["runs[1].name"]
    assert (await stack.client.orchestrator.ListBatches(pb.ListBatchesRequest())).batches == []


async def test_two_runs_of_one_name_are_refused_whatever_their_case(stack: Bench, repo: Path) -> None:
    error = await refused(stack, BatchSpec(path=str(repo), runs=[mock("fix"), mock("Fix")]))
    assert [violation.field for violation in error.violations] == ["runs[1].name"]
    assert "runs[0]" in error.violations[0].description


async def test_every_problem_of_a_batch_is_named_at_once(stack: Bench, repo: Path) -> None:
    bad = RunSpec(
        name="a..b",
        intention=Intention(scope=["["], notes=["x" * 3000]),
        command=argv("make", cwd="../elsewhere"),
        install=[argv("true", env={"AUTOPACK_RUN_ID": "x"})],
        validate_kinds=[STEP_KIND_INSTALL],
        timeout=Duration(seconds=90_000),
        drift_interval=Duration(nanos=1),
        budget=Budget(max_tokens=0, max_wall_time=Duration(seconds=-1)),
        max_attempts=9,
        pass_env=["DATABASE_URL"],
    )
    unknown = RunSpec(name="b", intention=Intention(title="x"), agent=AgentPreset(name="skynet"))
    none = RunSpec(name="c", intention=Intention(title="x"))
    spec = BatchSpec(
        name="Bad Name",
        path="relative",
        runs=[bad, unknown, none],
        max_concurrent_runs=-1,
        budget=Budget(max_tokens=-1),
    )
    error = await refused(stack, spec)
    # The kit sends the first 16, so that an error fits into a header, and the number of all.
    assert error.metadata["violations"] == "19"
    assert [violation.field for violation in error.violations] == [
        "runs[0].command.cwd", "name", "path", "max_concurrent_runs", "budget.max_tokens",
        "runs[0].name", "runs[0].intention.title", "runs[0].intention.notes", "runs[0].intention.scope[0]",
        "runs[0].install[0].env", "runs[0].validate_kinds[0]", "runs[0].drift_interval", "runs[0].timeout",
        "runs[0].max_attempts", "runs[0].budget.max_tokens", "runs[0].budget.max_wall_time",
    ]  # fmt: skip
    assert error.remedy
    error = await refused(stack, BatchSpec(path=str(repo), runs=[unknown, none, run("d", pass_env=["DATABASE_URL"])]))
    fields = [violation.field for violation in error.violations]
    assert fields == ["runs[0].agent.name", "runs[1].executor", "runs[2].pass_env[0]"]


async def test_a_thousand_and_one_runs_are_refused_and_an_error_stays_small(stack: Bench, repo: Path) -> None:
    error = await refused(stack, BatchSpec(path=str(repo), runs=[mock("x" * 999) for _ in range(1001)]))
    assert [violation.field for violation in error.violations] == ["runs"]
    error = await refused(stack, BatchSpec(path=str(repo), runs=[mock("x" * 999) for _ in range(1000)]))
    assert error.metadata["violations"] == "1999"


async def test_a_batch_without_runs_is_refused(stack: Bench, repo: Path) -> None:
    assert [violation.field for violation in (await refused(stack, BatchSpec(path=str(repo)))).violations] == ["runs"]


@pytest.mark.parametrize("where", ["missing", "file", "plain", "inside"])
async def test_what_is_no_repository_is_refused(stack: Bench, tmp_path: Path, repo: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "plain").mkdir()
    path = repo / "src" if where == "inside" else tmp_path / where
    error = await refused(stack, BatchSpec(path=str(path), runs=[mock("one")]))
    assert isinstance(error, NotFound if where in ("missing", "file") else InvalidArgument)
    assert error.reason in ("SOURCE_MISSING", "NOT_A_REPOSITORY")
    assert str(path) in error.message
    assert error.remedy


async def test_an_empty_repository_is_refused(stack: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    error = await refused(stack, BatchSpec(path=str(tmp_path / "empty"), runs=[mock("one")]))
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "EMPTY_REPOSITORY"


async def test_a_bare_repository_gets_its_branch(stack: Bench, tmp_path: Path, repo: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo), str(tmp_path / "bare.git"))
    (done,) = await stack.finish(tmp_path / "bare.git", run("one"))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert git(tmp_path / "bare.git", "rev-parse", done.branch) == done.head_commit


async def test_a_dirty_repository_stays_as_it_is_to_the_byte_but_for_the_new_branch(stack: Bench, repo: Path) -> None:
    (repo / "src" / "calc.py").write_text("broken by its user")
    (repo / "new.txt").write_text("untracked")
    git(repo, "add", "new.txt")
    (repo / ".git" / "hooks" / "reference-transaction").write_text("#!/bin/sh\necho ran >> hooks-ran\n")
    (repo / ".git" / "hooks" / "reference-transaction").chmod(0o755)
    before, names = fingerprint(repo), git(repo, "for-each-ref", "refs/heads", "refs/tags")
    response = await stack.client.orchestrator.CreateBatch(
        request(BatchSpec(path=str(repo), runs=[run("fails", "exit 3")]))
    )
    assert any("2 uncommitted changes" in warning for warning in response.warnings)
    await stack.watch(response.batch.batch_id)
    assert fingerprint(repo) == before
    (done,) = await stack.finish(repo, run("works"))
    assert done.state == pb.RUN_STATE_SUCCEEDED
    refs = git(repo, "for-each-ref").splitlines()
    assert [line for line in refs if "refs/heads/autopack/" not in line] == names.splitlines()
    assert git(repo, "status", "--porcelain").split() == ["A", "new.txt", "M", "src/calc.py"]
    assert not (repo / "hooks-ran").exists()


async def test_a_ref_that_does_not_exist_is_refused_and_an_old_one_is_the_base(stack: Bench, repo: Path) -> None:
    error = await refused(stack, BatchSpec(path=str(repo), ref="nowhere", runs=[mock("one")]))
    assert isinstance(error, NotFound)
    assert error.reason == "REF_NOT_FOUND"
    error = await refused(stack, BatchSpec(path=str(repo), ref="--output=x", runs=[mock("one")]))
    assert isinstance(error, InvalidArgument)
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "v1")
    repository(repo, {"later.txt": "later"}, subject="Later")
    (done,) = await stack.finish(repo, run("one"), ref="v1")
    assert done.base_commit == first
    assert git(repo, "rev-parse", f"{done.head_commit}^") == first


async def test_a_path_outside_the_roots_is_refused_also_through_a_link(tmp_path: Path) -> None:
    outside = repository(tmp_path / "outside")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    async with bench(tmp_path, allowed_roots=(inside,)) as stack:
        for path in (outside, inside / "link", inside / ".." / "outside"):
            error = await refused(stack, BatchSpec(path=str(path), runs=[mock("one")]))
            assert isinstance(error, PermissionDenied)
            assert error.reason == "SOURCE_OUTSIDE_ROOTS"


async def test_a_batch_that_is_only_checked_stores_nothing(stack: Bench, repo: Path) -> None:
    response = await stack.client.orchestrator.CreateBatch(
        request(BatchSpec(path=str(repo), runs=[mock("one")]), validate_only=True)
    )
    assert not response.HasField("batch")
    assert (await stack.client.orchestrator.ListBatches(pb.ListBatchesRequest())).batches == []


async def test_32_submits_of_one_request_id_make_one_batch(stack: Bench, repo: Path) -> None:
    spec = BatchSpec(path=str(repo), runs=[mock("one")])
    create = stack.client.orchestrator.CreateBatch
    answers = await asyncio.gather(*(create(request(spec, request_id="nightly-7")) for _ in range(32)))
    assert len({answer.batch.batch_id for answer in answers}) == 1
    assert len((await stack.client.orchestrator.ListBatches(pb.ListBatchesRequest())).batches) == 1
    other = BatchSpec(path=str(repo), runs=[mock("two")])
    error = await refused(stack, other, request_id="nightly-7")
    assert isinstance(error, AlreadyExists)
    assert error.reason == "REQUEST_ID_REUSED"
    for bad in ("x" * 129, "a\0b", "a\nb"):
        error = await refused(stack, spec, request_id=bad)
        assert [violation.field for violation in error.violations] == ["request_id"]


async def test_batches_and_runs_come_in_pages_newest_batch_first(stack: Bench, repo: Path) -> None:
    ids = []
    for name in ("first", "second", "third"):
        runs = [mock(f"r{number}") for number in range(3)]
        ids.append((await stack.submit(repo, *runs, name=name)).batch_id)
    for batch_id in ids:
        await stack.watch(batch_id)
    api = stack.client.orchestrator
    page = await api.ListBatches(pb.ListBatchesRequest(page_size=2))
    assert [batch.batch_id for batch in page.batches] == [ids[2], ids[1]]
    rest = await api.ListBatches(pb.ListBatchesRequest(page_size=2, page_token=page.next_page_token))
    assert [batch.batch_id for batch in rest.batches] == [ids[0]]
    assert rest.next_page_token == ""
    found, token = [], ""
    while True:
        runs_page = await api.ListRuns(pb.ListRunsRequest(page_size=4, page_token=token))
        found += [item.run_id for item in runs_page.runs]
        token = runs_page.next_page_token
        if not token:
            break
    assert found == [f"{batch_id}.r{number}" for batch_id in reversed(ids) for number in range(3)]
    only = await api.ListRuns(pb.ListRunsRequest(batch_id=ids[0], states=[pb.RUN_STATE_SUCCEEDED]))
    assert [item.name for item in only.runs] == ["r0", "r1", "r2"]
    assert not (await api.ListRuns(pb.ListRunsRequest(batch_id=ids[0], states=[pb.RUN_STATE_LOST]))).runs
    assert not (await api.ListRuns(pb.ListRunsRequest(batch_id="nobody\0"))).runs
    batch = (await api.GetBatch(pb.GetBatchRequest(batch_id=ids[0]))).batch
    assert batch.state == pb.BATCH_STATE_SUCCEEDED
    assert dict(batch.runs_by_state) == {"succeeded": 3}
    assert batch.run_count == 3


async def test_a_bad_page_is_refused(stack: Bench) -> None:
    api = stack.client.orchestrator
    for bad in (pb.ListBatchesRequest(page_size=-1), pb.ListBatchesRequest(page_token="made-up")):
        with pytest.raises(InvalidArgument):
            await api.ListBatches(bad)
    with pytest.raises(InvalidArgument):
        await api.ListRuns(pb.ListRunsRequest(states=[99]))  # type: ignore[list-item]  # of a later version


@pytest.mark.parametrize("identifier", ["", "nobody", "no\0body", "x" * 5000])
async def test_what_does_not_exist_is_not_found(stack: Bench, identifier: str) -> None:
    api = stack.client.orchestrator
    calls: list[Awaitable[object]] = [
        api.GetBatch(pb.GetBatchRequest(batch_id=identifier)),
        api.CancelBatch(pb.CancelBatchRequest(batch_id=identifier)),
        api.GetRun(pb.GetRunRequest(run_id=identifier)),
        api.CancelRun(pb.CancelRunRequest(run_id=identifier)),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call
    for stream in (
        api.WatchBatch(pb.WatchBatchRequest(batch_id=identifier)),
        api.ReadLog(pb.ReadLogRequest(run_id=identifier)),
        api.GetPatch(pb.GetPatchRequest(run_id=identifier)),
    ):
        with pytest.raises(NotFound):
            async for _ in stream:
                pass


READER = Principal("reader", "ada", frozenset({Scope.READ}))
STRANGER = Principal("stranger", "bob", frozenset({Scope.ADMIN}))


async def test_a_reader_may_look_and_not_touch_and_a_stranger_sees_nothing(tmp_path: Path, repo: Path) -> None:
    owner = Principal("owner", "ada", frozenset({Scope.RUN}))
    async with bench(tmp_path, principal=owner) as stack:
        (done,) = await stack.finish(repo, run("one"))
    async with bench(tmp_path, principal=READER) as stack:
        assert (await stack.get(done.run_id)).state == pb.RUN_STATE_SUCCEEDED
        assert await stack.patch(done.run_id)
        spec = BatchSpec(path=str(repo), runs=[mock("two")])
        assert (await refused(stack, spec)).reason == "SCOPE_MISSING"
        with pytest.raises(PermissionDenied):
            await stack.client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=done.run_id))
        with pytest.raises(PermissionDenied):
            await stack.client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=done.batch_id))
    async with bench(tmp_path, principal=STRANGER) as stack:
        api = stack.client.orchestrator
        assert not (await api.ListBatches(pb.ListBatchesRequest())).batches
        assert not (await api.ListRuns(pb.ListRunsRequest(batch_id=done.batch_id))).runs
        with pytest.raises(NotFound):
            await stack.get(done.run_id)
        with pytest.raises(NotFound):
            await stack.patch(done.run_id)
        with pytest.raises(NotFound):
            await stack.log(done.run_id)
        with pytest.raises(NotFound):
            await stack.watch(done.batch_id)


async def test_the_user_deletes_the_repository_before_its_run_starts_and_the_run_says_so(
    stack: Bench, tmp_path: Path, repo: Path
) -> None:
    gate = tmp_path / "gate"
    waits = run("waits", f"until [ -e {gate} ]; do sleep 0.05; done")
    batch = await stack.submit(repo, waits, run("late"), max_concurrent_runs=1)
    await stack.until(batch.batch_id, pb.EVENT_KIND_STATE, to="running")
    shutil.rmtree(repo)
    gate.touch()
    await stack.watch(batch.batch_id)
    late = await stack.get(f"{batch.batch_id}.late")
    assert late.state == pb.RUN_STATE_FAILED
    assert late.error.reason == "SOURCE_MISSING"


async def test_runs_go_on_when_the_server_restarts_with_other_roots(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, max_concurrent_runs=1) as stack:
        batch = await stack.submit(repo, run("one", "sleep 1; echo x > made.txt"), run("two"))
        await stack.until(batch.batch_id, pb.EVENT_KIND_STATE, to="running")
    other = tmp_path / "other"
    other.mkdir()
    async with bench(tmp_path, allowed_roots=(other,)) as stack:
        await stack.watch(batch.batch_id)
        for name in ("one", "two"):
            assert (await stack.get(f"{batch.batch_id}.{name}")).state == pb.RUN_STATE_SUCCEEDED


async def test_never_more_runs_at_once_than_the_batch_and_the_server_allow(tmp_path: Path, repo: Path) -> None:
    started = {pb.RUN_STATE_PREPARING, pb.RUN_STATE_RUNNING, pb.RUN_STATE_VALIDATING}
    async with bench(tmp_path, max_concurrent_runs=3) as stack:
        runs = [run(f"r{number}", "sleep 0.2; echo x > made.txt") for number in range(5)]
        batches = [(await stack.submit(repo, *runs, max_concurrent_runs=2)).batch_id for _ in range(2)]
        history: list[tuple[int, str, str]] = []
        for batch_id in batches:
            history += [
                (event.time.ToNanoseconds(), event.run_id, event.attributes["to"])
                for event in await stack.watch(batch_id)
                if event.kind == pb.EVENT_KIND_STATE and event.run_id
            ]
        names = {pb.RunState.Name(state).removeprefix("RUN_STATE_").lower() for state in started}
        at_work: set[str] = set()
        most = 0
        for _, run_id, state in sorted(history, key=lambda item: (item[0], item[2] in names)):
            (at_work.add if state in names else at_work.discard)(run_id)
            most = max(most, len(at_work))
            assert len(at_work) <= 3
            assert all(sum(item.startswith(batch_id) for item in at_work) <= 2 for batch_id in batches)
        assert most == 3

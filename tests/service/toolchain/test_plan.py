"""NormalizePlan over a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest
from autopack_api.common.v1 import common_pb2
from autopack_api.toolchain.v1 import toolchain_pb2 as pb
from autopack_api.toolchain.v1 import toolchain_pb2_grpc
from autopack_kit.testing import running
from autopack_toolchain.service import ToolchainService
from autopack_toolchain.settings import ToolchainSettings
from google.rpc import error_details_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from autopack_api.toolchain.v1.toolchain_pb2_grpc import ToolchainServiceAsyncStub as Async

FILES = {
    "pyproject.toml": b'[project]\nname = "shop"\ndependencies = ["httpx"]\n[dependency-groups]\ndev = ["pytest"]\n',
    "src/shop/cart.py": b"",
    "src/shop/legacy/old.py": b"",
    "tests/test_cart.py": b"import pytest\n",
    "README.md": b"",
    ".env": b"TOKEN=1\n",
    "uv.lock": b"",
}
TEXT = """# Round per line

- Fix the rounding in `src/shop/cart.py`, and add a test
- Update the README
- Do not touch `src/shop/legacy/`

Use at most 30 minutes / 200k tokens / $5.
"""


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Async]:
    root = tmp_path / "shop"
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    async with running(ToolchainService(ToolchainSettings(allowed_roots=(root,)))) as target:
        yield toolchain_pb2_grpc.ToolchainServiceStub(target.channel)


def by_snapshot(text: str = TEXT, **files: bytes) -> pb.NormalizePlanRequest:
    entries = [
        common_pb2.SnapshotFile(path=path, size=len(data), content=data) for path, data in (files or FILES).items()
    ]
    return pb.NormalizePlanRequest(text=text, snapshot=common_pb2.WorkspaceSnapshot(files=entries))


async def failure(call: object) -> tuple[grpc.StatusCode, error_details_pb2.ErrorInfo, list[str]]:
    """Status, error info and bad fields of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    status = rpc_status.from_call(caught.value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    return caught.value.code(), info, [violation.field for violation in bad.field_violations]


async def test_a_plan_comes_back_whole(stub: Async, tmp_path: Path) -> None:
    answer = await stub.NormalizePlan(pb.NormalizePlanRequest(text=TEXT, path=str(tmp_path / "shop")))
    (phase,) = answer.plan.phases
    assert answer.plan.title == "Round per line"
    assert [item.text for item in phase.deliverables] == [
        "Fix the rounding in `src/shop/cart.py`",
        "Add a test",
        "Update the README",
    ]
    assert phase.category.category == pb.PLAN_CATEGORY_BUGFIX
    include = {glob.glob: glob.kind for glob in phase.scope.include}
    assert include["src/shop/cart.py"] == pb.SCOPE_KIND_FILE
    assert {"/README.md", "tests/test_cart.py"} <= set(include)
    assert [glob.glob for glob in phase.scope.exclude] == ["src/shop/legacy/**"]
    assert list(phase.non_goals) == ["Do not touch `src/shop/legacy/`"]
    first = phase.validation_steps[0]
    assert (first.kind, list(first.command.argv.words)) == (pb.STEP_KIND_TEST, ["uv", "run", "pytest"])
    budget = phase.budget
    assert (budget.max_tokens, budget.max_cost_microusd, budget.max_wall_time.seconds) == (200_000, 5_000_000, 1800)
    assert list(budget.defaulted) == []
    assert {file.path: file.reason for file in phase.read_only_context}["pyproject.toml"] == "MANIFEST"
    assert answer.confidence == pytest.approx(phase.confidence.overall)
    assert {decision.part for decision in answer.decisions} >= {
        pb.PLAN_PART_SCOPE,
        pb.PLAN_PART_CATEGORY,
        pb.PLAN_PART_VALIDATION,
    }
    assert phase.deliverables[0].evidence[0].line == 3


async def test_a_path_and_its_snapshot_give_the_same_plan(stub: Async, tmp_path: Path) -> None:
    by_path = await stub.NormalizePlan(pb.NormalizePlanRequest(text=TEXT, path=str(tmp_path / "shop")))
    assert by_path == await stub.NormalizePlan(by_snapshot())


async def test_phases_come_as_a_graph(stub: Async) -> None:
    text = "## Phase 1: Fix\n- fix src/shop/cart.py\n## Phase 2: Docs (depends on 1)\n- update the README\n"
    answer = await stub.NormalizePlan(by_snapshot(text))
    assert [(phase.phase_id, list(phase.depends_on)) for phase in answer.plan.phases] == [
        ("1-fix", []),
        ("2-docs", ["1-fix"]),
    ]
    assert answer.plan.budget.max_tokens == sum(phase.budget.max_tokens for phase in answer.plan.phases)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Hello", "NO_DELIVERABLE"),
        ("## Phase 1\n- add a\n## Phase 2 (depends on 3)\n- add b\n", "UNKNOWN_PHASE"),
        ("## Phase 1 (depends on 2)\n- add a\n## Phase 2 (depends on 1)\n- add b\n", "DEPENDENCY_CYCLE"),
        ("## Phase 1: a\n- add a\n## Phase 2: TBD\n", "PHASE_WITHOUT_DELIVERABLE"),
        ("".join(f"## Phase {n}\n- add {n}\n" for n in range(60)), "TOO_MANY_PHASES"),
        ("- add x\n" * 40_000, "PLAN_TOO_LONG"),
        ("  \n", "INVALID_FIELD"),
        ("", "INVALID_FIELD"),
    ],
)
async def test_a_text_that_is_no_plan_is_refused_by_reason_and_field(stub: Async, text: str, reason: str) -> None:
    code, info, fields = await failure(stub.NormalizePlan(by_snapshot(text)))
    assert (code, info.reason, fields) == (grpc.StatusCode.INVALID_ARGUMENT, reason, ["text"])


async def test_a_repository_without_a_check_is_refused(stub: Async) -> None:
    code, info, _ = await failure(stub.NormalizePlan(by_snapshot("Fix notes.txt", **{"notes.txt": b""})))
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_VALIDATION")
    assert "Add a test" in info.metadata["remedy"]


async def test_the_source_is_checked_as_for_detection(stub: Async) -> None:
    code, info, _ = await failure(stub.NormalizePlan(pb.NormalizePlanRequest(text=TEXT, path="/etc")))
    assert (code, info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PATH_NOT_ALLOWED")
    code, _, fields = await failure(stub.NormalizePlan(pb.NormalizePlanRequest(text=TEXT)))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["source"])
    code, _, fields = await failure(stub.NormalizePlan(by_snapshot(TEXT, **{"../a": b""})))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["snapshot.files[0].path"])

"""ToolchainService over a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest
from autopack_api.common.v1 import common_pb2
from autopack_api.toolchain.v1 import toolchain_pb2, toolchain_pb2_grpc
from autopack_kit.channel import open_channel
from autopack_kit.testing import running
from autopack_toolchain.service import ToolchainService
from autopack_toolchain.settings import ToolchainSettings
from google.rpc import error_details_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from autopack_api.toolchain.v1.toolchain_pb2_grpc import ToolchainServiceAsyncStub as Async

Stub = toolchain_pb2_grpc.ToolchainServiceStub


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Async]:
    root = tmp_path / "allowed"
    root.mkdir()
    async with running(ToolchainService(ToolchainSettings(allowed_roots=(root,)))) as target:
        yield Stub(target.channel)


def sample(root: Path) -> None:
    (root / "requirements.txt").write_text("pytest\n")
    (root / "test_a.py").write_text("import pytest\n")


def snapshot(*files: tuple[str, bytes]) -> toolchain_pb2.DetectRequest:
    entries = [common_pb2.SnapshotFile(path=path, size=len(data), content=data) for path, data in files]
    return toolchain_pb2.DetectRequest(snapshot=common_pb2.WorkspaceSnapshot(files=entries))


async def failure(call: object) -> tuple[grpc.StatusCode, str, list[str]]:
    """Status, reason and bad fields of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    status = rpc_status.from_call(caught.value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    return caught.value.code(), info.reason, [violation.field for violation in bad.field_violations]


async def test_a_path_and_its_snapshot_give_the_same_answer(stub: Async, tmp_path: Path) -> None:
    sample(tmp_path / "allowed")
    by_path = await stub.Detect(toolchain_pb2.DetectRequest(path=str(tmp_path / "allowed")))
    by_snapshot = await stub.Detect(snapshot(("test_a.py", b"import pytest\n"), ("requirements.txt", b"pytest\n")))
    assert by_path == by_snapshot
    (project,) = by_path.projects
    test = next(step for step in project.steps if step.kind == toolchain_pb2.STEP_KIND_TEST)
    assert list(test.command.argv.words) == ["python", "-m", "pytest"]
    assert project.package_manager.name == "pip"


async def test_probing_tells_which_tools_are_there_and_which_are_not(
    stub: Async, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, programs = tmp_path / "allowed", tmp_path / "bin"
    programs.mkdir()
    (programs / "go").touch(0o755)
    (root / "go.mod").write_text("module a\n\nrequire b v1.0.0\n")
    (root / "a_test.go").write_text("package a\n")
    (root / "pom.xml").write_text("<project><artifactId>a</artifactId></project>")
    monkeypatch.setenv("PATH", str(programs))
    request = toolchain_pb2.DetectRequest(path=str(root), probe_tools=True)
    states = {step.tool: step.tool_state for p in (await stub.Detect(request)).projects for step in p.steps}
    assert states["go"] == toolchain_pb2.TOOL_STATE_FOUND
    assert states["mvn"] == toolchain_pb2.TOOL_STATE_MISSING
    request.probe_tools = False
    unasked = {step.tool_state for p in (await stub.Detect(request)).projects for step in p.steps}
    assert unasked == {toolchain_pb2.TOOL_STATE_UNSPECIFIED}


async def test_probing_for_a_snapshot_is_refused_because_its_steps_run_elsewhere(stub: Async) -> None:
    request = snapshot(("go.mod", b"module a\n"))
    request.probe_tools = True
    code, _, fields = await failure(stub.Detect(request))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["probe_tools"])


async def test_ignored_directories_of_a_snapshot_are_left_out_unless_they_are_tracked(stub: Async) -> None:
    request = snapshot(
        (".gitignore", b"tools\nscratch\n"), ("tools/go.mod", b"module a\n"), ("scratch/go.mod", b"module b\n")
    )
    request.snapshot.tracked_directories.append("tools")
    assert [project.workdir for project in (await stub.Detect(request)).projects] == ["tools"]
    request.snapshot.tracked_directories.extend(f"d{number}" for number in range(1_000))
    code, _, fields = await failure(stub.Detect(request))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["snapshot.tracked_directories"])


@pytest.mark.parametrize("path", ["/etc", "/nonexistent", "/"])
async def test_a_path_outside_the_roots_is_denied_whether_it_exists_or_not(stub: Async, path: str) -> None:
    code, reason, _ = await failure(stub.Detect(toolchain_pb2.DetectRequest(path=path)))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "PATH_NOT_ALLOWED")


async def test_links_and_dots_cannot_lead_out_of_the_roots(stub: Async, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "allowed/link").symlink_to(tmp_path / "secret")
    for path in (tmp_path / "allowed/link", f"{tmp_path}/allowed/../secret"):
        code, reason, _ = await failure(stub.Detect(toolchain_pb2.DetectRequest(path=str(path))))
        assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "PATH_NOT_ALLOWED")


async def test_a_missing_path_and_a_file_are_told_apart(stub: Async, tmp_path: Path) -> None:
    (tmp_path / "allowed/file").write_text("")
    missing = await failure(stub.Detect(toolchain_pb2.DetectRequest(path=f"{tmp_path}/allowed/none")))
    assert missing[:2] == (grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND")
    file = await failure(stub.Detect(toolchain_pb2.DetectRequest(path=f"{tmp_path}/allowed/file")))
    assert file[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "SOURCE_NOT_A_DIRECTORY")


async def test_without_roots_no_path_is_allowed(tmp_path: Path) -> None:
    async with running(ToolchainService(ToolchainSettings())) as target:
        code, reason, _ = await failure(Stub(target.channel).Detect(toolchain_pb2.DetectRequest(path=str(tmp_path))))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "PATH_NOT_ALLOWED")


@pytest.mark.parametrize("path", ["relative", "", "/a\0b"])
async def test_a_path_that_is_not_absolute_is_refused(stub: Async, path: str) -> None:
    code, _, fields = await failure(stub.Detect(toolchain_pb2.DetectRequest(path=path)))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["path"])


async def test_a_request_without_a_source_is_refused(stub: Async) -> None:
    code, _, fields = await failure(stub.Detect(toolchain_pb2.DetectRequest()))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["source"])


async def test_each_bad_path_of_a_snapshot_is_named(stub: Async) -> None:
    bad = ["/etc/passwd", "../a", "a/../b", "a//b", "./a", "", "a\0b", "a/"]
    code, reason, fields = await failure(stub.Detect(snapshot(("go.mod", b""), *((path, b"") for path in bad))))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SNAPSHOT")
    assert fields == [f"snapshot.files[{index}].path" for index in range(1, 9)]


async def test_duplicates_and_content_over_the_limit_are_named(stub: Async) -> None:
    request = snapshot(("a", b""), ("a", b""), ("b", b" " * ((1 << 20) + 1)))
    _, _, fields = await failure(stub.Detect(request))
    assert fields == ["snapshot.files[1].path", "snapshot.files[2].content"]


async def test_a_snapshot_of_too_many_files_is_refused(stub: Async) -> None:
    files = [common_pb2.SnapshotFile(path=str(number)) for number in range(50_001)]
    request = toolchain_pb2.DetectRequest(snapshot=common_pb2.WorkspaceSnapshot(files=files))
    code, _, fields = await failure(stub.Detect(request))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["snapshot.files"])


async def test_the_snapshot_spec_names_what_detection_reads(stub: Async) -> None:
    spec = await stub.GetSnapshotSpec(toolchain_pb2.GetSnapshotSpecRequest())
    assert {"pyproject.toml", "package.json", "test_*.py"} <= set(spec.content_patterns)
    assert {".git", "node_modules", ".venv"} <= set(spec.pruned_directories)
    assert {"build", "vendor"} <= set(spec.generic_directories)
    assert {".git", "pyvenv.cfg"} <= set(spec.boundary_files)
    assert (spec.max_files, spec.max_content_bytes) == (50_000, 1 << 20)


async def test_the_service_alone_as_a_program_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    sample(tmp_path)
    socket = tmp_path / "s"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "autopack_toolchain", "--address", f"unix:{socket}"),
        env={
            **os.environ,
            "AUTOPACK_DATA_DIR": str(tmp_path / "data"),
            "AUTOPACK_TOOLCHAIN_ALLOWED_ROOTS": str(tmp_path),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
            while b"unix:" not in line:
                assert line, "the program ended before it listened"
                line = await process.stdout.readline()
            async with open_channel(f"unix:{socket}") as channel:
                answer = await Stub(channel).Detect(toolchain_pb2.DetectRequest(path=str(tmp_path)))
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert [project.ecosystem for project in answer.projects] == ["python"]

"""What ``autopack detect`` prints of an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from autopack_api.common.v1 import common_pb2
from autopack_api.toolchain.v1 import toolchain_pb2 as pb
from autopack_cli.cmd_detect import _print


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def project(*steps: pb.Step, **fields: object) -> pb.Project:
    manager = pb.PackageManager(name="npm")
    return pb.Project(workdir=".", ecosystem="node", package_manager=manager, steps=steps, **fields)  # type: ignore[arg-type]


def script(text: str, cwd: str = ".") -> common_pb2.Command:
    return common_pb2.Command(script=common_pb2.Script(interpreter=["bash", "-c"], text=text), cwd=cwd)


def printed(capsys: pytest.CaptureFixture[str], *projects: pb.Project) -> str:
    _print(Path("/r"), pb.DetectResponse(projects=projects), tools=False)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "cwd", "shown"),
    [
        ("npm test | tee log", ".", "npm test | tee log  (script for bash -c)"),
        ("\n  cd a\n\n  npm test\n", ".", "cd a  (script for bash -c, 2 lines)"),
        ("x" * 100, "web", "x" * 60 + "...  (script for bash -c, in web)"),
        ("", ".", "(script for bash -c)"),
    ],
)
def test_a_script_is_marked_as_one_and_shown_by_its_first_line(
    capsys: pytest.CaptureFixture[str], text: str, cwd: str, shown: str
) -> None:
    assert shown in printed(capsys, project(pb.Step(kind=pb.STEP_KIND_TEST, command=script(text, cwd))))


def test_members_of_a_large_workspace_are_counted_and_a_few_named(capsys: pytest.CaptureFixture[str]) -> None:
    members = [f"packages/p{number}" for number in range(9)]
    out = printed(capsys, project(workspace=pb.Workspace(tool="pnpm", root=".", members=members)))
    assert "pnpm workspace of 9: packages/p0, packages/p1, packages/p2, packages/p3, packages/p4 and 4 more" in out


def test_names_cannot_break_the_line_or_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evidence = common_pb2.Evidence(path="a\n\x1b[31mb", signal="s")
    command = common_pb2.Command(argv=common_pb2.Argv(words=["x\ny", "\x1b]0;t\x07"]), cwd="a\nb")
    out = printed(capsys, project(pb.Step(kind=pb.STEP_KIND_TEST, command=command, evidence=[evidence])))
    assert "\x1b" not in out
    assert len([line for line in out.splitlines() if line.strip()]) == 4

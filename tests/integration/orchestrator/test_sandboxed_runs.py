"""Whole runs in the sandbox, with real services and real git: what an agent can do and what it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import (
    NETWORK_OFF,
    SANDBOX_AUTO,
    SANDBOX_NONE,
    SANDBOX_REQUIRED,
    Isolation,
    Limits,
)
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_orchestrator.core.isolation import SandboxMode
from google.protobuf.duration_pb2 import Duration

from tests.integration.orchestrator.sandboxes import needs_cgroups, needs_sandbox
from tests.service.orchestrator.bench import argv, bench, git, repository, run, shell

INSIDE_A_RUN = Path(__file__).with_name("inside_a_run.py")
INSIDE = Isolation(sandbox=SANDBOX_REQUIRED)

# Writes what it found to found.json. SOCKET, CANARY and OTHER are of the test.
BURGLAR = r"""
import glob, json, os, pathlib, socket, subprocess, sys
environment, home = os.environ, pathlib.Path.home()
def said(action):
    try:
        return str(action())
    except Exception as error:
        return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
def connect(path):
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    socket.socket(socket.AF_UNIX).connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    return "connected"
mirror = pathlib.Path(pathlib.Path(".git").read_text().split()[1]).parents[1]
found = {
    "server": said(lambda: connect(sys.argv[1])),
    "signal": said(lambda: os.kill(int(sys.argv[2]), 9)),
    "keys": said(lambda: (home / ".ssh" / "id_ed25519").read_text()),
    "data": said(lambda: sorted(os.listdir(sys.argv[3]))),
    "worktrees": said(lambda: len(os.listdir(pathlib.Path(environment["AUTOPACK_WORKSPACE"]).parent))),
    "canary": environment.get("AUTOPACK_TEST_CANARY", "not inherited"),
    "log": said(lambda: (pathlib.Path(environment["AUTOPACK_CONTEXT_FILE"]).parent / "log").read_text()),
    "others": said(lambda: len([name for name in os.listdir("/proc") if name.isdigit()])),
    "write": said(lambda: pathlib.Path(sys.argv[3]).parent.joinpath("planted").write_text("x")),
}
(mirror / "hooks").mkdir(exist_ok=True)
(mirror / "hooks" / "post-checkout").write_text("#!/bin/sh\ntouch /tmp/hooked\n")
subprocess.run(["git", "config", "core.fsmonitor", "touch /tmp/hooked"], check=True)
subprocess.run(["git", "stash", "list"], check=True)
pathlib.Path("found.json").write_text(json.dumps(found))
subprocess.run(["git", "add", "-A"], check=True)
subprocess.run(["git", "commit", "-qm", "What was found"], check=True)
"""


@pytest.fixture(autouse=True)
def _user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_text("SECRET KEY")
    monkeypatch.setenv("HOME", str(home))
    # A checkout below /tmp would be gone in the sandbox but for what the PATH names.
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{Path(__file__).parents[3]}")
    monkeypatch.setenv("AUTOPACK_TEST_CANARY", "CANARY")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "calc")


def python(script: str, *words: str) -> Command:
    return Command(argv=Argv(words=[sys.executable, "-c", script, *words]))


def show(repo: Path, done: pb.Run, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(git(repo, "show", f"{done.head_commit}:{name}"))
    return found


@needs_sandbox
async def test_an_agent_in_the_sandbox_finds_no_way_out(tmp_path: Path, repo: Path) -> None:
    canary = subprocess.Popen(["sleep", "1010"])  # noqa: ASYNC220
    try:
        async with bench(tmp_path) as stack:
            main = stack.target.address.removeprefix("unix:")
            agents = [
                run(name, command=python(BURGLAR, main, str(canary.pid), str(stack.data))) for name in ("one", "two")
            ]
            done = await stack.finish(repo, *agents, isolation=INSIDE, max_concurrent_runs=2)
            log = b"".join([await stack.log(item.run_id) for item in done])
        assert canary.poll() is None
    finally:
        canary.kill()
        canary.wait()
    for item in done:
        assert item.state == pb.RUN_STATE_SUCCEEDED, (item.error, log)
        found = show(repo, item, "found.json")
        assert found.pop("data") == "['orchestrator']"
        assert found.pop("log").startswith("FileNotFoundError")
        assert found.pop("others") == "3"
        found.pop("write")  # into its own /tmp, or refused
        assert found == {
            "server": "FileNotFoundError: No such file or directory",
            "signal": "ProcessLookupError: No such process",
            "keys": "FileNotFoundError: No such file or directory",
            "worktrees": "1",
            "canary": "not inherited",
        }
    assert not (tmp_path / "planted").exists()
    mirror = next((tmp_path / "data" / "orchestrator" / "mirrors").glob("*.git"))
    assert not (mirror / "hooks").exists()
    assert "fsmonitor" not in (mirror / "config").read_text()
    assert not Path("/tmp/hooked").exists()  # what the hooks would have made
    assert b"CANARY" not in log
    attempt = next((tmp_path / "data" / "orchestrator" / "runs").glob("*/one/attempt-1"))
    assert {entry.name for entry in attempt.iterdir()} & {"tmp", "home", "git-one"} == set()


@needs_sandbox
@pytest.mark.parametrize("isolation", [INSIDE, Isolation(sandbox=SANDBOX_AUTO, network=NETWORK_OFF)])
async def test_an_agent_in_the_sandbox_still_records_its_usage_and_nothing_else(
    tmp_path: Path, repo: Path, isolation: Isolation
) -> None:
    async with bench(tmp_path) as stack:
        agent = run("one", command=argv(sys.executable, str(INSIDE_A_RUN), "30"))
        (done,) = await stack.finish(repo, agent, isolation=isolation)
        assert done.state == pb.RUN_STATE_SUCCEEDED, (done.error, await stack.log(done.run_id))
        found = show(repo, done, "found.json")
        summary = await stack.client.telemetry.GetRunSummary(telemetry_pb2.GetRunSummaryRequest(run_id=done.run_id))
    assert found.pop("own usage") == "OK"
    assert "OK" not in found.values()
    assert summary.tokens.output == 30


@needs_sandbox
async def test_everything_of_a_run_is_in_the_sandbox_and_shares_its_temporary_files(tmp_path: Path, repo: Path) -> None:
    look = "test ! -e $HOME/.ssh; test ! -e /tmp/host-canary; echo $$ >>/tmp/seen"
    async with bench(tmp_path, sandbox=SandboxMode.AUTO) as stack:
        item = run(
            "one",
            f"{look}; echo x >made.txt",
            install=[shell(look)],
            validate=[shell(f"{look}; test $(wc -l </tmp/seen) -eq 3")],
            prepare=0,
        )
        (done,) = await stack.finish(repo, item)
        assert done.state == pb.RUN_STATE_SUCCEEDED, (done.error, await stack.log(done.run_id))
    assert not done.warnings


@pytest.fixture
def without_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for directory in os.environ["PATH"].split(":"):
        for name in os.listdir(directory) if Path(directory).is_dir() else ():
            if name != "bwrap" and not (programs / name).is_symlink():
                (programs / name).symlink_to(Path(directory) / name)
    monkeypatch.setenv("PATH", str(programs))
    assert shutil.which("bwrap") is None


@pytest.mark.usefixtures("without_bubblewrap")
async def test_a_host_without_bubblewrap_runs_with_one_warning_and_refuses_what_needs_it(
    tmp_path: Path, repo: Path
) -> None:
    async with bench(tmp_path, sandbox=SandboxMode.AUTO) as stack:
        (done,) = await stack.finish(repo, run("one", validate=[argv("true"), argv("true")]))
        assert done.state == pb.RUN_STATE_SUCCEEDED
        assert [text for text in done.warnings if "no sandbox" in text and "apt install bubblewrap" in text] == list(
            done.warnings
        )
        assert len(done.warnings) == 1
        for isolation, reason in (
            (INSIDE, "SANDBOX_UNAVAILABLE"),
            (Isolation(network=NETWORK_OFF), "NETWORK_NEEDS_SANDBOX"),
        ):
            with pytest.raises(FailedPrecondition) as caught:
                await stack.submit(repo, run("one"), isolation=isolation)
            assert caught.value.reason == reason
            assert "bubblewrap" in str(caught.value)
        found = await stack.client.orchestrator.GetCapabilities(pb.GetCapabilitiesRequest())
    assert not found.sandbox.available
    assert "apt install bubblewrap" in found.sandbox.problem
    assert any("as its owner" in note for note in found.notes)


@needs_sandbox
async def test_a_server_that_requires_the_sandbox_refuses_to_run_without(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path, sandbox=SandboxMode.REQUIRED) as stack:
        with pytest.raises(FailedPrecondition) as caught:
            await stack.submit(repo, run("one"), isolation=Isolation(sandbox=SANDBOX_NONE))
        assert caught.value.reason == "SANDBOX_REQUIRED"
        (done,) = await stack.finish(repo, run("one"))
        assert done.state == pb.RUN_STATE_SUCCEEDED
        found = await stack.client.orchestrator.GetCapabilities(pb.GetCapabilitiesRequest())
    assert (found.sandbox.available, found.sandbox.default_mode, found.sandbox.pid_namespace) == (
        True,
        "required",
        True,
    )
    assert found.git_version
    assert found.free_disk_bytes > 0
    assert "RLIMIT_FSIZE" in found.rlimits


@pytest.mark.parametrize("isolation", [pytest.param(INSIDE, marks=needs_sandbox), Isolation(sandbox=SANDBOX_NONE)])
@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({"idle_timeout": Duration(seconds=1), "script": "echo begun; sleep 600"}, pb.RUN_STATE_TIMED_OUT, "IDLE"),
        (
            {"prepare_timeout": Duration(seconds=1), "install": [shell("sleep 600")], "prepare": 0},
            pb.RUN_STATE_TIMED_OUT,
            "PREPARE_TIMEOUT",
        ),
        pytest.param(
            {"limits": Limits(max_memory_bytes=64 << 20), "command": python("data = bytearray(400 << 20)")},
            pb.RUN_STATE_FAILED,
            "LIMIT_EXCEEDED",
            marks=needs_cgroups,
        ),
        (
            {"limits": Limits(max_file_bytes=1 << 20), "script": "head -c 3000000 /dev/zero >large"},
            pb.RUN_STATE_FAILED,
            "AGENT_FAILED",
        ),
    ],
    ids=["idle", "prepare", "memory", "file"],
)
async def test_a_run_that_goes_over_a_limit_ends_with_its_reason(
    tmp_path: Path, repo: Path, isolation: Isolation, fields: dict[str, Any], state: int, reason: str
) -> None:
    async with bench(tmp_path) as stack:
        fields = dict(fields)
        words = (fields.pop("script"),) if "script" in fields else ()
        (done,) = await stack.finish(repo, run("one", *words, **fields), isolation=isolation)
        assert (done.state, done.error.reason) == (state, reason), done.error
    if reason == "LIMIT_EXCEEDED":
        assert "limit of memory" in done.error.message
    if reason == "AGENT_FAILED":
        assert "max_file_bytes" in done.error.message


async def test_values_out_of_range_are_named_with_their_fields(tmp_path: Path, repo: Path) -> None:
    bad = run(
        "one",
        limits=Limits(max_memory_bytes=1, max_processes=1, max_file_bytes=1, max_open_files=1, max_cpu_time=Duration()),
        idle_timeout=Duration(nanos=1),
        prepare_timeout=Duration(seconds=90_000),
    )
    async with bench(tmp_path) as stack:
        with pytest.raises(InvalidArgument) as caught:
            await stack.submit(repo, bad, isolation=Isolation.FromString(b"\x08\x63"))  # a mode of 99
    fields = {item.field for item in caught.value.violations}
    names = ("max_memory_bytes", "max_processes", "max_file_bytes", "max_open_files", "max_cpu_time")
    assert fields == {
        "isolation.sandbox",
        "runs[0].idle_timeout",
        "runs[0].prepare_timeout",
        *(f"runs[0].limits.{name}" for name in names),
    }


async def test_no_object_of_the_mirror_that_a_run_could_write_is_one_of_the_users(tmp_path: Path, repo: Path) -> None:
    async with bench(tmp_path) as stack:
        (done,) = await stack.finish(repo, run("one"))
        assert done.state == pb.RUN_STATE_SUCCEEDED
        (mirror,) = (stack.data / "orchestrator" / "mirrors").glob("*.git")
    loose = {path.stat().st_ino for path in mirror.glob("objects/[0-9a-f][0-9a-f]/*")}
    theirs = {path.stat().st_ino for path in (repo / ".git" / "objects").rglob("*") if path.is_file()}
    assert theirs
    assert not loose & theirs
    git(repo, "fsck", "--strict")


async def test_programs_that_the_path_finds_below_tmp_are_still_there(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter may have been installed below ``/tmp``, which is another directory in the sandbox."""
    program = tmp_path / "tools" / "bin" / "greet"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho hello > greeting.txt; touch "$0.written" || true\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    async with bench(tmp_path, sandbox=SandboxMode.REQUIRED) as stack:
        (done,) = await stack.finish(repo, run("one", "greet"), isolation=INSIDE)
    assert done.state == pb.RUN_STATE_SUCCEEDED, done.error
    assert [change.path for change in done.changes] == ["greeting.txt"]
    assert not program.with_name("greet.written").exists()

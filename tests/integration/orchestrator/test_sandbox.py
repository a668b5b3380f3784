"""The supervisor with bubblewrap: nothing outlives a command, nothing is seen or reached that is not for it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from autopack_orchestrator.adapters.sandbox import HomeRules, Sandbox, View, home_rules, prepare_home, probe, words
from autopack_orchestrator.adapters.supervisor import (
    ExecutionSpec,
    Finished,
    Outcome,
    Reason,
    attach,
    execution_dir,
    runner,
    start,
)
from autopack_orchestrator.core.isolation import Limits, resource_limits

from tests.integration.orchestrator.sandboxes import control_groups, needs_cgroups, needs_sandbox, sandbox

HANG_LIMIT_S = 60
PROGRAMS = (Path(sys.prefix), Path(sys.base_prefix))  # which may lie below /tmp, another directory in the sandbox
pytestmark = needs_sandbox

# Five processes, each out of reach of another simple way to kill; the last one has thrown its environment away.
EVIL_TREE = """
sleep 1000.{mark} &
setsid sleep 1001.{mark} &
setsid sh -c 'trap "" TERM; echo deaf; while :; do sleep 1002.{mark}; done' &
( ( setsid sleep 1003.{mark} & ) & )
env -i /bin/sh -c 'setsid sleep 1004.{mark} &'
sleep 0.1
echo ready
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path


def view(workspace: Path, **more: Any) -> View:
    temporary = workspace.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    return View(workspace, temporary, **{"home": (), "hidden": (), "readable": PROGRAMS, "git": None, **more})


def make_spec(workspace: Path, *argv: str, timeout_s: float = HANG_LIMIT_S, **more: Any) -> ExecutionSpec:
    run_dir = workspace.parent / "run"
    run_dir.mkdir(exist_ok=True)
    shown = more.pop("view", None) or view(workspace)
    defaults: dict[str, Any] = {
        "env": {"PATH": os.environ["PATH"]},
        "cwd": workspace,
        "term_grace_s": 0.5,
        "fence_grace_s": 30.0,
        "sandbox": words(sandbox(), shown, workspace),
    }
    return ExecutionSpec(
        argv=argv, output=run_dir / "output.log", marker=run_dir, timeout_s=timeout_s, **{**defaults, **more}
    )


def shell(workspace: Path, script: str, **more: Any) -> ExecutionSpec:
    return make_spec(workspace, "sh", "-c", script, **more)


async def run(spec: ExecutionSpec) -> Outcome:
    handle = await start(execution_dir(spec.marker, 1, "agent"), spec)
    return await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_LIMIT_S):
        while not condition():  # noqa: ASYNC110  # other processes change the world, no event tells
            await asyncio.sleep(0.02)


def sleepers(mark: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"sleep\0") and line.endswith(f".{mark}\0".encode()):
            found.append(int(name))
    return found


async def test_a_command_in_the_sandbox_reports_its_exit_code_output_and_usage(workspace: Path) -> None:
    spec = shell(workspace, "echo out; echo err >&2; exit 3")
    outcome = await run(spec)
    assert (outcome.reason, outcome.exit_code, outcome.signal, outcome.leftover) == (Reason.EXITED, 3, None, 0)
    assert spec.output.read_bytes() == b"out\nerr\n"
    assert outcome.max_rss_bytes > 0


async def test_a_signal_is_an_exit_code_as_in_a_shell(workspace: Path) -> None:
    outcome = await run(shell(workspace, "kill -9 $$"))
    assert (outcome.reason, outcome.exit_code) == (Reason.EXITED, 128 + signal.SIGKILL)


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CANCELLED, Reason.EXITED, Reason.IDLE, Reason.FENCED])
async def test_the_evil_tree_is_dead_whatever_ended_the_run(workspace: Path, reason: Reason) -> None:
    mark = f"{os.getpid()}{list(Reason).index(reason)}"
    tail = "exit 4" if reason is Reason.EXITED else f"sleep 1005.{mark}"
    spec = shell(
        workspace,
        EVIL_TREE.format(mark=mark) + tail,
        timeout_s=3.0 if reason is Reason.TIMEOUT else HANG_LIMIT_S,
        idle_timeout_s=2.0 if reason is Reason.IDLE else 0.0,
        fence_grace_s=0.2 if reason is Reason.FENCED else 30.0,
    )
    exec_dir = execution_dir(spec.marker, 1, "agent")
    handle = await start(exec_dir, spec)
    await eventually(lambda: b"ready" in spec.output.read_bytes())
    if reason is Reason.CANCELLED:
        assert len(sleepers(mark)) == 6
        await handle.cancel()
    if reason is Reason.FENCED:
        await handle.detach()
        await eventually((exec_dir / "status.json").exists)
        found = await attach(exec_dir)
        assert isinstance(found, Finished)
        outcome = found.outcome
    else:
        outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert outcome.reason is reason
    assert outcome.leftover >= 5
    assert outcome.survivors == 0
    if reason is Reason.EXITED:
        assert outcome.exit_code == 4
    assert sleepers(mark) == []
    assert runner.marked(str(spec.marker)) == {}


async def test_the_kernel_ends_the_evil_tree_when_the_supervisor_is_killed(workspace: Path) -> None:
    mark = f"{os.getpid()}8"
    spec = shell(workspace, EVIL_TREE.format(mark=mark) + f"sleep 1005.{mark}")
    exec_dir = execution_dir(spec.marker, 1, "agent")
    handle = await start(exec_dir, spec)
    await eventually(lambda: b"ready" in spec.output.read_bytes())
    assert len(sleepers(mark)) == 6
    pid = runner.parse_json((exec_dir / "pid").read_text())["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: sleepers(mark) == [])  # before anybody sweeps
    assert (await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)).reason is Reason.LOST


async def test_a_command_may_save_its_work_when_it_is_ended(workspace: Path) -> None:
    child = "trap 'sleep 0.3; echo saved >saved; exit' TERM; echo ready; while :; do sleep 0.05; done"
    spec = shell(workspace, f"sh -c '{child.replace(chr(39), chr(34))}'; true", term_grace_s=20.0)
    handle = await start(execution_dir(spec.marker, 1, "agent"), spec)
    await eventually(lambda: b"ready" in spec.output.read_bytes())
    await handle.cancel()
    outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert outcome.reason is Reason.CANCELLED
    assert (workspace / "saved").read_text() == "saved\n"


async def test_what_ends_soon_after_the_command_is_let_end_in_peace(workspace: Path) -> None:
    spec = shell(workspace, "(sleep 0.1; echo late) & exit 7")
    outcome = await run(spec)
    assert (outcome.reason, outcome.exit_code, outcome.leftover) == (Reason.EXITED, 7, 0)
    assert spec.output.read_bytes() == b"late\n"


async def test_the_environment_arrives_whole_also_names_that_no_shell_takes(workspace: Path) -> None:
    script = "import os; print(sorted(set(os.environ) - {'PWD', 'OLDPWD', '_', 'SHLVL'}), os.environ['a.b'])"
    spec = make_spec(workspace, sys.executable, "-I", "-c", script, env={"LC_CTYPE": "C.UTF-8", "a.b": "c d"})
    assert (await run(spec)).ok
    expected = "['AUTOPACK_EXEC_DIR', 'AUTOPACK_RUN_DIR', 'LC_CTYPE', 'a.b'] c d\n"
    assert spec.output.read_text() == expected


async def test_a_program_is_the_one_on_the_path_also_if_a_shell_has_it_built_in(workspace: Path) -> None:
    spec = make_spec(workspace, "echo", r"a\nb")  # dash's own would print two lines
    assert (await run(spec)).ok
    assert spec.output.read_bytes() == b"a\\nb\n"


@pytest.mark.parametrize(
    ("argv", "more", "said"),
    [
        (("no-such-program-here",), {}, "program no-such-program-here: No such file or directory"),
        (("/etc/passwd",), {}, "program /etc/passwd: Permission denied"),
        (("true",), {"cwd": Path("/no/such/directory")}, "working directory /no/such/directory: No such file"),
        (("true",), {"sandbox": ("bwrap", "--bind", "/no/such/place", "/")}, "/no/such/place"),
    ],
)
async def test_a_command_that_cannot_start_says_why(
    workspace: Path, argv: tuple[str, ...], more: dict[str, Any], said: str
) -> None:
    outcome = await run(make_spec(workspace, *argv, **more))
    assert outcome.reason is Reason.SPAWN_FAILED
    assert said in outcome.error


async def test_only_the_worktree_and_private_directories_can_be_written(workspace: Path) -> None:
    elsewhere = workspace.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("theirs")
    script = f"""
echo 1 >inside; echo 2 >/tmp/file; mount -o remount,rw /; echo 3 >{elsewhere}/file; echo 4 >/etc/autopack-canary
"""
    spec = shell(workspace, script, view=view(workspace, readable=(elsewhere,)))
    await run(spec)
    assert (workspace / "inside").read_text() == "1\n"
    assert (workspace.parent / "tmp" / "file").read_text() == "2\n"
    assert (elsewhere / "file").read_text() == "theirs"
    assert not Path("/etc/autopack-canary").exists()


async def test_hidden_places_look_empty_and_what_is_shown_of_them_can_be_read(workspace: Path) -> None:
    secret = workspace.parent / "data"
    (secret / "deep").mkdir(parents=True)
    for name in ("key", "deep/given"):
        (secret / name).write_text(name)
    link = workspace.parent / "link"
    link.symlink_to(secret)
    spec = shell(
        workspace,
        f"ls {secret}; cat {secret}/deep/given",
        view=view(workspace, hidden=(link,), readable=(secret / "deep/given",)),
    )
    assert (await run(spec)).ok
    assert spec.output.read_text() == "deep\ndeep/given"


async def test_sockets_signals_and_memory_of_others_are_out_of_reach(workspace: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "s"
    hidden.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    directory = os.open(hidden, os.O_RDONLY)
    listener.bind(f"/proc/self/fd/{directory}/socket")
    listener.listen()
    canary = subprocess.Popen(["sleep", "1006"])  # noqa: ASYNC220
    script = f"""
import os, socket
try:
    os.chdir({str(hidden)!r}); socket.socket(socket.AF_UNIX).connect("socket"); print("connected")
except OSError as error: print(error.strerror)
for action in (lambda: os.kill({canary.pid}, 9), lambda: open("/proc/{canary.pid}/environ")):
    try:
        action(); print("reached")
    except OSError as error: print(error.strerror)
print(len([name for name in os.listdir("/proc") if name.isdigit()]))
"""
    try:
        spec = make_spec(workspace, sys.executable, "-I", "-c", script, view=view(workspace, hidden=(hidden,)))
        assert (await run(spec)).ok
        assert canary.poll() is None
    finally:
        canary.kill()
        canary.wait()
        listener.close()
        os.close(directory)
    assert spec.output.read_text().splitlines() == [
        "No such file or directory",
        "No such process",
        "No such file or directory",
        "3",
    ]


@pytest.mark.skipif(not sandbox().network_off, reason="this kernel gives no network namespace")
async def test_without_network_there_is_only_a_loopback_of_its_own(workspace: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    script = f"""
import socket
own = socket.create_server(("127.0.0.1", 0)); socket.create_connection(own.getsockname()); print("own loopback works")
try: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 5)
except OSError as error: print(error.strerror)
"""
    with server:
        spec = make_spec(workspace, sys.executable, "-I", "-c", script, view=view(workspace, network=False))
        assert (await run(spec)).ok
    assert spec.output.read_text() == "own loopback works\nConnection refused\n"


async def test_a_private_home_shows_what_is_there_keeps_secrets_away_and_what_is_written_out(
    workspace: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for name in (
        ".ssh/id",
        ".config/autopack/token",
        ".config/tool/settings",
        ".claude/settings.json",
        ".cache/pip/wheel",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    for name in (".claude/projects", ".cargo/bin"):
        (home / name).mkdir(parents=True)
    (home / ".claude" / ".credentials.json").write_text("old")
    (home / ".gitconfig").write_text("[user]\n")
    private, caches = tmp_path / "private", tmp_path / "caches"
    mounts = tuple(prepare_home(home, private, caches, home_rules()))
    script = """
cd "$HOME"; find . -type f | sort; cat .claude/settings.json .gitconfig
echo hook >.claude/settings.json; echo new >.claude/.credentials.json; echo x >.newrc; echo y >.cache/built
mkdir -p .cargo/registry; echo z >.cargo/registry/crate; echo evil >>.gitconfig; echo evil >.config/tool/settings
"""
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    spec = shell(workspace, script, view=view(workspace, home=mounts), env=env)
    await run(spec)
    shown = spec.output.read_text()
    assert "./.gitconfig" in shown
    assert "./.config/tool/settings" in shown
    assert ".ssh" not in shown
    assert "token" not in shown
    assert "wheel" not in shown  # the host's cache is not the run's
    assert (home / ".claude/settings.json").read_text() == ".claude/settings.json"  # the hook stayed inside
    assert (home / ".claude/.credentials.json").read_text() == "new\n"  # a renewed login is kept
    assert (home / ".gitconfig").read_text() == "[user]\n"
    assert (home / ".config/tool/settings").read_text() == ".config/tool/settings"
    assert not (home / ".newrc").exists()
    assert not (home / ".cache/built").exists()
    assert (caches / ".cache/built").read_text() == "y\n"
    assert (caches / ".cargo/registry/crate").read_text() == "z\n"
    second = tuple(prepare_home(home, private, caches, home_rules()))
    spec = replace(
        shell(
            workspace, 'cat "$HOME"/.claude/settings.json "$HOME"/.newrc', view=view(workspace, home=second), env=env
        ),
        output=tmp_path / "second.log",
    )
    handle = await start(execution_dir(spec.marker, 2, "again"), spec)
    assert (await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)).ok
    assert (tmp_path / "second.log").read_text() == "hook\nx\n"  # within the run it is there


async def test_links_that_a_command_leaves_where_something_is_mounted_lead_nowhere(
    workspace: Path, tmp_path: Path
) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / ".claude").mkdir(parents=True)
    outside.mkdir()
    for name in (".claude/.credentials.json", ".tool/settings"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("x")
    (tmp_path / "dotfiles" / "tool").mkdir(parents=True)
    (home / ".config").symlink_to(tmp_path / "dotfiles")
    script = """
cd "$HOME"; mv .local .gone; ln -s "/oldroot$1" .local
mv .claude .claude.gone; ln -s "/oldroot$1" .claude; ls -d .config/tool
"""
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    private, caches = tmp_path / "private", tmp_path / "caches"
    for number in (1, 2):
        mounts = tuple(prepare_home(home, private, caches, home_rules()))
        spec = make_spec(
            workspace, "sh", "-c", script, "sh", str(outside), view=view(workspace, home=mounts), env=env
        )  # fmt: skip
        handle = await start(execution_dir(spec.marker, number, "agent"), spec)
        assert (await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)).ok, spec.output.read_text()
        assert os.listdir(outside) == []


async def test_a_writable_path_of_the_home_directory_is_the_real_one(workspace: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".tool").mkdir(parents=True)
    rules = HomeRules(writable=(".tool",))
    mounts = tuple(prepare_home(home, tmp_path / "private", tmp_path / "caches", rules))
    spec = shell(workspace, f"echo kept >{home}/.tool/file", view=view(workspace, home=mounts))
    assert (await run(spec)).ok
    assert (home / ".tool/file").read_text() == "kept\n"


@needs_cgroups
async def test_a_fork_bomb_ends_at_its_limit_and_leaves_nothing(workspace: Path) -> None:
    mark = f"{os.getpid()}9"
    script = f"for i in $(seq 500); do sleep 1007.{mark} & done; wait"
    groups = control_groups().groups(Limits(max_processes=40), sandboxed=True)
    spec = shell(workspace, script, timeout_s=10.0, cgroups=groups)
    handle = await start(execution_dir(spec.marker, 1, "agent"), spec)
    most = 0
    waiting = asyncio.ensure_future(handle.wait())
    while not waiting.done():
        most = max(most, len(sleepers(mark)))
        await asyncio.wait([waiting], timeout=0.1)
    outcome = await waiting
    assert "processes" in outcome.limits
    assert not outcome.ok
    assert 20 <= most <= 40
    assert sleepers(mark) == []
    assert not any(Path(group).exists() for group in groups)


@needs_cgroups
async def test_a_memory_hog_is_ended_at_its_limit_and_the_reason_is_told(workspace: Path) -> None:
    groups = control_groups().groups(Limits(max_memory_bytes=64 << 20), sandboxed=True)
    hog = "data = bytearray(400 << 20)"
    outcome = await run(make_spec(workspace, sys.executable, "-I", "-c", hog, cgroups=groups))
    assert outcome.limits == ("memory",)
    assert outcome.exit_code == 128 + signal.SIGKILL


async def test_without_control_groups_memory_of_each_process_is_limited(workspace: Path) -> None:
    limits = resource_limits(Limits(max_memory_bytes=64 << 20), memory_in_group=False, processes_in_group=False)
    hog = "data = bytearray(400 << 20)"
    spec = make_spec(workspace, sys.executable, "-I", "-c", hog, rlimits=limits)
    outcome = await run(spec)
    assert outcome.exit_code == 1
    assert b"MemoryError" in spec.output.read_bytes()


def test_a_host_without_bubblewrap_says_how_to_install_it(tmp_path: Path) -> None:
    found = probe(path=str(tmp_path))
    assert not found.available
    assert "apt install bubblewrap" in found.problem


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/sh\necho 'No permissions to create new namespace' >&2; exit 1\n",
        '#!/bin/sh\n[ $1 != --version ] || exit 0\nwhile [ $1 != -- ]; do shift; done; shift; exec "$@"\n',
    ],
)
def test_a_bubblewrap_that_does_not_work_or_hides_nothing_is_not_believed(tmp_path: Path, script: str) -> None:
    program = tmp_path / "bwrap"
    program.write_text(script)
    program.chmod(0o755)
    found = probe(path=str(tmp_path))
    assert not found.available
    assert "does not work here" in found.problem
    assert isinstance(found, Sandbox)

"""The supervisor with real processes: whatever ends a run, nothing of it stays alive."""

from __future__ import annotations

import asyncio
import os
import py_compile
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from autopack_kit.errors import FailedPrecondition, Internal
from autopack_orchestrator.adapters.supervisor import (
    ExecutionSpec,
    Finished,
    Gone,
    Handle,
    Outcome,
    Reason,
    attach,
    execution_dir,
    runner,
    start,
    sweep,
)

HANG_LIMIT_S = 60

# Five processes that hold stdout, each out of reach of another simple way to kill; the last one has no marker either.
EVIL_TREE = """
sleep 1000 &
setsid sleep 1001 &
setsid sh -c 'trap "" TERM; echo deaf; while :; do sleep 1002; done' &
( ( setsid sleep 1003 & ) & )
env -i /bin/sh -c 'setsid sleep 1004.%s &'
until grep -q deaf "$LOG"; do sleep 0.02; done
echo ready
"""


def make_spec(tmp_path: Path, *argv: str, timeout_s: float = HANG_LIMIT_S, **more: Any) -> ExecutionSpec:
    run_dir = tmp_path / "run"
    run_dir.mkdir(exist_ok=True)
    output = run_dir / "output.log"
    env = {"PATH": os.environ["PATH"], "LOG": str(output)}
    defaults: dict[str, Any] = {"term_grace_s": 0.3, "fence_grace_s": 30.0, "env": env, "cwd": tmp_path}
    return ExecutionSpec(argv=argv, output=output, marker=run_dir, timeout_s=timeout_s, **{**defaults, **more})


def evil(tail: str) -> tuple[str, ...]:
    return ("sh", "-c", EVIL_TREE % os.getpid() + tail)


async def run(tmp_path: Path, spec: ExecutionSpec, name: str = "agent") -> Outcome:
    handle = await start(execution_dir(spec.marker, 1, name), spec)
    return await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_LIMIT_S):
        while not condition():  # noqa: ASYNC110  # other processes change the world, no event tells
            await asyncio.sleep(0.02)


def alive(run_dir: Path) -> list[int]:
    """Processes with the run's marker, and the one that threw its environment away."""
    unmarked = f"sleep\0001004.{os.getpid()}\0".encode()
    found = [*runner.marked(str(run_dir))]
    for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes() == unmarked:
                found.append(int(pid))
        except OSError:
            continue
    return found


def supervisor_pid(exec_dir: Path) -> int:
    pid = runner.parse_json((exec_dir / "pid").read_text())["pid"]
    assert isinstance(pid, int)
    return pid


async def test_a_command_that_ends_reports_its_exit_code_output_and_usage(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "sh", "-c", "echo out; echo err >&2; exit 3")
    outcome = await run(tmp_path, spec)
    assert (outcome.reason, outcome.exit_code, outcome.signal, outcome.leftover) == (Reason.EXITED, 3, None, 0)
    assert spec.output.read_bytes() == b"out\nerr\n"
    assert outcome.output_bytes == 8
    assert outcome.max_rss_bytes > 0
    assert outcome.finished_at >= outcome.started_at > 0
    assert not outcome.ok


async def test_a_command_killed_by_a_signal_reports_the_signal(tmp_path: Path) -> None:
    outcome = await run(tmp_path, make_spec(tmp_path, "sh", "-c", "kill -9 $$"))
    assert (outcome.reason, outcome.exit_code, outcome.signal) == (Reason.EXITED, None, signal.SIGKILL)


async def test_the_command_gets_exactly_its_environment_a_closed_stdin_and_default_signals(tmp_path: Path) -> None:
    script = (
        "import os, sys, signal as s; print(sorted(os.environ), sys.stdin.read() == '', s.getsignal(1) == s.SIG_DFL)"
    )
    spec = make_spec(tmp_path, sys.executable, "-I", "-c", script, env={"LC_CTYPE": "C.UTF-8", "A": "b\udcff"})
    await run(tmp_path, spec)
    expected = "['A', 'AUTOPACK_EXEC_DIR', 'AUTOPACK_RUN_DIR', 'LC_CTYPE'] True True\n"
    assert spec.output.read_text() == expected
    assert not (execution_dir(spec.marker, 1, "agent") / "spec.json").exists()  # it held the environment


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CANCELLED, Reason.EXITED, Reason.FENCED])
async def test_the_evil_tree_is_dead_whatever_ended_the_run(tmp_path: Path, reason: Reason) -> None:
    last = "exit 0" if reason is Reason.EXITED else "sleep 1005"
    spec = make_spec(
        tmp_path,
        *evil(last),
        timeout_s=3.0 if reason is Reason.TIMEOUT else HANG_LIMIT_S,
        fence_grace_s=0.2 if reason is Reason.FENCED else 30.0,
    )
    exec_dir = execution_dir(spec.marker, 1, "agent")
    handle = await start(exec_dir, spec)
    await eventually(lambda: b"ready" in spec.output.read_bytes())
    if reason is Reason.CANCELLED:
        assert len(alive(spec.marker)) >= 6
        await handle.cancel()
    if reason is Reason.FENCED:
        await handle.detach()
        await eventually((exec_dir / "status.json").exists)
        finished = await attach(exec_dir)
        assert isinstance(finished, Finished)
        outcome = finished.outcome
    else:
        outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert outcome.reason is reason
    assert outcome.leftover >= 5
    assert outcome.survivors == 0
    assert alive(spec.marker) == []


async def test_a_helper_that_ends_right_after_its_parent_is_not_killed(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "sh", "-c", "(sleep 0.05; echo late) & exit 0")
    outcome = await run(tmp_path, spec)
    assert (outcome.ok, outcome.leftover) == (True, 0)
    assert spec.output.read_bytes() == b"late\n"


async def test_term_is_sent_once_and_given_its_grace(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.02; done"
    spec = make_spec(tmp_path, "sh", "-c", script, term_grace_s=30.0)
    handle = await start(execution_dir(spec.marker, 1, "agent"), spec)
    await eventually(lambda: b"ready" in spec.output.read_bytes())
    await handle.cancel()
    outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert (outcome.reason, outcome.exit_code) == (Reason.CANCELLED, 7)
    assert spec.output.read_bytes().count(b"bye") == 1


ORCHESTRATOR = """
import asyncio, os, sys
from pathlib import Path
from autopack_orchestrator.adapters.supervisor import ExecutionSpec, start
async def main():
    run_dir, script, fence = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    env = {"PATH": os.environ["PATH"], "LOG": str(run_dir / "output.log")}
    spec = ExecutionSpec(("sh", "-c", script), run_dir, env, run_dir / "output.log", run_dir, 60, 0.3, fence)
    handle = await start(run_dir / "exec" / "1-agent", spec)
    await handle.wait()
asyncio.run(main())
"""


def orchestrator(run_dir: Path, script: str, fence_grace_s: float) -> subprocess.Popen[bytes]:
    run_dir.mkdir()
    return subprocess.Popen([sys.executable, "-c", ORCHESTRATOR, str(run_dir), script, str(fence_grace_s)])


async def test_the_evil_tree_is_dead_after_fence_grace_when_the_orchestrator_was_killed(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    owner = orchestrator(run_dir, evil("sleep 1005")[2], fence_grace_s=0.5)
    try:
        await eventually(
            lambda: (run_dir / "output.log").exists() and b"ready" in (run_dir / "output.log").read_bytes()
        )
    finally:
        owner.kill()
        owner.wait()
    await eventually(lambda: (run_dir / "exec/1-agent/status.json").exists())
    assert alive(run_dir) == []
    finished = await attach(run_dir / "exec/1-agent")
    assert isinstance(finished, Finished)
    assert finished.outcome.reason is Reason.FENCED


async def test_a_run_is_adopted_again_and_ends_normally_when_the_orchestrator_was_killed(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    owner = orchestrator(
        run_dir, 'echo before; until test -e "$LOG.go"; do sleep 0.02; done; echo after', fence_grace_s=60
    )
    log = run_dir / "output.log"
    try:
        await eventually(lambda: log.exists() and b"before" in log.read_bytes())
    finally:
        owner.kill()
        owner.wait()
    handle = await attach(run_dir / "exec/1-agent")
    assert isinstance(handle, Handle)
    Path(f"{log}.go").touch()
    outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert outcome.ok
    assert log.read_bytes() == b"before\nafter\n"


async def test_the_evil_tree_is_dead_after_a_sweep_when_the_supervisor_was_killed(tmp_path: Path) -> None:
    script = EVIL_TREE.replace("env -i", "env") % os.getpid()  # without supervisor and without marker nobody can tell
    spec = make_spec(tmp_path, "sh", "-c", script + "sleep 1005")
    exec_dir = execution_dir(spec.marker, 1, "agent")
    handle = await start(exec_dir, spec)
    await eventually(lambda: b"ready" in spec.output.read_bytes())
    os.kill(supervisor_pid(exec_dir), signal.SIGKILL)
    outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert outcome.reason is Reason.LOST
    assert alive(spec.marker) == []
    assert isinstance(await attach(exec_dir), Gone)


async def test_a_sweep_by_run_finds_what_any_of_its_executions_left(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    children = [
        subprocess.Popen(  # noqa: ASYNC220
            ["sleep", "1006"], env={name: str(path)}
        )
        for name, path in (
            ("AUTOPACK_RUN_DIR", run_dir),
            ("AUTOPACK_RUN_DIR", tmp_path / "run-2"),
            ("OTHER", run_dir),
        )
    ]
    try:
        assert await sweep(run_dir) == 1
        assert children[0].wait(HANG_LIMIT_S) == -signal.SIGKILL
        assert [child.poll() for child in children[1:]] == [None, None]
    finally:
        for child in children:
            child.kill()
            child.wait()


async def test_a_supervisor_that_starts_after_its_directory_was_given_up_does_nothing(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "touch", str(tmp_path / "witness"))
    exec_dir = execution_dir(spec.marker, 1, "agent")
    assert await attach(exec_dir) == Gone(0)
    with pytest.raises(FailedPrecondition, match="used before"):
        await start(exec_dir, spec)
    assert not (tmp_path / "witness").exists()


async def test_a_second_supervisor_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "sleep", "1007")
    exec_dir = execution_dir(spec.marker, 1, "agent")
    handle = await start(exec_dir, spec)
    with pytest.raises(FailedPrecondition) as caught:
        await start(exec_dir, spec)
    assert caught.value.reason == "EXECUTION_EXISTS"
    await handle.cancel()
    await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)


@pytest.mark.parametrize(
    ("argv", "more", "words"),
    [
        (("no-such-program-here",), {}, "program no-such-program-here: No such file or directory"),
        (("/etc/passwd",), {}, "program /etc/passwd: Permission denied"),
        (("true",), {"cwd": Path("/no/such/directory")}, "working directory /no/such/directory: No such file"),
    ],
)
async def test_a_command_that_cannot_start_says_why(
    tmp_path: Path, argv: tuple[str, ...], more: dict[str, Any], words: str
) -> None:
    outcome = await run(tmp_path, make_spec(tmp_path, *argv, **more))
    assert outcome.reason is Reason.SPAWN_FAILED
    assert words in outcome.error


async def test_resource_limits_reach_the_command(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "sh", "-c", "ulimit -n", rlimits={"RLIMIT_NOFILE": 77})
    assert (await run(tmp_path, spec)).ok
    assert spec.output.read_bytes() == b"77\n"


async def test_300_mb_of_output_keep_memory_flat_and_are_cut_with_a_marker_and_a_tail(tmp_path: Path) -> None:
    script = "head -c 300000000 /dev/zero; echo THE END; exec sleep 1008"
    spec = make_spec(tmp_path, "sh", "-c", script, output_cap=1_000_000)
    exec_dir = execution_dir(spec.marker, 1, "agent")
    handle = await start(exec_dir, spec)

    async def all_written() -> None:
        while (progress := await handle.status()) and progress.output_bytes < 300_000_008:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    await asyncio.wait_for(all_written(), HANG_LIMIT_S)
    status = Path(f"/proc/{supervisor_pid(exec_dir)}/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    await handle.cancel()
    outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert peak_kib < 40_000
    assert (outcome.truncated, outcome.output_bytes) == (True, 300_000_008)
    kept = spec.output.read_bytes()
    assert kept.endswith(b"\n[output truncated after 1000000 bytes]\n")
    assert len(kept) < 1_000_100
    tail = Path(f"{spec.output}.tail").read_bytes()
    assert len(tail) == 65536
    assert tail.endswith(b"THE END\n")


async def test_output_that_is_not_utf8_is_kept_byte_by_byte(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "printf", r"\377\376\000caf\351")
    assert (await run(tmp_path, spec)).ok
    assert spec.output.read_bytes() == b"\xff\xfe\x00caf\xe9"


async def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    spec = make_spec(deep, "sh", "-c", "echo ready; sleep 1009")
    exec_dir = execution_dir(spec.marker, 1, "agent")
    first = await start(exec_dir, spec)
    second = await attach(exec_dir)
    assert isinstance(second, Handle)
    assert ((exec_dir / "control.sock").stat().st_mode & 0o777) == 0o600
    await first.detach()
    await second.cancel()
    assert (await asyncio.wait_for(second.wait(), HANG_LIMIT_S)).reason is Reason.CANCELLED


async def test_cancelling_the_wait_leaves_the_execution_running(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "sh", "-c", 'until test -e "$LOG.go"; do sleep 0.02; done')
    handle = await start(execution_dir(spec.marker, 1, "agent"), spec)
    waiting = asyncio.ensure_future(handle.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    progress = await handle.status()
    assert progress is not None
    assert progress.phase == "RUNNING"
    Path(f"{spec.output}.go").touch()
    assert (await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)).ok


async def test_cancelling_the_start_leaves_no_process(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "sleep", "1010")
    starting = asyncio.ensure_future(start(execution_dir(spec.marker, 1, "agent"), spec))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert alive(spec.marker) == []


async def test_sixteen_executions_at_once_each_have_their_own_result(tmp_path: Path) -> None:
    async def one(number: int) -> tuple[int, bytes]:
        spec = make_spec(tmp_path, "sh", "-c", f"echo {number}; exit {number}")
        spec = ExecutionSpec(spec.argv, spec.cwd, spec.env, spec.marker / f"{number}.log", spec.marker, HANG_LIMIT_S)
        outcome = await (await start(execution_dir(spec.marker, number, "step"), spec)).wait()
        assert outcome.exit_code is not None
        return outcome.exit_code, spec.output.read_bytes()

    results = await asyncio.gather(*(one(number) for number in range(16)))
    assert results == [(number, f"{number}\n".encode()) for number in range(16)]


async def test_a_supervisor_that_is_asked_to_stop_takes_its_tree_along(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, *evil("sleep 1005"))
    exec_dir = execution_dir(spec.marker, 1, "agent")
    handle = await start(exec_dir, spec)
    await eventually(lambda: b"ready" in spec.output.read_bytes())
    for number in (signal.SIGINT, signal.SIGHUP):  # of a terminal: not meant for it
        os.kill(supervisor_pid(exec_dir), number)
    progress = await handle.status()
    assert progress is not None
    assert progress.phase == "RUNNING"
    os.kill(supervisor_pid(exec_dir), signal.SIGTERM)
    outcome = await asyncio.wait_for(handle.wait(), HANG_LIMIT_S)
    assert outcome.reason is Reason.FENCED
    assert alive(spec.marker) == []


async def test_a_supervisor_that_cannot_write_the_output_says_so(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "true")
    spec.output.symlink_to(tmp_path / "elsewhere")  # never followed: a run could have planted it
    with pytest.raises(Internal) as caught:
        await start(execution_dir(spec.marker, 1, "agent"), spec)
    assert caught.value.reason == "SUPERVISOR_FAILED"
    assert "output.log" in caught.value.message
    assert not (tmp_path / "elsewhere").exists()


async def test_bytecode_of_an_earlier_version_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "runner.py"
    source.write_text("raise SystemExit('the old one')\n")
    py_compile.compile(str(source))
    monkeypatch.setattr(runner, "__file__", str(source))
    with pytest.raises(Internal, match="the old one"):
        await start(execution_dir(tmp_path, 1, "old"), make_spec(tmp_path, "true"))
    source.write_text("raise SystemExit('the very new one')\n")
    with pytest.raises(Internal, match="the very new one"):
        await start(execution_dir(tmp_path, 2, "new"), make_spec(tmp_path, "true"))


async def test_the_environment_does_not_stay_on_the_disk_if_no_supervisor_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    exec_dir = execution_dir(tmp_path, 1, "agent")
    with pytest.raises(FileNotFoundError):
        await start(exec_dir, make_spec(tmp_path, "true"))
    assert "spec.json" not in os.listdir(exec_dir)

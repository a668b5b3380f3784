"""The orchestrator's side of a supervised execution: start it, wait for it, cancel it, find it again after a crash.

All processes of an execution carry two variables: ``AUTOPACK_RUN_DIR`` (``ExecutionSpec.marker``, the directory of
the run, shared by all its executions) and ``AUTOPACK_EXEC_DIR`` (the directory of this execution). :func:`sweep`
accepts either, so one sweep by run finds everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from autopack_kit.errors import FailedPrecondition, Internal

from . import runner
from .control import Control, open_control
from .values import ExecutionSpec, Finished, Gone, Outcome, Progress, Reason

__all__ = ["Handle", "attach", "end_all", "execution_dir", "read_outcome", "start", "sweep"]

START_LIMIT_S = 60.0  # a new interpreter on an overloaded machine; more means that it hangs
ADOPT_LIMIT_S = 10.0  # between the supervisor's lock and its socket lie milliseconds
ADOPT_PAUSE_S = 0.02
LOOK_S = 20.0  # between questions whether a supervisor that is waited for still moves
MAX_RECORD_BYTES = 1 << 20  # status.json holds a dozen scalars and one message
SUPERVISOR_ENV = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
)  # what an interpreter may need to start; no secrets


class Handle:
    """A running execution. While the handle is open it is the lease; close it only with :meth:`detach` or by ending."""

    def __init__(self, exec_dir: Path, control: Control, process: subprocess.Popen[bytes] | None) -> None:
        self.exec_dir = exec_dir
        self._control = control
        self._process = process
        self._detached = False

    async def wait(self) -> Outcome:
        """Until the whole tree is gone. May be cancelled and called again; the execution goes on meanwhile."""
        while True:
            while not (await asyncio.wait([self._control.closed], timeout=LOOK_S))[0]:
                await self._control.ask("status")
            if self._detached:
                raise RuntimeError("this handle gave its lease back; attach to the directory to get a new one")
            killed = self._control.killed
            outcome = read_outcome(self.exec_dir)
            if outcome is None:  # the connection broke while the supervisor lives, or the supervisor was killed
                again = await attach(self.exec_dir)
                if isinstance(again, Handle):
                    self._control = again._control
                    continue
                outcome = again.outcome if isinstance(again, Finished) else Outcome(Reason.LOST, error=killed or _LOST)
            await self._reap()
            return outcome

    async def status(self) -> Progress | None:
        """What the supervisor says now; None when the execution is over."""
        return await self._control.ask("status")

    async def cancel(self) -> None:
        """End the tree (SIGTERM, grace, SIGKILL).

        Returns at once; :meth:`wait` tells when it is done. Nothing to do when over.
        """
        await self._control.ask("cancel")

    async def detach(self) -> None:
        """Give the lease back and leave the execution running:

        It is ended after ``fence_grace_s`` unless somebody attaches.
        """
        self._detached = True
        self._control.close()
        await asyncio.shield(self._control.closed)

    async def _reap(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)  # the result is written: it is exiting right now
            self._process = None


_LOST = "the supervisor of this command was killed; its processes were found by their environment and ended"


def execution_dir(run_dir: Path, number: int, name: str) -> Path:
    """``<run_dir>/exec/<number>-<name>``: every execution of a run has its own directory, used once."""
    return run_dir / "exec" / f"{number}-{name}"


async def start(exec_dir: Path, spec: ExecutionSpec) -> Handle:
    """Start ``spec`` under a new supervisor in ``exec_dir`` (created with mode 0700, used once).

    A command that cannot be started is no error here but an :class:`Outcome` with SPAWN_FAILED.

    Raises:
        FailedPrecondition: EXECUTION_EXISTS, the directory was used before or a supervisor is at work in it.
        Internal: SUPERVISOR_FAILED, the supervisor itself could not start; its own words are in the message.
    """
    exec_dir = Path(os.path.abspath(exec_dir))
    ours, theirs = socket.socketpair()
    spawning = asyncio.ensure_future(asyncio.to_thread(_spawn, exec_dir, spec, theirs))
    spawning.add_done_callback(lambda _: theirs.close())
    control: Control | None = None
    try:
        process = await asyncio.shield(spawning)
        control = await open_control(ours, process.pid)
        async with asyncio.timeout(START_LIMIT_S):
            greeting = await control.answered(control.greeting)
    except BaseException:
        # A socket that the loop watches is closed by its transport alone: closed beneath it, its number soon belongs to
        # another pipe, which the loop then takes for this one and never hears of.
        (ours if control is None else control).close()
        with contextlib.suppress(OSError, FailedPrecondition):  # what stopped us is what the caller hears about
            await asyncio.to_thread(_bury, await spawning, exec_dir)
        raise
    # A supervisor that gets to its command always greets, even if the command cannot be started; unless the command was
    # quick enough to kill it: then there is an execution, and waiting for it tells that it is lost.
    if greeting is None and await asyncio.to_thread(process.wait) >= 0:
        raise await asyncio.to_thread(_start_error, process, exec_dir)
    return Handle(exec_dir, control, process)


async def attach(exec_dir: Path) -> Handle | Finished | Gone:
    """Take an execution up again, after a crash or a restart of the orchestrator.

    ``Gone`` is final: its processes were swept, and the directory is closed so that a supervisor which is only just
    starting cannot begin to work in it.
    """
    exec_dir = Path(os.path.abspath(exec_dir))
    async with asyncio.timeout(ADOPT_LIMIT_S + runner.KILL_LIMIT_S):
        while True:
            if (outcome := read_outcome(exec_dir)) is not None:
                return Gone(0) if outcome.reason is Reason.LOST else Finished(outcome)
            if (connection := _connect(exec_dir)) is not None:
                control = await open_control(connection)
                greeting = None
                try:
                    greeting = await control.answered(control.greeting)
                finally:
                    if greeting is None:  # it ends just now, or we are interrupted: an open connection is a lease
                        control.close()
                if greeting is not None:
                    return Handle(exec_dir, control, None)
                continue
            gone = await asyncio.to_thread(_close_directory, exec_dir)
            if gone is not None:
                return gone
            await asyncio.sleep(ADOPT_PAUSE_S)


async def end_all(run_dir: Path) -> None:
    """End every execution of a run whose orchestrator is gone, also one whose supervisor is only just starting."""
    for exec_dir in sorted((run_dir / "exec").glob("*-*/")):
        if read_outcome(exec_dir) is None:
            with contextlib.suppress(TimeoutError):  # hanging in the kernel: what can be killed is swept below
                found = await attach(exec_dir)
                if isinstance(found, Handle):
                    await found.cancel()
                    await found.wait()
    await sweep(run_dir)


async def sweep(directory: Path) -> int:
    """Kill every process marked with this run or execution directory; returns how many there were."""
    return await asyncio.to_thread(runner.sweep, os.path.abspath(directory))


def read_outcome(exec_dir: Path) -> Outcome | None:
    """The result of an execution; None while there is none (or only a torn one, after a power failure)."""
    try:
        with open(exec_dir / "status.json", "rb") as file:
            record: dict[str, Any] = json.loads(file.read(MAX_RECORD_BYTES))
        limits = tuple(map(str, record.get("limits", ())))
        return Outcome(**{**record, "reason": Reason(record["reason"]), "limits": limits})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _spawn(exec_dir: Path, spec: ExecutionSpec, control: socket.socket) -> subprocess.Popen[bytes]:
    """Write the specification and start the supervisor, with ``control`` as its standard input."""
    exec_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(exec_dir / "spec.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise _exists(exec_dir) from error
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(spec.to_json())
        with open(exec_dir / "supervisor.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", _program(), str(exec_dir)],
                stdin=control.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={name: os.environ[name] for name in SUPERVISOR_ENV if name in os.environ},
            )
    except BaseException:
        _forget_spec(exec_dir)
        raise


def _forget_spec(exec_dir: Path) -> None:
    """It holds the environment, hence secrets; who was to read and delete it has not, or is not there."""
    (exec_dir / "spec.json").unlink(missing_ok=True)


def _program() -> str:
    """The compiled runner where there is one: compiling it anew for each run costs as much as running it."""
    compiled = importlib.util.cache_from_source(runner.__file__)
    return compiled if _is_current(compiled, runner.__file__) else runner.__file__


def _is_current(compiled: str, source: str) -> bool:
    """Whether it was compiled from this source: Python, given the file itself, does not look, and after an update whose
    bytecode could not be written (or must not: PYTHONDONTWRITEBYTECODE) the old one would still run."""
    try:
        with open(compiled, "rb") as file:
            header = file.read(16)  # PEP 552: magic number, flags, and the time and size or the hash of the source
        status = os.stat(source)
    except OSError:
        return False
    if header[:4] != importlib.util.MAGIC_NUMBER or len(header) < 16:
        return False
    if header[4:8] != bytes(4):
        return header[8:] == importlib.util.source_hash(Path(source).read_bytes())
    written = (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    return written == (int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:], "little"))


def _exists(exec_dir: Path) -> FailedPrecondition:
    return FailedPrecondition(
        f"The execution directory {exec_dir} was used before, or a supervisor is at work in it.",
        reason="EXECUTION_EXISTS",
        remedy="Attach to it, or start with a new directory.",
        metadata={"exec_dir": str(exec_dir)},
    )


def _start_error(process: subprocess.Popen[bytes], exec_dir: Path) -> FailedPrecondition | Internal:
    code = process.wait()
    _forget_spec(exec_dir)
    if code in (runner.EX_TEMPFAIL, runner.EX_CANTCREAT):
        return _exists(exec_dir)
    with open(exec_dir / "supervisor.log", "rb") as log:
        words = log.read(MAX_RECORD_BYTES).decode(errors="replace").strip().splitlines()
    return Internal(
        f"The supervisor ended with {code} before it began: {words[-1] if words else 'no message'}",
        reason="SUPERVISOR_FAILED",
        remedy=f"See {exec_dir / 'supervisor.log'}; check that the disk is not full and the directory is writable.",
        metadata={"exec_dir": str(exec_dir), "exit_code": str(code)},
    )


def _bury(process: subprocess.Popen[bytes], exec_dir: Path) -> None:
    """End a supervisor that nobody waits for any more, with all it may have started."""
    process.kill()
    process.wait()
    _forget_spec(exec_dir)
    runner.sweep(str(exec_dir))


def _connect(exec_dir: Path) -> socket.socket | None:
    """A connection to the supervisor in ``exec_dir``, through /proc/self/fd because UNIX addresses hold only 107
    bytes.
    """
    try:
        directory = os.open(exec_dir, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"/proc/self/fd/{directory}/control.sock")
    except OSError:
        connection.close()
        return None
    finally:
        os.close(directory)
    return connection


def _close_directory(exec_dir: Path) -> Gone | None:
    """Under the supervisor's own lock:

    Sweep, and leave a result so that nobody starts here. None while a supervisor lives.
    """
    exec_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(exec_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if read_outcome(exec_dir) is not None:
            return None
        killed = runner.sweep(str(exec_dir))
        record = runner.format_json({"reason": Reason.LOST.value, "error": _LOST, "leftover": killed})
        runner.write_atomically(str(exec_dir / "status.json"), record.encode())
        _forget_spec(exec_dir)
        return Gone(killed)
    except BlockingIOError:
        return None
    finally:
        os.close(lock)

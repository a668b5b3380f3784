"""Running one command of a run under its supervisor, with the output at the end of the attempt's log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from autopack_kit.commands import Command

from autopack_orchestrator.adapters import supervisor
from autopack_orchestrator.adapters.supervisor import ExecutionSpec, Handle, Outcome, Reason
from autopack_orchestrator.core.environment import with_tools
from autopack_orchestrator.core.model import EventKind
from autopack_orchestrator.core.secrets import hide, hide_bytes
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.execution.context import RunContext, Stop
from autopack_orchestrator.execution.isolate import confine, confined_environment
from autopack_orchestrator.execution.logs import open_plain

__all__ = [
    "AtWork",
    "Finished",
    "execute",
    "finish_or_leave",
    "launch",
    "log_header",
    "log_line",
    "log_path",
    "log_text",
    "read_output",
    "read_tail",
    "shown",
]

TAIL_BYTES = 1 << 20  # what Diagnose takes at most
HEAD_BYTES = 8 << 10  # likewise, of the beginning of a longer output
MAX_LINE = 500
SHELL_SIGNAL = 128  # added to the number of a signal (POSIX)
_SIGNALS: dict[int, str] = {
    signal.SIGXCPU: ": its CPU time was used up (limits.max_cpu_time)",
    signal.SIGXFSZ: ": it wrote a larger file than it may (limits.max_file_bytes)",
}
TERM_GRACE_S = 5.0  # agents save their session when asked to end; more would only delay a cancel


@dataclass(frozen=True, slots=True)
class Finished:
    """One command that ended.

    Attributes:
        outcome: how.
        log_start: where its output begins in the attempt's log, in bytes.
    """

    command: Command
    outcome: Outcome
    log_start: int

    @property
    def ok(self) -> bool:
        """It ended by itself with exit code 0."""
        return self.outcome.ok

    def words(self) -> str:
        """How it ended, for a person."""
        match self.outcome.reason:
            case Reason.EXITED if self.outcome.limits and not self.ok:
                return f"went over its limit of {' and '.join(self.outcome.limits)}, and {self._end()}"
            case Reason.EXITED:
                return self._end()
            case Reason.IDLE:
                return f"printed nothing for too long and was stopped after {self.outcome.duration_s:.0f} s"
            case Reason.TIMEOUT:
                return f"did not end in time and was stopped after {self.outcome.duration_s:.0f} s"
            case Reason.SPAWN_FAILED:
                return f"could not be started: {self.outcome.error}"
            case Reason.FENCED:
                return "was ended because its orchestrator was gone for too long"
            case Reason.CANCELLED:
                return "was cancelled"
            case Reason.LOST:
                return "was lost: its supervisor was killed"

    def _end(self) -> str:
        code, number = self.outcome.exit_code, self.outcome.signal
        if number is None and code is not None and SHELL_SIGNAL < code <= SHELL_SIGNAL + signal.SIGRTMAX:
            number = code - SHELL_SIGNAL  # in the sandbox a signal is an exit code, as in a shell
        if number is None:
            return f"exited with code {code}"
        how = f"was ended by signal {number}" if code is None else f"exited with code {code}, as after signal {number}"
        return how + _SIGNALS.get(number, "")


async def execute(ctx: RunContext, name: str, command: Command, *, timeout_s: float) -> Finished:
    """Run ``command`` to its end and report it as an event.

    When the run is interrupted, the whole process tree is ended before this returns.
    """
    start = await asyncio.to_thread(log_header, ctx, name, command)
    handle = await launch(ctx, name, command, timeout_s=timeout_s)
    finished = Finished(command, await finish(handle), start)
    outcome = finished.outcome
    if outcome.reason is Reason.SPAWN_FAILED:
        await asyncio.to_thread(log_line, ctx, finished.words())
    await ctx.event(
        EventKind.COMMAND,
        f"{shown(command)} {finished.words()}",
        name=name,
        command=shown(command),
        cwd=command.cwd,
        outcome=outcome.reason.value.lower(),
        exit_code="" if outcome.exit_code is None else outcome.exit_code,
        seconds=f"{outcome.duration_s:.3f}",
        leftover=outcome.leftover,
        limits=",".join(outcome.limits),
    )
    return finished


async def launch(
    ctx: RunContext, name: str, command: Command, *, timeout_s: float, idle_timeout_s: float = 0.0
) -> Handle:
    """Start ``command`` under a new supervisor, confined as its batch asks for."""
    number = await asyncio.to_thread(_next_number, ctx.directory)
    exec_dir = supervisor.execution_dir(ctx.directory, number, name)
    cwd = ctx.workspace / command.cwd
    argv, files = command.argv, tuple[Path, ...]()
    if command.script is not None:
        script = exec_dir.parent / f"{number}-{name}.script"
        await asyncio.to_thread(_write, script, command.script.text)
        argv, files = (*command.script.interpreter, str(script)), (script,)
    confined = await confine(ctx, cwd, files)
    environment = environment_at(ctx, command.cwd)
    if confined.sandbox:
        environment = confined_environment(ctx.host, environment)
    timeout = command.timeout.total_seconds() if command.timeout is not None else timeout_s
    return await supervisor.start(
        exec_dir,
        ExecutionSpec(
            argv=argv,
            cwd=cwd,
            env={**environment, **command.env},
            output=log_path(ctx),
            marker=ctx.directory,
            timeout_s=timeout,
            term_grace_s=TERM_GRACE_S,
            fence_grace_s=ctx.settings.fence_grace.total_seconds(),
            output_cap=ctx.settings.output_cap_bytes,
            idle_timeout_s=idle_timeout_s,
            sandbox=confined.sandbox,
            cgroups=confined.cgroups,
            rlimits=confined.rlimits,
            secrets=ctx.secrets,
        ),
    )


async def finish(handle: Handle) -> Outcome:
    """Wait for an execution; when interrupted, end it first."""
    try:
        return await handle.wait()
    except asyncio.CancelledError:
        await handle.cancel()
        await handle.wait()
        raise


class AtWork(Protocol):
    """What is attended: a supervised command, or an agent elsewhere."""

    async def wait(self) -> Outcome:
        """Until it has ended; may be cancelled and called again."""

    async def cancel(self) -> None:
        """End it; :meth:`wait` then returns."""

    async def detach(self) -> None:
        """Leave it to itself, for whoever takes it up."""


async def finish_or_leave(ctx: RunContext, handle: AtWork) -> Outcome:
    """As :func:`finish`, but what is interrupted because the run is handed off works on, for whoever takes it up."""
    try:
        return await handle.wait()
    except asyncio.CancelledError:
        if ctx.stop is Stop.HAND_OFF:
            await handle.detach()
        else:
            await handle.cancel()
            await handle.wait()
        raise


def environment_at(ctx: RunContext, cwd: str) -> dict[str, str]:
    """The run's environment with the tools that are installed at ``cwd`` or above it in the workspace."""
    virtualenv: Path | None = None
    bins: list[Path] = []
    directory = ctx.workspace / cwd
    while True:
        if virtualenv is None and (directory / ".venv" / "bin" / "python").exists():
            virtualenv = directory / ".venv"
        if (directory / "node_modules" / ".bin").is_dir():
            bins.append(directory / "node_modules" / ".bin")
        if directory == ctx.workspace or ctx.workspace not in directory.parents:
            break
        directory = directory.parent
    return with_tools(ctx.variables, virtualenv, bins)


def log_path(ctx: RunContext) -> Path:
    """The log of the run's current attempt."""
    return ctx.directory / "log"


def log_header(ctx: RunContext, name: str, command: Command) -> int:
    """Write a line that announces a command; returns where its output will begin."""
    place = "" if command.cwd in ("", ".") else f" (in {command.cwd})"
    return log_line(ctx, f"{name}: {shown(command)}{place}")


def log_text(ctx: RunContext, text: str) -> None:
    """Write what an agent elsewhere printed. Blocking."""
    with open_plain(log_path(ctx), append=True) as file:
        end = b"" if text.endswith("\n") else b"\n"
        file.write(hide_bytes(text.encode(errors="replace"), ctx.secrets) + end)


def log_line(ctx: RunContext, text: str) -> int:
    """Write a line of ours; returns the size of the log after it. Blocking."""
    with open_plain(log_path(ctx), append=True) as file:
        file.write(f"[autopack] {hide(text, ctx.secrets)}\n".encode(errors="surrogateescape"))
        return file.tell()


def shown(command: Command) -> str:
    """A command as it stands in messages: scripts and long lines are cut."""
    return clean(command.line(), MAX_LINE)


def read_tail(ctx: RunContext, finished: Finished) -> bytes:
    """The end of what a command printed, at most 1 MiB. Blocking."""
    path = log_path(ctx)
    tail = path.with_name(path.name + ".tail")
    try:
        with open_plain(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(finished.log_start, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
        # The supervisor keeps the end of an output that it had to cut in a file of its own.
        if finished.outcome.truncated:
            with open_plain(tail) as file:
                data = (data + b"\n" + file.read(TAIL_BYTES))[-TAIL_BYTES:]
    except FileNotFoundError:
        return b""
    return data


def read_output(ctx: RunContext, finished: Finished) -> tuple[bytes, bytes, int]:
    """What a command printed: its end (at most 1 MiB), the beginning of a longer one (8 KiB), and the number of the
    end's first line, 0 if it is not known. Blocking."""
    output = read_tail(ctx, finished)
    head, first_line = b"", 0
    with contextlib.suppress(FileNotFoundError), open_plain(log_path(ctx)) as file:
        size = file.seek(0, os.SEEK_END)
        if finished.outcome.truncated or size - finished.log_start > TAIL_BYTES:
            file.seek(finished.log_start)
            head = file.read(HEAD_BYTES)
            if not finished.outcome.truncated:
                file.seek(finished.log_start)
                first_line = 1 + _lines(file, size - TAIL_BYTES - finished.log_start)
    return output, head, first_line


def _lines(file: BinaryIO, left: int) -> int:
    count = 0
    while left > 0 and (chunk := file.read(min(left, TAIL_BYTES))):
        count += chunk.count(b"\n")
        left -= len(chunk)
    return count


def _next_number(directory: Path) -> int:
    executions = directory / "exec"
    executions.mkdir(parents=True, exist_ok=True, mode=0o700)
    numbers = [int(entry.name.partition("-")[0]) for entry in executions.iterdir() if entry.name[0].isdigit()]
    return max(numbers, default=0) + 1


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text)
    path.chmod(0o600)

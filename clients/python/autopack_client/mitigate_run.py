"""How the applier runs a command. A caller with a supervisor of its own passes that instead."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from autopack_kit.commands import Command

__all__ = ["NOT_EXECUTABLE", "LocalRunner", "Ran", "Runner", "complaint"]

NOT_FOUND = 127
"""What a shell exits with when there is no such program (POSIX 2.8.2)."""
NOT_EXECUTABLE = 126
"""What it exits with when the program is there and may not be executed."""
INSTALL_TIMEOUT_S = 900.0
"""Seconds for one command when it brings no timeout of its own: a cold install of a large front end takes minutes."""
MAX_OUTPUT_BYTES = 16 << 20
"""Bytes kept of the beginning of one command's output, so that the command is never blocked and no disk is filled."""
MAX_TAIL_BYTES = 1 << 20
"""Bytes kept of the end of a longer one: what Diagnose takes. What is between is read and dropped."""
CHUNK_BYTES = 64 << 10
MAX_SHEBANG_BYTES = 256
"""Bytes that Linux reads of a script's first line (BINPRM_BUF_SIZE)."""
TERM_GRACE_S = 2.0
"""Seconds between asking an interrupted command to end and killing it."""
DEATH_S = 2.0
"""Seconds in which killed processes are gone; one that the kernel holds, or that nobody reaps, is not waited for."""
DEATH_POLL_S = 0.005
"""Seconds between two looks whether they are."""
DRAIN_S = 5.0
"""Seconds for the rest of the output once the command has ended; a child that left the group may hold the pipe."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended.

    Attributes:
        command: what ran.
        exit_code: its exit code; the negative signal if one ended it.
        output: the file with its output, stdout and stderr as they came.
        timed_out: it was killed because its time was over.
        dropped: the output was longer than what is kept of it, and its end follows a line that says so.
        started: there was such a program.
        lines_off: what the number of a line behind the dropped part is higher by than it is in the file.
    """

    command: Command
    exit_code: int
    output: Path
    timed_out: bool = False
    dropped: bool = False
    started: bool = True
    lines_off: int = 0


class Runner(Protocol):
    """Runs one command to its end."""

    async def run(self, command: Command, cwd: Path) -> Ran:
        """Runs ``command`` in the absolute directory ``cwd``. When cancelled, nothing of it is left running."""


class LocalRunner:
    """Runs commands as children of this process, each in a session of its own that is killed as a whole.

    For a person's own machine: a child that leaves its session on purpose survives. The orchestrator has a supervisor
    that leaves none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = INSTALL_TIMEOUT_S,
        echo: BinaryIO | None = None,
    ):
        """Args:
        directory: where outputs are written; must exist.
        env: environment of the commands; default: this process's own.
        timeout: seconds for a command that brings no timeout; None = as long as it takes.
        echo: where outputs are shown as they come; once that is closed, nothing is shown any more.
        """
        self._directory = directory
        self._env = dict(os.environ if env is None else env)
        self._timeout = timeout
        self._echo = echo

    async def run(self, command: Command, cwd: Path) -> Ran:
        """Runs ``command`` in ``cwd``. A program that does not exist exits 127, one that may not be executed 126, each
        with what a shell would print, which patterns know."""
        descriptor, name = tempfile.mkstemp(prefix="output-", suffix=".log", dir=self._directory)
        with os.fdopen(descriptor, "wb") as output:
            argv = _argv(command, Path(name))
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    cwd=cwd,
                    env={**self._env, **command.env},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                exit_code, words = complaint(argv[0], cwd, error.strerror or str(error))
                output.write(words.encode("utf-8", "replace"))
                return Ran(command, exit_code, Path(name), started=exit_code == NOT_EXECUTABLE)
            return await self._finish(command, process, output, Path(name))

    async def _finish(self, command: Command, process: asyncio.subprocess.Process, output: BinaryIO, path: Path) -> Ran:
        timeout = command.timeout.total_seconds() if command.timeout is not None else self._timeout
        assert process.stdout is not None
        timed_out = False
        kept = _Kept(output, self._echo)
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(_pump(process.stdout, kept))
            try:
                async with asyncio.timeout(timeout):
                    await process.wait()
            except TimeoutError:
                timed_out = True
            except asyncio.CancelledError:
                await _ask_to_end(process)
                raise
            finally:
                await _end(process)
            exit_code = await process.wait()
            _, rest = await asyncio.wait([pump], timeout=DRAIN_S)
            for task in rest:
                task.cancel()
        kept.finish()
        return Ran(command, exit_code, path, timed_out, kept.dropped, lines_off=kept.lines_off)


_DROPPED = b"\n[the middle of the output was dropped]\n"


class _Kept:
    """The beginning of an output in a file, and its end in memory until it is complete."""

    def __init__(self, file: BinaryIO, echo: BinaryIO | None) -> None:
        self._file = file
        self._echo = echo
        self._written = 0
        self._rest: deque[bytes] = deque()
        self._rest_size = 0
        self._lines_gone = 0
        self.dropped = False

    @property
    def lines_off(self) -> int:
        """Lines that were dropped, less those of the note in their place."""
        return self._lines_gone - _DROPPED.count(b"\n") if self.dropped else 0

    def add(self, chunk: bytes) -> None:
        """The next part of the output. Blocking while the echo is."""
        if self._echo is not None:
            try:
                self._echo.write(chunk)
                self._echo.flush()
            except OSError:  # whoever read it has gone, as with `| head`
                self._echo = None
        room = max(0, MAX_OUTPUT_BYTES - self._written)
        if room:
            self._file.write(chunk[:room])
            self._file.flush()
            self._written += len(chunk[:room])
        if chunk[room:]:
            self._rest.append(chunk[room:])
            self._rest_size += len(chunk) - room
        while self._rest_size - len(self._rest[0] if self._rest else b"") >= MAX_TAIL_BYTES:
            gone = self._rest.popleft()
            self._rest_size -= len(gone)
            self._lines_gone += gone.count(b"\n")
            self.dropped = True

    def finish(self) -> None:
        """Writes the end behind the beginning."""
        if self.dropped:
            self._file.write(_DROPPED)
        self._file.write(b"".join(self._rest))
        self._file.flush()


async def _pump(stream: asyncio.StreamReader, kept: _Kept) -> None:
    while chunk := await stream.read(CHUNK_BYTES):
        await asyncio.to_thread(kept.add, chunk)


async def _ask_to_end(process: asyncio.subprocess.Process) -> None:
    """Lets an interrupted command put away what it must; its caller kills what is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(TERM_GRACE_S):
            await process.wait()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills what is left of a command's group, and sees it gone: what a killed process still does is not overtaken."""
    # The group outlives its leader as long as it has a member, and its number is not given away before.
    # macOS answers PermissionError for a group of dead members.
    with suppress(ProcessLookupError, PermissionError, TimeoutError):
        os.killpg(process.pid, signal.SIGKILL)
        async with asyncio.timeout(DEATH_S):
            await process.wait()
            while True:
                os.killpg(process.pid, 0)
                await asyncio.sleep(DEATH_POLL_S)


def complaint(program: str, directory: Path, reason: str) -> tuple[int, str]:
    """What sh and bash exit with, and print, when a program cannot be started.

    Args:
        program: as it was called.
        directory: in which it was called.
        reason: as ``strerror`` words it.
    """
    if not directory.is_dir():
        return 1, f"sh: line 1: cd: {directory}: {reason}\n"
    if reason == os.strerror(errno.EACCES):
        return NOT_EXECUTABLE, f"sh: 1: {program}: {reason}\n"
    is_missing = reason == os.strerror(errno.ENOENT)
    if is_missing and "/" not in program:
        return NOT_FOUND, f"sh: 1: {program}: not found\n"
    beginning = b""
    with suppress(OSError), (directory / program).open("rb") as file:
        beginning = file.readline(MAX_SHEBANG_BYTES)
    # A carriage return before the line end belongs to the name, and is why there is no such program.
    words = re.split(rb"[ \t]+", beginning[2:].strip(b" \t\n")) if is_missing and beginning.startswith(b"#!") else []
    named = "".join(f"{word.decode(errors='replace')}: bad interpreter: " for word in words[:1] if word)
    named = named.replace("\r", "^M")
    return NOT_FOUND, f"sh: line 1: {program}: {named}{reason}\n"


def _argv(command: Command, output: Path) -> tuple[str, ...]:
    """The words to execute; a script is written beside its output and given to its interpreter by path."""
    if command.script is None:
        return command.argv
    script = output.with_suffix(".script")
    script.write_text(command.script.text, "utf-8")
    return (*command.script.interpreter, str(script))

"""One way to run git: bounded in time and output, never interactive, and never running what a repository asks for.

What a repository could make git execute, and what stops it here: hooks (``core.hooksPath``), the file system monitor
(``core.fsmonitor``), automatic maintenance, external diffs and text conversions (the callers pass ``--no-ext-diff
--no-textconv``), editors and prompts (environment), remote helpers (``protocol.ext.allow``), signing programs. What
remains are the filter drivers of a configuration file that an agent can write: commands that read or write a work
tree therefore use a git directory of our own (see :mod:`.mirror`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autopack_kit.errors import AutopackError, DeadlineExceeded, Internal, ResourceExhausted

from .left_locks import lift

__all__ = ["GitError", "GitResult", "run_git"]

DEFAULT_TIMEOUT_S = 120.0  # far above any command on metadata; checkouts, clones and fetches name their own
DEFAULT_MAX_OUTPUT = 64 << 20  # the list of changed paths of 100,000 files is 10 MB
MAX_STDERR = 64 << 10  # its end is what counts
KILL_LIMIT_S = 10.0
LOCK_TRIES = 4  # a command may meet several lock files of a git that was killed: HEAD's, a branch's, the packed list's
FILE_POLL_S = 0.1  # how often the size of an output file is looked at

SAFE_FLAGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.quotePath=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.ext.allow=never",
    "fetch.prune=false",
    "fetch.pruneTags=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "submodule.recurse=false",
    "commit.gpgSign=false",
    "core.alternateRefsCommand=true",
    "advice.detachedHead=false",
)
_CONFIG = tuple(word for flag in SAFE_FLAGS for word in ("-c", flag))
# git looks for these two below the home directory whatever the configuration: with them, what a run changed would
# depend on whose machine it ran on.
_NO_USER_FILES = ("-c", "core.excludesFile=/dev/null", "-c", "core.attributesFile=/dev/null")
_INHERITED = ("PATH", "HOME", "XDG_CONFIG_HOME", "TMPDIR", "SSH_AUTH_SOCK", "SUDO_UID", "LD_LIBRARY_PATH")
_FIXED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "GIT_EDITOR": "true",
    "GIT_PAGER": "cat",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C.UTF-8",
}
_NO_USER_CONFIG = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_ATTR_NOSYSTEM": "1"}


@dataclass(frozen=True, slots=True)
class GitResult:
    """What a git command answered; ``error`` is the last line of its stderr."""

    returncode: int
    stdout: bytes
    stderr: str

    @property
    def error(self) -> str:
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"git ended with {self.returncode} without a message"

    @property
    def text(self) -> str:
        """stdout without the last line break."""
        return os.fsdecode(self.stdout).removesuffix("\n")


class GitError(Internal):
    """A git command failed in a way that no caller foresaw."""

    def __init__(self, args: Sequence[str], result: GitResult) -> None:
        self.result = result
        super().__init__(
            f"git {_label(args)} failed: {result.error}",
            reason="GIT_FAILED",
            remedy="Check that the disk is not full and that the repository is intact (git fsck).",
            metadata={"command": _label(args), "exit_code": str(result.returncode)},
        )


async def run_git(
    *args: str,
    cwd: Path | None = None,
    git_dir: Path | None = None,
    work_tree: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    stdout: Path | None = None,
    user_config: bool = False,
    check: bool = True,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    max_output: int = DEFAULT_MAX_OUTPUT,
    pass_fd: int | None = None,
    config: Sequence[str] = (),
) -> GitResult:
    """Run ``git <safe flags> <args>`` and return what it answered.

    Args:
        git_dir, work_tree: given explicitly, so that no ``.git`` file in a work tree (which its agent can write) is
        followed.
        stdout: write the output straight to this new file instead of returning it.
        user_config: read the system's and the user's own git configuration, ignored files and attributes: only where
            the user's repository is touched, because that is where credentials and ``safe.directory`` are needed.
        check: raise :class:`GitError` unless the exit code is 0.
        pass_fd: the mirror's lock, which the command inherits, so that it stays held until git has ended even if we are
            killed. Under it, lock files that a killed git left in the mirror are removed.
        config: further ``name=value`` of configuration, which beat every file.

    Raises:
        GitError: see ``check``.
        DeadlineExceeded: GIT_TIMEOUT. ResourceExhausted: GIT_OUTPUT_TOO_LARGE. In both cases git and its helpers are
        dead.
    """
    command = [
        "git",
        *_CONFIG,
        *(() if user_config else _NO_USER_FILES),
        *(word for flag in config for word in ("-c", flag)),
    ]
    command += [f"--git-dir={git_dir}"] if git_dir else []
    command += [f"--work-tree={work_tree}"] if work_tree else []
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment = {**inherited, **_FIXED, **({} if user_config else _NO_USER_CONFIG), **(env or {})}
    place = cwd or work_tree or git_dir or Path("/")
    for left in reversed(range(LOCK_TRIES)):
        result = await _once(
            [*command, *args], place, environment, stdin, stdout, timeout_s, max_output, pass_fd, _label(args)
        )
        if result.returncode == 0 or not left or pass_fd is None or stdout is not None:
            break
        if not await lift(result.stderr, place, pass_fd):
            break
    if check and result.returncode != 0:
        raise GitError(args, result)
    return result


async def _once(
    command: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes,
    stdout: Path | None,
    timeout_s: float,
    max_output: int,
    pass_fd: int | None,
    label: str,
) -> GitResult:
    target = await asyncio.to_thread(open, stdout, "xb") if stdout else None
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=target or asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            pass_fds=() if pass_fd is None else (pass_fd,),
        )
    finally:
        if target:
            target.close()
    try:
        async with asyncio.timeout(timeout_s):
            return await _communicate(label, process, stdin, stdout, max_output)
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"git {label} did not end within {timeout_s:g} s.",
            reason="GIT_TIMEOUT",
            remedy="Check the disk and whether another program holds a lock in the repository.",
            metadata={"command": label},
        ) from error
    finally:
        await _end(process)


async def _communicate(
    label: str, process: asyncio.subprocess.Process, stdin: bytes, file: Path | None, limit: int
) -> GitResult:
    """Feed and read all streams at once, within bounds."""
    try:
        async with asyncio.TaskGroup() as group:
            output = group.create_task(_read(process.stdout, limit))
            errors = group.create_task(_read_end(process.stderr))
            group.create_task(_feed(process.stdin, stdin))
            group.create_task(_watch(process, file, limit))
    except* _TooLarge as error:
        raise ResourceExhausted(
            f"git {label} wrote more than {limit} bytes.",
            reason="GIT_OUTPUT_TOO_LARGE",
            remedy="Keep large generated files out of the repository, or ignore them.",
            metadata={"command": label, "limit": str(limit)},
        ) from error
    assert process.returncode is not None
    return GitResult(process.returncode, output.result(), errors.result())


class _TooLarge(AutopackError):
    def __init__(self) -> None:
        super().__init__("too large", reason="GIT_OUTPUT_TOO_LARGE")


async def _read(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    chunks, size = [], 0
    while stream is not None and (chunk := await stream.read(1 << 16)):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise _TooLarge
    return b"".join(chunks)


async def _read_end(stream: asyncio.StreamReader | None) -> str:
    kept = b""
    while stream is not None and (chunk := await stream.read(1 << 16)):
        kept = (kept + chunk)[-MAX_STDERR:]
    return kept.decode(errors="replace")


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # git ended early: its exit code tells why
        stream.write(data)
        await stream.drain()
    stream.close()


async def _watch(process: asyncio.subprocess.Process, file: Path | None, limit: int) -> None:
    while file is not None:
        if file.stat().st_size > limit:
            raise _TooLarge
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FILE_POLL_S):
                await process.wait()
                break
    await process.wait()
    if file is not None and file.stat().st_size > limit:
        raise _TooLarge


async def _end(process: asyncio.subprocess.Process) -> None:
    """Nothing of a command outlives its call, whatever ended it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_LIMIT_S):
                await process.wait()


def _label(args: Sequence[str]) -> str:
    """The subcommand, for messages."""
    return " ".join(args[:2])[:80]

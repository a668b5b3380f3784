"""What is supervised, and how it ended."""

from __future__ import annotations

import json
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

__all__ = ["ExecutionSpec", "Finished", "Gone", "Outcome", "Progress", "Reason"]

DEFAULT_OUTPUT_CAP = 64 << 20  # a test suite with full traces; what goes beyond is read by nobody
DEFAULT_TERM_GRACE_S = 5.0
DEFAULT_FENCE_GRACE_S = 120.0  # one host: time enough for a restart of the orchestrator to take its runs up again


class Reason(StrEnum):
    """Why an execution is over."""

    EXITED = "EXITED"  # by itself: see exit_code or signal
    TIMEOUT = "TIMEOUT"
    IDLE = "IDLE"  # printed nothing for idle_timeout_s
    CANCELLED = "CANCELLED"
    FENCED = "FENCED"  # no orchestrator took the run up within fence_grace_s, or the host is shutting down
    SPAWN_FAILED = "SPAWN_FAILED"  # never ran: no such program or directory; see error
    LOST = "LOST"  # the supervisor itself was killed; its processes were swept


@dataclass(frozen=True, slots=True)
class ExecutionSpec:
    """One command to supervise.

    Attributes:
        argv: program (looked up in ``env["PATH"]``) and arguments.
        cwd: existing directory.
        env: the whole environment; nothing is inherited.
        output: file that receives stdout and stderr; its last 64 KiB are in ``<output>.tail`` when it was cut.
        marker: directory of the run, the value of ``AUTOPACK_RUN_DIR`` in all its processes.
        timeout_s: seconds after which the tree is ended.
        idle_timeout_s: seconds without output after which the tree is ended; 0 = never.
        sandbox: the words that start bubblewrap, before its ``--``; empty = without a sandbox. In one, a command that a
            signal ended has the exit code 128 + its number, as in a shell.
        cgroups: control groups to make for this execution, each with its limits (file -> content); it runs in all.
        term_grace_s: seconds between SIGTERM and SIGKILL.
        fence_grace_s: seconds without any orchestrator after which the tree is ended.
        output_cap: bytes of output kept; a line marks the cut.
        secrets: what is masked in the output, each replaced by as many asterisks.
        rlimits: names of the ``resource`` module (``RLIMIT_NOFILE``) -> limit, lowered to the hard limit where that
        is less.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    output: Path
    marker: Path
    timeout_s: float
    term_grace_s: float = DEFAULT_TERM_GRACE_S
    fence_grace_s: float = DEFAULT_FENCE_GRACE_S
    output_cap: int = DEFAULT_OUTPUT_CAP
    rlimits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    idle_timeout_s: float = 0.0
    sandbox: tuple[str, ...] = ()
    cgroups: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.argv or any("\0" in word for word in (*self.argv, *self.env, *self.env.values())):
            raise ValueError("argv must not be empty, and neither argv nor env may contain NUL")
        if unknown := [name for name in self.rlimits if not (name.startswith("RLIMIT_") and hasattr(resource, name))]:
            raise ValueError(f"unknown resource limits: {', '.join(unknown)}")

    def to_json(self) -> str:
        """The content of ``spec.json``."""
        record = {
            "argv": list(self.argv),
            "cwd": str(self.cwd),
            "env": dict(self.env),
            "output": str(self.output),
            "marker": str(self.marker),
            "timeout_s": float(self.timeout_s),
            "term_grace_s": float(self.term_grace_s),
            "fence_grace_s": float(self.fence_grace_s),
            "output_cap": int(self.output_cap),
            "rlimits": dict(self.rlimits),
            "idle_timeout_s": float(self.idle_timeout_s),
            "sandbox": list(self.sandbox),
            "cgroups": {path: dict(files) for path, files in self.cgroups.items()},
            "secrets": list(self.secrets),
        }
        return json.dumps(record, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended.

    Attributes:
        exit_code: of the command itself; None when it was ended by a signal or never reaped.
        signal: number of the signal that ended the command.
        error: what went wrong beside the command (it could not be started; its output could not be written).
        limits: which limits of its control groups ended or refused something: "memory", "processes".
        leftover: processes of the tree, beside the command itself, that had to be ended.
        survivors: processes that even SIGKILL did not end within 10 s (hanging in the kernel, or of another user).
        started_at, finished_at: seconds since the epoch; ``duration_s`` is monotonic.
        output_bytes: bytes written by the command, kept or not.
        max_rss_bytes: resident memory of the largest process; cpu_s: user and system time of the whole tree.
    """

    reason: Reason
    exit_code: int | None = None
    signal: int | None = None
    error: str = ""
    limits: tuple[str, ...] = ()
    leftover: int = 0
    survivors: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    duration_s: float = 0.0
    output_bytes: int = 0
    truncated: bool = False
    max_rss_bytes: int = 0
    cpu_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Ended by itself with exit code 0."""
        return self.reason is Reason.EXITED and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What a living supervisor says about its command."""

    phase: str
    pid: int
    cancelled: bool
    elapsed_s: float
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Nobody is at work, and the result is known."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Gone:
    """Nobody is at work, and there is no result:

    Never started, or the supervisor was killed. ``killed`` processes were swept.
    """

    killed: int

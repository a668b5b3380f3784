"""What the commands of a run may see, reach and use: the wishes of a batch, and what becomes of them on this host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

__all__ = [
    "Isolation",
    "Limits",
    "Network",
    "SandboxMode",
    "check_limits",
    "resource_limits",
]

MAX_TIME = timedelta(hours=24)
MIN_MEMORY = 16 << 20  # a shell and its first child
MIN_FILE = 1 << 20
MIN_PROCESSES, MAX_PROCESSES = 8, 1_000_000
MIN_OPEN_FILES, MAX_OPEN_FILES = 16, 1 << 20
MAX_BYTES = 1 << 60  # the kernel's own counters end soon after
DEFAULT_PROCESSES = 4096  # browsers and test suites with a worker per core need hundreds; a fork bomb ends here
DEFAULT_FILE_BYTES = 32 << 30  # far above what a build writes, far below what fills a large disk with one mistake
MEMORY_SHARE = 0.8  # of the host: the rest is for the orchestrator, so that it is not what the kernel ends


class SandboxMode(Enum):
    """Whether commands run in a sandbox."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


class Network(Enum):
    """Whether commands reach the network."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a batch asks for; ``sandbox`` None = as the orchestrator's setting says."""

    sandbox: SandboxMode | None = None
    network: Network = Network.ON


@dataclass(frozen=True, slots=True)
class Limits:
    """What each command may use; None = the default. See ``autopack.orchestrator.v1.Limits``."""

    max_memory_bytes: int | None = None
    max_processes: int | None = None
    max_file_bytes: int | None = None
    max_open_files: int | None = None
    max_cpu_time: timedelta | None = None


def check_limits(limits: Limits) -> Iterator[tuple[str, str]]:
    """Every limit that is out of range, as field and problem."""
    for field, value, least, most in (
        ("max_memory_bytes", limits.max_memory_bytes, MIN_MEMORY, MAX_BYTES),
        ("max_processes", limits.max_processes, MIN_PROCESSES, MAX_PROCESSES),
        ("max_file_bytes", limits.max_file_bytes, MIN_FILE, MAX_BYTES),
        ("max_open_files", limits.max_open_files, MIN_OPEN_FILES, MAX_OPEN_FILES),
    ):
        if value is not None and not least <= value <= most:
            yield f"limits.{field}", f"must be from {least} to {most}; leave it out for the default"
    if limits.max_cpu_time is not None and not timedelta(seconds=1) <= limits.max_cpu_time <= MAX_TIME:
        yield "limits.max_cpu_time", "must be from 1 s to 24 h; leave it out for no limit"


def resource_limits(limits: Limits, *, memory_in_group: bool, processes_in_group: bool) -> dict[str, int]:
    """The limits of single processes: those that no control group holds are the second best here.

    Memory as RLIMIT_DATA, not RLIMIT_AS: runtimes such as those of JavaScript, Go and Java reserve address space by the
    terabyte, and only what is writable is used.
    """
    found = {"RLIMIT_FSIZE": limits.max_file_bytes or DEFAULT_FILE_BYTES, "RLIMIT_CORE": 0}
    if limits.max_open_files is not None:
        found["RLIMIT_NOFILE"] = limits.max_open_files
    if limits.max_cpu_time is not None:
        found["RLIMIT_CPU"] = max(1, round(limits.max_cpu_time.total_seconds()))
    if limits.max_memory_bytes is not None and not memory_in_group:
        found["RLIMIT_DATA"] = limits.max_memory_bytes
    if limits.max_processes is not None and not processes_in_group:
        found["RLIMIT_NPROC"] = limits.max_processes
    return found

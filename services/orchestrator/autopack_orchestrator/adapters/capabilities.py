"""What ``GetCapabilities`` tells: what was probed at the start, and what is looked up when asked."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autopack_orchestrator.adapters.host import Host

__all__ = ["Capabilities", "InstalledAgent", "capabilities"]

GIT_TIMEOUT_S = 10.0  # it prints one line
MAX_PARENTS = 4  # from a program to the manifest of its package
MAX_MANIFEST_BYTES = 1 << 20
RLIMITS = ("RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC")
_VERSION = re.compile(r"\d+(?:\.\d+){1,3}")


@dataclass(frozen=True, slots=True)
class InstalledAgent:
    """A known agent whose program is on the PATH; see ``AgentCapability``."""

    name: str
    path: str
    version: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """See ``GetCapabilitiesResponse``."""

    host: Host
    rlimits: tuple[str, ...]
    pidfd: bool
    git_version: str
    free_disk_bytes: int
    agents: tuple[InstalledAgent, ...]
    notes: tuple[str, ...]


def capabilities(host: Host, root: Path, programs: Mapping[str, str], path: str) -> Capabilities:
    """Look at everything that can change while the server runs. Blocks: some milliseconds, and git's start.

    Args:
        host: what was probed.
        root: where worktrees and logs are kept.
        programs: of the known agents, by their names.
        path: where programs are searched.
    """
    agents = [
        InstalledAgent(name, found, _package_version(Path(found)))
        for name, program in sorted(programs.items())
        if (found := shutil.which(program, path=path))
    ]
    return Capabilities(
        host=host,
        rlimits=tuple(name for name in RLIMITS if hasattr(resource, name)),
        pidfd=_pidfd(),
        git_version=_git_version(),
        free_disk_bytes=shutil.disk_usage(root).free,
        agents=tuple(agents),
        notes=tuple(_notes(host)),
    )


def _notes(host: Host) -> list[str]:
    notes = []
    if not host.sandbox.available:
        notes.append(
            "Without the sandbox a run can read and write whatever the user of this server can, and talk to this "
            "server as its owner."
        )
    if host.cgroups.processes is None:
        binds = "does not bind root" if os.geteuid() == 0 else "counts all processes of the user"
        notes.append(f"max_processes is RLIMIT_NPROC here, which {binds}, and has no default.")
    if host.cgroups.memory is None:
        notes.append("max_memory_bytes is RLIMIT_DATA here, for each process by itself, and has no default.")
    return notes


def _pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _git_version() -> str:
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, timeout=GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search(done.stdout[:200].decode(errors="replace"))
    return found[0] if found else ""


def _package_version(program: Path) -> str:
    """From the ``package.json`` above an npm program: starting an agent to ask it costs seconds."""
    for parent in list(program.resolve().parents)[:MAX_PARENTS]:
        manifest = parent / "package.json"
        try:
            with open(manifest, "rb") as file:
                version = json.loads(file.read(MAX_MANIFEST_BYTES)).get("version")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(version, str):
            return version[:40]
    return ""

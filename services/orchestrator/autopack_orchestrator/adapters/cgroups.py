"""Control groups of supervised commands, where this process may make some: found out by trying."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autopack_orchestrator.core.isolation import DEFAULT_PROCESSES, MEMORY_SHARE, Limits

__all__ = ["Cgroups", "probe"]

NAME = "autopack"
SANDBOX_PROCESSES = 3  # bubblewrap, the first process of the namespace, the shell: not the command's
DELEGATE = (
    "Run Autopack as root, or give it control groups of its own: "
    "systemd-run --user --scope -p Delegate=yes autopack ..."
)
SWEEP_AGE_S = 600.0  # between making a group and entering it lies the start of one supervisor
SERVER = "autopack-server"  # version 2: a group that hands controllers down has no processes of its own


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where groups can be made.

    Attributes:
        version: 1, 2, or 0 for none.
        memory, processes: our group of the controller; None where it cannot be used. In version 2 they are the same.
        problem: why not all of it.
    """

    version: int = 0
    memory: Path | None = None
    processes: Path | None = None
    host_memory: int = 0
    problem: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def groups(self, limits: Limits, *, sandboxed: bool) -> dict[str, dict[str, str]]:
        """The groups of one more execution with their limits."""
        name = f"run-{int(time.time())}-{secrets.token_hex(8)}"
        found: dict[str, dict[str, str]] = {}
        if self.memory is not None:
            memory = limits.max_memory_bytes or int(self.host_memory * MEMORY_SHARE)
            found.setdefault(str(self.memory / name), {})[self.files["memory"]] = str(memory)
            if "swap" in self.files:
                found[str(self.memory / name)][self.files["swap"]] = str(memory) if self.version == 1 else "0"
        if self.processes is not None:
            most = (limits.max_processes or DEFAULT_PROCESSES) + (SANDBOX_PROCESSES if sandboxed else 0)
            found.setdefault(str(self.processes / name), {})["pids.max"] = str(most)
        return found


def probe(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Cgroups:
    """Make our group in each controller that lets us, and remove what killed supervisors left. Blocks for a moment."""
    try:
        lines = own.read_text().splitlines()
    except OSError as error:
        return Cgroups(problem=f"There are no control groups: {error.strerror}.")
    places = {names: root / path.lstrip("/") for _, names, path in (line.split(":", 2) for line in lines)}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for version, found in ((2, _second(root, places)), (1, _first(root, lines))):
        if found["memory"] or found["pids"]:
            missing = [name for name in ("memory", "pids") if not found[name]]
            problem = f"Of the controllers {', '.join(missing)} cannot be used. {DELEGATE}" if missing else ""
            files = _files(version, found["memory"])
            return Cgroups(version, found["memory"], found["pids"], memory, problem, files)
    return Cgroups(problem=f"No control group may be made here. {DELEGATE}")


def _second(root: Path, places: Mapping[str, Path]) -> dict[str, Path | None]:
    """Version 2: below our own group, if it was handed to us."""
    nothing: dict[str, Path | None] = {"memory": None, "pids": None}
    if not (root / "cgroup.controllers").exists() or "" not in places:
        return nothing
    ours = places[""]
    base = ours / NAME
    try:
        base.mkdir(exist_ok=True)
        _hand_down(ours)
        given = (base / "cgroup.controllers").read_text().split()
    except OSError:
        return nothing
    _sweep(base)
    return {name: base if name in given and _enable(base, name) else None for name in nothing}


def _hand_down(ours: Path) -> None:
    """Enable the controllers for the groups below ours; raises OSError if that is not allowed.

    The kernel refuses while our group has processes. If we are alone in it, we move into a group below.
    """
    control = ours / "cgroup.subtree_control"
    if {"memory", "pids"} <= set(control.read_text().split()):
        return
    try:
        control.write_text("+memory +pids")
    except OSError:
        if (ours / "cgroup.procs").read_text().split() != [str(os.getpid())]:
            raise
        (ours / SERVER).mkdir(exist_ok=True)
        (ours / SERVER / "cgroup.procs").write_text(str(os.getpid()))
        control.write_text("+memory +pids")


def _enable(base: Path, name: str) -> bool:
    with contextlib.suppress(OSError):
        (base / "cgroup.subtree_control").write_text(f"+{name}")
        return True
    return False


def _first(root: Path, lines: list[str]) -> dict[str, Path | None]:
    """Version 1: below our own group of each controller."""
    found: dict[str, Path | None] = {"memory": None, "pids": None}
    for line in lines:
        _, names, path = line.split(":", 2)
        for name in set(names.split(",")) & found.keys():
            base = root / names / path.lstrip("/") / NAME
            with contextlib.suppress(OSError):
                base.mkdir(exist_ok=True)
                limit = base / ("memory.limit_in_bytes" if name == "memory" else "pids.max")
                if os.access(limit, os.W_OK) and os.access(base / "cgroup.procs", os.W_OK):
                    _sweep(base)
                    found[name] = base
    return found


def _files(version: int, memory: Path | None) -> dict[str, str]:
    names = {"memory": "memory.max" if version == 2 else "memory.limit_in_bytes"}
    swap = "memory.swap.max" if version == 2 else "memory.memsw.limit_in_bytes"
    if memory is not None and (memory / swap).exists():
        names["swap"] = swap
    return names


def _sweep(base: Path) -> None:
    """Remove groups whose supervisor was killed.

    Those in use are not empty and stay; a young one may be of another process that is only just about to use it.
    """
    for group in base.glob("run-*-*"):
        made = group.name.split("-")[1]
        if made.isdigit() and int(made) < time.time() - SWEEP_AGE_S:
            with contextlib.suppress(OSError):
                group.rmdir()

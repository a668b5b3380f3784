"""What the machine has left, for :mod:`..core.guard`."""

from __future__ import annotations

import shutil
from pathlib import Path

from autopack_orchestrator.core.guard import Machine, Room

__all__ = ["look"]

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # a container sees its own group here
_KIB = 1024


def look(
    directory: Path, *, least_disk: int, least_memory: int, meminfo: Path = MEMINFO, cgroup: Path = CGROUP
) -> Machine:
    """Free disk below ``directory``, and memory that is available to new processes. Blocks, for microseconds.

    Raises:
        OSError: the directory cannot be looked at.
    """
    disk = shutil.disk_usage(directory)
    memory = [found for found in (_of_machine(meminfo, least_memory), _of_container(cgroup, least_memory)) if found]
    tightest = min(memory, key=lambda room: room.free) if memory else None
    return Machine(Room(disk.total, disk.free, least_disk), tightest)


def _of_machine(meminfo: Path, least: int) -> Room | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    sizes = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    total, free = sizes.get("MemTotal"), sizes.get("MemAvailable")
    return Room(int(total[0]) * _KIB, int(free[0]) * _KIB, least) if total and free else None


def _of_container(cgroup: Path, least: int) -> Room | None:
    """The limit of a control group (version 2), less what cannot be given back at once."""
    try:
        most = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        cached = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, ValueError, KeyError):
        return None
    return None if most == "max" else Room(int(most), max(0, int(most) - used + int(cached)), least)

"""Whether the machine has room for another run: free disk, free memory."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Machine", "Room", "pause_reason"]

SHARE = 0.05
"""A small disk or machine need not keep more than this part of itself free, whatever the setting says."""
RESUME = 1.1
"""Work goes on when there is this much more than the limit, so that it does not stop and go at the limit."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """Of one thing, in bytes: what there is, what is left, and what must be left."""

    total: int
    free: int
    least: int

    @property
    def needed(self) -> int:
        """What must really be left here."""
        return min(self.least, int(self.total * SHARE))

    def lacks(self, *, paused: bool) -> bool:
        """Whether there is too little."""
        return self.free < self.needed * (RESUME if paused else 1)


@dataclass(frozen=True, slots=True)
class Machine:
    """What runs are carried out on; memory is None where it is not known."""

    disk: Room
    memory: Room | None


def pause_reason(machine: Machine, *, paused: bool) -> str:
    """Why nothing may start now, with what to do about it; empty if it may.

    Args:
        paused: whether nothing may start already, in which case more must be free to go on.
    """
    if machine.disk.lacks(paused=paused):
        free, needed = machine.disk.free // _MIB, machine.disk.needed // _MIB
        return (
            f"no run is started: {free} MiB of disk are free below the data directory, {needed} MiB must be; "
            "free some, or lower AUTOPACK_ORCHESTRATOR_MIN_FREE_DISK_BYTES"
        )
    if machine.memory is not None and machine.memory.lacks(paused=paused):
        free, needed = machine.memory.free // _MIB, machine.memory.needed // _MIB
        return (
            f"no run is started: {free} MiB of memory are available, {needed} MiB must be; it goes on when runs end, "
            "or lower AUTOPACK_ORCHESTRATOR_MIN_FREE_MEMORY_BYTES"
        )
    return ""

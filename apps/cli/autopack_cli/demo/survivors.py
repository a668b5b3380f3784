"""Processes of a run that are still alive, found by the variable that every process of a run inherits."""

from __future__ import annotations

from pathlib import Path

__all__ = ["survivors"]


def survivors(run_id: str) -> list[int]:
    """Ids of the processes that this run started, wherever they hid."""
    marker = f"AUTOPACK_RUN_ID={run_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if marker in variables:
            found.append(int(entry.name))
    return sorted(found)

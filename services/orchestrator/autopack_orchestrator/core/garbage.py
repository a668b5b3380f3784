"""What was kept long enough."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

__all__ = ["Garbage", "GarbageKind", "Report"]


class GarbageKind(Enum):
    """What it is."""

    WORKTREE = "worktree"
    BATCH = "batch"
    RESULTS = "results"
    HARVESTED = "harvested"
    MIRROR = "mirror"
    UPLOAD = "upload"
    CACHE = "cache"


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that was removed, or would be: its size in bytes, why, and when it was last needed."""

    kind: GarbageKind
    name: str
    size: int
    reason: str
    last_used: datetime


@dataclass(slots=True)
class Report:
    """What a collection did; ``kept_bytes`` are those of results that stay."""

    items: list[Garbage] = field(default_factory=list)
    size: int = 0
    kept_bytes: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, item: Garbage) -> None:
        """One more that went."""
        self.items.append(item)
        self.size += item.size

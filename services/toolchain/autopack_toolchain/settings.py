"""Settings of the toolchain service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from autopack_kit.settings import setting

from .adapters.filesystem import Budget

__all__ = ["ToolchainSettings"]


@dataclass(frozen=True, slots=True)
class ToolchainSettings:
    """``AUTOPACK_TOOLCHAIN_*``."""

    PREFIX: ClassVar[str] = "AUTOPACK_TOOLCHAIN"

    allowed_roots: tuple[Path, ...] = setting(
        (), help="Directories below which Detect may read a path, ':' between them; none: snapshots only."
    )
    max_files: int = setting(200_000, help="Files listed at most in one walk; the rest is left out with a warning.")
    max_depth: int = setting(32, help="Levels of directories entered at most.")
    max_walk_time: timedelta = setting(timedelta(seconds=10), help="Wall time of one walk at most.")

    @property
    def budget(self) -> Budget:
        """What one walk may cost."""
        return Budget(self.max_files, self.max_depth, self.max_walk_time.total_seconds())

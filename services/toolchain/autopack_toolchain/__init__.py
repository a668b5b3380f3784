"""What is this repository, and how is it installed, built, tested and linted? Pure detection, no gRPC needed.

>>> import autopack_toolchain
>>> detection = autopack_toolchain.detect(".")  # doctest: +SKIP
>>> detection.projects[0].step(autopack_toolchain.StepKind.TEST).command.argv  # doctest: +SKIP
('uv', 'run', 'pytest')
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from .adapters.filesystem import Budget, DirectoryTree
from .adapters.snapshot import SnapshotFile, SnapshotTree
from .core.detect import detect as detect_tree
from .core.model import (
    Detection,
    DetectionWarning,
    Evidence,
    PackageManager,
    Project,
    RuntimeVersion,
    Step,
    StepKind,
)
from .core.tree import FileStat, FileTree
from .errors import SourceNotADirectory, SourceNotFound

__all__ = [
    "Budget",
    "Detection",
    "DetectionWarning",
    "DirectoryTree",
    "Evidence",
    "FileStat",
    "FileTree",
    "PackageManager",
    "Project",
    "RuntimeVersion",
    "SnapshotFile",
    "SnapshotTree",
    "Step",
    "StepKind",
    "detect",
    "detect_tree",
]


def detect(path: str | PathLike[str], budget: Budget | None = None) -> Detection:
    """Every project below a directory. Runs nothing and writes nothing.

    Raises:
        SourceNotFound: the path does not exist.
        SourceNotADirectory: it is something else.
    """
    root = Path(path)
    if not root.exists():
        raise SourceNotFound(str(path))
    if not root.is_dir():
        raise SourceNotADirectory(str(path))
    return detect_tree(DirectoryTree(root, budget))

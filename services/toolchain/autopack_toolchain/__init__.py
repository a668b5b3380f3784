"""What is this repository, and how is it installed, built, tested and linted? Pure detection, no gRPC needed.

>>> import autopack_toolchain
>>> detection = autopack_toolchain.detect(".")  # doctest: +SKIP
>>> detection.projects[0].step(autopack_toolchain.StepKind.TEST).command.argv  # doctest: +SKIP
('uv', 'run', 'pytest')
"""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from autopack_kit.settings import load

from .adapters.filesystem import Budget, DirectoryTree, open_allowed
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
    WorkspaceInfo,
)
from .core.tree import FileStat, FileTree

if TYPE_CHECKING:
    from .service import ToolchainService
    from .settings import ToolchainSettings

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
    "WorkspaceInfo",
    "create",
    "detect",
    "detect_tree",
]


def detect(path: str | PathLike[str], budget: Budget | None = None) -> Detection:
    """Every project below a directory. Runs nothing and writes nothing.

    Raises:
        SourceNotFound: the path does not exist.
        SourceNotADirectory: it is something else.
        SourceNotReadable: it cannot be opened.
    """
    root = Path(path)
    with open_allowed(str(root), (root,), budget or Budget()) as tree:
        return detect_tree(tree)


def create(settings: ToolchainSettings | None = None) -> ToolchainService:
    """The service for a server of ``autopack_kit``; without settings they are read from the environment."""
    # Imported here so that a user of detect() alone needs neither grpc nor the stubs.
    from .service import ToolchainService
    from .settings import ToolchainSettings

    return ToolchainService(settings or load(ToolchainSettings, os.environ))

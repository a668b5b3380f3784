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
from .core.plan import normalize_plan as normalize_plan_tree
from .core.plan.model import (
    Budget as PlanBudget,
)
from .core.plan.model import (
    Category,
    CategoryGuess,
    ContextFile,
    Decision,
    Deliverable,
    NormalizedPlan,
    Part,
    PhaseConfidence,
    Plan,
    PlanPhase,
    Policy,
    Preflight,
    ProtectedPath,
    Scope,
    ScopeGlob,
    ScopeKind,
    Size,
)
from .core.tree import FileStat, FileTree

if TYPE_CHECKING:
    from .service import ToolchainService
    from .settings import ToolchainSettings

__all__ = [
    "Budget",
    "Category",
    "CategoryGuess",
    "ContextFile",
    "Decision",
    "Deliverable",
    "Detection",
    "DetectionWarning",
    "DirectoryTree",
    "Evidence",
    "FileStat",
    "FileTree",
    "NormalizedPlan",
    "PackageManager",
    "Part",
    "PhaseConfidence",
    "Plan",
    "PlanBudget",
    "PlanPhase",
    "Policy",
    "Preflight",
    "Project",
    "ProtectedPath",
    "RuntimeVersion",
    "Scope",
    "ScopeGlob",
    "ScopeKind",
    "Size",
    "SnapshotFile",
    "SnapshotTree",
    "Step",
    "StepKind",
    "WorkspaceInfo",
    "create",
    "detect",
    "detect_tree",
    "normalize_plan",
    "normalize_plan_tree",
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


def normalize_plan(text: str, path: str | PathLike[str], budget: Budget | None = None) -> NormalizedPlan:
    """What a plan in words means for the repository in a directory. Runs nothing and writes nothing.

    Args:
        text: Markdown or plain text, such as an issue; at most 256 KiB.
        path: the repository.
        budget: what the walk may cost.

    Raises:
        NoDeliverable, PhaseWithoutDeliverable, UnknownPhase, DependencyCycle, TooManyPhases, PlanTooLong: the text.
        NoValidation: nothing in the repository can tell whether a change is right.
        SourceNotFound, SourceNotADirectory, SourceNotReadable: the path.
    """
    root = Path(path)
    with open_allowed(str(root), (root,), budget or Budget()) as tree:
        return normalize_plan_tree(text, tree)


def create(settings: ToolchainSettings | None = None) -> ToolchainService:
    """The service for a server of ``autopack_kit``; without settings they are read from the environment."""
    # Imported here so that a user of detect() alone needs neither grpc nor the stubs.
    from .service import ToolchainService
    from .settings import ToolchainSettings

    return ToolchainService(settings or load(ToolchainSettings, os.environ))

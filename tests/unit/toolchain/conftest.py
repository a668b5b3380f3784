"""Trees from plain mappings: detection is pure, so that a test needs no disk."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from autopack_toolchain import (
    Detection,
    NormalizedPlan,
    SnapshotFile,
    SnapshotTree,
    detect_tree,
    normalize_plan_tree,
)
from autopack_toolchain.core.registry import default_registry
from autopack_toolchain.core.tasks import Task, read_tasks
from autopack_toolchain.core.workspace import Workspace

Files = Mapping[str, str | bytes]


@pytest.fixture
def detect_files() -> Callable[..., Detection]:
    """Detection of files given as path -> content; paths in ``executable`` have the execute bit."""

    def detect(files: Files, executable: frozenset[str] = frozenset()) -> Detection:
        return detect_tree(_tree(files, executable))

    return detect


@pytest.fixture
def workspace_of() -> Callable[..., Workspace]:
    """A workspace over files given as path -> content; paths in ``executable`` have the execute bit."""

    def make(files: Files, executable: frozenset[str] = frozenset()) -> Workspace:
        return Workspace(_tree(files, executable), default_registry())

    return make


@pytest.fixture
def tasks_of(workspace_of: Callable[..., Workspace]) -> Callable[..., dict[str, Task]]:
    """Tasks of one directory by name: all of one tool, or of the only tool there is."""

    def read(
        files: Files, *, directory: str = ".", tool: str = "", executable: frozenset[str] = frozenset()
    ) -> dict[str, Task]:
        found = [
            task for task in read_tasks(workspace_of(files, executable), [directory]) if task.directory == directory
        ]
        chosen = [task for task in found if not tool or task.tool == tool]
        assert len({task.tool for task in chosen}) <= 1, "name the tool"
        return {task.name: task for task in chosen}

    return read


def _tree(files: Files, executable: frozenset[str]) -> SnapshotTree:
    held = []
    for path, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        held.append(SnapshotFile(path, len(data), 0o100755 if path in executable else 0o100644, data))
    return SnapshotTree(held)


PLANS = Path(__file__).with_name("plans")


@pytest.fixture(scope="session")
def plan_trees() -> dict[str, SnapshotTree]:
    """The repositories of ``plans/trees.toml`` by name."""
    trees = {}
    for name, tree in tomllib.loads((PLANS / "trees.toml").read_text()).items():
        files = {**dict.fromkeys(tree["paths"].split(), ""), **tree["files"]}
        held = [SnapshotFile(path, len(text.encode()), 0o100644, text.encode()) for path, text in files.items()]
        trees[name] = SnapshotTree(held)
    return trees


@pytest.fixture(scope="session")
def plan_for(plan_trees: dict[str, SnapshotTree]) -> Callable[..., NormalizedPlan]:
    """The plan in a text for one of the repositories of ``plans/trees.toml``."""

    def plan(text: str, tree: str = "shop") -> NormalizedPlan:
        return normalize_plan_tree(text, plan_trees[tree])

    return plan

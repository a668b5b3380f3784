"""The whole detection: pure, deterministic, and a function of the tree alone."""

from __future__ import annotations

from .compiled import detect_go, detect_rust
from .java import detect_java
from .make_targets import detect_make_targets
from .model import Candidate, Detection
from .node import detect_node
from .python import detect_python
from .ranking import rank
from .registry import Registry, default_registry
from .tree import FileTree
from .workspace import Workspace

__all__ = ["detect"]

_DETECTORS = (detect_python, detect_node, detect_go, detect_rust, detect_java)


def detect(tree: FileTree, registry: Registry | None = None) -> Detection:
    """Every project in ``tree``, with its manager, versions and steps. The same tree always gives the same answer.

    A manifest that cannot be used is a warning; nothing in a tree makes this raise.
    """
    registry = registry or default_registry()
    workspace = Workspace(tree, registry)
    candidates: list[Candidate] = []
    for detector in _DETECTORS:
        candidates.extend(detector(workspace))
    projects = dict.fromkeys((c.workdir, c.ecosystem) for c in candidates)
    candidates.extend(detect_make_targets(workspace, projects))
    ranked, conflicts = rank(candidates, registry)
    warnings = sorted([*workspace.warnings, *conflicts], key=lambda w: (w.paths, w.reason, w.message))
    return Detection(tuple(ranked), tuple(warnings))

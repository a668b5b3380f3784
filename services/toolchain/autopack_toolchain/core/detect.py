"""The whole detection: pure, deterministic, and a function of the tree alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .ci_steps import detect_ci_steps
from .classify import Classifier
from .compiled import detect_go, detect_rust
from .conda import detect_conda
from .conventional import detect_conventional, detect_languages
from .dotnet import detect_dotnet
from .features import Context, calibrated
from .java import detect_java
from .model import Candidate, Detection, DetectionWarning, Project, Source
from .native import detect_native, with_build
from .node import detect_node
from .owners import Owners
from .php import detect_php
from .programs import default_programs
from .python import detect_python
from .ranking import rank
from .registry import Registry, default_registry
from .runtimes import detect_runtimes
from .task_steps import detect_task_steps
from .tasks import read_tasks, script_task
from .tree import FileTree
from .workspace import Workspace
from .workspace_steps import detect_rush, detect_workspace_steps
from .workspaces import detect_workspaces

__all__ = ["Ranked", "detect", "ranked"]

_DETECTORS = (
    detect_python,
    detect_node,
    detect_go,
    detect_rust,
    detect_java,
    detect_php,
    detect_dotnet,
    detect_native,
    detect_conda,
    detect_rush,
    detect_conventional,
)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Detection before calibration: confidences are combined weights of evidence.

    Attributes:
        projects: in the order of the answer.
        warnings: everything that the reader should know.
        context: what else bears on their confidence.
    """

    projects: tuple[Project, ...]
    warnings: tuple[DetectionWarning, ...]
    context: Context


def detect(tree: FileTree, registry: Registry | None = None) -> Detection:
    """Every project in ``tree``, with its manager, versions and steps. The same tree always gives the same answer.

    A manifest that cannot be used is a warning; nothing in a tree makes this raise.
    """
    found = ranked(tree, registry)
    return Detection(tuple(calibrated(found.projects, found.context)), found.warnings)


def ranked(tree: FileTree, registry: Registry | None = None) -> Ranked:
    """The same before calibration: what a calibration is fitted to."""
    registry = registry or default_registry()
    workspace = Workspace(tree, registry)
    candidates: list[Candidate] = []
    for detector in _DETECTORS:
        candidates.extend(detector(workspace))
    candidates.extend(detect_languages(workspace, candidates))
    projects = dict.fromkeys((c.workdir, c.ecosystem) for c in candidates)
    candidates.extend(detect_runtimes(workspace, projects))
    candidates.extend([*detect_workspaces(workspace, candidates), *detect_workspace_steps(workspace, candidates)])
    owners = Owners.of(candidates)
    tasks = read_tasks(workspace, owners.by_directory)
    classifier = Classifier(default_programs(), tasks, partial(script_task, workspace))
    learned = detect_ci_steps(workspace, classifier, classifier.programs, owners)
    candidates.extend(list(with_build(workspace, candidates, learned)))
    candidates.extend(detect_task_steps(workspace, classifier, owners, tasks))
    ordered, conflicts = rank(candidates, registry)
    warnings = sorted([*workspace.warnings, *conflicts], key=lambda w: (w.paths, w.reason, w.message))
    ci = any(candidate.source is Source.CI for candidate in candidates)
    context = Context.of(classifier, tasks, registry.side_directories, ci=ci)
    return Ranked(tuple(ordered), tuple(warnings), context)

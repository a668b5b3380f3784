"""From candidates to projects: the only place where evidence is weighed.

Rules, in this order:

* Weights for the same claim are combined as independent signs: ``1 - product(1 - weight)``, at most :data:`CERTAINTY`.
* The manager with the highest combined weight wins; each rival takes away :data:`RIVALRY` times its own weight.
* A step learned from a stronger :class:`~.model.Source` stands before one from a weaker source; within a source the
  higher confidence, then the shorter command, then the alphabet decide. Steps of another manager are left out.
* A project below a directory such as ``examples/`` has half the confidence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import prod

from .model import Candidate, DetectionWarning, Evidence, PackageManager, Project, Step, StepKind
from .registry import Registry

__all__ = ["rank"]

CERTAINTY = 0.99
"""No answer from files alone is certain."""

RIVALRY = 0.25
"""How much of a rival's weight is taken from the winner's confidence."""

SIDE_FACTOR = 0.5
"""Confidence of a project in a side directory."""

MAX_PROJECTS = 200
"""Projects at most in one answer; those nearest to the root are kept."""

_ORDER = {kind: place for place, kind in enumerate(StepKind)}

_COEXISTING = frozenset({"c"})
"""Where several managers in one directory are no conflict: build systems of C are kept side by side on purpose."""

_REMEDIES = {"node": ', or name the manager in the field "packageManager" of package.json'}


def rank(candidates: Iterable[Candidate], registry: Registry) -> tuple[list[Project], list[DetectionWarning]]:
    """Projects in the order of the answer, and warnings about conflicts."""
    groups: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        groups[candidate.workdir, candidate.ecosystem].append(candidate)
    warnings: list[DetectionWarning] = []
    kept = sorted(groups, key=lambda key: (_depth(key[0]), key))[:MAX_PROJECTS]
    if len(groups) > len(kept):
        message = (
            f"{len(groups):,} projects were found and the {MAX_PROJECTS} nearest to the root are listed; "
            "detect a subdirectory to see the others."
        )
        warnings.append(DetectionWarning("TOO_MANY_PROJECTS", message))
    projects = [_project(key, groups[key], registry) for key in kept]
    for key in sorted(kept):
        warnings.extend(_conflicts(*key, groups[key]))
    projects.sort(key=lambda p: (p.workdir != ".", p.workdir, -p.confidence, p.ecosystem))
    return projects, warnings


def _depth(workdir: str) -> int:
    return 0 if workdir == "." else workdir.count("/") + 1


def _combined(evidence: Sequence[Evidence]) -> float:
    return round(min(CERTAINTY, 1 - prod(1 - item.weight for item in evidence)), 4)


def _project(key: tuple[str, str], candidates: list[Candidate], registry: Registry) -> Project:
    workdir, ecosystem = key
    claims = [c for c in candidates if not (c.manager or c.command or c.runtime or c.workspace)]
    evidence = _distinct(e for c in claims for e in c.evidence)
    confidence = _combined(evidence)
    if not registry.side_directories.isdisjoint(workdir.split("/")):
        confidence = round(confidence * SIDE_FACTOR, 4)
    manager = _manager(candidates)
    return Project(
        workdir,
        ecosystem,
        confidence,
        manager,
        tuple(dict.fromkeys(c.runtime for c in candidates if c.runtime)),
        tuple(_steps(candidates, manager)),
        evidence,
        next((c.workspace for c in candidates if c.workspace), None),
    )


def _distinct(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Each observation once, the strongest first, else in the order in which they were made."""
    return tuple(sorted(dict.fromkeys(evidence), key=lambda item: -item.weight))


def _manager(candidates: list[Candidate]) -> PackageManager:
    claims: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.manager:
            claims[candidate.manager].append(candidate)
    found = []
    for name, claim in claims.items():
        evidence = _distinct(e for c in claim for e in c.evidence)
        version = next((c.version for c in claim if c.version), "")
        found.append(PackageManager(name, version, _combined(evidence), (), evidence))
    if not found:
        return PackageManager("", "", 0.0)
    found.sort(key=lambda manager: (-manager.confidence, manager.name))
    best, *others = found
    confidence = round(best.confidence * prod(1 - RIVALRY * other.confidence for other in others), 4)
    return PackageManager(best.name, best.version, confidence, tuple(others), best.evidence)


def _steps(candidates: list[Candidate], manager: PackageManager) -> list[Step]:
    merged: dict[tuple[object, ...], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        command = candidate.command
        if command and candidate.kind and (not candidate.only_with or manager.name in candidate.only_with):
            key = (candidate.kind, command.argv, command.script, command.cwd, tuple(sorted(command.env.items())))
            merged[key].append(candidate)
    ranked = []
    for same in merged.values():
        first = same[0]
        if first.kind is None or first.command is None:
            continue
        evidence = _distinct(e for c in same for e in c.evidence)
        confidence = _combined(evidence)
        if first.kind is StepKind.INSTALL and manager.name:
            confidence = round(confidence * manager.confidence, 4)
        source = max(c.source for c in same)
        step = Step(first.kind, first.command, confidence, evidence, source)
        ranked.append(((_ORDER[first.kind], -source, -confidence, len(step.command.argv), step.command.argv), step))
    return [step for _, step in sorted(ranked, key=lambda item: item[0])]


def _conflicts(workdir: str, ecosystem: str, candidates: list[Candidate]) -> list[DetectionWarning]:
    """One warning where files of several managers stand side by side."""
    if ecosystem in _COEXISTING:
        return []
    manager = _manager(candidates)
    rivals = [manager, *manager.alternatives]
    files: dict[str, str] = {}
    locks = 0
    for rival in rivals:
        named = [e for e in rival.evidence if e.path and e.weight >= 0.7]
        lock = next((e for e in named if e.signal == "lock file"), None)
        locks += lock is not None
        if named:
            files[rival.name] = (lock or named[0]).path
    if len(files) < 2 or len(set(files.values())) < 2:
        return []
    listed = ", ".join(f"{path} ({name})" for name, path in files.items())
    remedy = _REMEDIES.get(ecosystem, "")
    message = (
        f"{listed} speak for different managers; {manager.name} was chosen. Delete the files that nobody uses{remedy}."
    )
    reason = "CONFLICTING_LOCK_FILES" if locks > 1 else "SEVERAL_PACKAGE_MANAGERS"
    return [DetectionWarning(reason, message, tuple(files.values()))]

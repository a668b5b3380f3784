"""Where a phase works if its text does not say it: where its category usually does, else in the whole project, with a
warning.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Evidence, Project
from ..registry import Registry
from .knowledge import Knowledge
from .located import Located
from .model import Category
from .scope import add_aliases
from .testfiles import test_roots

__all__ = ["ANYWHERE", "BY_CATEGORY", "add_locks", "add_manifests", "widen"]

BY_CATEGORY = 0.45
"""How surely work of a category is where such work usually is."""

ANYWHERE = 0.2
"""How surely it is somewhere in the project."""

MAX_PLACES = 5
"""Directories or projects that are taken: of more of them nobody knows which are meant."""

_ALIASES = {Category.DOCS: "docs", Category.CI: "ci", Category.BUILD: "dockerfile"}


def widen(found: Located, category: Category | None, projects: Sequence[Project], known: Knowledge, line: int) -> float:
    """Adds globs to an empty scope; how sure they are."""
    evidence = Evidence("", line, f"category {category.value}" if category else "nothing named", BY_CATEGORY)
    if category is Category.DEPENDENCY:
        add_manifests(found, projects, evidence)
    elif category is Category.TEST:
        for root in test_roots(found.layout, known)[:MAX_PLACES]:
            found.add_path(root, BY_CATEGORY, "USUAL_PLACE_OF_CATEGORY", category.value, evidence)
    elif category in _ALIASES:
        word = (_ALIASES[category],)
        globs = next(globs for phrases, globs in known.aliases if phrases.any(word))
        add_aliases(globs, category.value, evidence, found)
    if found.include:
        message = f"The text names no place; {', '.join(found.include)} is where such work usually is."
        found.warn("SCOPE_GUESSED", f"{message} Name the files or directories that are meant.")
        return BY_CATEGORY
    for place in _projects(projects):
        found.add_path(place, ANYWHERE, "WHOLE_PROJECT", place, evidence)
    message = (
        f"The text names no file, directory or module of the repository; the scope is {', '.join(found.include)}. "
        "Name the files or directories that are meant."
    )
    found.warn("SCOPE_NOT_FOUND", message)
    return ANYWHERE


def add_manifests(found: Located, projects: Sequence[Project], evidence: Evidence) -> None:
    """The manifests of the projects nearest to the root, unless a manifest is in scope already."""
    manifests = _manifests(found, projects)
    if not any(found.covers(path) for path in manifests):
        for path in manifests:
            found.add_path(path, BY_CATEGORY, "USUAL_PLACE_OF_CATEGORY", Category.DEPENDENCY.value, evidence)


def add_locks(found: Located, registry: Registry) -> None:
    """The lock files beside the manifests in scope: they change with them."""
    locks = {name for ecosystem in registry.ecosystems.values() for name in ecosystem.locks}
    for path in [path for path in found.places() if path in found.layout.files]:
        directory, _, name = path.rpartition("/")
        if registry.is_manifest(name):
            for other in found.layout.names_in(directory or "."):
                if other in locks:
                    lock = f"{directory}/{other}" if directory else other
                    found.add_path(
                        lock, BY_CATEGORY, "LOCK_FOLLOWS_MANIFEST", path, Evidence(lock, 0, "lock file", BY_CATEGORY)
                    )


def _manifests(found: Located, projects: Sequence[Project]) -> list[str]:
    """The manifests of the projects nearest to the root."""
    near = min((_depth(project.workdir) for project in projects), default=0)
    paths = [
        item.path
        for project in projects
        if _depth(project.workdir) == near
        for item in (*project.evidence, *project.package_manager.evidence)
        if item.path in found.layout.files and (item.path.rpartition("/")[0] or ".") == project.workdir
    ]
    return list(dict.fromkeys(paths))


def _projects(projects: Sequence[Project]) -> list[str]:
    """The root if it is a project, else the projects nearest to it; the root too if they are many."""
    workdirs = list(dict.fromkeys(project.workdir for project in projects))
    near = min((_depth(workdir) for workdir in workdirs), default=0)
    nearest = [workdir for workdir in workdirs if _depth(workdir) == near]
    return nearest if nearest and len(nearest) <= MAX_PLACES else ["."]


def _depth(workdir: str) -> int:
    return 0 if workdir == "." else workdir.count("/") + 1

"""What helps and is not to be changed: the tests of what is in scope, and the manifests of the projects that it belongs
to.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Evidence, Project
from .knowledge import Knowledge
from .located import Located
from .model import ContextFile
from .testfiles import tests_of

__all__ = ["read_only_context"]

MAX_FILES = 30
"""Files of the scope whose tests are looked for."""


def read_only_context(found: Located, projects: Sequence[Project], known: Knowledge) -> tuple[ContextFile, ...]:
    """The files to read, those that the text names first; none that lies in the scope."""
    for place in found.places()[:MAX_FILES]:
        if place != "." and not found.layout.is_side(place):
            for test in tests_of(place, found.layout, known):
                found.read(test.rstrip("/"), "TESTS_OF_SCOPE", Evidence(place, 0, "tests by name", 0.7))
    for project in projects:
        for item in (*project.evidence, *project.package_manager.evidence):
            if item.path in found.layout.files and _directory(item.path) == project.workdir:
                found.read(item.path, "MANIFEST", item)
    return tuple(file for path, file in found.context.items() if not found.covers(path.rstrip("/")))


def _directory(path: str) -> str:
    return path.rpartition("/")[0] or "."

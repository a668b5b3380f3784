"""What was found about where a phase works, while it is put together: globs, files to read, choices and warnings, each
once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..model import DetectionWarning, Evidence
from .globs import matching, of_directory, of_file
from .layout import Layout
from .model import ContextFile, Decision, Part, ScopeGlob, ScopeKind

__all__ = ["MAX_CONTEXT", "Located"]

MAX_CONTEXT = 50
"""Files to read beside the scope: more of them do not help."""

MAX_EVIDENCE = 5
"""Places in the text kept for one glob."""


@dataclass(slots=True)
class Located:
    """Collects; the first reason for a choice is kept.

    Attributes:
        include, exclude: globs by themselves.
        paths: the file or directory, there or not, that a glob of ``include`` stands for.
        context: files to read, by path.
        decisions, warnings: in the order of their making.
        sure: of each deliverable, by its position, how surely its place is known.
        exclusive: the text says that nothing else may change.
        tests_of: files and directories for which tests are asked for, with the place in the text.
        new_files: files to be created, by path, and whether their directory is known.
    """

    layout: Layout
    include: dict[str, ScopeGlob] = field(default_factory=dict)
    exclude: dict[str, ScopeGlob] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    context: dict[str, ContextFile] = field(default_factory=dict)
    decisions: dict[tuple[str, str, str], Decision] = field(default_factory=dict)
    warnings: dict[tuple[str, str], DetectionWarning] = field(default_factory=dict)
    sure: dict[int, float] = field(default_factory=dict)
    exclusive: bool = False
    tests_of: dict[str, Evidence] = field(default_factory=dict)
    wants_tests: list[Evidence] = field(default_factory=list)
    new_files: dict[str, bool] = field(default_factory=dict)

    def covers(self, path: str) -> bool:
        """Whether a file lies in the scope."""
        if any(path == place or path.startswith(f"{place}/") or place == "." for place in self.paths_in_scope()):
            return True
        patterns = tuple(glob for glob in self.include if glob not in self.paths)
        return bool(patterns) and bool(matching((path,), patterns))

    def paths_in_scope(self) -> list[str]:
        """Files and directories of the scope, also those to be created."""
        return [self.paths[glob] for glob in self.include if glob in self.paths]

    def confidence(self, path: str) -> float:
        """How surely a file or directory of the scope is meant."""
        return max(
            (glob.confidence for name, glob in self.include.items() if self.paths.get(name) == path), default=0.0
        )

    def files(self) -> list[str]:
        """The files that are there and in the scope, sorted."""
        if "." in self.places():
            return list(self.layout.paths)
        found: set[str] = set()
        for place in self.places():
            found.update(self.layout.below(place) if self.layout.is_directory(place) else (place,))
        for glob in self.include:
            if glob not in self.paths:
                found.update(self.layout.matching(glob))
        return sorted(found)

    def add_path(self, path: str, confidence: float, reason: str, subject: str, evidence: Evidence) -> None:
        """A file or a directory of the repository, or one to be created."""
        if self.layout.is_directory(path):
            glob = ScopeGlob(of_directory(path), ScopeKind.DIRECTORY, confidence, (evidence,))
        else:
            kind = ScopeKind.FILE if path in self.layout.files else ScopeKind.NEW_FILE
            glob = ScopeGlob(of_file(path), kind, confidence, (evidence,))
        self.paths[glob.glob] = path
        self.add(glob, reason, subject)

    def places(self) -> list[str]:
        """The files and directories of the scope that are there."""
        return [path for path in self.paths_in_scope() if path in self.layout.files or self.layout.is_directory(path)]

    def add(self, glob: ScopeGlob, reason: str, subject: str) -> None:
        """A glob of the scope."""
        self._put(self.include, glob)
        self.decide(Part.SCOPE, subject, glob.glob, reason, glob.evidence)

    def forbid(self, path: str, reason: str, subject: str, evidence: Evidence) -> None:
        """A file or directory that must not change; a glob as it stands."""
        if path in self.layout.files:
            glob = ScopeGlob(of_file(path), ScopeKind.FILE, 0.95, (evidence,))
        elif self.layout.is_directory(path):
            glob = ScopeGlob(of_directory(path), ScopeKind.DIRECTORY, 0.95, (evidence,))
        else:
            glob = ScopeGlob(path, ScopeKind.PATTERN, 0.9, (evidence,))
        self._put(self.exclude, glob)
        self.decide(Part.SCOPE, subject, f"!{glob.glob}", reason, glob.evidence)

    def read(self, path: str, reason: str, evidence: Evidence) -> None:
        """A file, or a directory with a slash behind it, that helps and does not change."""
        shown = f"{path}/" if self.layout.is_directory(path) else path
        if shown not in self.context and len(self.context) < MAX_CONTEXT:
            self.context[shown] = ContextFile(shown, reason, evidence)

    def decide(self, part: Part, subject: str, choice: str, reason: str, evidence: Iterable[Evidence] = ()) -> None:
        """A choice that was made."""
        self.decisions.setdefault(
            (part.value, subject, choice), Decision(part, "", subject, choice, reason, tuple(evidence))
        )

    def warn(self, reason: str, message: str, *paths: str) -> None:
        """Something the reader should know."""
        self.warnings.setdefault((reason, message), DetectionWarning(reason, message, paths))

    def _put(self, table: dict[str, ScopeGlob], glob: ScopeGlob) -> None:
        before = table.get(glob.glob)
        if before is None:
            table[glob.glob] = glob
            return
        evidence = tuple(dict.fromkeys([*before.evidence, *glob.evidence]))[:MAX_EVIDENCE]
        table[glob.glob] = replace(before, confidence=max(before.confidence, glob.confidence), evidence=evidence)

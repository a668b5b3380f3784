"""To which project a command belongs: by the directory in which it works and by the ecosystem that it speaks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .model import Candidate
from .workspace import parents

__all__ = ["Owners", "ProjectKey"]

ProjectKey = tuple[str, str]
"""Directory and ecosystem of a project."""

SHARED = 0.85
"""Weight of a command that may be meant for several projects, or that works in a directory that is not known."""

MAX_SHARED = 5
"""Projects at most that a command without a known directory speaks for; with more it says nothing about any of them."""


@dataclass(frozen=True, slots=True)
class Owners:
    """The projects that detectors found, and the managers that may be theirs."""

    managers: Mapping[ProjectKey, frozenset[str]]
    by_directory: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Owners:
        """From all candidates for projects and managers."""
        managers: dict[ProjectKey, set[str]] = {}
        for candidate in candidates:
            found = managers.setdefault((candidate.workdir, candidate.ecosystem), set())
            if candidate.manager:
                found.add(candidate.manager)
        by_directory: dict[str, list[str]] = {}
        for directory, ecosystem in sorted(managers):
            by_directory.setdefault(directory, []).append(ecosystem)
        return cls(
            {key: frozenset(names) for key, names in managers.items()},
            {directory: tuple(names) for directory, names in by_directory.items()},
        )

    def of_command(self, ecosystem: str, directory: str, words: Iterable[str] = ()) -> list[tuple[ProjectKey, float]]:
        """The projects that a command speaks for, each with a factor for its weight.

        The nearest project at or above the directory; else the one below that a word of the command names; else, where
        nothing is above, the only one of the ecosystem. A command of no ecosystem belongs to all of the nearest
        directory.
        """
        if directory == "?":
            every = [key for key in self.managers if key[1] == ecosystem]
            return [(key, SHARED) for key in every] if ecosystem and len(every) <= MAX_SHARED else []
        for place in (directory, *parents(directory)):
            here = self.by_directory.get(place, ())
            if ecosystem in here:
                return [((place, ecosystem), 1.0)]
            if here and not ecosystem:
                return [((place, name), 1.0 if len(here) == 1 else SHARED) for name in here]
        if not ecosystem:
            return []
        below = [key for key in self.managers if key[1] == ecosystem]
        named = {word.strip("./").rstrip("/") for word in words}
        reached = [key for key in below if key[0] in named or any(word.startswith(f"{key[0]}/") for word in named)]
        if reached:
            return [(key, 1.0) for key in reached]
        return [(below[0], SHARED)] if len(below) == 1 else []

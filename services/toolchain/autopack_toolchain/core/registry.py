"""The registry of ecosystems: ``data/ecosystems.toml`` as typed values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

__all__ = ["Ecosystem", "Registry", "default_registry"]


@dataclass(frozen=True, slots=True)
class Ecosystem:
    """What is known about one ecosystem; see the comments in ``data/ecosystems.toml``."""

    name: str
    runtime: str
    programs: frozenset[str]
    locks: Mapping[str, str]
    versions: tuple[str, ...]
    managers: Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that detection knows as data."""

    pruned_directories: frozenset[str]
    boundary_files: frozenset[str]
    fixture_directories: frozenset[str]
    side_directories: frozenset[str]
    content_names: frozenset[str]
    content_globs: tuple[str, ...]
    ecosystems: Mapping[str, Ecosystem]

    @property
    def content_patterns(self) -> tuple[str, ...]:
        """Patterns (gitwildmatch) of the files whose content a snapshot should carry."""
        return (
            *sorted(self.content_names),
            *(glob if "/" not in glob else f"**/{glob}" for glob in self.content_globs),
        )

    def is_manifest(self, name: str) -> bool:
        """Whether an entry of this name that is no regular file deserves a warning."""
        return name in self.content_names or any(name in ecosystem.locks for ecosystem in self.ecosystems.values())

    def wants_content(self, path: str) -> bool:
        """Whether a snapshot should carry the content of this file."""
        parts = path.split("/")
        if parts[-1] in self.content_names:
            return True
        # A glob speaks of as many parts of the path's end as it has itself.
        return any(fnmatchcase("/".join(parts[-1 - glob.count("/") :]), glob) for glob in self.content_globs)


def parse_registry(text: str) -> Registry:
    """The registry from its TOML text."""
    data = tomllib.loads(text)
    tree = data["tree"]
    ecosystems = {
        name: Ecosystem(
            name=name,
            runtime=table["runtime"],
            programs=frozenset(table["programs"]),
            locks=table["locks"],
            versions=tuple(table["versions"]),
            managers={
                manager: {purpose: tuple(argv) for purpose, argv in commands.items()}
                for manager, commands in table["managers"].items()
            },
        )
        for name, table in data["ecosystem"].items()
    }
    return Registry(
        pruned_directories=frozenset(tree["pruned_directories"]),
        boundary_files=frozenset(tree["boundary_files"]),
        fixture_directories=frozenset(tree["fixture_directories"]),
        side_directories=frozenset(tree["side_directories"]),
        content_names=frozenset(tree["content_names"]),
        content_globs=tuple(tree["content_globs"]),
        ecosystems=ecosystems,
    )


@cache
def default_registry() -> Registry:
    """The registry that ships with the package."""
    return parse_registry(files("autopack_toolchain").joinpath("data/ecosystems.toml").read_text("utf-8"))

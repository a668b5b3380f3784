"""The registry of ecosystems: ``data/ecosystems.toml`` and its companions as typed values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

from autopack_kit.pruning import PruneRules

from .model import Source, StepKind

__all__ = [
    "Ecosystem",
    "Language",
    "ProjectRule",
    "Registry",
    "StepRule",
    "VersionFile",
    "default_registry",
]

_FILES = ("data/ecosystems.toml", "data/conventions.toml", "data/runtimes.toml")


@dataclass(frozen=True, slots=True)
class ProjectRule:
    """When a directory is a project of an ecosystem, and whose; see ``data/conventions.toml``."""

    markers: tuple[str, ...]
    manager: str
    weight: float
    text: str
    unless: tuple[str, ...]
    version: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepRule:
    """One command of an ecosystem's conventions and when it makes sense; see ``data/conventions.toml``."""

    kind: StepKind
    argv: tuple[str, ...]
    managers: tuple[str, ...]
    tests: bool
    files: tuple[str, ...]
    unless: tuple[str, ...]
    text: str
    once: bool
    inside: tuple[str, ...]
    weight: float
    source: Source


@dataclass(frozen=True, slots=True)
class Ecosystem:
    """What is known about one ecosystem; see the comments in ``data/ecosystems.toml``."""

    name: str
    runtimes: tuple[str, ...]
    programs: frozenset[str]
    locks: Mapping[str, str]
    managers: Mapping[str, Mapping[str, tuple[str, ...]]]
    absorbs: tuple[str, ...]
    tests: tuple[str, ...]
    projects: tuple[ProjectRule, ...]
    steps: tuple[StepRule, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """Sources that make a project where no manifest does: what is told of them."""

    extensions: tuple[str, ...]
    ecosystem: str
    manager: str
    entries: tuple[str, ...]
    run: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionFile:
    """Where a version of a runtime stands; see ``data/runtimes.toml``."""

    file: str
    runtime: str
    format: str
    path: tuple[str, ...]
    pattern: str
    signal: str
    weight: float
    inherited: bool


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that detection knows as data."""

    prune_rules: PruneRules
    fixture_directories: frozenset[str]
    side_directories: frozenset[str]
    content_names: frozenset[str]
    content_globs: tuple[str, ...]
    manifest_names: frozenset[str]
    ecosystems: Mapping[str, Ecosystem]
    languages: tuple[Language, ...]
    version_files: tuple[VersionFile, ...]
    runtime_aliases: Mapping[str, str]

    @property
    def content_patterns(self) -> tuple[str, ...]:
        """Patterns (gitwildmatch) of the files whose content a snapshot should carry."""
        return (
            *sorted(self.content_names),
            *(glob if "/" not in glob else f"**/{glob}" for glob in self.content_globs),
        )

    def is_manifest(self, name: str) -> bool:
        """Whether an entry of this name that is no regular file deserves a warning."""
        return name in self.manifest_names

    def is_lock(self, name: str) -> bool:
        """Whether this is the name of a lock file."""
        return any(name in ecosystem.locks for ecosystem in self.ecosystems.values())

    def wants_content(self, path: str) -> bool:
        """Whether a snapshot should carry the content of this file."""
        parts = path.split("/")
        if parts[-1] in self.content_names:
            return True
        # A glob speaks of as many parts of the path's end as it has itself.
        return any(fnmatchcase("/".join(parts[-1 - glob.count("/") :]), glob) for glob in self.content_globs)


def parse_registry(*texts: str) -> Registry:
    """The registry from the texts of its files, whose tables of ecosystems are put together."""
    parsed = [tomllib.loads(text) for text in texts]
    tree = next(data["tree"] for data in parsed if "tree" in data)
    tables: dict[str, Any] = {}
    for data in parsed:
        tables |= data.get("ecosystem", {})
    content_names = frozenset(name for data in parsed for name in _content(data, "content_names"))
    return Registry(
        prune_rules=PruneRules(
            never=frozenset(tree["pruned_directories"]),
            generic=frozenset(tree["generic_directories"]),
            marks=frozenset(tree["generic_marks"]),
            boundaries=frozenset(tree["boundary_files"]),
        ),
        fixture_directories=frozenset(tree["fixture_directories"]),
        side_directories=frozenset(tree["side_directories"]),
        content_names=content_names,
        content_globs=tuple(dict.fromkeys(glob for data in parsed for glob in _content(data, "content_globs"))),
        manifest_names=content_names.union(*(table.get("locks", ()) for table in tables.values())),
        ecosystems={name: _ecosystem(name, table) for name, table in tables.items()},
        languages=tuple(_language(table) for data in parsed for table in data.get("language", ())),
        version_files=tuple(_version_file(table) for data in parsed for table in data.get("version_file", ())),
        runtime_aliases={name: runtime for data in parsed for name, runtime in data.get("runtime_aliases", {}).items()},
    )


def _content(data: Mapping[str, Any], name: str) -> list[str]:
    found: list[str] = [*data.get("tree", {}).get(name, ()), *data.get(name, ())]
    return found


def _ecosystem(name: str, table: Mapping[str, Any]) -> Ecosystem:
    return Ecosystem(
        name=name,
        runtimes=tuple(table.get("runtimes", ())),
        programs=frozenset(table["programs"]),
        locks=table.get("locks", {}),
        managers={
            manager: {purpose: tuple(argv) for purpose, argv in commands.items()}
            for manager, commands in table.get("managers", {}).items()
        },
        absorbs=tuple(table.get("absorbs", ())),
        tests=tuple(table.get("tests", ())),
        projects=tuple(_project_rule(rule) for rule in table.get("project", ())),
        steps=tuple(_step_rule(rule) for rule in table.get("step", ())),
    )


def _project_rule(table: Mapping[str, Any]) -> ProjectRule:
    return ProjectRule(
        markers=tuple(table["markers"]),
        manager=table.get("manager", ""),
        weight=table["weight"],
        text=table.get("text", ""),
        unless=tuple(table.get("unless", ())),
        version=tuple(table.get("version", ())),
    )


def _step_rule(table: Mapping[str, Any]) -> StepRule:
    return StepRule(
        kind=StepKind(table["kind"]),
        argv=tuple(table["argv"]),
        managers=tuple(table.get("managers", ())),
        tests=table.get("tests", False),
        files=tuple(table.get("files", ())),
        unless=tuple(table.get("unless", ())),
        text=table.get("text", ""),
        once=table.get("once", False),
        inside=tuple(table.get("inside", ())),
        weight=table["weight"],
        source=Source[table.get("source", "default").upper()],
    )


def _language(table: Mapping[str, Any]) -> Language:
    return Language(
        extensions=tuple(table["extensions"]),
        ecosystem=table["ecosystem"],
        manager=table.get("manager", ""),
        entries=tuple(table.get("entries", ())),
        run=tuple(table.get("run", ())),
    )


def _version_file(table: Mapping[str, Any]) -> VersionFile:
    return VersionFile(
        file=table["file"],
        runtime=table.get("runtime", ""),
        format=table["format"],
        path=tuple(table.get("path", ())),
        pattern=table.get("pattern", ""),
        signal=table.get("signal", "version file"),
        weight=table["weight"],
        inherited=table.get("inherited", False),
    )


@cache
def default_registry() -> Registry:
    """The registry that ships with the package."""
    package = files("autopack_toolchain")
    return parse_registry(*(package.joinpath(name).read_text("utf-8") for name in _FILES))

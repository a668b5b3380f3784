"""The data of detection: every rule can be used, and every file that a rule reads is one that snapshots carry."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any

import pytest
import re2
from autopack_toolchain import StepKind
from autopack_toolchain.core.registry import Registry, default_registry

_KEYS = {
    "ecosystem": {"runtimes", "programs", "locks", "managers", "absorbs", "tests", "project", "step"},
    "project": {"markers", "manager", "weight", "text", "unless", "version"},
    "step": {
        "kind",
        "argv",
        "managers",
        "tests",
        "files",
        "unless",
        "text",
        "once",
        "inside",
        "weight",
        "source",
    },
    "language": {"extensions", "ecosystem", "manager", "entries", "run"},
    "version_file": {"file", "runtime", "format", "path", "pattern", "signal", "weight", "inherited"},
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return default_registry()


def _tables() -> list[dict[str, Any]]:
    package = files("autopack_toolchain").joinpath("data")
    names = ("ecosystems.toml", "conventions.toml", "runtimes.toml")
    return [tomllib.loads(package.joinpath(name).read_text("utf-8")) for name in names]


def test_every_key_of_a_rule_is_one_that_is_read() -> None:
    unknown = []
    for data in _tables():
        for name, ecosystem in data.get("ecosystem", {}).items():
            unknown += [f"{name}.{key}" for key in ecosystem.keys() - _KEYS["ecosystem"]]
            for kind in ("project", "step"):
                unknown += [f"{name}.{key}" for rule in ecosystem.get(kind, ()) for key in rule.keys() - _KEYS[kind]]
        for kind in ("language", "version_file"):
            unknown += [f"{kind}.{key}" for rule in data.get(kind, ()) for key in rule.keys() - _KEYS[kind]]
    assert unknown == []


def test_every_ecosystem_is_described_once() -> None:
    names = [name for data in _tables() for name in data.get("ecosystem", {})]
    assert sorted(names) == sorted(set(names))


def test_every_pattern_compiles_to_a_linear_matcher(registry: Registry) -> None:
    patterns = [rule.pattern for rule in registry.version_files if rule.pattern]
    for ecosystem in registry.ecosystems.values():
        patterns += [rule.text for rule in ecosystem.projects if rule.text]
        patterns += [rule.version[1] for rule in ecosystem.projects if rule.version]
        patterns += [rule.text for rule in ecosystem.steps if rule.text]
    assert len(patterns) > 50
    for pattern in patterns:
        re2.compile(f"(?m){pattern}")


def test_a_step_names_only_managers_that_a_project_of_its_ecosystem_can_have(registry: Registry) -> None:
    for ecosystem in registry.ecosystems.values():
        known = {rule.manager for rule in ecosystem.projects} | set(ecosystem.locks.values())
        for step in ecosystem.steps:
            assert set(step.managers) <= known, (ecosystem.name, step)
            assert step.argv[0] not in {"sh", "bash"}, (ecosystem.name, step)


def test_the_content_of_every_file_that_a_rule_reads_is_carried_by_a_snapshot(registry: Registry) -> None:
    read = {rule.file for rule in registry.version_files}
    for ecosystem in registry.ecosystems.values():
        for project in ecosystem.projects:
            read |= set(project.markers) if project.text else set()
            read |= {project.version[0]} if project.version else set()
            for step in ecosystem.steps:
                read |= set(step.inside or (project.markers if step.text else ())) - ecosystem.locks.keys()
    missing = [name for name in sorted(read) if not registry.wants_content(name.replace("*", "x"))]
    assert missing == []


def test_every_language_and_version_file_speaks_for_a_known_ecosystem(registry: Registry) -> None:
    assert {language.ecosystem for language in registry.languages} <= registry.ecosystems.keys()
    runtimes = {runtime for ecosystem in registry.ecosystems.values() for runtime in ecosystem.runtimes}
    assert {rule.runtime for rule in registry.version_files if rule.runtime} <= runtimes


def test_weights_are_probabilities_below_certainty(registry: Registry) -> None:
    weights = [rule.weight for ecosystem in registry.ecosystems.values() for rule in ecosystem.projects]
    weights += [rule.weight for ecosystem in registry.ecosystems.values() for rule in ecosystem.steps]
    assert all(0 < weight < 1 for weight in weights)


def test_every_kind_of_step_is_known_to_some_convention(registry: Registry) -> None:
    kinds = {step.kind for ecosystem in registry.ecosystems.values() for step in ecosystem.steps}
    assert kinds == set(StepKind)


def test_patterns_of_content_match_the_names_that_they_are_for(registry: Registry) -> None:
    assert any(fnmatchcase("web.csproj", glob) for glob in registry.content_globs)
    assert registry.wants_content("src/web/web.csproj")
    assert not registry.wants_content("src/web/Program.cs")

"""conda and pixi: environments of packages of any language; with Python in them they are a Python project's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autopack_kit.commands import Command

from .model import Candidate, Evidence, RuntimeVersion, Source, StepKind
from .parsing import parse_requirement
from .places import nearest
from .python import is_test_file
from .workspace import Workspace, join, listing, table

__all__ = ["detect_conda"]

_FILES = ("environment.yml", "environment.yaml", "environment-dev.yml", "environment-dev.yaml")
_LOCKS = {"conda": "conda-lock.yml", "pixi": "pixi.lock"}

_PYTHON_MANIFESTS = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile")

_PREFIX = "./.conda"
"""The environment that INSTALL makes lies in the project, so that it touches no other."""

_RUN = {"conda": ("conda", "run", "--prefix", _PREFIX), "pixi": ("pixi", "run")}

_MATCH = re.compile(r"^(?:[\w./-]{1,60}::)?([\w.-]{1,60})\s*([=<>!~ ].{0,60})?$")
"""A conda match specification: an optional channel, a name, a version."""


@dataclass(frozen=True, slots=True)
class _Environment:
    """One environment: who manages it, where it is described, and what it holds by name."""

    manager: str
    evidence: Evidence
    packages: dict[str, str]
    install: tuple[str, ...]


def detect_conda(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for conda and pixi. Beside a manifest of Python's own an environment.yml says little."""
    tests: dict[str, list[str]] | None = None
    places = nearest(workspace.directories_with(*_FILES, "pixi.toml", "pyproject.toml"))
    found = {directory: [*_conda(workspace, directory), *_pixi(workspace, directory)] for directory in places}
    for directory, environments in found.items():
        for environment in environments:
            if tests is None:
                tests = workspace.owned_files(found, is_test_file, ".py")
            yield from _candidates(workspace, directory, environment, tests[directory])


def _conda(workspace: Workspace, directory: str) -> Iterator[_Environment]:
    name = next((name for name in _FILES if workspace.has(directory, name)), "")
    path = join(directory, name)
    dependencies = listing(workspace.yaml(path).get("dependencies")) if name else []
    if not dependencies:
        return
    packages: dict[str, str] = {}
    for item in dependencies:
        if isinstance(item, str) and (match := _MATCH.match(item)):
            packages[match[1].lower()] = (match[2] or "").strip(" =")
        for requirement in listing(table(item).get("pip")):
            packages.setdefault(parse_requirement(str(requirement)), "")
    beside = any(workspace.has(directory, manifest) for manifest in _PYTHON_MANIFESTS)
    evidence = workspace.evidence(path, "dependencies of conda", 0.5 if beside else 0.88, "dependencies:")
    yield _Environment("conda", evidence, packages, ("conda", "env", "create", "--prefix", _PREFIX, "--file", name))


def _pixi(workspace: Workspace, directory: str) -> Iterator[_Environment]:
    own = join(directory, "pixi.toml")
    pyproject = join(directory, "pyproject.toml")
    data: dict[str, Any] = workspace.toml(own)
    evidence = workspace.evidence(own, "pixi.toml", 0.92, "[dependencies]")
    if not data:
        data = table(workspace.toml(pyproject), "tool", "pixi")
        evidence = workspace.evidence(pyproject, "[tool.pixi]", 0.65, "[tool.pixi")
    if not (table(data, "workspace") or table(data, "project") or table(data, "dependencies")):
        return
    tables = [table(data, name) for name in ("dependencies", "host-dependencies", "pypi-dependencies")]
    packages = {name.lower(): wanted if isinstance(wanted, str) else "" for t in tables for name, wanted in t.items()}
    sources = any(name.endswith(".py") for name in workspace.names(directory))
    if table(data, "pypi-dependencies") or workspace.has(directory, "pyproject.toml") or sources:
        packages.setdefault("python", "")
    locked = ("--locked",) if workspace.has(directory, _LOCKS["pixi"]) else ()
    yield _Environment("pixi", evidence, packages, ("pixi", "install", *locked))


def _candidates(
    workspace: Workspace, directory: str, environment: _Environment, tests: list[str]
) -> Iterator[Candidate]:
    manager, evidence = environment.manager, environment.evidence
    ecosystem = "python" if "python" in environment.packages else "conda"
    yield Candidate(directory, ecosystem, (evidence,))
    yield Candidate(directory, ecosystem, (evidence,), manager=manager)
    lock = _LOCKS[manager]
    if workspace.has(directory, lock):
        held = Evidence(join(directory, lock), 0, "lock file", 0.8)
        yield Candidate(directory, ecosystem, (held,), manager=manager)
    wanted = environment.packages.get("python", "")
    if wanted and wanted.isascii() and wanted.isprintable() and wanted != "*":
        runtime = RuntimeVersion("python", wanted, evidence)
        yield Candidate(directory, ecosystem, (evidence,), runtime=runtime)
    yield _step(directory, ecosystem, StepKind.INSTALL, environment.install, manager, evidence)
    if tests and ecosystem == "python":
        run = (*_RUN[manager], "python", "-m")
        if "pytest" in environment.packages:
            named = Evidence(evidence.path, evidence.line, "package pytest", 0.8)
            yield _step(directory, ecosystem, StepKind.TEST, (*run, "pytest"), manager, named, Source.CONFIGURATION)
        else:
            named = Evidence(tests[0], 0, "test file", 0.45)
            yield _step(directory, ecosystem, StepKind.TEST, (*run, "unittest", "discover"), manager, named)


def _step(
    directory: str,
    ecosystem: str,
    kind: StepKind,
    argv: tuple[str, ...],
    manager: str,
    evidence: Evidence,
    source: Source = Source.DEFAULT,
) -> Candidate:
    command = Command.of(*argv, cwd=directory)
    return Candidate(directory, ecosystem, (evidence,), kind=kind, command=command, only_with=(manager,), source=source)

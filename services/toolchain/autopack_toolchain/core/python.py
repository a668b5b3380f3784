"""Python: where the projects are and which manager each uses. The steps are in :mod:`.python_steps`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from .model import Candidate, Evidence, RuntimeVersion
from .python_dependencies import installable, requirement_files
from .python_steps import python_steps
from .workspace import Workspace, join, parents, strings, table

__all__ = ["detect_python"]

ECOSYSTEM = "python"

_BACKENDS = {"poetry": "poetry", "pdm": "pdm", "uv_build": "uv"}
"""First part of ``build-backend`` -> the manager that suggests it. Weak: any of them can be installed by pip."""

_TEST_NAME = re.compile(r"^(test_[^/]*|[^/]*_test|tests?)\.py$")


def detect_python(workspace: Workspace) -> Iterator[Candidate]:
    """Candidates for projects, managers and runtime versions."""
    names = ["pyproject.toml", "setup.py", "setup.cfg", "Pipfile", *workspace.registry.ecosystems[ECOSYSTEM].locks]
    places = set(workspace.directories_with(*names))
    texts = {(path.rpartition("/")[0] or ".") for path in workspace.ending(".txt")}
    near = {directory for text in texts for directory in (text, _above_requirements(text))}
    places |= {d for d in near if d in workspace.own_directories and requirement_files(workspace, d)}
    places = {_above_requirements(place) for place in places}
    marks = {directory: list(_marks(workspace, directory)) for directory in sorted(places)}
    marks = {directory: found for directory, found in marks.items() if found}
    if not marks and (bare := _bare(workspace)):
        marks = {".": [bare]}
    tests = workspace.owned_files(marks, is_test_file, ".py")
    for directory, found in marks.items():
        managers = list(_managers(workspace, directory))
        yield Candidate(directory, ECOSYSTEM, tuple(found))
        yield from managers
        yield from _runtimes(workspace, directory)
        yield from python_steps(workspace, directory, [m.manager for m in managers], tests[directory])


def _above_requirements(directory: str) -> str:
    """A directory ``requirements/`` belongs to the project above it."""
    parent, _, name = directory.rpartition("/")
    return (parent or ".") if name == "requirements" else directory


def _marks(workspace: Workspace, directory: str) -> Iterator[Evidence]:
    """Evidence that this directory is a project, and not only a place where a tool is configured."""
    path = join(directory, "pyproject.toml")
    data = workspace.toml(path)
    if table(data, "project"):
        yield workspace.evidence(path, "[project]", 0.95, "[project]")
    elif table(data, "tool", "poetry"):
        yield workspace.evidence(path, "[tool.poetry]", 0.95, "[tool.poetry")
    elif table(data, "build-system"):
        yield workspace.evidence(path, "[build-system]", 0.9, "[build-system]")
    elif table(data, "dependency-groups"):
        yield workspace.evidence(path, "[dependency-groups]", 0.85, "[dependency-groups]")
    if workspace.has(directory, "setup.py"):
        yield Evidence(join(directory, "setup.py"), 0, "setup.py", 0.9)
    if workspace.ini(join(directory, "setup.cfg")).keys() & {"metadata", "options"}:
        yield Evidence(join(directory, "setup.cfg"), 0, "setup.cfg", 0.85)
    if workspace.has(directory, "Pipfile"):
        yield Evidence(join(directory, "Pipfile"), 0, "Pipfile", 0.95)
    for name in requirement_files(workspace, directory):
        weight = 0.85 if name == "requirements.txt" or name.startswith("requirements/") else 0.6
        yield Evidence(join(directory, name), 0, "requirements file", weight)
    for name in workspace.registry.ecosystems[ECOSYSTEM].locks:
        if workspace.has(directory, name):
            yield Evidence(join(directory, name), 0, "lock file", 0.6)


def _managers(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    claims = [*_lock_claims(workspace, directory), *_table_claims(workspace, directory)]
    if inherited := _workspace_member(workspace, directory):
        claims.append(("uv", inherited))
    files = [name for name in requirement_files(workspace, directory) if "/" not in name]
    if files:
        claims.append(("pip", Evidence(join(directory, files[0]), 0, "requirements file", 0.75)))
    if not claims:
        weight = 0.8 if installable(workspace, directory) else 0.6
        claims.append(("pip", Evidence("", 0, "no manager is named: the language's default", weight)))
    for manager, evidence in claims:
        yield Candidate(directory, ECOSYSTEM, (evidence,), manager=manager)


def _lock_claims(workspace: Workspace, directory: str) -> Iterator[tuple[str, Evidence]]:
    needs = {"pipenv": "Pipfile"}
    for name, manager in workspace.registry.ecosystems[ECOSYSTEM].locks.items():
        if workspace.has(directory, name):
            manifest = needs.get(manager, "pyproject.toml")
            if workspace.has(directory, manifest):
                yield manager, Evidence(join(directory, name), 0, "lock file", 0.92)
            else:
                path = join(directory, name)
                workspace.warn(
                    "LOCK_WITHOUT_MANIFEST",
                    f"{path} stands without {manifest}, so {manager} cannot use it; restore {manifest} or delete it.",
                    path,
                )
    if workspace.has(directory, "Pipfile"):
        yield "pipenv", Evidence(join(directory, "Pipfile"), 0, "Pipfile", 0.8)


def _table_claims(workspace: Workspace, directory: str) -> Iterator[tuple[str, Evidence]]:
    path = join(directory, "pyproject.toml")
    data = workspace.toml(path)
    tools: dict[str, Any] = table(data, "tool")
    poetry = table(tools, "poetry")
    if poetry.keys() & {"dependencies", "group", "dev-dependencies"}:
        yield "poetry", workspace.evidence(path, "[tool.poetry]", 0.85, "[tool.poetry")
    for name in ("uv", "pdm"):
        if isinstance(tools.get(name), dict):
            yield name, workspace.evidence(path, f"[tool.{name}]", 0.7, f"[tool.{name}")
    if table(tools, "hatch", "envs"):
        yield "hatch", workspace.evidence(path, "[tool.hatch.envs]", 0.6, "[tool.hatch.envs")
    backend = str(table(data, "build-system").get("build-backend", "")).split(".")[0]
    if backend in _BACKENDS:
        yield (
            _BACKENDS[backend],
            workspace.evidence(path, f"build backend {backend}", 0.55, "[build-system]", "build-backend"),
        )


def _workspace_member(workspace: Workspace, directory: str) -> Evidence | None:
    """Evidence that a uv workspace above has this directory among its members, which are those with a manifest."""
    for above in parents(directory) if workspace.has(directory, "pyproject.toml") else ():
        path = join(above, "pyproject.toml")
        members = strings(table(workspace.toml(path), "tool", "uv", "workspace").get("members"))
        inner = directory if above == "." else directory.removeprefix(f"{above}/")
        if any(fnmatchcase(inner, pattern.removeprefix("./")) for pattern in members):
            return workspace.evidence(path, "member of the uv workspace", 0.9, "[tool.uv.workspace]")
    return None


def _runtimes(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    path = join(directory, "pyproject.toml")
    data = workspace.toml(path)
    claims: list[tuple[str, Evidence]] = []
    if isinstance(wanted := table(data, "project").get("requires-python"), str):
        claims.append((wanted, workspace.evidence(path, "requires-python", 0.9, "requires-python")))
    if isinstance(wanted := table(data, "tool", "poetry", "dependencies").get("python"), str):
        claims.append((wanted, workspace.evidence(path, "python of [tool.poetry]", 0.9, "[tool.poetry.dep", "python")))
    if wanted := workspace.ini(join(directory, "setup.cfg")).get("options", {}).get("python_requires", ""):
        claims.append((wanted, Evidence(join(directory, "setup.cfg"), 0, "python_requires", 0.9)))
    requires = table(workspace.toml(join(directory, "Pipfile")), "requires").get("python_version")
    if isinstance(requires, str):
        claims.append((requires, Evidence(join(directory, "Pipfile"), 0, "python_version", 0.9)))
    for constraint, source in claims:
        runtime = RuntimeVersion("python", constraint, source)
        yield Candidate(directory, ECOSYSTEM, (source,), runtime=runtime)


def is_test_file(name: str) -> bool:
    """Whether a test runner of Python would look into a file of this name."""
    return bool(_TEST_NAME.match(name))


def _bare(workspace: Workspace) -> Evidence | None:
    """Evidence of a project without any manifest: Python files in the root or tests below it."""
    sources = sorted(name for name in workspace.names(".") if name.endswith(".py"))
    if sources:
        return Evidence(sources[0], 0, "Python source in the root", 0.5)
    tests = workspace.owned_files(["."], is_test_file, ".py")["."]
    return Evidence(tests[0], 0, "Python test file", 0.45) if tests else None

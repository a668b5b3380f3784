"""What a Python project declares, and where: pyproject.toml, setup.cfg, setup.py, Pipfile and requirements files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain, islice
from typing import Any

from packaging.utils import canonicalize_name

from .model import Evidence
from .parsing import parse_requirement
from .workspace import Workspace, join, listing, strings, table

__all__ = ["HATCH_ENVIRONMENT", "Declaration", "Place", "declarations", "installable", "requirement_files"]

MAX_DECLARATIONS = 5_000
"""Declarations of one project that are looked at; fully pinned environments have some hundreds."""

MAX_INCLUDED_FILES = 20
"""Requirements files at most that are followed from one project."""

MAX_INCLUDED_GROUPS = 50
"""Dependency groups at most that are followed from one; the largest project surveyed has 12 in all."""


HATCH_ENVIRONMENT = "hatch:default"
"""Group of what the default environment of hatch brings beside the project."""

TOX_ENVIRONMENT = "tox:testenv"
"""Group of what tox brings into an environment of which nothing else is said."""


class Place(Enum):
    """In which part of a project a dependency is declared; it decides how it is installed."""

    MAIN = "main"
    EXTRA = "extra"
    GROUP = "group"
    FILE = "file"
    ENVIRONMENT = "environment"
    """What tox or hatch brings into an environment of its own; other managers do not know of it."""
    BUILD = "build"


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declared dependency.

    Attributes:
        name: normalised name (PEP 503).
        place: where in the project.
        group: name of the extra or group, or path of the requirements file relative to the project.
        path: file in the tree.
        line: in that file; 0 = it is found by ``text`` when it is asked for.
        text: how the declaration begins or is quoted there.
    """

    name: str
    place: Place
    group: str
    path: str
    line: int
    text: str = ""

    def evidence(self, workspace: Workspace, weight: float) -> Evidence:
        """This declaration as evidence, with its line."""
        part = {Place.EXTRA: f" in extra {self.group}", Place.GROUP: f" in group {self.group}"}.get(self.place, "")
        line = self.line
        if not line and self.text:
            line = _quoted_line(workspace, self.path, self.text)
        return Evidence(self.path, line, f"dependency {self.name}{part}", weight)


def _quoted_line(workspace: Workspace, path: str, wanted: str) -> int:
    """The first line that begins with a text or has it in quotes; 0 if none does."""
    if wanted in workspace.text(path):
        for number, line in enumerate(workspace.lines(path), 1):
            if wanted in line and (line.lstrip().startswith(wanted) or f'"{wanted}"' in line or f"'{wanted}'" in line):
                return number
    return 0


def declarations(workspace: Workspace, directory: str) -> list[Declaration]:
    """All declarations of the project in ``directory``, in a stable order."""
    parts = [
        _pyproject(workspace, directory),
        _setup_cfg(workspace, directory),
        _setup_py(workspace, directory),
        _pipfile(workspace, directory),
        _tox(workspace, directory),
        *(_requirements(workspace, directory, n, n, set()) for n in requirement_files(workspace, directory)),
    ]
    return list(islice(chain.from_iterable(parts), MAX_DECLARATIONS))


def requirement_files(workspace: Workspace, directory: str) -> list[str]:
    """Requirements files of a project, relative to it: ``*requirements*.txt`` and all of ``requirements/*.txt``."""
    beside = [n for n in workspace.names(directory) if n.endswith(".txt") and "requirements" in n]
    below = [f"requirements/{n}" for n in workspace.names(join(directory, "requirements")) if n.endswith(".txt")]
    return sorted(beside, key=lambda name: (name != "requirements.txt", name)) + sorted(below)


def installable(workspace: Workspace, directory: str) -> bool:
    """Whether ``pip install -e DIRECTORY`` has something to build."""
    data = workspace.toml(join(directory, "pyproject.toml"))
    poetry = table(data, "tool", "poetry")
    if poetry.get("package-mode") is False or table(data, "tool", "uv").get("package") is False:
        return False
    declared = table(data, "project") or table(data, "build-system") or poetry
    return bool(declared) or workspace.has(directory, "setup.py")


def _pyproject(workspace: Workspace, directory: str) -> Iterator[Declaration]:
    path = join(directory, "pyproject.toml")
    data = workspace.toml(path)
    project = table(data, "project")
    sources: list[tuple[Place, str, list[str]]] = [(Place.MAIN, "", strings(project.get("dependencies")))]
    extras = table(project, "optional-dependencies")
    sources += [(Place.EXTRA, name, strings(lines)) for name, lines in extras.items()]
    groups = table(data, "dependency-groups")
    sources += [(Place.GROUP, name, _group(groups, name, set())) for name in groups]
    sources += [(Place.GROUP, "dev", strings(table(data, "tool", "uv").get("dev-dependencies")))]
    pdm = table(data, "tool", "pdm", "dev-dependencies")
    sources += [(Place.GROUP, name, strings(lines)) for name, lines in pdm.items()]
    sources += [(Place.BUILD, "", strings(table(data, "build-system").get("requires")))]
    for place, group, lines in sources:
        for line in lines:
            if name := parse_requirement(line):
                yield Declaration(name, place, group, path, 0, line)
    hatch = table(data, "tool", "hatch", "envs", "default")
    for line in strings(hatch.get("dependencies")) + strings(hatch.get("extra-dependencies")):
        if name := parse_requirement(line):
            yield Declaration(name, Place.ENVIRONMENT, HATCH_ENVIRONMENT, path, 0, line)
    poetry = table(data, "tool", "poetry")
    optional = {canonicalize_name(name) for names in table(poetry, "extras").values() for name in strings(names)}
    tables = [(Place.MAIN, "", table(poetry, "dependencies")), (Place.GROUP, "dev", table(poetry, "dev-dependencies"))]
    tables += [(Place.GROUP, name, table(poetry, "group", name, "dependencies")) for name in table(poetry, "group")]
    for place, group, entries in tables:
        for key in entries:
            extra = place is Place.MAIN and canonicalize_name(key) in optional
            yield Declaration(canonicalize_name(key), Place.EXTRA if extra else place, group, path, 0, key)


def _group(groups: dict[str, Any], name: str, seen: set[str]) -> list[str]:
    """The requirements of a dependency group and of those it includes (PEP 735), each group once."""
    if name in seen:
        return []
    seen.add(name)
    found: list[str] = []
    for item in listing(groups.get(name)):
        if isinstance(item, str):
            found.append(item)
        elif isinstance(included := table(item).get("include-group"), str) and len(seen) < MAX_INCLUDED_GROUPS:
            found += _group(groups, included, seen)
    return found


def _setup_cfg(workspace: Workspace, directory: str) -> Iterator[Declaration]:
    path = join(directory, "setup.cfg")
    data = workspace.ini(path)
    options = data.get("options", {})
    sources = [
        (Place.MAIN, "", options.get("install_requires", "")),
        (Place.BUILD, "", options.get("tests_require", "")),
    ]
    sources += [(Place.EXTRA, name, value) for name, value in data.get("options.extras_require", {}).items()]
    for place, group, value in sources:
        for line in value.splitlines():
            if name := parse_requirement(line.strip()):
                yield Declaration(name, place, group, path, 0, line.strip())


def _setup_py(workspace: Workspace, directory: str) -> Iterator[Declaration]:
    path = join(directory, "setup.py")
    module = workspace.python(path)
    values = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for keyword in _setup_keywords(module):
        value = values.get(keyword.value.id, keyword.value) if isinstance(keyword.value, ast.Name) else keyword.value
        if keyword.arg in {"install_requires", "tests_require"}:
            place = Place.MAIN if keyword.arg == "install_requires" else Place.BUILD
            yield from _literals(value, values, place, "", path)
        elif keyword.arg == "extras_require" and isinstance(value, ast.Dict):
            for key, item in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield from _literals(item, values, Place.EXTRA, key.value, path)


def _setup_keywords(module: ast.Module) -> Iterator[ast.keyword]:
    """Keywords of every call of ``setup`` at the top level or one block deeper."""
    statements = list(module.body)
    for node in module.body:
        statements += (
            getattr(node, "body", []) if isinstance(node, ast.If | ast.With | ast.Try | ast.FunctionDef) else []
        )
    for node in statements:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call):
            function = call.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            if name == "setup":
                yield from call.keywords


def _literals(
    node: ast.expr, values: dict[str, ast.expr], place: Place, group: str, path: str
) -> Iterator[Declaration]:
    """Requirements of a literal list, one name deep; anything computed is not known."""
    if isinstance(node, ast.Name):
        node = values.get(node.id, node)
    for item in node.elts if isinstance(node, ast.List | ast.Tuple) else []:
        if isinstance(item, ast.Constant) and isinstance(item.value, str) and (name := parse_requirement(item.value)):
            yield Declaration(name, place, group, path, item.lineno)


def _pipfile(workspace: Workspace, directory: str) -> Iterator[Declaration]:
    path = join(directory, "Pipfile")
    data = workspace.toml(path)
    for section, place in (("packages", Place.MAIN), ("dev-packages", Place.GROUP)):
        for key in table(data, section):
            group = "dev" if place is Place.GROUP else ""
            yield Declaration(canonicalize_name(key), place, group, path, 0, key)


def _tox(workspace: Workspace, directory: str) -> Iterator[Declaration]:
    """What ``[testenv]`` of tox.ini asks for by name; files that it names are found as requirements files."""
    path = join(directory, "tox.ini")
    for line in workspace.ini(path).get("testenv", {}).get("deps", "").splitlines():
        if name := parse_requirement(line.strip()):
            yield Declaration(name, Place.ENVIRONMENT, TOX_ENVIRONMENT, path, 0, line.strip())


def _requirements(workspace: Workspace, directory: str, name: str, group: str, seen: set[str]) -> Iterator[Declaration]:
    """Declarations of a requirements file and of those it includes, attributed to the file that is installed."""
    path = _normal(join(directory, name))
    if path is None or path in seen or len(seen) >= MAX_INCLUDED_FILES:
        return
    seen.add(path)
    for line in workspace.requirements(path):
        if line.name:
            yield Declaration(line.name, Place.FILE, group, path, line.line)
        elif line.option == "-r":
            base = name.rpartition("/")[0]
            yield from _requirements(
                workspace, directory, f"{base}/{line.argument}" if base else line.argument, group, seen
            )


def _normal(path: str) -> str | None:
    """The path without ``.`` and ``..``; None if it leads out of the tree or is a URL."""
    if "://" in path or path.startswith("/"):
        return None
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)

"""Versions of runtimes with their sources, from the table ``data/runtimes.toml``.

What only the code of an ecosystem can read (``requires-python`` of several tables, the properties of a POM) is told by
that code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .model import Candidate, Evidence, RuntimeVersion
from .registry import VersionFile
from .search import captured
from .workspace import Workspace, join, listing, parents, table

__all__ = ["detect_runtimes"]

_CONSTRAINT = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?")
"""What can be a version or a range: printable, one line, at most 64 characters."""

_LETTER = re.compile(r"v(?=\d)")
"""``v20.1`` in .nvmrc."""


@dataclass(frozen=True, slots=True)
class _Found:
    runtime: str
    constraint: str
    evidence: Evidence


def detect_runtimes(workspace: Workspace, projects: Iterable[tuple[str, str]]) -> Iterator[Candidate]:
    """Candidates for the runtimes of the given (workdir, ecosystem) pairs; of files above the nearest counts."""
    rules = [(rule, holders) for rule in workspace.registry.version_files if (holders := _holders(workspace, rule))]
    for directory, ecosystem in projects:
        wanted = set(workspace.registry.ecosystems[ecosystem].runtimes)
        for rule, holders in rules:
            if rule.runtime and rule.runtime not in wanted:
                continue
            for found in _nearest(workspace, rule, holders, directory, wanted):
                runtime = RuntimeVersion(found.runtime, found.constraint, found.evidence)
                yield Candidate(directory, ecosystem, (found.evidence,), runtime=runtime)


def _holders(workspace: Workspace, rule: VersionFile) -> frozenset[str]:
    """Directories in which the file of a rule stands, seen from where its path begins."""
    inner, _, name = rule.file.rpartition("/")
    found = workspace.directories_with(name)
    if not inner:
        return frozenset(found)
    outer = (
        ("./" + directory).removesuffix(f"/{inner}") for directory in found if f"/{directory}".endswith(f"/{inner}")
    )
    return frozenset(directory.removeprefix("./") for directory in outer)


def _nearest(
    workspace: Workspace, rule: VersionFile, holders: frozenset[str], directory: str, wanted: set[str]
) -> Iterator[_Found]:
    """What the file says here or, where that is how its tool looks for it, in the nearest directory above."""
    places = [directory, *parents(directory)] if rule.inherited else [directory]
    for place in (place for place in places if place in holders):
        path = join(place, rule.file)
        told = workspace.once(
            f"runtime {rule.file} {rule.runtime} {rule.path}", path, lambda p: _read(workspace, rule, p)
        )
        mine = [found for found in told if found.runtime in wanted]
        if mine:
            yield from mine
            return


def _read(workspace: Workspace, rule: VersionFile, path: str) -> list[_Found]:
    found = []
    for runtime, value, line in _values(workspace, rule, path):
        constraint = str(value).strip() if isinstance(value, str | int | float) and value is not True else ""
        if rule.format in {"line", "tool-versions", "mise"}:
            # python-3.11 in runtime.txt, ruby-3.2 in .ruby-version; another word (temurin-21) is part of the version.
            constraint = constraint.removeprefix(f"{runtime}-")
            constraint = constraint[1:] if _LETTER.match(constraint) else constraint
        if _CONSTRAINT.fullmatch(constraint):
            found.append(_Found(runtime, constraint, Evidence(path, line, rule.signal, rule.weight)))
    return found


def _values(workspace: Workspace, rule: VersionFile, path: str) -> Iterator[tuple[str, Any, int]]:
    """(runtime, what its version is said to be, line)."""
    match rule.format:
        case "line":
            for number, line in enumerate(workspace.lines(path), 1):
                if words := line.split("#")[0].split():
                    yield rule.runtime, words[0], number
                    return
        case "tool-versions":
            for number, line in enumerate(workspace.lines(path), 1):
                words = line.split("#")[0].split()
                if len(words) > 1:
                    yield _runtime(workspace, words[0]), words[1], number
        case "properties":
            for number, line in enumerate(workspace.lines(path), 1):
                name, equals, value = line.partition("=")
                if equals and not name.lstrip().startswith("#"):
                    yield _runtime(workspace, name.strip()), value, number
        case "mise":
            for name, value in table(workspace.toml(path), "tools").items():
                first = table(value).get("version") if isinstance(value, dict) else next(iter(listing(value)), value)
                yield _runtime(workspace, name), first, workspace.line(path, "[tools", name)
        case "match":
            yield rule.runtime, *captured(workspace, path, rule.pattern)
        case _:
            yield from _at_path(workspace, rule, path)


def _at_path(workspace: Workspace, rule: VersionFile, path: str) -> Iterator[tuple[str, Any, int]]:
    parse = {"json": workspace.json, "json5": workspace.json5, "toml": workspace.toml, "yaml": workspace.yaml}[
        rule.format
    ]
    value = table(parse(path), *rule.path[:-1]).get(rule.path[-1])
    if value is None:
        return
    quoted = [f'"{key}"' for key in rule.path]
    starts = {"toml": [rule.path[-1]], "yaml": [f"{key}:" for key in rule.path]}.get(rule.format, quoted)
    line = workspace.line(path, *starts)
    if rule.runtime:
        yield rule.runtime, value, line
        return
    for entry in [value] if isinstance(value, dict) else listing(value):
        yield str(table(entry).get("name", "")), table(entry).get("version"), line


def _runtime(workspace: Workspace, name: str) -> str:
    return workspace.registry.runtime_aliases.get(name, name)

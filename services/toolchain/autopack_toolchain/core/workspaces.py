"""Workspaces: several packages that one tool installs or builds together, with their root and members."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from xml.etree.ElementTree import Element

from .globs import directory_matcher
from .model import Candidate, Evidence, WorkspaceInfo
from .places import nearest, under
from .search import captures
from .workspace import Workspace, join, listing, parents, strings, table

__all__ = ["cargo_members", "detect_workspaces", "go_members", "node_members", "node_patterns"]

MAX_MEMBERS = 1000
"""Members that are listed of one workspace; the largest surveyed has 285."""

_RUNNERS = (("nx.json", "nx"), ("turbo.json", "turbo"), ("lerna.json", "lerna"))
_NODE_LOCKS = {"yarn.lock": "yarn", "bun.lock": "bun", "bun.lockb": "bun"}
_GRADLE_INCLUDE = r"^[ \t]*include[ \t]*\(?((?:\s*[\"'][^\"'\n]{1,200}[\"']\s*,?)+)"
_QUOTED = re.compile(r"[\"']([^\"'\n]{1,200})[\"']")
_GO_USE = re.compile(r"^[ \t]*use[ \t]+(?:\(([^)]*)\)|([^\s(]+))", re.MULTILINE)


def detect_workspaces(workspace: Workspace, found: Iterable[Candidate]) -> Iterator[Candidate]:
    """Candidates that say of which workspace a found project is the root or a member; of several the innermost."""
    claims = list(found)
    projects = {(candidate.workdir, candidate.ecosystem) for candidate in claims}
    layouts = [
        *(("node", info) for info in _node(workspace, claims)),
        *(("rust", info) for info in _cargo(workspace)),
        *(("go", info) for info in _go(workspace)),
        *(("python", info) for info in _uv(workspace)),
        *(("java", info) for info in (*_gradle(workspace), *_maven(workspace))),
    ]
    layouts.sort(key=lambda item: (-item[1].root.count("/") - (item[1].root != "."), item[1].root))
    for ecosystem, info in layouts:
        if (info.root, ecosystem) in projects:
            yield Candidate(info.root, ecosystem, (info.evidence,), workspace=info)
    for ecosystem, info in layouts:
        inside = WorkspaceInfo(info.tool, info.root, (), info.evidence)
        for member in info.members:
            if (member, ecosystem) in projects:
                yield Candidate(member, ecosystem, (info.evidence,), workspace=inside)


def _info(tool: str, root: str, members: Iterable[str], evidence: Evidence) -> Iterator[WorkspaceInfo]:
    """One workspace, if it has a member beside its root."""
    inside = sorted({member for member in members if member != root})
    if inside:
        yield WorkspaceInfo(tool, root, tuple(inside[:MAX_MEMBERS]), evidence)


def _below(workspace: Workspace, root: str, name: str) -> list[tuple[str, str]]:
    """(directory, the same relative to the root) of directories below it that hold this file."""
    prefix = "" if root == "." else f"{root}/"
    found = workspace.once("places", name, lambda name: workspace.directories_with(name))
    return [(directory, directory.removeprefix(prefix)) for directory in under(found, root)]


def _inside(root: str, relative: str) -> str:
    """A path relative to a root as a path relative to the source; empty where it leads out."""
    path = posixpath.normpath(posixpath.join(root, relative))
    return "" if path.startswith(("..", "/")) else path


# Node.js


def node_patterns(workspace: Workspace, directory: str) -> list[str]:
    """Globs of the members that the package manager installs with this directory."""
    declared = workspace.json(join(directory, "package.json")).get("workspaces")
    packages = declared.get("packages") if isinstance(declared, dict) else declared
    pnpm = workspace.yaml(join(directory, "pnpm-workspace.yaml")).get("packages")
    return strings(packages) + strings(pnpm)


def node_members(workspace: Workspace, root: str) -> list[str]:
    """Directories of the packages of a workspace, however it is declared."""
    patterns = node_patterns(workspace, root)
    lerna = join(root, "lerna.json")
    if not patterns and workspace.has(root, "lerna.json"):
        patterns = strings(workspace.json5(lerna).get("packages")) or ["packages/*"]
    if patterns:
        matches = directory_matcher(patterns)
        return [directory for directory, inner in _below(workspace, root, "package.json") if matches(inner)]
    if workspace.has(root, "rush.json"):
        entries = listing(workspace.json5(join(root, "rush.json")).get("projects"))
        folders = [_inside(root, str(table(entry).get("projectFolder", ""))) for entry in entries]
        return [folder for folder in folders if folder and workspace.has(folder, "package.json")]
    if workspace.has(root, "nx.json"):
        return [directory for directory, _ in _below(workspace, root, "project.json")]
    return []


def _node(workspace: Workspace, claims: Sequence[Candidate]) -> Iterator[WorkspaceInfo]:
    managers: dict[str, list[Candidate]] = defaultdict(list)
    for claim in claims:
        if claim.ecosystem == "node" and claim.manager:
            managers[claim.workdir].append(claim)
    for root in nearest(workspace.directories_with("package.json", "rush.json", "nx.json")):
        members = node_members(workspace, root)
        if not members:
            continue
        evidence = _node_evidence(workspace, root)
        runner = next((tool for name, tool in _RUNNERS if workspace.has(root, name)), "")
        if workspace.has(root, "rush.json"):
            runner = "rush"
        best = max(managers[root], key=lambda c: max(e.weight for e in c.evidence), default=None)
        manager = best.manager.removesuffix("-berry") if best else "npm"
        yield from _info(runner or manager, root, members, evidence)


def _node_evidence(workspace: Workspace, root: str) -> Evidence:
    """Where the members are declared; a task runner's file where it only names targets."""
    path = join(root, "package.json")
    if workspace.has(root, "rush.json"):
        return workspace.evidence(join(root, "rush.json"), "projects of Rush", 0.95, '"projects"')
    if workspace.has(root, "pnpm-workspace.yaml"):
        return workspace.evidence(join(root, "pnpm-workspace.yaml"), "packages of pnpm", 0.95, "packages:")
    if workspace.json(path).get("workspaces"):
        return workspace.evidence(path, "workspaces", 0.95, '"workspaces"')
    name = "lerna.json" if workspace.has(root, "lerna.json") else "nx.json"
    return workspace.evidence(join(root, name), name, 0.85, '"packages"' if name == "lerna.json" else "{")


# Cargo, Go, uv


def cargo_members(workspace: Workspace, root: str) -> frozenset[str]:
    """Directories of the packages of a Cargo workspace: those it names, and path dependencies of its root below it."""
    return workspace.once("cargo members", root, lambda root: _cargo_members(workspace, root))


def _cargo_members(workspace: Workspace, root: str) -> frozenset[str]:
    data = workspace.toml(join(root, "Cargo.toml"))
    if not isinstance(data.get("workspace"), dict):
        return frozenset()
    settings = table(data, "workspace")
    matches = directory_matcher(strings(settings.get("members")))
    refused = tuple(f"{name.removeprefix('./').rstrip('/')}/" for name in strings(settings.get("exclude")))
    packages = _below(workspace, root, "Cargo.toml")
    linked = {
        _inside(root, path)
        for owner in (data, settings)
        for group in ("dependencies", "dev-dependencies", "build-dependencies")
        for entry in table(owner, group).values()
        if isinstance(path := table(entry).get("path"), str)
    }
    return frozenset(
        directory
        for directory, inner in packages
        if (matches(inner) or directory in linked) and not f"{inner}/".startswith(refused)
    )


def _cargo(workspace: Workspace) -> Iterator[WorkspaceInfo]:
    for root in nearest(workspace.directories_with("Cargo.toml")):
        if members := cargo_members(workspace, root):
            path = join(root, "Cargo.toml")
            evidence = workspace.evidence(path, "[workspace]", 0.97, "[workspace")
            yield from _info("cargo", root, members, evidence)


def go_members(workspace: Workspace, root: str) -> list[str]:
    """Directories of the modules that a go.work uses."""
    text = workspace.text(join(root, "go.work"))
    named = [
        words[0].strip('"')
        for match in _GO_USE.finditer(text)
        for line in (match[1] or match[2] or "").splitlines()
        if (words := line.split("//")[0].split())
    ]
    places = [_inside(root, name) for name in named]
    return sorted({place for place in places if place and workspace.has(place, "go.mod")})


def _go(workspace: Workspace) -> Iterator[WorkspaceInfo]:
    for root in nearest(workspace.directories_with("go.work")):
        evidence = workspace.evidence(join(root, "go.work"), "go.work", 0.97, "use")
        yield from _info("go", root, go_members(workspace, root), evidence)


def _uv(workspace: Workspace) -> Iterator[WorkspaceInfo]:
    for root in nearest(workspace.directories_with("pyproject.toml")):
        path = join(root, "pyproject.toml")
        settings = table(workspace.toml(path), "tool", "uv", "workspace")
        patterns = [*strings(settings.get("members")), *(f"!{name}" for name in strings(settings.get("exclude")))]
        if patterns:
            matches = directory_matcher(patterns)
            members = [d for d, inner in _below(workspace, root, "pyproject.toml") if matches(inner)]
            yield from _info(
                "uv", root, members, workspace.evidence(path, "[tool.uv.workspace]", 0.97, "[tool.uv.work")
            )


# Gradle, Maven


def _gradle(workspace: Workspace) -> Iterator[WorkspaceInfo]:
    for root in nearest(workspace.directories_with("settings.gradle", "settings.gradle.kts")):
        if any(workspace.has(above, f"settings.gradle{kts}") for above in parents(root) for kts in ("", ".kts")):
            continue
        name = "settings.gradle" if workspace.has(root, "settings.gradle") else "settings.gradle.kts"
        path = join(root, name)
        groups = captures(workspace, path, _GRADLE_INCLUDE, MAX_MEMBERS)
        projects = [project for group in groups for project in _QUOTED.findall(group)]
        places = [_inside(root, project.strip(":").replace(":", "/")) for project in projects]
        known = _all_directories(workspace)
        members = [place for place in places if place in known]
        yield from _info("gradle", root, members, workspace.evidence(path, "include", 0.95, "include"))


def _all_directories(workspace: Workspace) -> frozenset[str]:
    def collect(_: str) -> frozenset[str]:
        found: set[str] = set()
        for directory in workspace.directories:
            found.add(directory)
            found.update(parents(directory))
        return frozenset(found)

    return workspace.once("directories", "", collect)


def _maven(workspace: Workspace) -> Iterator[WorkspaceInfo]:
    named = {d: _modules(workspace, d) for d in nearest(workspace.directories_with("pom.xml"))}
    inner = {module for modules in named.values() for module in modules}
    for root in sorted(d for d, modules in named.items() if modules and d not in inner):
        members: set[str] = set()
        waiting = list(named[root])
        while waiting and len(members) <= MAX_MEMBERS:
            module = waiting.pop()
            if module not in members:
                members.add(module)
                waiting += named.get(module, [])
        evidence = workspace.evidence(join(root, "pom.xml"), "modules", 0.97, "<modules>")
        yield from _info("maven", root, members, evidence)


def _modules(workspace: Workspace, directory: str) -> list[str]:
    path = join(directory, "pom.xml")
    root = workspace.xml(path) if "<module>" in workspace.text(path) else None
    if root is None:
        return []
    places = [_inside(directory, name) for name in _module_names(root)]
    return [place for place in places if place and place != directory and workspace.has(place, "pom.xml")]


def _module_names(root: Element) -> list[str]:
    tags = (item for item in root.iter() if item.tag.rpartition("}")[2] == "module" and item.text)
    return [(item.text or "").strip().removesuffix("/pom.xml").rstrip("/") for item in tags]

""".NET: solutions and the projects below them. What `dotnet` is told where several could be meant is named."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autopack_kit.commands import Command

from .model import Candidate, Evidence, RuntimeVersion, Source, StepKind
from .places import nearest
from .workspace import Workspace, join, parents

__all__ = ["detect_dotnet"]

ECOSYSTEM = "dotnet"

MAX_READ = 64
"""Project files of one root that are read; what most of them are shows before, and large solutions have hundreds."""

_PROJECTS = (".csproj", ".fsproj", ".vbproj")
_SOLUTIONS = (".sln", ".slnx")
_SHARED = (
    "global.json",
    "Directory.Build.props",
    "Directory.Packages.props",
    "nuget.config",
    "NuGet.config",
    "NuGet.Config",
)
"""Files that hold for all projects below: beside them commands are run, wherever the solution stands."""

_SOURCE_DIRECTORIES = frozenset({"src", "source", "sources"})
"""A solution that stands here is that of the whole repository."""

_TEST_NAME = re.compile(r"(?:(?:^|[._-])[Tt]ests?|Tests?|(?:^|[._-])[Ss]pecs?|Specs)$")
_TEST_MARK = re.compile(
    r"Microsoft\.NET\.Test\.Sdk|\"xunit|\"NUnit|\"MSTest|\"TUnit|<IsTestProject>\s{0,9}true", re.IGNORECASE
)
_STARTS = re.compile(
    r"<OutputType>\s{0,9}(?:Win)?Exe\s{0,9}<|Sdk=\"Microsoft\.NET\.Sdk\.(?:Web|Worker|BlazorWebAssembly)\""
)
_FRAMEWORK = re.compile(r"<TargetFrameworks?>\s{0,9}([A-Za-z0-9.;_-]{1,100})\s{0,9}<")


@dataclass(frozen=True, slots=True)
class _Root:
    """A directory where commands are run: its solution (a path relative to it, or empty) and what it owns."""

    directory: str
    solution: str
    marker: str
    projects: tuple[str, ...]

    def relative(self, path: str) -> str:
        return path if self.directory == "." else path.removeprefix(f"{self.directory}/")


def detect_dotnet(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for .NET; a solution owns the projects below it, a project those below its directory."""
    for root in _roots(workspace):
        marker = Evidence(root.marker, 0, root.marker.rpartition("/")[2], 0.95)
        yield Candidate(root.directory, ECOSYSTEM, (marker,))
        yield Candidate(root.directory, ECOSYSTEM, (marker,), manager="dotnet")
        read = [path for path in root.projects if not _is_test_name(path)][:MAX_READ]
        yield from _framework(workspace, root, read)
        if read and all(_is_legacy(workspace, path) for path in read):
            continue  # written for the build engine of Windows alone: `dotnet` cannot load it
        yield from _steps(workspace, root, marker)
        tests = [path for path in root.projects if _is_test(workspace, path, read)]
        yield from _test(root, tests)
        yield from _run(workspace, root, [path for path in read if path not in tests])


def _roots(workspace: Workspace) -> list[_Root]:
    projects = sorted(path for extension in _PROJECTS for path in workspace.ending(extension))
    solutions = sorted(path for extension in _SOLUTIONS for path in workspace.ending(extension))
    if not projects:
        return []
    at = {_directory(path) for path in solutions}
    tops = {place for place in at if not any(above in at for above in parents(place))}
    sides = workspace.registry.side_directories
    outer = [place for place in tops if sides.isdisjoint(place.split("/"))]
    shared = any(workspace.has(".", name) for name in _SHARED)
    if len(outer) == 1 and (shared or outer[0].lower() in _SOURCE_DIRECTORIES):
        tops = {".", *(tops - set(outer))}
    rest = {_directory(path) for path in projects if _owner(path, tops) is None}
    tops |= {place for place in rest if not any(above in rest for above in parents(place))}
    owned: dict[str, list[str]] = defaultdict(list)
    solved: dict[str, list[str]] = defaultdict(list)
    for path in projects:
        owned[_owner(path, tops) or ""].append(path)
    for path in solutions:
        solved[_owner(path, tops) or ""].append(path)
    return [_root(workspace, top, owned[top], solved[top]) for top in nearest(tops) if owned[top]]


def _root(workspace: Workspace, top: str, projects: Sequence[str], solutions: Sequence[str]) -> _Root:
    """The root of these projects: a solution, or a project where there is none beside it."""
    here = [path for path in solutions if _directory(path) == top]
    lone = [path for path in projects if _directory(path) == top]
    if not here and lone:
        return _Root(top, lone[0].rpartition("/")[2] if len(lone) > 1 else "", lone[0], tuple(projects))
    # Of several solutions the longest names the most projects.
    chosen = max(here or solutions, key=lambda path: (workspace.size(path), path))
    inner = chosen if top == "." else chosen.removeprefix(f"{top}/")
    return _Root(top, inner if not here or len(here) + len(lone) > 1 else "", chosen, tuple(projects))


def _owner(path: str, tops: set[str]) -> str | None:
    return next((above for above in parents(path) if above in tops), None)


def _directory(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _is_test_name(path: str) -> bool:
    return bool(_TEST_NAME.search(path.rpartition("/")[2].rpartition(".")[0]))


def _is_test(workspace: Workspace, path: str, read: Sequence[str]) -> bool:
    return _is_test_name(path) or (path in read and bool(_TEST_MARK.search(workspace.text(path))))


def _is_legacy(workspace: Workspace, path: str) -> bool:
    head = workspace.text(path)[:2000]
    return "ToolsVersion=" in head and "Sdk=" not in head and "<Sdk " not in head


def _framework(workspace: Workspace, root: _Root, projects: Sequence[str]) -> Iterator[Candidate]:
    for path in (join(root.directory, "Directory.Build.props"), *projects):
        text = workspace.text(path)
        if (match := _FRAMEWORK.search(text)) and not match[1].startswith("netstandard"):
            source = Evidence(path, text.count("\n", 0, match.start()) + 1, "TargetFramework", 0.6)
            runtime = RuntimeVersion("dotnet", match[1], source)
            yield Candidate(root.directory, ECOSYSTEM, (source,), runtime=runtime)
            return


def _steps(workspace: Workspace, root: _Root, marker: Evidence) -> Iterator[Candidate]:
    named = (root.solution,) if root.solution else ()
    lock = join(root.directory, "packages.lock.json")
    locked = ("--locked-mode",) if workspace.has(root.directory, "packages.lock.json") else ()
    installed = Evidence(lock, 0, "lock file", 0.9) if locked else Evidence(marker.path, 0, marker.signal, 0.85)
    yield _step(root, StepKind.INSTALL, ("dotnet", "restore", *named, *locked), installed)
    yield _step(root, StepKind.BUILD, ("dotnet", "build", *named), Evidence(marker.path, 0, marker.signal, 0.85))
    if workspace.has(root.directory, ".editorconfig"):
        style = Evidence(join(root.directory, ".editorconfig"), 0, "style settings", 0.5)
        yield _step(root, StepKind.FORMAT, ("dotnet", "format", *named, "--verify-no-changes"), style)


def _test(root: _Root, tests: Sequence[str]) -> Iterator[Candidate]:
    """All test projects of a solution, or the only one below a project without a solution."""
    if not tests:
        return
    evidence = Evidence(tests[0], 0, "test project", 0.85)
    if root.marker.endswith(_SOLUTIONS):
        named = (root.solution,) if root.solution else ()
        yield _step(root, StepKind.TEST, ("dotnet", "test", *named), evidence)
        return
    for path in tests if len(tests) == 1 else [path for path in tests if _directory(path) == root.directory][:1]:
        here = _directory(path) == root.directory and not root.solution
        named = () if here else (root.relative(path),)
        yield _step(root, StepKind.TEST, ("dotnet", "test", *named), evidence)


def _run(workspace: Workspace, root: _Root, projects: Sequence[str]) -> Iterator[Candidate]:
    """The only program among the projects."""
    programs = [path for path in projects if _STARTS.search(workspace.text(path))]
    if len(programs) != 1:
        return
    path = programs[0]
    named = () if _directory(path) == root.directory and not root.solution else ("--project", root.relative(path))
    yield _step(root, StepKind.RUN, ("dotnet", "run", *named), Evidence(path, 0, "program", 0.6))


def _step(
    root: _Root, kind: StepKind, argv: tuple[str, ...], evidence: Evidence, source: Source = Source.DEFAULT
) -> Candidate:
    command = Command.of(*argv, cwd=root.directory)
    return Candidate(root.directory, ECOSYSTEM, (evidence,), kind=kind, command=command, source=source)

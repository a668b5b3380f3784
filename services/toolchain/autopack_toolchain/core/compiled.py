"""Go and Rust: one manager each, and conventions that rarely vary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from autopack_kit.commands import Command

from .model import Candidate, Evidence, RuntimeVersion, Source, StepKind
from .places import nearest
from .workspace import Workspace, join, listing, parents, table
from .workspaces import cargo_members, go_members

__all__ = ["detect_go", "detect_rust"]

MAX_NAMED_MODULES = 20
"""Modules of a go.work whose packages one command names; of more, a reader would say that a script is missing."""

_GO_DIRECTIVE = re.compile(r"^(go|toolchain)[ \t]+([\w.+-]{1,64})", re.MULTILINE)
_COMMAND = re.compile(r"cmd/[\w.][\w.-]*/main\.go")
_DEPENDENCIES = ("dependencies", "dev-dependencies", "build-dependencies", "target")
_RUST_TEST = re.compile(r"^(?:.*_)?tests?\.rs$")


def detect_go(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for Go: modules, and the directory of a go.work that is none itself."""
    held = nearest(workspace.directories_with("go.mod"))
    modules = [d for d in held if workspace.line(join(d, "go.mod"), "module ")]
    tests = workspace.owned_files(modules, lambda name: name.endswith("_test.go"), ".go")
    sources = workspace.owned_files(modules, lambda _: True, ".go")
    for directory in modules:
        yield from _go_module(workspace, directory)
        packages = [("./...", directory)]
        yield from _go_steps(workspace, directory, join(directory, "go.mod"), packages, sources, tests)
        yield from _go_run(workspace, directory, sources[directory])
    for directory in nearest(workspace.directories_with("go.work")):
        members = go_members(workspace, directory)
        if directory not in modules and members:
            path = join(directory, "go.work")
            evidence = workspace.evidence(path, "go.work", 0.95, "use")
            yield Candidate(directory, "go", (evidence,))
            yield Candidate(directory, "go", (evidence,), manager="go")
            yield from _go_directives(workspace, directory, path)
            yield _step(directory, "go", StepKind.INSTALL, ("go", "mod", "download"), evidence)
            start = 0 if directory == "." else len(directory) + 1
            packages = [(f"./{member[start:]}/...", member) for member in members[:MAX_NAMED_MODULES]]
            yield from _go_steps(workspace, directory, path, packages, sources, tests)


def _go_module(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    path = join(directory, "go.mod")
    evidence = workspace.evidence(path, "go.mod", 0.97, "module ")
    yield Candidate(directory, "go", (evidence,))
    yield Candidate(directory, "go", (evidence,), manager="go")
    yield from _go_directives(workspace, directory, path)
    if workspace.line(path, "require"):
        require = workspace.evidence(path, "require", 0.9, "require")
        yield _step(directory, "go", StepKind.INSTALL, ("go", "mod", "download"), require)


def _go_directives(workspace: Workspace, directory: str, path: str) -> Iterator[Candidate]:
    text = workspace.text(path)
    for match in _GO_DIRECTIVE.finditer(text):
        source = Evidence(path, text.count("\n", 0, match.start()) + 1, f"{match[1]} directive", 0.9)
        yield Candidate(directory, "go", (source,), runtime=RuntimeVersion("go", match[2], source))


def _go_steps(
    workspace: Workspace,
    directory: str,
    manifest: str,
    packages: list[tuple[str, str]],
    sources: dict[str, list[str]],
    tests: dict[str, list[str]],
) -> Iterator[Candidate]:
    """Steps on the packages of the modules, each given as (pattern, directory of its module)."""
    built = [(pattern, sources[module][0]) for pattern, module in packages if sources.get(module)]
    tested = [(pattern, tests[module][0]) for pattern, module in packages if tests.get(module)]
    if built:
        patterns = [pattern for pattern, _ in built]
        source = Evidence(built[0][1], 0, "Go source", 0.85)
        yield _step(directory, "go", StepKind.BUILD, ("go", "build", *patterns), source)
        name = manifest.rpartition("/")[2]
        yield _step(directory, "go", StepKind.LINT, ("go", "vet", *patterns), Evidence(manifest, 0, name, 0.4))
    if tested:
        found = Evidence(tested[0][1], 0, "test file", 0.85)
        yield _step(directory, "go", StepKind.TEST, ("go", "test", *(pattern for pattern, _ in tested)), found)
    for name in (".golangci.yml", ".golangci.yaml", ".golangci.toml", ".golangci.json"):
        if built and workspace.has(directory, name):
            config = Evidence(join(directory, name), 0, "settings of golangci-lint", 0.8)
            argv = ("golangci-lint", "run")
            yield _step(directory, "go", StepKind.LINT, argv, config, Source.CONFIGURATION)


def _go_run(workspace: Workspace, directory: str, sources: list[str]) -> Iterator[Candidate]:
    """The program of the module: main.go beside go.mod, else the only command below cmd/."""
    prefix = "" if directory == "." else f"{directory}/"
    commands = [path for path in sources if _COMMAND.match(path.removeprefix(prefix))]
    if workspace.has(directory, "main.go"):
        evidence = Evidence(join(directory, "main.go"), 0, "main.go", 0.6)
        yield _step(directory, "go", StepKind.RUN, ("go", "run", "."), evidence)
    elif len(commands) == 1:
        package = commands[0].removeprefix(prefix).rpartition("/")[0]
        evidence = Evidence(commands[0], 0, "command", 0.55)
        yield _step(directory, "go", StepKind.RUN, ("go", "run", f"./{package}"), evidence)


def detect_rust(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for Cargo packages; members of a workspace belong to its root."""
    roots = [d for d in nearest(workspace.directories_with("Cargo.toml")) if _is_cargo_root(workspace, d)]
    tests = workspace.owned_files(roots, lambda name: bool(_RUST_TEST.match(name)), ".rs")
    for directory in roots:
        path = join(directory, "Cargo.toml")
        data = workspace.toml(path)
        start = "[package]" if table(data, "package") else "[workspace"
        evidence = workspace.evidence(path, start.strip("[]"), 0.97, start)
        yield Candidate(directory, "rust", (evidence,))
        yield Candidate(directory, "rust", (evidence,), manager="cargo")
        yield from _rust_runtimes(workspace, directory)
        locked = workspace.has(directory, "Cargo.lock")
        lock = Evidence(join(directory, "Cargo.lock"), 0, "lock file", 0.9)
        install = ("cargo", "fetch", "--locked") if locked else ("cargo", "fetch")
        if locked or isinstance(data.get("workspace"), dict) or any(table(data, name) for name in _DEPENDENCIES):
            yield _step(directory, "rust", StepKind.INSTALL, install, lock if locked else evidence)
        wide = ("--workspace",) if isinstance(data.get("workspace"), dict) else ()
        manifest = Evidence(path, 0, "Cargo.toml", 0.75)
        yield _step(directory, "rust", StepKind.BUILD, ("cargo", "build", *wide), Evidence(path, 0, "Cargo.toml", 0.85))
        # Unit tests stand inside the sources, so that their absence cannot be seen from names.
        tested = Evidence(tests[directory][0], 0, "test file", 0.8) if tests[directory] else manifest
        yield _step(directory, "rust", StepKind.TEST, ("cargo", "test", *wide), tested)
        yield from _rust_checks(workspace, directory, wide)
        yield from _rust_run(workspace, directory)


def _is_cargo_root(workspace: Workspace, directory: str) -> bool:
    data = workspace.toml(join(directory, "Cargo.toml"))
    is_package = bool(table(data, "package")) or isinstance(data.get("workspace"), dict)
    return is_package and not any(directory in cargo_members(workspace, above) for above in parents(directory))


def _rust_checks(workspace: Workspace, directory: str, wide: tuple[str, ...]) -> Iterator[Candidate]:
    def settings(*names: str) -> Evidence:
        found = next((name for name in names if workspace.has(directory, name)), "")
        return Evidence(join(directory, found or "Cargo.toml"), 0, found or "Cargo.toml", 0.8 if found else 0.55)

    if workspace.has(directory, ".config/nextest.toml"):
        configured = Evidence(join(directory, ".config/nextest.toml"), 0, "settings of nextest", 0.75)
        argv = ("cargo", "nextest", "run", *wide)
        yield _step(directory, "rust", StepKind.TEST, argv, configured, Source.CONFIGURATION)
    clippy = settings("clippy.toml", ".clippy.toml")
    yield _step(directory, "rust", StepKind.LINT, ("cargo", "clippy", "--all-targets", *wide), clippy)
    rustfmt = settings("rustfmt.toml", ".rustfmt.toml")
    yield _step(directory, "rust", StepKind.FORMAT, ("cargo", "fmt", "--all", "--check"), rustfmt)


def _rust_run(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    """The only program: of the root package, else of the only member that has one."""
    data = workspace.toml(join(directory, "Cargo.toml"))
    if table(data, "package"):
        several = len(listing(data.get("bin"))) > 1 and not table(data, "package").get("default-run")
        if workspace.has(directory, "src/main.rs") and not several:
            evidence = Evidence(join(directory, "src/main.rs"), 0, "program", 0.6)
            yield _step(directory, "rust", StepKind.RUN, ("cargo", "run"), evidence)
        return
    programs = [m for m in sorted(cargo_members(workspace, directory)) if workspace.has(m, "src/main.rs")]
    if len(programs) == 1:
        name = table(workspace.toml(join(programs[0], "Cargo.toml")), "package").get("name")
        if isinstance(name, str) and re.fullmatch(r"\w[\w-]{0,63}", name):
            evidence = Evidence(join(programs[0], "src/main.rs"), 0, "program", 0.5)
            yield _step(directory, "rust", StepKind.RUN, ("cargo", "run", "--package", name), evidence)


def _rust_runtimes(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    path = join(directory, "Cargo.toml")
    data = workspace.toml(path)
    claims = [
        (wanted, workspace.evidence(path, "rust-version", 0.8, "rust-version"))
        for owner in (table(data, "package"), table(data, "workspace", "package"))
        if isinstance(wanted := owner.get("rust-version"), str)
    ]
    for constraint, source in claims:
        yield Candidate(directory, "rust", (source,), runtime=RuntimeVersion("rust", constraint, source))


def _step(
    directory: str,
    ecosystem: str,
    kind: StepKind,
    argv: tuple[str, ...],
    evidence: Evidence,
    source: Source = Source.DEFAULT,
) -> Candidate:
    command = Command.of(*argv, cwd=directory)
    return Candidate(directory, ecosystem, (evidence,), kind=kind, command=command, source=source)

"""Go and Rust: one manager each, and conventions that rarely vary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from autopack_kit.commands import Command

from .model import Candidate, Evidence, RuntimeVersion, Source, StepKind
from .workspace import Workspace, join, parents, strings, table

__all__ = ["detect_go", "detect_rust"]

_GO_DIRECTIVE = re.compile(r"^(go|toolchain)[ \t]+([\w.+-]{1,64})", re.MULTILINE)


def detect_go(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for Go modules."""
    directories = [d for d in workspace.directories_with("go.mod") if workspace.line(join(d, "go.mod"), "module ")]
    tests = workspace.owned_files(directories, lambda name: name.endswith("_test.go"))
    sources = workspace.owned_files(directories, lambda name: name.endswith(".go"))
    for directory in directories:
        path = join(directory, "go.mod")
        evidence = workspace.evidence(path, "go.mod", 0.97, "module ")
        yield Candidate(directory, "go", (evidence,))
        yield Candidate(directory, "go", (evidence,), manager="go")
        for match in _GO_DIRECTIVE.finditer(workspace.text(path)):
            line = workspace.text(path).count("\n", 0, match.start()) + 1
            source = Evidence(path, line, f"{match[1]} directive", 0.9)
            yield Candidate(directory, "go", (source,), runtime=RuntimeVersion("go", match[2], source))
        if workspace.line(path, "require"):
            require = workspace.evidence(path, "require", 0.9, "require")
            yield _step(directory, "go", StepKind.INSTALL, ("go", "mod", "download"), require)
        if sources[directory]:
            source = Evidence(sources[directory][0], 0, "Go source", 0.85)
            yield _step(directory, "go", StepKind.BUILD, ("go", "build", "./..."), source)
            yield _step(directory, "go", StepKind.LINT, ("go", "vet", "./..."), Evidence(path, 0, "go.mod", 0.4))
        if tests[directory]:
            found = Evidence(tests[directory][0], 0, "test file", 0.85)
            yield _step(directory, "go", StepKind.TEST, ("go", "test", "./..."), found)
        for name in (".golangci.yml", ".golangci.yaml", ".golangci.toml", ".golangci.json"):
            if workspace.has(directory, name):
                config = Evidence(join(directory, name), 0, "settings of golangci-lint", 0.8)
                argv = ("golangci-lint", "run")
                yield _step(directory, "go", StepKind.LINT, argv, config, Source.CONFIGURATION)


def detect_rust(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for Cargo packages; members of a workspace belong to its root."""
    for directory in workspace.directories_with("Cargo.toml"):
        path = join(directory, "Cargo.toml")
        data = workspace.toml(path)
        if not (table(data, "package") or table(data, "workspace")) or _cargo_member(workspace, directory):
            continue
        start = "[package]" if table(data, "package") else "[workspace"
        evidence = workspace.evidence(path, start.strip("[]"), 0.97, start)
        yield Candidate(directory, "rust", (evidence,))
        yield Candidate(directory, "rust", (evidence,), manager="cargo")
        yield from _rust_runtimes(workspace, directory)
        locked = workspace.has(directory, "Cargo.lock")
        lock = Evidence(join(directory, "Cargo.lock"), 0, "lock file", 0.9)
        install = ("cargo", "fetch", "--locked") if locked else ("cargo", "fetch")
        yield _step(directory, "rust", StepKind.INSTALL, install, lock if locked else evidence)
        wide = ("--workspace",) if table(data, "workspace") else ()
        yield _step(directory, "rust", StepKind.BUILD, ("cargo", "build", *wide), Evidence(path, 0, "Cargo.toml", 0.85))
        yield _step(directory, "rust", StepKind.TEST, ("cargo", "test", *wide), Evidence(path, 0, "Cargo.toml", 0.75))
        if workspace.has(directory, ".config/nextest.toml"):
            nextest = Evidence(join(directory, ".config/nextest.toml"), 0, "settings of cargo-nextest", 0.8)
            argv = ("cargo", "nextest", "run", *wide)
            yield _step(directory, "rust", StepKind.TEST, argv, nextest, Source.CONFIGURATION)
        clippy = next((n for n in ("clippy.toml", ".clippy.toml") if workspace.has(directory, n)), "")
        linted = Evidence(join(directory, clippy or "Cargo.toml"), 0, clippy or "Cargo.toml", 0.8 if clippy else 0.55)
        yield _step(directory, "rust", StepKind.LINT, ("cargo", "clippy", "--all-targets", *wide), linted)
        rustfmt = next((n for n in ("rustfmt.toml", ".rustfmt.toml") if workspace.has(directory, n)), "")
        formatted = Evidence(
            join(directory, rustfmt or "Cargo.toml"), 0, rustfmt or "Cargo.toml", 0.8 if rustfmt else 0.55
        )
        yield _step(directory, "rust", StepKind.FORMAT, ("cargo", "fmt", "--all", "--check"), formatted)


def _cargo_member(workspace: Workspace, directory: str) -> bool:
    """Whether a workspace above lists this directory, or is reached by a path dependency below it."""
    for above in parents(directory):
        data = table(workspace.toml(join(above, "Cargo.toml")), "workspace")
        inner = directory if above == "." else directory.removeprefix(f"{above}/")
        if any(fnmatchcase(inner, pattern) for pattern in strings(data.get("exclude"))):
            return False
        if any(fnmatchcase(inner, pattern.removeprefix("./").rstrip("/")) for pattern in strings(data.get("members"))):
            return True
    return False


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

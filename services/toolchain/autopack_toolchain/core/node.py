"""Node.js: projects, managers (npm, yarn 1 and berry, pnpm, bun) and steps from package.json and lock files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from autopack_kit.commands import Command

from .model import Candidate, Evidence, RuntimeVersion, Source, StepKind
from .workspace import Workspace, join, listing, parents, strings, table

__all__ = ["detect_node"]

ECOSYSTEM = "node"

MAX_PATTERNS = 200
"""Globs of one workspace that are matched; the largest workspace surveyed has 10."""

_DEPENDENCY_TABLES = ("dependencies", "devDependencies", "optionalDependencies")

_SCRIPTS: dict[StepKind, tuple[str, ...]] = {
    StepKind.BUILD: ("build",),
    StepKind.TEST: ("test:ci", "test", "test:unit", "tests", "unit"),
    StepKind.LINT: ("lint:ci", "lint:check", "lint", "eslint"),
    StepKind.TYPECHECK: ("typecheck", "type-check", "check-types", "types:check", "check:types", "tsc"),
    StepKind.FORMAT: ("format:check", "check:format", "format:ci", "fmt:check", "prettier:check", "lint:format"),
    StepKind.RUN: ("start", "dev", "serve"),
}
"""Script names by purpose, best first: the form for CI stands before the one that may watch or rewrite files."""

_WATCHERS = frozenset({"react-scripts", "craco", "vitest", "react-app-rewired"})
"""Programs that watch for changes unless the variable CI is set (documented by each of them)."""

_LANGUAGES = (".js", ".jsx", ".cjs", ".mjs", ".cjsx", ".mjsx", ".ts", ".tsx", ".cts", ".mts", ".ctsx", ".mtsx")
_TEST_FILE = re.compile(r"^.*[._-](?:test|spec)\.(?:[cm]?[jt]sx?)$|^test\.(?:[cm]?[jt]s)$")

_SPECIFICATION = re.compile(r"^(npm|yarn|pnpm|bun)(?:@([^+\s]{1,64}))?")


def detect_node(workspace: Workspace) -> Iterator[Candidate]:
    """All candidates for Node.js."""
    directories = [d for d in workspace.directories_with("package.json") if workspace.json(join(d, "package.json"))]
    tests = workspace.owned_files(directories, lambda name: bool(_TEST_FILE.match(name)), *_LANGUAGES)
    for directory in directories:
        path = join(directory, "package.json")
        yield Candidate(directory, ECOSYSTEM, (Evidence(path, 0, "package.json", 0.95),))
        managers, installed_from = _managers(workspace, directory)
        yield from managers
        yield from _runtimes(workspace, directory)
        for manager in sorted({candidate.manager for candidate in managers}):
            yield from _install(workspace, directory, installed_from, manager)
            yield from _scripts(workspace, directory, manager)
            yield from _runner(workspace, directory, manager, tests[directory])


# managers


def _managers(workspace: Workspace, directory: str) -> tuple[list[Candidate], str]:
    """Candidates for managers, and where dependencies are installed: for a member in the workspace's root."""
    own = _one_yarn(list(_claims(workspace, directory)))
    if any(evidence.weight >= 0.5 for _, _, evidence in own):
        return [_manager(directory, *claim) for claim in own], directory
    root = _workspace_root(workspace, directory)
    if root is not None:
        inherited = _one_yarn(list(_claims(workspace, root))) or [("npm", "", _default())]
        return [_manager(directory, *claim) for claim in inherited], root
    # An engine that is asked for by name, and npm not, is more than no sign of npm at all.
    engines = table(workspace.json(join(directory, "package.json")), "engines").keys()
    weight = 0.25 if engines & {"yarn", "pnpm", "bun"} and "npm" not in engines else 0.6
    return [_manager(directory, *claim) for claim in [*own, ("npm", "", _default(weight))]], directory


def _one_yarn(claims: list[tuple[str, str, Evidence]]) -> list[tuple[str, str, Evidence]]:
    """Where something says that it is Yarn 2 or later, the evidence that only says "yarn" speaks for that one."""
    if not any(name == "yarn-berry" for name, _, _ in claims):
        return claims
    exact = {"lock file", "packageManager", "devEngines.packageManager"}
    return [("yarn-berry" if n == "yarn" and e.signal not in exact else n, v, e) for n, v, e in claims]


def _default(weight: float = 0.6) -> Evidence:
    return Evidence("", 0, "no manager is named: the default of Node.js", weight)


def _manager(directory: str, name: str, version: str, evidence: Evidence) -> Candidate:
    return Candidate(directory, ECOSYSTEM, (evidence,), manager=name, version=version)


def _claims(workspace: Workspace, directory: str) -> Iterator[tuple[str, str, Evidence]]:
    """(manager, version, evidence) for everything in this directory that names a manager."""
    path = join(directory, "package.json")
    data = workspace.json(path)
    if isinstance(named := data.get("packageManager"), str) and (match := _SPECIFICATION.match(named)):
        name, version = match[1], match[2] or ""
        evidence = workspace.evidence(path, "packageManager", 0.97, '"packageManager"')
        yield _with_major(name, version), version, evidence
    for entry in _one_or_many(table(data, "devEngines").get("packageManager")):
        name, version = str(entry.get("name", "")), str(entry.get("version", ""))
        if _SPECIFICATION.fullmatch(name):
            evidence = workspace.evidence(path, "devEngines.packageManager", 0.93, '"devEngines"', '"packageManager"')
            yield _with_major(name, version), version, evidence
    for lock, name in workspace.registry.ecosystems[ECOSYSTEM].locks.items():
        if workspace.has(directory, lock):
            berry = name == "yarn" and _is_berry(workspace, directory)
            yield ("yarn-berry" if berry else name), "", Evidence(join(directory, lock), 0, "lock file", 0.88)
    if workspace.has(directory, ".yarnrc.yml"):
        yield "yarn-berry", "", Evidence(join(directory, ".yarnrc.yml"), 0, "settings of Yarn 2 or later", 0.6)
    if workspace.has(directory, "pnpm-workspace.yaml"):
        yield "pnpm", "", Evidence(join(directory, "pnpm-workspace.yaml"), 0, "workspace of pnpm", 0.7)
    yield from _weak_claims(workspace, path, data)


def _weak_claims(workspace: Workspace, path: str, data: dict[str, Any]) -> Iterator[tuple[str, str, Evidence]]:
    scripts = table(data, "scripts")
    preinstall = str(scripts.get("preinstall", "")).split()
    if "only-allow" in preinstall and _SPECIFICATION.fullmatch(preinstall[-1]):
        yield preinstall[-1], "", workspace.evidence(path, "only-allow", 0.7, '"scripts"', '"preinstall"')
    callers = [(n, w) for n, text in scripts.items() if isinstance(text, str) for w in _first_words(text)]
    for name in ("yarn", "pnpm", "bun"):
        calls = [script for script, word in callers if word == name]
        if calls:
            signal = f"script {calls[0]} calls {name}"
            yield name, "", workspace.evidence(path, signal, 0.45, '"scripts"', f'"{calls[0]}"')
    for name, version in table(data, "engines").items():
        if name in {"yarn", "pnpm", "bun"} and isinstance(version, str):
            yield name, "", workspace.evidence(path, f"engines.{name}", 0.3, '"engines"', f'"{name}"')


def _one_or_many(value: object) -> list[dict[str, Any]]:
    return [table(item) for item in ([value] if isinstance(value, dict) else listing(value))]


def _with_major(name: str, version: str) -> str:
    """yarn from version 2 on is another program, with other options."""
    major = re.match(r"[^\d]*(\d{1,4})", version)
    return "yarn-berry" if name == "yarn" and major and int(major[1]) >= 2 else name


def _is_berry(workspace: Workspace, directory: str) -> bool:
    """Lock files of Yarn 2 and later have a ``__metadata`` entry; those of Yarn 1 say so in a comment."""
    head = workspace.text(join(directory, "yarn.lock"))[:4096].splitlines()
    if any(line.startswith("__metadata:") for line in head):
        return True
    return not any(line.startswith("# yarn lockfile v1") for line in head) and workspace.has(directory, ".yarnrc.yml")


def _first_words(script: str) -> list[str]:
    """The program of each part of a shell line."""
    return [words[0] for part in re.split(r"&&|\|\||[;|]", script) if (words := part.split())]


def _workspace_root(workspace: Workspace, directory: str) -> str | None:
    """The directory above whose workspace has this one as a member."""
    for above in parents(directory):
        if not workspace.has(above, "package.json"):
            continue
        inner = directory if above == "." else directory.removeprefix(f"{above}/")
        if _is_member(inner, _workspace_patterns(workspace, above)):
            return above
    return None


def _workspace_patterns(workspace: Workspace, directory: str) -> list[str]:
    declared = workspace.json(join(directory, "package.json")).get("workspaces")
    packages = declared.get("packages") if isinstance(declared, dict) else declared
    pnpm = workspace.yaml(join(directory, "pnpm-workspace.yaml")).get("packages")
    return (strings(packages) + strings(pnpm))[:MAX_PATTERNS]


def _is_member(inner: str, patterns: list[str]) -> bool:
    """Whether a path matches the globs, of which those with ``!`` take out. ``*`` stays within one level."""
    inside = False
    for raw in patterns:
        pattern = raw.lstrip("!").removeprefix("./").rstrip("/")
        if _glob(inner.split("/"), pattern.split("/")):
            inside = not raw.startswith("!")
    return inside


def _glob(parts: list[str], pattern: list[str]) -> bool:
    """Match by levels; ``**`` at the end or alone stands for any depth, elsewhere for exactly one level."""
    if pattern and pattern[-1] == "**":
        return len(parts) >= len(pattern) and _glob(parts[: len(pattern) - 1], pattern[:-1])
    return len(parts) == len(pattern) and all(fnmatchcase(p, q) for p, q in zip(parts, pattern, strict=True))


def _runtimes(workspace: Workspace, directory: str) -> Iterator[Candidate]:
    path = join(directory, "package.json")
    wanted = table(workspace.json(path), "engines").get("node")
    if isinstance(wanted, str):
        source = workspace.evidence(path, "engines.node", 0.85, '"engines"', '"node"')
        yield Candidate(directory, ECOSYSTEM, (source,), runtime=RuntimeVersion("node", wanted, source))


# steps


def _install(workspace: Workspace, directory: str, root: str, manager: str) -> Iterator[Candidate]:
    """INSTALL, unless nothing is declared that could be installed."""
    commands = workspace.registry.ecosystems[ECOSYSTEM].managers[manager]
    family = "yarn" if manager == "yarn-berry" else manager
    locks = [name for name, owner in workspace.registry.ecosystems[ECOSYSTEM].locks.items() if owner == family]
    lock = next((join(root, name) for name in locks if workspace.has(root, name)), None)
    data = workspace.json(join(root, "package.json"))
    if (
        not lock
        and not any(table(data, name) for name in _DEPENDENCY_TABLES)
        and not _workspace_patterns(workspace, root)
    ):
        return
    argv = commands["frozen" if lock else "install"]
    evidence = Evidence(
        lock or join(root, "package.json"), 0, "lock file" if lock else "dependencies", 0.9 if lock else 0.8
    )
    yield _step(directory, StepKind.INSTALL, argv, evidence, manager, Source.CONFIGURATION, cwd=root)


def _scripts(workspace: Workspace, directory: str, manager: str) -> Iterator[Candidate]:
    """Steps from package scripts; the placeholder that ``npm init`` writes is none."""
    path = join(directory, "package.json")
    scripts = table(workspace.json(path), "scripts")
    run = workspace.registry.ecosystems[ECOSYSTEM].managers[manager]["run"]
    for kind, names in _SCRIPTS.items():
        usable = [n for n in names if isinstance(scripts.get(n), str) and not _is_placeholder(scripts[n])]
        for place, name in enumerate(usable[:2]):
            evidence = workspace.evidence(path, f"script {name}", 0.85 - 0.25 * place, '"scripts"', f'"{name}"')
            short = name in {"test", "start"} and manager != "bun"
            argv = (run[0], name) if short else (*run, name)
            watches = kind is StepKind.TEST and not _WATCHERS.isdisjoint(_first_words(scripts[name]))
            env = {"CI": "true"} if watches else {}
            yield _step(directory, kind, argv, evidence, manager, Source.TASK, env=env)


def _is_placeholder(script: str) -> bool:
    """``npm init`` writes a test script that prints a message and fails."""
    return not script.strip() or ("no test specified" in script and "exit 1" in script)


def _runner(workspace: Workspace, directory: str, manager: str, tests: list[str]) -> Iterator[Candidate]:
    """TEST without a test script: the declared runner, else the runner that Node.js has built in."""
    path = join(directory, "package.json")
    data = workspace.json(path)
    declared = {name: group for group in _DEPENDENCY_TABLES for name in table(data, group)}
    run = workspace.registry.ecosystems[ECOSYSTEM].managers[manager]["exec"]
    for name, arguments in (("vitest", ("run",)), ("jest", ()), ("mocha", ()), ("ava", ())):
        if tests and name in declared:
            evidence = workspace.evidence(path, f"dependency {name}", 0.7, f'"{declared[name]}"', f'"{name}"')
            yield _step(directory, StepKind.TEST, (*run, name, *arguments), evidence, manager, Source.CONFIGURATION)
            return
    plain = [test for test in tests if test.endswith((".js", ".mjs", ".cjs"))]
    if manager == "bun" and tests:
        evidence = Evidence(tests[0], 0, "test file and no declared runner", 0.6)
        yield _step(directory, StepKind.TEST, ("bun", "test"), evidence, manager, Source.DEFAULT)
    elif plain:
        evidence = Evidence(plain[0], 0, "test file and no declared runner", 0.45)
        yield _step(directory, StepKind.TEST, ("node", "--test"), evidence, manager, Source.DEFAULT)


def _step(
    directory: str,
    kind: StepKind,
    argv: tuple[str, ...],
    evidence: Evidence,
    manager: str,
    source: Source,
    *,
    cwd: str = "",
    env: dict[str, str] | None = None,
) -> Candidate:
    return Candidate(
        directory,
        ECOSYSTEM,
        (evidence,),
        kind=kind,
        command=Command.of(*argv, cwd=cwd or directory, env=env),
        only_with=(manager,),
        source=source,
    )

"""Steps at the root of a Node.js workspace that its own scripts do not name: the task runner's, else the manager's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from autopack_kit.commands import Command

from .model import Candidate, Evidence, Source, StepKind
from .places import nearest
from .workspace import Workspace, join, listing, table
from .workspaces import node_members

__all__ = ["detect_rush", "detect_workspace_steps"]

ECOSYSTEM = "node"

MAX_ASKED = 200
"""Members that are asked for a script; in a workspace one of the first few has it or none."""

_KINDS = {StepKind.BUILD: "build", StepKind.TEST: "test", StepKind.LINT: "lint", StepKind.TYPECHECK: "typecheck"}

_RUN_ALL: dict[str, tuple[str, ...]] = {
    "npm": ("npm", "run", "{script}", "--workspaces", "--if-present"),
    "pnpm": ("pnpm", "--recursive", "run", "{script}"),
    "yarn": ("yarn", "workspaces", "run", "{script}"),
    "yarn-berry": ("yarn", "workspaces", "foreach", "--all", "run", "{script}"),
    "bun": ("bun", "run", "--filter", "*", "{script}"),
}
"""A script in every member. Yarn 1 fails where a member lacks it, so it stands only where all have it."""

_GROUPS = ("dependencies", "devDependencies")


def detect_workspace_steps(workspace: Workspace, found: Iterable[Candidate]) -> Iterator[Candidate]:
    """Candidates for roots of workspaces among the found Node.js projects, for each of their managers."""
    managers = sorted({(c.workdir, c.manager) for c in found if c.ecosystem == ECOSYSTEM and c.manager})
    for root, manager in managers:
        members = node_members(workspace, root)
        if members:
            yield from _steps(workspace, root, manager, members[:MAX_ASKED])


def _steps(workspace: Workspace, root: str, manager: str, members: list[str]) -> Iterator[Candidate]:
    execute = workspace.registry.ecosystems[ECOSYSTEM].managers.get(manager, {}).get("exec", ())
    runner = _runner(workspace, root)
    for kind, target in _KINDS.items():
        holders = [member for member in members if _has_target(workspace, member, target)]
        told = _named_by_runner(workspace, root, runner, target)
        if runner and execute and (holders or told):
            path = join(root, f"{runner}.json")
            evidence = workspace.evidence(path, f"target {target} of {runner}", 0.5, "{")
            yield _step(root, manager, kind, (*execute, *_RUNNER_CALLS[runner], target), evidence)
        elif holders and manager in _RUN_ALL and (manager != "yarn" or len(holders) == len(members)):
            argv = tuple(target if word == "{script}" else word for word in _RUN_ALL[manager])
            evidence = Evidence(join(holders[0], "package.json"), 0, f"script {target} of members", 0.4)
            yield _step(root, manager, kind, argv, evidence)


_RUNNER_CALLS = {"nx": ("nx", "run-many", "-t"), "turbo": ("turbo", "run"), "lerna": ("lerna", "run")}


def _runner(workspace: Workspace, root: str) -> str:
    """The task runner that is configured here and that INSTALL brings."""
    data = workspace.json(join(root, "package.json"))
    declared = {name for group in _GROUPS for name in table(data, group)}
    return next((name for name in _RUNNER_CALLS if name in declared and workspace.has(root, f"{name}.json")), "")


def _named_by_runner(workspace: Workspace, root: str, runner: str, target: str) -> bool:
    """Whether the settings of Turborepo name the task; Nx and Lerna take what the members have."""
    if runner != "turbo":
        return False
    data = workspace.json5(join(root, "turbo.json"))
    return target in table(data, "tasks") or target in table(data, "pipeline")


def _has_target(workspace: Workspace, member: str, target: str) -> bool:
    scripts = table(workspace.json(join(member, "package.json")), "scripts")
    script = scripts.get(target)
    if isinstance(script, str) and not ("no test specified" in script and "exit 1" in script):
        return True
    return target in table(workspace.json5(join(member, "project.json")), "targets")


def _step(root: str, manager: str, kind: StepKind, argv: tuple[str, ...], evidence: Evidence) -> Candidate:
    command = Command.of(*argv, cwd=root)
    return Candidate(
        root, ECOSYSTEM, (evidence,), kind=kind, command=command, only_with=(manager,), source=Source.DEFAULT
    )


def detect_rush(workspace: Workspace) -> Iterator[Candidate]:
    """Roots of Rush, which have no package.json: Rush brings the manager that its settings name, and runs it."""
    for root in nearest(workspace.directories_with("rush.json")):
        path = join(root, "rush.json")
        data = workspace.json5(path)
        if not listing(data.get("projects")):
            continue
        evidence = workspace.evidence(path, "rush.json", 0.95, '"projects"')
        yield Candidate(root, ECOSYSTEM, (evidence,))
        managers = [name for name in ("pnpm", "npm", "yarn") if isinstance(data.get(f"{name}Version"), str)]
        for name in managers[:1]:
            named = workspace.evidence(path, f"{name}Version", 0.95, f'"{name}Version"')
            version = str(data[f"{name}Version"])[:64]
            yield Candidate(root, ECOSYSTEM, (named,), manager=name, version=version)
        installer = "common/scripts/install-run-rush.js"
        program = ("node", installer) if workspace.has(root, installer) else ("rush",)
        for kind, word in ((StepKind.INSTALL, "install"), (StepKind.BUILD, "build")):
            command = Command.of(*program, word, cwd=root)
            step = Evidence(path, 0, "rush.json", 0.8)
            yield Candidate(root, ECOSYSTEM, (step,), kind=kind, command=command, source=Source.CONFIGURATION)

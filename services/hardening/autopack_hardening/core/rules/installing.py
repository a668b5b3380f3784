"""From a missing name to an install of what the project declares; never to an install of the name.

A name read in an output is attacker-controlled (a test can print any line, a model can invent any import). It is only
compared with the declarations that the caller sent. What is executed is the project's own install command, word for
word as the caller gave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autopack_kit.commands import Command

from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import (
    Action,
    DeclaredAtBase,
    DeclaredDependency,
    DirectoryExists,
    FileExists,
    InstallDeclared,
    Mitigation,
    Precondition,
    ProjectFacts,
    Risk,
    Suggestion,
)
from autopack_hardening.core.names import canonical, matches
from autopack_hardening.core.rules.context import Context, Finding, printable
from autopack_hardening.core.workspace import is_inside

__all__ = ["Wanted", "install", "install_all"]

# With the facts at hand and the name not among them the reading is less sure; without facts, less still.
_UNDECLARED = 0.9
_NO_FACTS = 0.9

_NODE_FILES = frozenset(
    {
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "pnpm-workspace.yaml",
        "bun.lock",
        "bun.lockb",
    }
)

_NAME_RISK = (
    "The name comes from the program's output. A misspelt, invented or private name may be registered on a public "
    "index by somebody else, and installing it runs their code."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something missing.

    Attributes:
        name: as the output names it, for people.
        candidates: canonical names of what may provide it; ``x-*`` stands for a prefix.
        hit: where it was read.
    """

    name: str
    candidates: tuple[str, ...]
    hit: Hit


@dataclass(frozen=True, slots=True)
class _Found:
    wanted: Wanted
    project: ProjectFacts
    dependency: DeclaredDependency


def install(context: Context, ecosystem: str, wanted: Sequence[Wanted]) -> Finding:
    """What to do about missing names: the install of the project that declares the first declared one, else advice.

    Args:
        context: the failure and its facts.
        ecosystem: whose projects to look at.
        wanted: what is missing, the deciding one first; not empty.
    """
    found = [one for one in (_declaration(context, ecosystem, item) for item in wanted) if one is not None]
    declared_names = {one.wanted.name for one in found}
    undeclared = [_undeclared(context, ecosystem, one) for one in wanted if one.name not in declared_names]
    if not found:
        certainty = _UNDECLARED if _projects(context, ecosystem) else _NO_FACTS
        mitigation = Mitigation(suggestions=tuple(undeclared), risk=Risk.HIGH)
        return Finding(wanted[0].hit, mitigation, certainty, {"name": wanted[0].name})
    first = found[0]
    same = [one for one in found if one.project is first.project]
    captures = {"name": first.wanted.name, "distribution": first.dependency.name}
    return Finding(first.wanted.hit, _mitigation(context, same, undeclared), 1.0, captures)


def install_all(context: Context, ecosystem: str, hit: Hit) -> Finding:
    """The install of the nearest project: its environment is not what the lock file says, whatever is missing."""
    places = [one for one in _projects(context, ecosystem) if is_inside(context.cwd, one.workdir) and one.dependencies]
    if not places:
        return Finding(hit)
    project = max(places, key=lambda one: 0 if one.workdir == "." else len(one.workdir))
    first = min(project.dependencies, key=lambda one: not one.declared_at_base)
    found = _Found(Wanted(first.name, (first.name,), hit), project, first)
    return Finding(hit, _mitigation(context, [found], ()))


def _mitigation(context: Context, found: Sequence[_Found], others: Sequence[Suggestion]) -> Mitigation:
    project, dependency = found[0].project, found[0].dependency
    command = _install_command(project, dependency)
    names = ", ".join(one.dependency.name for one in found)
    if command is None or _is_same(context.failure.command, command):
        text = f"{dependency.path} declares {names}, but it is not installed; "
        text += (
            "the install step is what failed." if command else "the project has no known install command: install it."
        )
        return Mitigation(suggestions=(Suggestion(text), *others), risk=Risk.NONE)
    reason = _consent_reason(project, found)
    preconditions: list[Precondition] = [DirectoryExists(command.cwd), FileExists(dependency.path)]
    if not reason:
        preconditions += [DeclaredAtBase(one.dependency.name, one.dependency.path) for one in found]
    action = InstallDeclared((command,), tuple(one.dependency.name for one in found), dependency.path)
    return Mitigation(
        actions=(Action(action, tuple(preconditions)),),
        suggestions=tuple(others),
        risk=Risk.HIGH if reason else Risk.LOW,
        automatic=not reason,
        consent_reason=reason,
    )


def _consent_reason(project: ProjectFacts, found: Sequence[_Found]) -> str:
    """Why this install needs consent: it would also install whatever the run itself has declared."""
    added = [one.dependency for one in found if not one.dependency.declared_at_base]
    added += [dependency for dependency in project.dependencies if not dependency.declared_at_base]
    if not added:
        return ""
    shown = ", ".join(f"{printable(one.name)} in {one.path}" for one in dict.fromkeys(added[:5]))
    return (
        f"the base commit does not declare it so: {shown}. The install command would install it too; check the name "
        "and its source first"
    )


def _declaration(context: Context, ecosystem: str, wanted: Wanted) -> _Found | None:
    """The declaration that provides ``wanted``: of the nearest project around the cwd, else of the only other one."""
    here: list[_Found] = []
    elsewhere: list[_Found] = []
    for project in _projects(context, ecosystem):
        dependency = _match(project, wanted)
        if dependency is not None:
            place = here if is_inside(context.cwd, project.workdir) else elsewhere
            place.append(_Found(wanted, project, dependency))
    if here:
        return max(here, key=lambda one: 0 if one.project.workdir == "." else len(one.project.workdir))
    return elsewhere[0] if len(elsewhere) == 1 else None


def _match(project: ProjectFacts, wanted: Wanted) -> DeclaredDependency | None:
    """The first declaration in the order of the candidates; one of the base commit is preferred."""
    normalise = canonical if project.ecosystem == "python" else str
    for candidate in wanted.candidates:
        same = [
            one
            for one in project.dependencies
            if _is_node(one.path) == (project.ecosystem == "node") and matches((candidate,), normalise(one.name))
        ]
        if same:
            return min(same, key=lambda one: not one.declared_at_base)
    return None


def _is_node(path: str) -> bool:
    """Whether a file declares for Node: in a directory of both, no install for Python brings what it names."""
    return path.rpartition("/")[2] in _NODE_FILES


def _projects(context: Context, ecosystem: str) -> list[ProjectFacts]:
    return [project for project in context.failure.projects if project.ecosystem == ecosystem]


def _install_command(project: ProjectFacts, dependency: DeclaredDependency) -> Command | None:
    """The project's install command: the one that names the declaring file, else its first, which is its best."""
    inside = dependency.path.removeprefix(project.workdir + "/")
    for command in project.install:
        if inside in command.argv or dependency.path in command.argv:
            return command
    return project.install[0] if project.install else None


def _is_same(failed: Command | None, command: Command) -> bool:
    return failed is not None and bool(failed.argv) and (failed.argv, failed.cwd) == (command.argv, command.cwd)


def _undeclared(context: Context, ecosystem: str, wanted: Wanted) -> Suggestion:
    name = printable(wanted.name)
    provider = "distribution" if ecosystem == "python" else "package"
    if not _projects(context, ecosystem):
        text = f"{name!r} is missing, and no {ecosystem} project is known here that could declare it. "
    else:
        text = f"{name!r} is missing, and no manifest or lock file here declares it. "
    text += (
        f"If it is the right name, find out which {provider} provides it, declare that one in the manifest, have the "
        "change reviewed, and install; else correct the name."
    )
    return Suggestion(text, _NAME_RISK)

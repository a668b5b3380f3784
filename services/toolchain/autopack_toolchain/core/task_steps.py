"""Steps that are named tasks of the project's own: make targets, just recipes, poe tasks, tox environments, scripts.

What a task runs decides what it is for; a task that only repeats the runner's name stands behind the runner itself.
Package scripts are judged in :mod:`.node`, which knows their manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from autopack_kit.commands import Command

from .classify import Classifier, name_kinds
from .model import Candidate, Evidence, Source, StepKind
from .owners import Owners
from .tasks import Task
from .workspace import Workspace

__all__ = ["detect_task_steps"]

_NAMES: dict[StepKind, tuple[str, ...]] = {
    StepKind.BUILD: ("build", "compile"),
    StepKind.TEST: (
        "test", "tests", "unit-test", "test-unit", "unit-tests", "unittest", "test:unit", "run-tests", "run_tests",
        "runtests", "runtest", "pytest", "spec",
    ),
    StepKind.LINT: ("lint", "lint:check", "lint-check", "linters", "style"),
    StepKind.TYPECHECK: ("typecheck", "type-check", "types", "mypy", "typing", "pyright"),
    StepKind.FORMAT: ("format-check", "fmt-check", "check-format", "format:check", "fmt:check", "check-formatting"),
}  # fmt: skip
"""Names by purpose, best first; a name that may rewrite files is not among those of FORMAT."""

_COVERING = {"tox", "nox"}
"""Tools whose default runs the tests in many environments: a developer's second choice, CI's first."""

_WEIGHTS = {
    "make": 0.75,
    "just": 0.78,
    "task": 0.78,
    "mise": 0.72,
    "poe": 0.78,
    "pdm-script": 0.75,
    "script": 0.6,
    "hatch": 0.75,
}
OTHER_TOOL = 0.65
MATRIX = 0.35
REPEATS = 0.4
"""Weights of a task by its tool, of one that covers many environments, and of one that only repeats the runner."""

MAX_WRAPPER_WORDS = 6
"""A body of one line and at most so many words (``uv run python -m pytest tests``) only repeats the runner's name."""

MAX_ALIASES = 5
"""A task without a body and with one need is another name for it; so many names are followed."""

_CONTAINERS = frozenset(
    {"docker", "docker-compose", "podman", "kubectl", "vagrant", "minikube", "kind", "helm", "act", "earthly"}
)
"""Programs whose tasks need a daemon or a cluster: not a step that can be counted on to run."""

_MESSAGES = frozenset({"echo", "printf", "true", ":"})

_PYTHON_TOOLS = frozenset({"poe", "tox", "nox", "invoke"})
"""Task runners that are installed into the project's environment when the project declares them."""


def detect_task_steps(
    workspace: Workspace, classifier: Classifier, owners: Owners, tasks: Iterable[Task]
) -> Iterator[Candidate]:
    """Candidates for steps from the tasks of each project's directory."""
    by_place: dict[tuple[str, str], dict[str, Task]] = {}
    for task in tasks:
        if task.tool != "npm-script" and not task.required:
            name = PurePosixPath(task.name).stem if task.tool == "script" else task.name
            by_place.setdefault((task.directory, task.tool), {}).setdefault(name, task)
    for (_, tool), named in sorted(by_place.items()):
        for kind, names in _NAMES.items():
            chosen = next((named[name] for name in names if name in named), None)
            if chosen is None and kind is StepKind.TEST and tool in _COVERING:
                chosen = named.get("")
            if chosen is not None:
                yield from _candidates(workspace, classifier, owners, named, kind, chosen)


def _candidates(
    workspace: Workspace, classifier: Classifier, owners: Owners, named: dict[str, Task], kind: StepKind, task: Task
) -> Iterator[Candidate]:
    task = _resolve(named, task)
    uses = [use for use in classifier.task_uses(task) if use.kind is kind]
    commands = list(classifier.commands(task))
    if not _does_something(task, commands) or any(argv[0].rpartition("/")[2] in _CONTAINERS for argv in commands):
        return
    ecosystems = list(dict.fromkeys(use.ecosystem for use in sorted(uses, key=lambda use: -use.weight)))
    if not uses and kind not in name_kinds(classifier.programs, task.name):
        return
    targets = [key for name in ecosystems or [""] for key, _ in owners.of_command(name, task.directory)]
    for directory, ecosystem in dict.fromkeys(targets):
        if directory != task.directory:
            continue
        weight, source = _strength(workspace, task, ecosystem, commands)
        evidence = Evidence(task.path, task.line, _signal(task), weight)
        for manager in sorted(owners.managers[directory, ecosystem]) or [""]:
            argv = (*_prefix(workspace, ecosystem, manager, task), *task.argv)
            yield Candidate(
                directory,
                ecosystem,
                (evidence,),
                kind=kind,
                command=Command.of(*argv, cwd=task.directory),
                only_with=(manager,) if manager else (),
                source=source,
            )


def _resolve(named: dict[str, Task], task: Task) -> Task:
    for _ in range(MAX_ALIASES):
        if task.bodies or len(task.needs) != 1 or task.needs[0] not in named or not task.name:
            break
        task = named[task.needs[0]]
    return task


def _does_something(task: Task, commands: list[tuple[str, ...]]) -> bool:
    """Whether more than a message is in it; what was not understood counts as something."""
    return bool(task.needs) or any(argv[0] not in _MESSAGES for argv in commands)


def _strength(
    workspace: Workspace, task: Task, ecosystem: str, commands: list[tuple[str, ...]]
) -> tuple[float, Source]:
    if task.tool in _COVERING:
        return MATRIX, Source.FILES
    if task.tool in {"make", "rake"} and _repeats(workspace, task, ecosystem, commands):
        return REPEATS, Source.DEFAULT
    return _WEIGHTS.get(task.tool, OTHER_TOOL), Source.TASK


def _repeats(workspace: Workspace, task: Task, ecosystem: str, commands: list[tuple[str, ...]]) -> bool:
    """Whether a target of make or rake only renames the runner; other tools are there to be the entry."""
    known = workspace.registry.ecosystems[ecosystem].programs if ecosystem in workspace.registry.ecosystems else ()
    speaking = [argv for argv in commands if argv[0] not in _MESSAGES]
    return (
        not task.needs
        and len(speaking) == 1
        and speaking[0][0].rpartition("/")[2] in known
        and len(speaking[0]) <= MAX_WRAPPER_WORDS
    )


def _signal(task: Task) -> str:
    words = {
        "make": "make target",
        "script": "script",
        "just": "just recipe",
        "tox": "tox environment",
        "nox": "nox session",
    }
    return f"{words.get(task.tool, f'{task.tool} task')} {task.name}".strip()


def _prefix(workspace: Workspace, ecosystem: str, manager: str, task: Task) -> tuple[str, ...]:
    """``uv run`` or ``bundle exec`` before a task runner that the project itself installs."""
    if task.tool == "rake" and manager == "bundler":
        return ("bundle", "exec")
    if ecosystem != "python" or task.tool not in _PYTHON_TOOLS:
        return ()
    return workspace.registry.ecosystems["python"].managers.get(manager, {}).get("tool", ())

"""Targets of makefiles: how a project's own people run its tests and checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from autopack_kit.commands import Command

from .model import Candidate, Evidence, Source, StepKind
from .tasks import Task, read_tasks
from .workspace import Workspace

__all__ = ["detect_make_targets"]

_TARGETS: dict[StepKind, tuple[str, ...]] = {
    StepKind.TEST: ("test", "tests", "unit-test", "test-unit"),
    StepKind.LINT: ("lint",),
    StepKind.TYPECHECK: ("typecheck", "type-check"),
    StepKind.FORMAT: ("format-check", "fmt-check", "check-format"),
}

MAX_WRAPPER_WORDS = 6
"""A recipe of one line and at most so many words (``uv run python -m pytest tests``) only repeats the runner's name."""

MAX_ALIASES = 5
"""A target without a recipe and with one prerequisite is another name for it; so many names are followed."""

_CONTAINERS = frozenset({"docker", "docker-compose", "podman", "kubectl"})
"""Programs whose recipes need a daemon or a cluster: not a step that can be counted on to run."""

_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")


def detect_make_targets(workspace: Workspace, projects: Iterable[tuple[str, str]]) -> Iterator[Candidate]:
    """Candidates for steps of the given (workdir, ecosystem) pairs from makefiles beside their manifests."""
    by_directory: dict[str, list[str]] = {}
    for directory, ecosystem in projects:
        by_directory.setdefault(directory, []).append(ecosystem)
    found = [task for task in read_tasks(workspace, by_directory) if task.tool == "make" and task.name]
    for directory, ecosystems in sorted(by_directory.items()):
        rules = {task.name: task for task in found if task.directory == directory}
        for kind, targets in _TARGETS.items():
            for target in [target for target in targets if target in rules][:1]:
                yield from _candidate(workspace, directory, ecosystems, rules, kind, target)


def _candidate(
    workspace: Workspace,
    directory: str,
    ecosystems: list[str],
    rules: dict[str, Task],
    kind: StepKind,
    target: str,
) -> Iterator[Candidate]:
    target = _resolve(rules, target)
    rule = rules[target]
    lines = [line for line in rule.bodies if _program(line) != "echo"]
    programs = _programs(rules, lines, MAX_ALIASES)
    ecosystem = _ecosystem(workspace, ecosystems, programs)
    if ecosystem is None or not (lines or rule.needs) or not programs.isdisjoint(_CONTAINERS):
        return
    known = workspace.registry.ecosystems[ecosystem].programs
    repeats = (
        not rule.needs
        and len(lines) == 1
        and _program(lines[0]) in known
        and len(lines[0].split()) <= MAX_WRAPPER_WORDS
    )
    evidence = Evidence(rule.path, rule.line, f"make target {target}", 0.4 if repeats else 0.75)
    source = Source.DEFAULT if repeats else Source.TASK
    command = Command.of("make", target, cwd=directory)
    yield Candidate(directory, ecosystem, (evidence,), kind=kind, command=command, source=source)


def _resolve(rules: dict[str, Task], target: str) -> str:
    for _ in range(MAX_ALIASES):
        rule = rules[target]
        if rule.bodies or len(rule.needs) != 1 or rule.needs[0] not in rules:
            break
        target = rule.needs[0]
    return target


def _programs(rules: dict[str, Task], lines: Iterable[str], depth: int) -> set[str]:
    """Programs of recipe lines; for a call of make itself, those of the targets it names."""
    found: set[str] = set()
    for part in (part for line in lines for part in re.split(r"&&|;|\|", line)):
        words = part.split()
        if words and words[0].lstrip("@-+") in {"$(MAKE)", "${MAKE}", "make"}:
            called = [rules[word] for word in words[1:] if word in rules]
            found |= _programs(rules, [line for rule in called for line in rule.bodies], depth - 1) if depth else set()
        else:
            found.add(_program(part))
    return found


def _program(line: str) -> str:
    """The first word that is neither an assignment nor a make variable; variables are not expanded."""
    words = (word for word in line.split() if not _ASSIGNMENT.match(word) and not word.startswith("$"))
    return next(words, "").lstrip("@-+")


def _ecosystem(workspace: Workspace, ecosystems: list[str], programs: set[str]) -> str | None:
    """The ecosystem that the recipe's programs speak for; with none of them, the only one there is."""
    for name in ecosystems:
        if not workspace.registry.ecosystems[name].programs.isdisjoint(programs):
            return name
    foreign = any(not other.programs.isdisjoint(programs) for other in workspace.registry.ecosystems.values())
    return ecosystems[0] if len(ecosystems) == 1 and not foreign else None

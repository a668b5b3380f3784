"""Steps that the repository's own CI runs: parsed, not pasted.

Set-up noise, deploys and expressions that only the CI system can fill in are left out. What is left is grouped by its
heart (``pytest``, ``make test``): the more plainly the jobs of a pull request run it, the more it weighs.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from autopack_kit.commands import Command

from .ci import CiCommand, read_ci
from .ci_words import by_name, has_expression, local_words, usual_name
from .classify import Classifier, Use, is_part, words_of_name
from .model import Candidate, Evidence, Source, StepKind
from .owners import Owners, ProjectKey
from .programs import Programs
from .shell import Simple, directory_of
from .unwrap import bare, program_name
from .workspace import Workspace

__all__ = ["detect_ci_steps"]

MAX_EVIDENCE = 5
"""Lines of CI files that are listed for one step; the strongest."""

FULL = 0.8
"""Weight of one plain line in a job that every pull request runs."""

WEAK = 0.25
"""A command that no line speaks more strongly for than this does not stand before what the repository's tasks say."""

UNATTENDED = frozenset({"push", "pull_request", "pull_request_target", "merge_group", "merge_request", ""})
"""Triggers that every change meets."""

FLOOR = (0.28, 0.05)
"""What weighs less says nothing: for purposes other than tests, whose names mean many things, and for tests."""

NOT_EVERY_CHANGE = 0.35
OTHER_SYSTEM = 0.6
SIDE_JOB = 0.45
OTHER_NAME = 0.85
GUARDED = 0.8
FILLED_IN = 0.85
SIDE_WORKFLOW = 0.5
SELECTION = 0.6
OTHER_TASK = 0.4
"""Factors for: a workflow that only a release, a schedule or a person starts; a job for Windows or macOS; a job or step
whose name tells a special purpose; one whose name does not tell the purpose; a line behind a condition; a line with
something that only CI fills in; a workflow file with a special name; a command for one package of a workspace; a task
with a name such as ``test:scripts``, which is mostly a part of the tests."""

REPEATED = 0.1
"""What a second line with the same heart adds: a matrix of packages is no vote."""

_WHOLE = frozenset({"unit", "units", "all", "full"})
"""Words that outweigh the name of a special kind: "unit and integration tests"."""

_SELECTIONS = frozenset({"-w", "--workspace", "--filter", "-F", "--scope", "-pl", "--projects", "-k", "--testsuite"})
_OWN_SELECTIONS = {"cargo": frozenset({"-p", "--package", "--test", "--bin", "--example"})}
"""The same of programs where those words mean something else: ``cargo test --workspace`` is all packages."""

_ONE_TEST = re.compile(r"::|(?:^|/)test_\w+\.py$|\.(?:test|spec)\.[cm]?[jt]sx?$|_(?:test|spec)\.(?:rb|py|exs)$")
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|PRIVATE", re.IGNORECASE)
_SHELLS = frozenset({"", "bash", "sh", "zsh", "pwsh", "powershell"})
_PYTHON_MANAGERS = frozenset({"uv", "poetry", "pdm", "pipenv"})
_UNWRAPPED = frozenset(
    {"uv", "uvx", "poetry", "pdm", "pipenv", "hatch", "tox", "nox", "pre-commit", "prek", "pixi", "conda", "rye"}
)
"""Programs of Python that stand outside of a project's environment."""


@dataclass(frozen=True, slots=True)
class Line:
    """One purpose of one line of a CI file, for one project."""

    project: ProjectKey
    use: Use
    entry: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    evidence: Evidence
    job: tuple[str, str]


def detect_ci_steps(
    workspace: Workspace, classifier: Classifier, programs: Programs, owners: Owners
) -> Iterator[Candidate]:
    """Candidates for steps and, from what CI installs, for managers."""
    commands = read_ci(workspace)
    lines = [line for command in commands for line in _lines(workspace, command, classifier, programs, owners)]
    groups: dict[tuple[ProjectKey, StepKind, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.use.kind is not StepKind.INSTALL:
            groups[line.project, line.use.kind, line.entry].append(line)
    for group in groups.values():
        yield from _step(group, workspace, owners)
    yield from _installs(lines, owners)


def _lines(
    workspace: Workspace, command: CiCommand, classifier: Classifier, programs: Programs, owners: Owners
) -> Iterator[Line]:
    if command.shell not in _SHELLS:
        return
    for simple in _simple(command, classifier, programs):
        if not simple.argv or has_expression(simple.argv[0]):
            continue
        directory = directory_of(command.workdir, simple.cwd)
        argv, filled = local_words(bare(programs, usual_name(simple.argv)), directory, classifier)
        if not argv:
            continue
        argv = by_name(workspace, programs, directory, argv)
        uses = classifier.uses(argv, directory)
        tests = any(use.kind is StepKind.TEST for use in uses)
        for use in uses:
            if use.kind is StepKind.RUN or (use.kind is StepKind.INSTALL and tests):
                continue  # CI starts servers and generators, not the product; what also tests is no INSTALL
            weight = FULL * use.weight * _factor(command, simple, use, filled, programs)
            for project, share in owners.of_command(use.ecosystem, use.directory, argv):
                yield _line(command, simple, use, argv, directory, project, weight * share, classifier)


def _line(
    command: CiCommand,
    simple: Simple,
    use: Use,
    argv: tuple[str, ...],
    directory: str,
    project: ProjectKey,
    weight: float,
    classifier: Classifier,
) -> Line:
    entry = classifier.entry(argv, directory, use)
    number = command.line + simple.line if command.line else 0
    place = f"{command.job or command.workflow or 'CI'} runs {entry}"
    env = tuple((k, v) for k, v in sorted(simple.env.items()) if not _SECRET.search(k) and not has_expression(v))
    evidence = Evidence(command.path, number, place[:120], round(weight, 4))
    cwd = project[0] if directory == "?" else directory
    return Line(project, use, entry, argv, env, cwd, evidence, (command.path, command.job))


def _simple(command: CiCommand, classifier: Classifier, programs: Programs) -> Iterable[Simple]:
    if not command.uses:
        return classifier.parse(command.script)
    action = programs.actions.get(command.uses.partition("@")[0].lower())
    if action is None:
        return ()
    words = " ".join(command.with_.get(name, "") for name in action.inputs).strip()
    return classifier.parse(f"{shlex.join(action.words)} {words}".strip())


def _factor(command: CiCommand, simple: Simple, use: Use, filled: bool, programs: Programs) -> float:
    factor = 1.0
    if command.triggers and UNATTENDED.isdisjoint(command.triggers):
        factor *= NOT_EVERY_CHANGE
    if command.system not in {"", "linux"}:
        factor *= OTHER_SYSTEM
    names = words_of_name(f"{command.job} {command.step}")
    kinds = {programs.names[word] for word in names if word in programs.names}
    if _is_side(programs, names) or (use.kind is StepKind.TEST and _is_side(programs, _special_words(simple.argv))):
        factor *= SIDE_JOB
    elif use.kind not in kinds:
        factor *= OTHER_NAME
    if _is_side(programs, words_of_name(f"{command.path.rpartition('/')[2]} {command.workflow}")):
        factor *= SIDE_WORKFLOW
    if _is_narrow(simple.argv):
        factor *= SELECTION
    if is_part(programs, use.named):
        factor *= OTHER_TASK
    if simple.guarded:
        factor *= GUARDED
    return factor * (FILLED_IN if filled else 1.0)


def _is_side(programs: Programs, words: Iterable[str]) -> bool:
    return not programs.side.isdisjoint(words) and _WHOLE.isdisjoint(words)


def _is_narrow(argv: tuple[str, ...]) -> bool:
    """Whether a command is for one package of many, or for one file of tests."""
    selections = _OWN_SELECTIONS.get(argv[0], _SELECTIONS)
    return any(word.partition("=")[0] in selections or _ONE_TEST.search(word) for word in argv)


def _special_words(argv: tuple[str, ...]) -> list[str]:
    """Words of tasks, of environments and, where all are special, of paths: ``test:e2e``, ``tests/integration``."""
    arguments = [argument for argument in argv[1:] if not argument.startswith(("-", "not "))]
    paths = [argument for argument in arguments if "/" in argument]
    common = set.intersection(*(set(words_of_name(path)) for path in paths)) if paths else set()
    plain = [word for argument in arguments if "/" not in argument for word in words_of_name(argument)]
    return [*plain, *common, *(words_of_name(argv[0]) if "/" in argv[0] else ())]


def _step(group: list[Line], workspace: Workspace, owners: Owners) -> Iterator[Candidate]:
    """One step for all lines with the same heart: the strongest line's words, everyone's evidence."""
    best = max(group, key=_naturalness)
    ordered = sorted({line.evidence for line in group}, key=lambda item: (-item.weight, item.path, item.line))
    told: dict[tuple[str, str], Evidence] = {}
    for item in ordered:
        told.setdefault((item.path, item.signal), item)
    first, *others = told.values()
    repeated = (replace(item, weight=round(item.weight * REPEATED, 4)) for item in others[: MAX_EVIDENCE - 1])
    distinct = (first, *repeated)
    if best.evidence.weight < FLOOR[best.use.kind is StepKind.TEST]:
        return
    strong = best.evidence.weight > WEAK and not _is_narrow(best.argv)
    source = Source.CI if strong else Source.DEFAULT
    directory, ecosystem = best.project
    bound = _BUILD_TOOLS.get(program_name(best.argv[0]), "")
    managers = owners.managers[best.project] if ecosystem == "python" else frozenset({bound})
    for manager in sorted(managers) or [""]:
        prefix = _prefix(workspace, manager, best.argv)
        command = Command.of(*prefix, *best.argv, cwd=best.cwd, env=dict(best.env))
        yield Candidate(
            directory,
            ecosystem,
            distinct,
            kind=best.use.kind,
            command=command,
            only_with=(manager,) if manager else (),
            source=source,
        )


_BUILD_TOOLS = {"mvn": "maven", "mvnw": "maven", "gradle": "gradle", "gradlew": "gradle"}
"""Programs that build only where they are the project's manager; some projects keep files for both."""


def _naturalness(line: Line) -> tuple[float, int]:
    """The strongest line stands for all; a program called by its path inside of ``node_modules`` is a way around."""
    around = 0.5 if any("node_modules/" in word for word in line.argv) else 1.0
    return line.evidence.weight * around, -len(" ".join(line.argv))


def _prefix(workspace: Workspace, manager: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """``uv run`` before a tool of the environment that CI calls with the environment activated."""
    program = argv[0].rpartition("/")[2]
    known = workspace.registry.ecosystems["python"].programs
    if manager not in _PYTHON_MANAGERS or program not in known or program in _UNWRAPPED or "/" in argv[0]:
        return ()
    return workspace.registry.ecosystems["python"].managers[manager]["tool"]


# what CI installs

_BOOTSTRAP = frozenset({"pip", "setuptools", "wheel", "build", "twine", "codecov", "coveralls"})
_PIP_FILES = {
    "-r": "-r", "-Ur": "-r", "--requirement": "-r", "-e": "-e", "--editable": "-e", "-c": "-c", "--constraint": "-c",
}  # fmt: skip
_PIP_VALUES = frozenset({"-i", "-f", "--find-links", "--python", "-p", "-t", "--target", "--prefix"})
_MANAGER_PROGRAMS = {
    "npm": ("npm",), "pnpm": ("pnpm",), "yarn": ("yarn", "yarn-berry"), "bun": ("bun",), "uv": ("uv",),
    "poetry": ("poetry",), "pdm": ("pdm",), "pipenv": ("pipenv",),
}  # fmt: skip

MANAGER_IN_CI = 0.8
"""How strongly it speaks for a manager that CI installs with it, in a job that every change meets."""


def _installs(lines: list[Line], owners: Owners) -> Iterator[Candidate]:
    """INSTALL as the jobs that test do it, and the manager that it shows."""
    tested = {(line.job, line.project) for line in lines if line.use.kind is StepKind.TEST}
    jobs: dict[tuple[tuple[str, str], ProjectKey], list[Line]] = defaultdict(list)
    for line in lines:
        if line.use.kind is StepKind.INSTALL:
            jobs[line.job, line.project].append(line)
    for key, found in jobs.items():
        tests = key in tested or not any(project == key[1] for _, project in tested)
        factor = 1.0 if tests else 0.3
        directory, ecosystem = key[1]
        pips = [line for line in found if _pip_words(line.argv) is not None]
        if pips and ecosystem == "python":
            yield from _pip_install(key[1], pips, factor)
        for line in found:
            if line in pips or "pip" in line.argv or (pips and "setup.py" in line.argv):
                continue
            weight = round(line.evidence.weight * factor, 4)
            evidence = (Evidence(line.evidence.path, line.evidence.line, line.evidence.signal, weight),)
            managers = _MANAGER_PROGRAMS.get(line.argv[0], ())
            # what only its name tells, such as ./setup.sh, may set up the machine and not the project
            source = Source.CI if weight > WEAK and line.use.runner else Source.DEFAULT
            command = Command.of(*line.argv, cwd=line.cwd, env=dict(line.env))
            yield Candidate(
                directory,
                ecosystem,
                evidence,
                kind=StepKind.INSTALL,
                command=command,
                only_with=managers,
                source=source,
            )
            known = [m for m in managers if m in owners.managers[key[1]]] or list(managers[:1])
            for manager in known[:1]:
                shown = Evidence(line.evidence.path, line.evidence.line, "CI installs with it", MANAGER_IN_CI * weight)
                yield Candidate(directory, ecosystem, (shown,), manager=manager)


def _pip_words(argv: tuple[str, ...]) -> list[str] | None:
    """What a call of pip installs; None if this is no such call."""
    words = list(argv)
    for head in (["uv", "pip", "install"], ["pip", "install"], ["pip3", "install"]):
        if words[: len(head)] == head:
            return words[len(head) :]
    if len(words) > 3 and words[0].startswith("python") and words[1:4] == ["-m", "pip", "install"]:
        return words[4:]
    return None


def _pip_install(project: ProjectKey, lines: list[Line], factor: float) -> Iterator[Candidate]:
    """All that a job installs with pip, as one call; tools for the job's own use are left out."""
    merged: list[str] = []
    for line in lines:
        words = iter(_pip_words(line.argv) or [])
        for word in words:
            if word.partition("=")[0] == "--group":
                return  # a group of pyproject.toml: the project's own INSTALL knows it, an older pip does not
            found: list[str] = []
            if option := _PIP_FILES.get(word):
                found = [option, next(words, "")]
            elif word in _PIP_VALUES or (word.startswith("--") and word.endswith("-url")):
                next(words, "")
            elif not word.startswith("-") and re.split(r"[=<>~!\[ ]", word)[0].lower() not in _BOOTSTRAP:
                found = [word]
            if found and found[-1] and found[-1] not in merged:
                merged += found
    own = any(word.startswith((".", "-")) for word in merged)
    if not merged or not own:
        return
    weight = round(max(line.evidence.weight for line in lines) * factor, 4)
    first = lines[0].evidence
    evidence = (Evidence(first.path, first.line, first.signal, weight),)
    command = Command.of("python", "-m", "pip", "install", *merged, cwd=lines[0].cwd)
    source = Source.CI if weight > WEAK else Source.DEFAULT
    directory, ecosystem = project
    yield Candidate(
        directory, ecosystem, evidence, kind=StepKind.INSTALL, command=command, only_with=("pip",), source=source
    )
    shown = Evidence(first.path, first.line, "CI installs with pip", MANAGER_IN_CI * 0.6 * weight)
    yield Candidate(directory, ecosystem, (shown,), manager="pip")

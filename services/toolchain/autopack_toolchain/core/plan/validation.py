"""Which detected steps say whether a phase is right: those of the projects that its scope lies in.

A command that only the text names is never proposed: what runs is what the repository itself declares.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..model import Detection, DetectionWarning, Project, Step, StepKind
from .inline import code_spans
from .knowledge import Knowledge
from .layout import parent_of
from .located import Located
from .model import Part
from .statements import Sense, Statement

__all__ = ["KINDS", "Validation", "covering", "validation_steps"]

KINDS = (StepKind.TEST, StepKind.LINT, StepKind.TYPECHECK, StepKind.BUILD)
"""What can tell that a change is wrong, in the order in which it is listed."""

MAX_STEPS = 20
"""Steps of one phase: each is a process that is waited for."""

MAX_LINE = 1_000
"""Characters of a command in a decision or a warning."""

_ELSEWHERE = 0.5
"""Factor of the confidence of steps of projects that do not cover the scope."""

_NO_TEST = 0.6
"""Factor where nothing is tested, only linted or built."""

_RUNS = re.compile(
    r"\b(?:run|runs|running|execute|verify|check|pass|passes|green|succeeds?|with|via|using|by)\b", re.IGNORECASE
)
_CHECKED = (Sense.VALIDATION, Sense.ACCEPTANCE, Sense.CONSTRAINT, Sense.CONTEXT)
_LANGUAGE_SAMPLE = 200
"""Files whose extensions say which languages a directory holds."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The steps with the confidence that they judge the scope."""

    steps: tuple[Step, ...]
    confidence: float
    warnings: tuple[DetectionWarning, ...]


def covering(found: Located, detection: Detection, known: Knowledge) -> list[Project]:
    """The projects nearest above what is in scope; of several in one directory, those of the language in scope."""
    by_workdir: dict[str, list[Project]] = {}
    for project in detection.projects:
        by_workdir.setdefault(project.workdir, []).append(project)
    chosen: list[Project] = []
    for path in [
        *found.paths_in_scope(),
        *(glob.partition("*")[0].rstrip("/") or "." for glob in found.include if glob not in found.paths),
    ]:
        for directory in _upward(path):
            projects = by_workdir.get(directory)
            if projects:
                spoken = {
                    known.languages_of[extension]
                    for extension in _extensions(path, found)
                    if extension in known.languages_of
                }
                chosen += [p for p in projects if p.ecosystem in spoken] or projects
                break
    return [project for project in detection.projects if project in chosen]


def validation_steps(
    found: Located, detection: Detection, statements: Sequence[Statement], known: Knowledge
) -> Validation:
    """The best step of each kind of each project that the scope lies in; of all projects where it lies in none."""
    projects = covering(found, detection, known)
    steps = _best(_with_parents(projects, detection))
    factor = 1.0
    warnings: list[DetectionWarning] = []
    if not steps:
        steps, factor = _best(detection.projects), _ELSEWHERE
        message = "No project with a test or another check lies around the scope."
        rest = "The steps of the repository's other projects are listed."
        warnings.append(DetectionWarning("NO_VALIDATION_FOR_SCOPE", f"{message} {rest}"))
    if not any(step.kind is StepKind.TEST for step in steps):
        factor *= _NO_TEST
        message = "No test was found for the scope: a change can be linted or built, not tested."
        warnings.append(DetectionWarning("NO_TEST_FOR_SCOPE", f"{message} Add a test, or name its directory."))
    steps = _named_first(found, steps, detection, statements, warnings)[:MAX_STEPS]
    for step in steps:
        found.decide(Part.VALIDATION, step.kind.value, step.command.line()[:MAX_LINE], "DETECTED", step.evidence[:1])
    tests = [step for step in steps if step.kind is StepKind.TEST] or steps
    confidence = max((step.confidence for step in tests), default=0.0) * factor
    return Validation(tuple(steps), round(confidence, 4), tuple(warnings))


def _upward(path: str) -> Iterable[str]:
    yield path
    while path != ".":
        path = parent_of(path)
        yield path


def _extensions(path: str, found: Located) -> list[str]:
    if not found.layout.is_directory(path):
        return [path.rpartition(".")[2].lower()]
    below = found.layout.below(path)[:_LANGUAGE_SAMPLE]
    return [name for name, _ in Counter(p.rpartition(".")[2].lower() for p in below).most_common(3)]


def _with_parents(projects: Sequence[Project], detection: Detection) -> list[Project]:
    """A project without a test of its own is tested by the one above it, as members of a workspace are."""
    result = list(projects)
    for project in projects:
        if project.step(StepKind.TEST) is None:
            above = [directory for directory in _upward(project.workdir) if directory != project.workdir]
            parents = [p for directory in above for p in detection.projects if p.workdir == directory]
            result += [p for p in parents if p.step(StepKind.TEST) is not None and p.ecosystem == project.ecosystem][:1]
    return list({(p.workdir, p.ecosystem): p for p in result}.values())


def _best(projects: Iterable[Project]) -> list[Step]:
    listed = list(projects)
    steps = [step for kind in KINDS for project in listed if (step := project.step(kind)) is not None]
    return list({(step.kind, step.command.argv, step.command.cwd): step for step in steps}.values())


def _named_first(
    found: Located,
    steps: list[Step],
    detection: Detection,
    statements: Sequence[Statement],
    warnings: list[DetectionWarning],
) -> list[Step]:
    """A detected step that the text names stands for its kind; a command that was not detected is told."""
    every = [step for project in detection.projects for step in project.steps if step.kind in KINDS]
    programs = {word for step in every for word in step.command.argv[:3]}
    named: list[Step] = []
    for words in _commands_of(statements):
        line = " ".join(words)[:MAX_LINE]
        same = next((step for step in every if step.command.argv == words), None)
        if same is not None:
            named.append(same)
            found.decide(Part.VALIDATION, line, line, "NAMED_IN_TEXT")
        elif words[0] in programs and _is_part(words, every):
            found.decide(Part.VALIDATION, line, "", "PART_OF_A_DETECTED_STEP")
        elif words[0] in programs or words[0].startswith("./"):
            message = (
                f"The text names {line!r}, which was not detected and is not proposed; "
                "name it in the batch's `validate` if you trust it."
            )
            warnings.append(DetectionWarning("COMMAND_NOT_DETECTED", message))
    taken = {(step.kind, step.command.cwd) for step in named}
    return [*named, *(step for step in steps if (step.kind, step.command.cwd) not in taken)]


def _commands_of(statements: Sequence[Statement]) -> list[tuple[str, ...]]:
    """The commands by which the text says that the work is checked, each once."""
    checked = [s.text for s in statements if s.sense in _CHECKED and _RUNS.search(s.text)]
    return list(dict.fromkeys(words for text in checked for words in _commands(text)))


def _is_part(words: tuple[str, ...], steps: Sequence[Step]) -> bool:
    """Whether a detected step runs the same tool on more: "pytest tests/unit" and "python -m pytest"."""
    return any(
        words[0] in step.command.argv and words[0] not in ("make", "npm", "pnpm", "yarn", "just", "uv", "poetry")
        for step in steps
    )


def _commands(text: str) -> list[tuple[str, ...]]:
    found = []
    for start, end in code_spans(text):
        try:
            words = shlex.split(text[start:end].strip("`"))
        except ValueError:  # an open quote: no command line
            continue
        if words:
            found.append(tuple(words))
    return found

"""From the text of a plan and a repository to phases that can be run: pure, deterministic, bounded.

text -> lines (:mod:`.blocks`) -> phases (:mod:`.phases`) and statements (:mod:`.statements`) -> deliverables -> scope, category, context,
validation, budget, preflight, confidence (:mod:`.assemble`). Each choice leaves a decision behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...errors import NoDeliverable, NoValidation, PhaseWithoutDeliverable
from ..detect import detect
from ..model import DetectionWarning, Evidence
from ..registry import default_registry
from ..tree import FileTree
from .assemble import Assembled, Repository, assemble
from .blocks import Kind, Line, read_lines
from .budgets import Explicit, read_budgets, total
from .deliverables import MAX_DELIVERABLES, Draft, Found, collect
from .knowledge import Knowledge, knowledge
from .language import foreign_drafts, foreign_statements, is_english
from .layout import Layout
from .model import Decision, NormalizedPlan, Part, Plan
from .phases import MAX_TITLE, Phases, Start, find_phases, slug, without_order
from .roles import Roles
from .scope import CodeBlock, PhaseText
from .statements import Sense, Statement, read_statements
from .validation import KINDS
from .words import words_of

__all__ = ["MAX_TEXT_BYTES", "normalize_plan"]

MAX_TEXT_BYTES = 256 << 10
"""Bytes of the text of a plan; the largest specification in sight has 90 KiB."""

MAX_DECISIONS = 1_000
"""Decisions told."""

MAX_LABEL_LINES = 40
"""Lines at the top of a text among which a type of the work is looked for."""

_IMPLIED = 0.7
"""How surely phases follow each other in the order of their numbers where the text does not say it."""

_SHARED = frozenset({Sense.NON_GOAL, Sense.EXCEPTION, Sense.CONSTRAINT, Sense.VALIDATION, Sense.REFERENCE})
"""What holds for every phase if it stands outside of all of them."""

_NO_TITLES = frozenset({"tbd", "tba", "todo", "later"})


@dataclass(frozen=True, slots=True)
class _Source:
    """The whole text, read; ``statements`` without those that only set budgets."""

    lines: list[Line]
    numbers: list[int]
    title: str
    title_line: int
    phases: Phases
    statements: list[Statement]
    english: bool


def normalize_plan(text: str, tree: FileTree) -> NormalizedPlan:
    """The plan in ``text`` for the repository in ``tree``. The same input always gives the same plan.

    Args:
        text: Markdown or plain, at most :data:`MAX_TEXT_BYTES`.
        tree: the repository.

    Raises:
        PlanTooLong, NoDeliverable, PhaseWithoutDeliverable, TooManyPhases, UnknownPhase, DependencyCycle: about the text.
        NoValidation: the repository has nothing that could validate a change.
    """
    known = knowledge()
    return _Normaliser(_read(text, known), tree, known).run()


def _read(text: str, known: Knowledge) -> _Source:
    lines = read_lines(text)
    title_line = _title_line(lines)
    phases = find_phases(lines, Roles(lines, title_line, known), known)
    ordered = without_order(lines, phases, known)
    english = is_english(text, known)
    statements = read_statements(ordered, Roles(ordered, title_line, known), known)
    if not english:
        statements = foreign_statements(ordered, known)
    title = lines[title_line].text[:MAX_TITLE] if title_line >= 0 else ""
    return _Source(ordered, [line.number for line in lines], title, title_line, phases, statements, english)


def _title_line(lines: Sequence[Line]) -> int:
    """The first heading, or a first line that is no sentence; -1 without one."""
    first = next((index for index, line in enumerate(lines) if line.kind is not Kind.CODE), -1)
    if first < 0 or lines[first].kind not in (Kind.HEADING, Kind.TEXT):
        return -1
    line = lines[first]
    is_title = line.kind is Kind.HEADING or (
        len(line.text) <= MAX_TITLE // 2 and not line.text.endswith((".", ":", "!", "?", ";", "。"))
    )
    return first if is_title else -1


class _Normaliser:
    """One plan."""

    def __init__(self, source: _Source, tree: FileTree, known: Knowledge) -> None:
        self._source = source
        self._tree = tree
        self._known = known
        self._decisions: list[Decision] = []
        self._warnings: list[DetectionWarning] = []
        self._ends: frozenset[str] = frozenset()

    def run(self) -> NormalizedPlan:
        source = self._source
        starts = source.phases.starts or (
            Start(source.title_line, "", source.title, phase_id=slug(source.title) or "plan"),
        )
        shared, whole = self._shared()
        needed = {need for needs in source.phases.depends_on.values() for need in needs}
        self._ends = frozenset(start.phase_id for start in starts) - needed
        texts = [self._text(position, start, shared) for position, start in enumerate(starts)]
        repository = self._repository()
        phases = [
            self._assembled(start, text, explicit, repository)
            for start, (text, explicit) in zip(starts, texts, strict=True)
        ]
        self._about_text()
        budget, budgets = total(whole, [phase.phase.budget for phase in phases])
        by_id = {
            item.phase.phase_id: replace(item.phase, budget=own) for item, own in zip(phases, budgets, strict=True)
        }
        order = source.phases.depends_on or by_id
        plan = Plan(source.title or phases[0].phase.title, tuple(by_id[phase] for phase in order), budget)
        weakest = min(phase.confidence.overall for phase in plan.phases)
        confidence = min(weakest, _IMPLIED) if source.phases.implied else weakest
        warnings = tuple(dict.fromkeys([*self._warnings, *repository.detection.warnings]))
        return NormalizedPlan(plan, confidence, warnings, tuple(self._decisions[:MAX_DECISIONS]))

    def _repository(self) -> Repository:
        detection = detect(self._tree)
        if not any(step.kind in KINDS for project in detection.projects for step in project.steps):
            raise NoValidation
        layout = Layout(self._tree.paths, default_registry(), self._known)
        return Repository(self._tree, layout, detection, self._known)

    def _shared(self) -> tuple[list[Statement], Explicit]:
        """(what is said outside of all phases, the budget of the whole)."""
        if not self._source.phases.starts:
            return [], Explicit()
        outside = [s for s in self._source.statements if self._source.phases.owner[s.line] < 0]
        explicit, rest = read_budgets(outside, self._source.numbers, self._known)
        self._warn_foreign(explicit)
        return rest, explicit

    def _text(self, position: int, start: Start, shared: Sequence[Statement]) -> tuple[PhaseText, Explicit]:
        """What the text says about a phase, and its budget.

        Raises:
            NoDeliverable, PhaseWithoutDeliverable: it asks for nothing.
        """
        source = self._source
        several = bool(source.phases.starts)
        indexes = [n for n in range(len(source.lines)) if not several or source.phases.owner[n] == position]
        own = [s for s in source.statements if not several or source.phases.owner[s.line] == position]
        explicit, own = read_budgets(own, source.numbers, self._known)
        self._warn_foreign(explicit)
        found = self._collect(start, own, indexes)
        if not found.drafts:
            raise (
                PhaseWithoutDeliverable(start.title or start.number, source.numbers[start.line])
                if several
                else NoDeliverable
            )
        self._tell(start, found)
        joined = [
            s for s in shared if s.sense in _SHARED or (s.sense is Sense.ACCEPTANCE and start.phase_id in self._ends)
        ]
        lines = [source.lines[index] for index in indexes]
        code = [CodeBlock(line.text, line.number) for line in lines if line.kind is Kind.CODE]
        number = source.numbers[start.line] if start.line >= 0 else 0
        return PhaseText(start.title, number, found.drafts, [*own, *joined], code, source.numbers), explicit

    def _collect(self, start: Start, statements: Sequence[Statement], indexes: Sequence[int]) -> Found:
        source = self._source
        if not source.english:
            return Found(tuple(foreign_drafts(source.lines, indexes, self._known)[:MAX_DELIVERABLES]), (), 0)
        found = collect(statements, source.lines, indexes, start.title, start.line, self._known)
        words = words_of(start.title)
        if not found.drafts and source.phases.starts and words and not (len(words) == 1 and words[0] in _NO_TITLES):
            title = Draft(start.title, "", 0.5, "title of the phase", start.line, [start.line])
            return replace(found, drafts=(title,))
        return found

    def _tell(self, start: Start, found: Found) -> None:
        self._decisions += [replace(decision, phase_id=start.phase_id) for decision in found.decisions]
        if found.left_out:
            message = f"{found.left_out} deliverables of {start.phase_id} were left out: at most {MAX_DELIVERABLES} are taken. Split it."
            self._warnings.append(DetectionWarning("TOO_MANY_DELIVERABLES", message))
        for need in self._source.phases.outside.get(start.phase_id, ()):
            message = f"{start.phase_id} needs {need.text!r}, which is no phase of this plan; see that it is there before the phase runs."
            self._warnings.append(DetectionWarning("EXTERNAL_REQUIREMENT", message))

    def _assembled(self, start: Start, text: PhaseText, explicit: Explicit, repository: Repository) -> Assembled:
        source = self._source
        own = source.phases.depends_on.get(start.phase_id, ())
        top = [
            (line.text, line.number)
            for line in source.lines[:MAX_LABEL_LINES]
            if line.kind in (Kind.TEXT, Kind.ITEM, Kind.HEADING)
        ]
        labels = [(text.title, text.title_number)] if source.phases.starts else top
        made = assemble(text, start.phase_id, own, labels, explicit, repository, english=source.english)
        self._decisions += [replace(decision, phase_id=start.phase_id) for decision in made.decisions]
        self._warnings += made.warnings
        for need in own:
            reason = "ORDER_OF_NUMBERS" if source.phases.implied else "TEXT_SAYS_SO"
            evidence = (Evidence("", source.numbers[start.line], "phase", 1.0),)
            self._decisions.append(Decision(Part.PHASES, start.phase_id, start.phase_id, need, reason, evidence))
        return made

    def _about_text(self) -> None:
        """What concerns the text as a whole."""
        source = self._source
        if not source.english:
            message = "The text is not English: only its lists, paths and numbers were understood. Check every part of the plan."
            self._warnings.append(DetectionWarning("NOT_ENGLISH", message))
        if source.phases.implied:
            message = (
                "The text numbers its phases and does not say what depends on what: each waits for the one before it."
            )
            self._warnings.append(DetectionWarning("ORDER_IMPLIED", message))
        outside = [
            s
            for s in source.statements
            if s.sense is Sense.DELIVERABLE and source.phases.starts and source.phases.owner[s.line] < 0
        ]
        first = source.phases.starts[0].line if source.phases.starts else 0
        for statement in outside:
            evidence = (Evidence("", source.numbers[statement.line], statement.signal, 1.0),)
            if statement.line < first and source.lines[statement.line].kind is Kind.TEXT:
                self._decisions.append(
                    Decision(Part.DELIVERABLES, "", statement.text, "", "SUMMARY_OF_PHASES", evidence)
                )
            else:
                message = f"Line {source.numbers[statement.line]}: {statement.text[:100]!r} stands outside of the phases and was left out; move it into one."
                self._warnings.append(DetectionWarning("OUTSIDE_OF_PHASES", message))

    def _warn_foreign(self, explicit: Explicit) -> None:
        for line in explicit.foreign:
            message = f"Line {line}: only US dollars are understood as a limit of cost; write it in dollars."
            self._warnings.append(DetectionWarning("CURRENCY_NOT_SUPPORTED", message))

"""From the text of a plan and a repository to phases that can be run: pure, deterministic, bounded.

text -> lines (:mod:`.blocks`) -> phases (:mod:`.phases`) and statements (:mod:`.statements`) -> deliverables -> scope,
category, context, validation, budget, preflight, confidence (:mod:`.assemble`). Each choice leaves a decision behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import NoDeliverable, NoValidation, PhaseWithoutDeliverable, PlanTooLong
from ..detect import detect
from ..model import DetectionWarning, Evidence
from ..registry import default_registry
from ..tree import FileTree
from .assemble import Assembled, Repository, assemble
from .blocks import Kind
from .budgets import Explicit, read_budgets, total
from .deliverables import MAX_DELIVERABLES, MAX_TEXT, Draft, Found, collect
from .knowledge import Knowledge, knowledge
from .language import foreign_drafts
from .layout import Layout
from .model import Decision, NormalizedPlan, Part, Plan
from .phases import Start, slug
from .preflight import protected_paths
from .scope import CodeBlock, PhaseText
from .source import Source, read_source
from .statements import Sense, Statement
from .validation import KINDS
from .words import words_of

__all__ = ["MAX_TEXT_BYTES", "normalize_plan"]

MAX_TEXT_BYTES = 256 << 10
"""Bytes of the text of a plan; the largest specification in sight has 90 KiB."""

MAX_DECISIONS = 1_000
"""Decisions told."""

MAX_WARNINGS = 200
"""Warnings told: with more of them it is the text that has to be written anew."""

_IMPLIED = 0.7
"""How surely phases follow each other in the order of their numbers where the text does not say it."""

_TITLE = 0.5
"""How surely the title of a phase alone says what is to be done."""

_SHARED = frozenset({Sense.NON_GOAL, Sense.EXCEPTION, Sense.CONSTRAINT, Sense.VALIDATION, Sense.REFERENCE})
"""What holds for every phase if it stands outside of all of them."""

_NO_TITLES = frozenset({"tbd", "tba", "todo", "later"})


def normalize_plan(text: str, tree: FileTree) -> NormalizedPlan:
    """The plan in ``text`` for the repository in ``tree``. The same input always gives the same plan.

    Args:
        text: Markdown or plain, at most :data:`MAX_TEXT_BYTES`.
        tree: the repository.

    Raises:
        PlanTooLong, NoDeliverable, PhaseWithoutDeliverable, TooManyPhases, UnknownPhase, DependencyCycle: about the
            text.
        NoValidation: the repository has nothing that could validate a change.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        raise PlanTooLong(size, MAX_TEXT_BYTES, "bytes")
    known = knowledge()
    return _Normaliser(read_source(text, known), tree, known).run()


class _Normaliser:
    """One plan."""

    def __init__(self, source: Source, tree: FileTree, known: Knowledge) -> None:
        self._source = source
        self._tree = tree
        self._known = known
        self._decisions: list[Decision] = []
        self._warnings: list[DetectionWarning] = []
        whole = Start(source.title_line, "", source.title, phase_id=slug(source.title) or "plan")
        self._starts = source.phases.starts or (whole,)
        self._needs = source.phases.depends_on or {whole.phase_id: ()}

    def run(self) -> NormalizedPlan:
        source = self._source
        shared, whole = self._shared()
        texts = {start.phase_id: self._text(position, start, shared) for position, start in enumerate(self._starts)}
        repository = self._repository()
        made = self._assembled(texts, repository)
        self._about_text()
        budget, budgets = total(whole, [item.phase.budget for item in made])
        phases = tuple(replace(item.phase, budget=own) for item, own in zip(made, budgets, strict=True))
        plan = Plan(source.title or phases[0].title, phases, budget)
        weakest = min(phase.confidence.overall for phase in phases)
        confidence = min(weakest, _IMPLIED) if source.phases.implied else weakest
        warnings = tuple(dict.fromkeys([*self._warnings, *repository.detection.warnings]))
        return NormalizedPlan(plan, confidence, warnings[:MAX_WARNINGS], tuple(self._decisions[:MAX_DECISIONS]))

    def _repository(self) -> Repository:
        detection = detect(self._tree)
        if not any(step.kind in KINDS for project in detection.projects for step in project.steps):
            raise NoValidation
        layout = Layout(self._tree.paths, default_registry(), self._known)
        protected = protected_paths(self._tree.paths, self._known)
        return Repository(self._tree, protected, layout, detection, self._known)

    def _shared(self) -> tuple[list[Statement], Explicit]:
        """(what is said outside of all phases, the budget of the whole)."""
        if not self._source.phases.starts:
            return [], Explicit()
        explicit, rest = read_budgets(self._source.said(-1), self._source.numbers, self._known)
        self._warn_foreign(explicit)
        return rest, explicit

    def _text(self, position: int, start: Start, shared: Sequence[Statement]) -> tuple[PhaseText, Explicit]:
        """What the text says about a phase, and its budget.

        Raises:
            NoDeliverable, PhaseWithoutDeliverable: it asks for nothing.
        """
        source = self._source
        indexes = source.indexes(position)
        explicit, own = read_budgets(source.said(position), source.numbers, self._known)
        self._warn_foreign(explicit)
        found = self._collect(start, own, indexes)
        if not found.drafts and source.phases.starts:
            raise PhaseWithoutDeliverable(start.title or start.number, source.numbers[start.line])
        if not found.drafts:
            raise NoDeliverable
        self._tell(start, found)
        is_end = not any(start.phase_id in needs for needs in self._needs.values())
        joined = [s for s in shared if s.sense in _SHARED or (s.sense is Sense.ACCEPTANCE and is_end)]
        lines = [source.lines[index] for index in indexes]
        code = [CodeBlock(line.text, line.number) for line in lines if line.kind is Kind.CODE]
        number = source.numbers[start.line] if start.line >= 0 else 0
        return PhaseText(start.title, number, found.drafts, [*own, *joined], code, source.numbers), explicit

    def _collect(self, start: Start, statements: Sequence[Statement], indexes: Sequence[int]) -> Found:
        source = self._source
        if not source.english:
            drafts = foreign_drafts(source.lines, indexes, self._known)
            return Found(tuple(drafts[:MAX_DELIVERABLES]), (), max(0, len(drafts) - MAX_DELIVERABLES))
        found = collect(statements, source.lines, indexes, start.title, start.line, self._known)
        words = words_of(start.title)
        if not found.drafts and source.phases.starts and words and not _NO_TITLES.issuperset(words):
            return replace(
                found, drafts=(Draft(start.title, "", _TITLE, "title of the phase", start.line, [start.line]),)
            )
        return found

    def _assembled(self, texts: dict[str, tuple[PhaseText, Explicit]], repository: Repository) -> list[Assembled]:
        """The phases, each behind those it needs and knowing what they create."""
        created: dict[str, frozenset[str]] = {}
        made: list[Assembled] = []
        labels = [] if self._source.phases.starts else self._source.labels()
        for phase_id, needs in self._needs.items():
            text, explicit = texts[phase_id]
            earlier = frozenset[str]().union(*(created[need] for need in needs))
            known = replace(repository, layout=repository.layout.after(earlier))
            own = labels or [(text.title, text.title_number)]
            item = assemble(text, phase_id, needs, own, explicit, known, english=self._source.english)
            created[phase_id] = earlier | item.created
            made.append(item)
            self._decisions += [replace(decision, phase_id=phase_id) for decision in item.decisions]
            self._warnings += item.warnings
            self._tell_needs(phase_id, needs, text.title_number)
        return made

    def _tell(self, start: Start, found: Found) -> None:
        self._decisions += [replace(decision, phase_id=start.phase_id) for decision in found.decisions]
        if found.left_out:
            message = f"{found.left_out} deliverables of {start.phase_id} were left out"
            limit = f"at most {MAX_DELIVERABLES} are taken. Split it into phases."
            self._warnings.append(DetectionWarning("TOO_MANY_DELIVERABLES", f"{message}: {limit}"))
        for need in self._source.phases.outside.get(start.phase_id, ()):
            message = (
                f"{start.phase_id} needs {need.text!r}, which is no phase of this plan; see that it is there first."
            )
            self._warnings.append(DetectionWarning("EXTERNAL_REQUIREMENT", message))

    def _tell_needs(self, phase_id: str, needs: Sequence[str], line: int) -> None:
        reason = "ORDER_OF_NUMBERS" if self._source.phases.implied else "TEXT_SAYS_SO"
        evidence = (Evidence("", line, "phase", 1.0),)
        self._decisions += [Decision(Part.PHASES, phase_id, phase_id, need, reason, evidence) for need in needs]

    def _about_text(self) -> None:
        """What concerns the text as a whole."""
        source = self._source
        if not source.english:
            message = "The text is not English: only its lists, paths and numbers were understood."
            self._warnings.append(DetectionWarning("NOT_ENGLISH", f"{message} Check every part of the plan."))
        if source.phases.implied:
            message = "The phases are numbered, and the text does not say what depends on what."
            self._warnings.append(DetectionWarning("ORDER_IMPLIED", f"{message} Each waits for the one before it."))
        if source.phases.starts:
            self._outside_phases()

    def _outside_phases(self) -> None:
        """What asks for something outside of all phases: prose in front of them sums them up, the rest is in the wrong
        place.
        """
        source = self._source
        for statement in source.said(-1):
            if statement.sense is not Sense.DELIVERABLE or statement.line == source.title_line:
                continue
            number = source.numbers[statement.line]
            if statement.line < source.phases.starts[0].line and source.lines[statement.line].kind is Kind.TEXT:
                evidence = (Evidence("", number, statement.signal, 1.0),)
                decision = Decision(Part.DELIVERABLES, "", statement.text[:MAX_TEXT], "", "SUMMARY_OF_PHASES", evidence)
                self._decisions.append(decision)
            else:
                message = f"Line {number}: {statement.text[:100]!r} stands outside of the phases and was left out."
                self._warnings.append(DetectionWarning("OUTSIDE_OF_PHASES", f"{message} Move it into one."))

    def _warn_foreign(self, explicit: Explicit) -> None:
        for line in explicit.foreign:
            message = f"Line {line}: only US dollars are understood as a limit of cost; write it in dollars."
            self._warnings.append(DetectionWarning("CURRENCY_NOT_SUPPORTED", message))

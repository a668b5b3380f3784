"""One phase of a plan from what the text says about it and what the repository is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..model import Detection, DetectionWarning, Evidence
from ..registry import default_registry
from ..tree import FileTree
from .budgets import Explicit, budget_of, size_of
from .categories import guess_category
from .context import read_only_context
from .deliverables import finished
from .fallback import ANYWHERE, BY_CATEGORY, add_locks, add_manifests, widen
from .globs import ALL, MAX_GLOB_BYTES, of_directory, of_file
from .knowledge import Knowledge
from .layout import Layout
from .located import Located
from .model import (
    Category,
    CategoryGuess,
    Decision,
    Part,
    PhaseConfidence,
    PlanPhase,
    Preflight,
    Scope,
    ScopeGlob,
    ScopeKind,
)
from .named import NAMED
from .preflight import MAX_PROTECTED, check
from .scope import PhaseText, locate
from .statements import Sense, Statement
from .validation import covering, validation_steps

__all__ = ["Assembled", "Repository", "assemble"]

MAX_GLOBS = 200
"""Globs of a scope: what the scope of a run takes."""

MAX_ITEMS = 100
"""Constraints, non-goals and acceptance criteria of a phase, each: what the intention of a run takes."""

MAX_ITEM = 600
"""Characters of one of them: four bytes each are still what the intention of a run takes."""

_UNPLACED = 0.35
"""How surely a deliverable without a place of its own belongs where the others are."""

_NAMED = 0.9
"""From here on a place is named and not guessed."""

_FOREIGN = 0.5
"""Factor of what was understood of a text in another language than English."""


@dataclass(frozen=True, slots=True)
class Repository:
    """What does not depend on the text; ``protected``: its protected files."""

    tree: FileTree
    protected: Sequence[str]
    layout: Layout
    detection: Detection
    known: Knowledge


@dataclass(frozen=True, slots=True)
class Assembled:
    """A phase, what was decided, and what the reader should know; ``created``: files and directories that it brings."""

    phase: PlanPhase
    created: frozenset[str]
    decisions: tuple[Decision, ...]
    warnings: tuple[DetectionWarning, ...]


def assemble(
    text: PhaseText,
    phase_id: str,
    depends_on: Sequence[str],
    labels: Sequence[tuple[str, int]],
    explicit: Explicit,
    repository: Repository,
    *,
    english: bool,
) -> Assembled:
    """The whole phase."""
    known = repository.known
    settled = _settle(text, labels, repository)
    found, guesses = settled.found, settled.guesses
    validation = validation_steps(found, repository.detection, text.statements, known)
    context = read_only_context(found, covering(found, repository.detection, known), known)
    include = _bounded(found.include.values(), found) or (ScopeGlob(ALL, ScopeKind.DIRECTORY, ANYWHERE, ()),)
    scope = Scope(include, _bounded(found.exclude.values(), found))
    deliverables = tuple(finished(draft, text.numbers) for draft in text.drafts)
    factor = 1.0 if english else _FOREIGN
    phase = PlanPhase(
        phase_id=phase_id,
        title=text.title or deliverables[0].text[:MAX_ITEM],
        depends_on=tuple(depends_on),
        deliverables=deliverables,
        category=guesses[0] if guesses else None,
        other_categories=tuple(guesses[1:]),
        acceptance=_items(text.statements, Sense.ACCEPTANCE, Sense.EXPECTED),
        constraints=_items(text.statements, Sense.CONSTRAINT),
        non_goals=_items(text.statements, Sense.NON_GOAL, Sense.EXCEPTION),
        scope=scope,
        read_only_context=context,
        validation_steps=validation.steps,
        budget=budget_of(explicit, size_of(len(deliverables), settled.named_files, known), known),
        preflight=settled.preflight,
        confidence=_confidence(text, found, guesses, settled.widened, validation.confidence, factor),
    )
    decisions = (*_category_decision(guesses), *found.decisions.values())
    created = frozenset(found.paths_in_scope()) - frozenset(found.places())
    return Assembled(phase, created, decisions, (*found.warnings.values(), *validation.warnings))


@dataclass(frozen=True, slots=True)
class _Settled:
    """Where a phase works and what kind of work it is; ``widened``: how sure a scope is that nothing names, else 0."""

    found: Located
    guesses: Sequence[CategoryGuess]
    preflight: Preflight
    widened: float

    @property
    def named_files(self) -> int:
        """Files in scope; none if that is the whole project, which says that nothing was named, not that it is much."""
        return 0 if self.widened == ANYWHERE else self.preflight.files_in_scope


def _settle(text: PhaseText, labels: Sequence[tuple[str, int]], repository: Repository) -> _Settled:
    """Scope, category and preflight: each needs what the others found so far."""
    known, projects = repository.known, repository.detection.projects
    found = locate(text, repository.layout, known)
    _add_planned(found, text)
    widened = 0.0
    if not found.include:
        widened = widen(found, _best(guess_category(text, (), labels, known)), projects, known, text.title_number)
    guesses = guess_category(text, [*found.files()[:MAX_GLOBS], *found.new_files], labels, known)
    category = _best(guesses)
    _add_dependencies(found, text, category, repository)
    preflight = check(found, repository.tree, repository.protected, category, known)
    if not found.include:
        # Nothing but protected files was named: the rest of the project remains, without them.
        widened = widen(found, None, projects, known, text.title_number)
        told = preflight.protected
        preflight = check(found, repository.tree, repository.protected, category, known)
        preflight = replace(preflight, protected=tuple(dict.fromkeys([*told, *preflight.protected]))[:MAX_PROTECTED])
    return _Settled(found, guesses, preflight, widened)


def _add_dependencies(found: Located, text: PhaseText, category: Category | None, repository: Repository) -> None:
    """The manifests of what is to be upgraded, and the lock files beside them."""
    place, upgrade = next(((n, d) for n, d in enumerate(text.drafts) if d.action == "upgrade"), (-1, None))
    if upgrade is not None and not found.exclusive and found.sure.get(place, 0.0) < NAMED:
        line = text.numbers[upgrade.line] if upgrade.line >= 0 else text.title_number
        near = covering(found, repository.detection, repository.known) or repository.detection.projects
        add_manifests(found, near, Evidence("", line, "upgrade", BY_CATEGORY))
    if category is Category.DEPENDENCY or upgrade is not None:
        add_locks(found, default_registry())


def _add_planned(found: Located, text: PhaseText) -> None:
    """What earlier phases create, where the text of this one names no place: it goes on with it."""
    if (
        found.layout.planned
        and not found.exclusive
        and max(map(found.confidence, found.paths_in_scope()), default=0.0) < _NAMED
    ):
        evidence = Evidence("", text.title_number, "earlier phase", BY_CATEGORY)
        for path in sorted(found.layout.planned):
            glob = of_file(path) if "." in path.rpartition("/")[2] else of_directory(path)
            kind = ScopeKind.NEW_FILE if glob == of_file(path) else ScopeKind.DIRECTORY
            found.paths[glob] = path
            found.add(ScopeGlob(glob, kind, BY_CATEGORY, (evidence,)), "PLANNED_EARLIER", path)
        found.sure = {position: max(sure, BY_CATEGORY) for position, sure in found.sure.items()}


def _best(guesses: Sequence[CategoryGuess]) -> Category | None:
    return guesses[0].category if guesses else None


def _category_decision(guesses: Sequence[CategoryGuess]) -> Iterable[Decision]:
    if guesses:
        best = guesses[0]
        others = ", ".join(guess.category.value for guess in guesses[1:])
        yield Decision(Part.CATEGORY, "", others, best.category.value, "STRONGEST_EVIDENCE", best.evidence)


def _items(statements: Sequence[Statement], *senses: Sense) -> tuple[str, ...]:
    return tuple(dict.fromkeys(s.text[:MAX_ITEM] for s in statements if s.sense in senses and s.text))[:MAX_ITEMS]


def _bounded(globs: Iterable[ScopeGlob], found: Located) -> tuple[ScopeGlob, ...]:
    listed = list(globs)
    kept = [glob for glob in listed if len(glob.glob.encode()) <= MAX_GLOB_BYTES]
    if len(kept) > MAX_GLOBS:
        best = {glob.glob for glob in sorted(kept, key=lambda glob: -glob.confidence)[:MAX_GLOBS]}
        kept = [glob for glob in kept if glob.glob in best]
    if len(kept) < len(listed):
        limit = f"at most {MAX_GLOBS} of {MAX_GLOB_BYTES:,} bytes are taken"
        message = f"{len(listed) - len(kept)} globs of {len(listed)} were left out: {limit}."
        found.warn("TOO_MANY_GLOBS", f"{message} Name directories instead of files.")
    return tuple(kept)


def _confidence(
    text: PhaseText, found: Located, guesses: Sequence[CategoryGuess], widened: float, validation: float, factor: float
) -> PhaseConfidence:
    deliverables = sum(draft.confidence for draft in text.drafts) / len(text.drafts) * factor
    placed = [widened or found.sure.get(position, 0.0) or _UNPLACED for position in range(len(text.drafts))]
    scope = sum(placed) / len(placed) * factor
    category = guesses[0].confidence * factor if guesses else 0.0
    # A plan is as good as the weakest of what a run depends on; a wrong category costs nothing.
    overall = min(deliverables, scope, validation)
    return PhaseConfidence(*(round(part, 4) for part in (deliverables, category, scope, validation, overall)))

"""Is what an agent did still about its goal?

The verdict rests on what changed, never on what the agent says: a note that repeats the goal would clear every drift
(AUC .52). A note can do two things only: lift a DRIFT to WATCH, when it speaks of the goal and of the change alike
(it bridges them), and raise CLAIM_MISMATCH, when it speaks of the goal but not of the change.

One low step means little: it happens in 36 % of healthy runs. Two in a row mean DRIFT: 14 % of healthy runs, and 76 %
of drifts are found by their second step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from autopack_kit.globs import out_of_scope

from autopack_intention.core.context import Intention, source_sha256
from autopack_intention.core.evidence import Evidence
from autopack_intention.core.off_goal import OffGoalFile, off_goal_files
from autopack_intention.core.profile import Profile, ProfileSource
from autopack_intention.core.scoring import PRIOR, Comparison, GoalModel, Scorer
from autopack_intention.core.text import spell

__all__ = ["DRIFT_BELOW", "ON_GOAL_FROM", "Advisory", "DriftResult", "OffGoalFile", "Step", "Verdict", "check_drift"]

DRIFT_BELOW = 0.5
"""A step with a lower z is low: 9 % of on-goal steps, 84 % of steps about another task of the repository."""

ON_GOAL_FROM = 2.0
"""From here on a step is on goal with a probability of .87 and more."""

MIN_EVIDENCE_TERMS = 6
"""Fewer distinct terms of a change do not carry a judgement."""

MIN_GOAL_TERMS = 4
"""Fewer distinct terms of a goal: a third of good work would be flagged."""

_SHOWN_TERMS = 10


class Verdict(Enum):
    """A judgement of a step or of a run."""

    ON_GOAL = "on_goal"
    WATCH = "watch"
    DRIFT = "drift"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"
    """Too little to judge, or a goal in another language; never to be read as a pass."""
    SCOPE_VIOLATION = "scope_violation"
    """A path outside the declared scope; exact."""


class Advisory(Enum):
    """Worth knowing beside the verdict; changes nothing."""

    CLAIM_MISMATCH = "claim_mismatch"
    """The note speaks of the goal, but not of the change."""
    GOAL_TOO_SHORT = "goal_too_short"
    """The goal has fewer than :data:`MIN_GOAL_TERMS` distinct terms."""
    OFF_GOAL_FILES = "off_goal_files"
    """Some files look like those of another task."""
    NO_HISTORY = "no_history"
    """No usable profile: the weaker mode."""
    GOAL_UNFAMILIAR = "goal_unfamiliar"
    """The goal is in another language than the code and the repository's history: it cannot be compared with them."""
    GOAL_EDITED = "goal_edited"
    """The goal is not the one that the earlier steps were measured against: they were left out."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is judged.

    Attributes:
        evidence: what the step changed.
        note: what the agent says it did.
        earlier_z: z of the earlier steps of the run, oldest first, without those of INSUFFICIENT_EVIDENCE;
            NaN is ignored.
        final: the run is over.
        source_sha256: of the intention that ``earlier_z`` was measured against; empty for the same.
    """

    evidence: Evidence
    note: str = ""
    earlier_z: tuple[float, ...] = ()
    final: bool = False
    source_sha256: str = ""


@dataclass(frozen=True, slots=True)
class DriftResult:
    """A judgement with everything it rests on.

    Attributes:
        step_verdict: of this step alone.
        run_verdict: of the last two steps.
        single_step: the run's verdict rests on this step alone.
        z: standard deviations by which the change is closer to the goal than the repository's usual changes; NaN
            where the change or the goal has no term at all.
        confidence: probability of being on goal at ``prior``.
        prior: share of on-goal steps that the confidence assumes.
        cosine: of goal and change, from 0 to 1.
        shared_terms: of goal and change, heaviest first, as the change spells them.
        unexplained_terms: of the change, not in the goal, heaviest first.
        out_of_scope: changed paths outside the scope or in a non-goal.
        off_goal_files: files that may belong to another task, the most likely first; empty where the evidence is not
            told file by file, or nothing in it is near the goal.
        advisories: in the order of their declaration.
        profile_source: what the check could lean on.
        profile_messages: commit messages in the profile.
        profile_changes: background changes in the profile.
        evidence_terms: distinct terms of the change.
        goal_terms: distinct terms of the goal.
        source_sha256: of the intention in full, as in :class:`~autopack_intention.core.context.Context`.
    """

    step_verdict: Verdict
    run_verdict: Verdict
    single_step: bool
    z: float
    confidence: float
    prior: float
    cosine: float
    shared_terms: tuple[str, ...]
    unexplained_terms: tuple[str, ...]
    out_of_scope: tuple[str, ...]
    off_goal_files: tuple[OffGoalFile, ...]
    advisories: tuple[Advisory, ...]
    profile_source: ProfileSource
    profile_messages: int
    profile_changes: int
    evidence_terms: int
    goal_terms: int
    source_sha256: str


def check_drift(intention: Intention, step: Step, profile: Profile | Scorer | None = None) -> DriftResult:
    """Judge one step of a run against its goal. Keeps nothing: the same call gives the same answer.

    Args:
        intention: the goal (title and description are compared) and the scope.
        step: what was done.
        profile: of the repository; a :class:`Scorer` remembers goals from one call to the next. None = the weaker mode.

    Raises:
        GitIgnorePatternError: a malformed glob; :func:`autopack_kit.globs.check_globs` says which.
    """
    scorer = profile if isinstance(profile, Scorer) else Scorer(profile)
    goal = scorer.goal(intention.title, intention.description)
    seen = scorer.compare(goal, step.evidence)
    outside = out_of_scope(step.evidence.paths, intention.scope, intention.non_goal_globs)
    note = scorer.note(goal, step.note, seen.evidence) if step.note else None
    verdict = Verdict.SCOPE_VIOLATION if outside else _step_verdict(goal, seen, note)
    source = source_sha256(intention)
    edited = step.source_sha256 not in ("", source)
    earlier = [] if edited else [z for z in step.earlier_z if not math.isnan(z)]
    off_goal = _off_goal_files(scorer, goal, step.evidence)
    shared, unexplained = _explain(goal, seen)
    return DriftResult(
        step_verdict=verdict,
        run_verdict=_run_verdict(verdict, earlier, step.final),
        single_step=not earlier,
        z=seen.z,
        confidence=seen.confidence,
        prior=PRIOR,
        cosine=seen.cosine,
        shared_terms=shared,
        unexplained_terms=unexplained,
        out_of_scope=outside,
        off_goal_files=off_goal,
        advisories=_advisories(goal, note, off_goal, scorer.profile.source, edited=edited),
        profile_source=scorer.profile.source,
        profile_messages=scorer.profile.vocabulary.documents,
        profile_changes=len(scorer.profile.changes),
        evidence_terms=len(seen.evidence),
        goal_terms=len(goal.terms),
        source_sha256=source,
    )


def _step_verdict(goal: GoalModel, seen: Comparison, note: tuple[float, float] | None) -> Verdict:
    if len(seen.evidence) < MIN_EVIDENCE_TERMS or len(goal.terms) < MIN_GOAL_TERMS or math.isnan(seen.z):
        return Verdict.INSUFFICIENT_EVIDENCE
    if goal.unfamiliar:
        return Verdict.INSUFFICIENT_EVIDENCE
    if seen.z >= ON_GOAL_FROM:
        return Verdict.ON_GOAL
    bridged = note is not None and min(note) >= DRIFT_BELOW
    return Verdict.DRIFT if seen.z < DRIFT_BELOW and not bridged else Verdict.WATCH


def _run_verdict(step: Verdict, earlier: Sequence[float], final: bool) -> Verdict:
    """Of the last two steps: both low is DRIFT, one low is WATCH. A single step decides only when the run is over.

    A note never clears an earlier step: its z counts, whatever lifted its verdict then.
    """
    if step is Verdict.SCOPE_VIOLATION:
        return step
    if step is Verdict.INSUFFICIENT_EVIDENCE:
        return _level_of(earlier[-2:]) if earlier else step
    if not earlier:
        return Verdict.WATCH if step is Verdict.DRIFT and not final else step
    previous_low = earlier[-1] < DRIFT_BELOW
    if step is Verdict.DRIFT:
        return Verdict.DRIFT if previous_low else Verdict.WATCH
    return Verdict.WATCH if previous_low else step


def _level_of(zs: Sequence[float]) -> Verdict:
    """Of a run whose last step told nothing: what stood before it, but no longer a pass."""
    return Verdict.DRIFT if len(zs) == 2 and max(zs) < DRIFT_BELOW else Verdict.WATCH


def _explain(goal: GoalModel, seen: Comparison) -> tuple[tuple[str, ...], tuple[str, ...]]:
    shared = _heaviest(
        [(-weight * goal.vector[term], term) for term, weight in seen.evidence.items() if term in goal.vector]
    )
    unexplained = _heaviest([(-weight, term) for term, weight in seen.evidence.items() if term not in goal.vector])
    spelled = spell(seen.text)
    return tuple(map(spelled.__getitem__, shared)), tuple(map(spelled.__getitem__, unexplained))


def _heaviest(weights: list[tuple[float, str]]) -> list[str]:
    return [term for _, term in sorted(weights)[:_SHOWN_TERMS]]


def _off_goal_files(scorer: Scorer, goal: GoalModel, evidence: Evidence) -> tuple[OffGoalFile, ...]:
    if len(goal.terms) < MIN_GOAL_TERMS or goal.unfamiliar:
        return ()
    return off_goal_files(goal.vector, evidence.files, scorer.weights)


def _advisories(
    goal: GoalModel,
    note: tuple[float, float] | None,
    off_goal: Sequence[OffGoalFile],
    source: ProfileSource,
    *,
    edited: bool,
) -> tuple[Advisory, ...]:
    claims_goal, matches_change = note if note is not None else (math.nan, math.nan)
    raised = {
        Advisory.CLAIM_MISMATCH: matches_change < 0 and claims_goal >= ON_GOAL_FROM,
        Advisory.GOAL_TOO_SHORT: len(goal.terms) < MIN_GOAL_TERMS,
        Advisory.OFF_GOAL_FILES: bool(off_goal),
        Advisory.NO_HISTORY: source is ProfileSource.NONE,
        Advisory.GOAL_UNFAMILIAR: goal.unfamiliar and len(goal.terms) >= MIN_GOAL_TERMS,
        Advisory.GOAL_EDITED: edited,
    }
    return tuple(advisory for advisory, holds in raised.items() if holds)

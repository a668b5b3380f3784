"""Plans as messages of ``autopack.toolchain.v1``, with the checks of their requests."""

from __future__ import annotations

from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_kit.convert import duration_to_proto
from autopack_kit.errors import invalid_field

from .adapters.snapshot import SnapshotTree
from .convert import evidence_to_proto, path_or_snapshot, step_to_proto, warning_to_proto
from .core.plan.model import (
    Budget,
    Category,
    CategoryGuess,
    ContextFile,
    Decision,
    Deliverable,
    NormalizedPlan,
    Part,
    PhaseConfidence,
    PlanPhase,
    Policy,
    Preflight,
    ScopeGlob,
    ScopeKind,
    Size,
)

__all__ = ["plan_from_proto", "plan_to_proto"]

_CATEGORIES = {
    Category.FEATURE: toolchain_pb2.PLAN_CATEGORY_FEATURE,
    Category.BUGFIX: toolchain_pb2.PLAN_CATEGORY_BUGFIX,
    Category.REFACTOR: toolchain_pb2.PLAN_CATEGORY_REFACTOR,
    Category.TEST: toolchain_pb2.PLAN_CATEGORY_TEST,
    Category.DOCS: toolchain_pb2.PLAN_CATEGORY_DOCS,
    Category.DEPENDENCY: toolchain_pb2.PLAN_CATEGORY_DEPENDENCY,
    Category.SECURITY: toolchain_pb2.PLAN_CATEGORY_SECURITY,
    Category.PERFORMANCE: toolchain_pb2.PLAN_CATEGORY_PERFORMANCE,
    Category.CI: toolchain_pb2.PLAN_CATEGORY_CI,
    Category.BUILD: toolchain_pb2.PLAN_CATEGORY_BUILD,
}
_KINDS = {
    ScopeKind.FILE: toolchain_pb2.SCOPE_KIND_FILE,
    ScopeKind.DIRECTORY: toolchain_pb2.SCOPE_KIND_DIRECTORY,
    ScopeKind.NEW_FILE: toolchain_pb2.SCOPE_KIND_NEW_FILE,
    ScopeKind.PATTERN: toolchain_pb2.SCOPE_KIND_PATTERN,
}
_SIZES = {
    Size.SMALL: toolchain_pb2.PLAN_SIZE_SMALL,
    Size.MEDIUM: toolchain_pb2.PLAN_SIZE_MEDIUM,
    Size.LARGE: toolchain_pb2.PLAN_SIZE_LARGE,
}
_POLICIES = {
    Policy.NEVER: toolchain_pb2.PROTECTION_POLICY_NEVER,
    Policy.ASKED: toolchain_pb2.PROTECTION_POLICY_ASKED,
}
_PARTS = {
    Part.DELIVERABLES: toolchain_pb2.PLAN_PART_DELIVERABLES,
    Part.CATEGORY: toolchain_pb2.PLAN_PART_CATEGORY,
    Part.SCOPE: toolchain_pb2.PLAN_PART_SCOPE,
    Part.CONTEXT: toolchain_pb2.PLAN_PART_CONTEXT,
    Part.VALIDATION: toolchain_pb2.PLAN_PART_VALIDATION,
    Part.BUDGET: toolchain_pb2.PLAN_PART_BUDGET,
    Part.PHASES: toolchain_pb2.PLAN_PART_PHASES,
    Part.PREFLIGHT: toolchain_pb2.PLAN_PART_PREFLIGHT,
}


def plan_from_proto(request: toolchain_pb2.NormalizePlanRequest, max_depth: int) -> tuple[str, str | SnapshotTree]:
    """(text, path or snapshot) of a request.

    Raises:
        InvalidArgument: a field is missing or wrong.
    """
    if not request.text.strip():
        raise invalid_field("text", "is empty; write what is to be done")
    return request.text, path_or_snapshot(request, max_depth)


def plan_to_proto(answer: NormalizedPlan) -> toolchain_pb2.NormalizePlanResponse:
    """The whole answer."""
    plan = answer.plan
    return toolchain_pb2.NormalizePlanResponse(
        plan=toolchain_pb2.Plan(
            title=plan.title, phases=[_phase(phase) for phase in plan.phases], budget=_budget(plan.budget)
        ),
        confidence=answer.confidence,
        warnings=[warning_to_proto(warning) for warning in answer.warnings],
        decisions=[_decision(decision) for decision in answer.decisions],
    )


def _phase(phase: PlanPhase) -> toolchain_pb2.PlanPhase:
    return toolchain_pb2.PlanPhase(
        phase_id=phase.phase_id,
        title=phase.title,
        depends_on=phase.depends_on,
        deliverables=[_deliverable(item) for item in phase.deliverables],
        category=_guess(phase.category) if phase.category else None,
        other_categories=[_guess(guess) for guess in phase.other_categories],
        acceptance=phase.acceptance,
        constraints=phase.constraints,
        non_goals=phase.non_goals,
        scope=toolchain_pb2.PlanScope(
            include=[_glob(glob) for glob in phase.scope.include],
            exclude=[_glob(glob) for glob in phase.scope.exclude],
        ),
        read_only_context=[_context(file) for file in phase.read_only_context],
        validation_steps=[step_to_proto(step) for step in phase.validation_steps],
        budget=_budget(phase.budget),
        preflight=_preflight(phase.preflight),
        confidence=_confidence(phase.confidence),
    )


def _deliverable(item: Deliverable) -> toolchain_pb2.Deliverable:
    return toolchain_pb2.Deliverable(
        text=item.text,
        action=item.action,
        details=item.details,
        confidence=item.confidence,
        evidence=[evidence_to_proto(evidence) for evidence in item.evidence],
    )


def _guess(guess: CategoryGuess) -> toolchain_pb2.CategoryGuess:
    return toolchain_pb2.CategoryGuess(
        category=_CATEGORIES[guess.category],
        confidence=guess.confidence,
        evidence=[evidence_to_proto(evidence) for evidence in guess.evidence],
    )


def _glob(glob: ScopeGlob) -> toolchain_pb2.ScopeGlob:
    return toolchain_pb2.ScopeGlob(
        glob=glob.glob,
        kind=_KINDS[glob.kind],
        confidence=glob.confidence,
        evidence=[evidence_to_proto(evidence) for evidence in glob.evidence],
    )


def _context(file: ContextFile) -> toolchain_pb2.ContextFile:
    return toolchain_pb2.ContextFile(path=file.path, reason=file.reason, evidence=evidence_to_proto(file.evidence))


def _budget(budget: Budget) -> toolchain_pb2.PlanBudget:
    return toolchain_pb2.PlanBudget(
        max_tokens=budget.max_tokens,
        max_cost_microusd=budget.max_cost_microusd,
        max_wall_time=duration_to_proto(budget.max_wall_time),
        size=_SIZES[budget.size],
        defaulted=budget.defaulted,
        evidence=[evidence_to_proto(evidence) for evidence in budget.evidence],
    )


def _preflight(preflight: Preflight) -> toolchain_pb2.Preflight:
    return toolchain_pb2.Preflight(
        files_to_create=preflight.files_to_create,
        protected_paths=[
            toolchain_pb2.ProtectedPath(
                path=item.path, policy=_POLICIES[item.policy], reason=item.reason, allowed=item.allowed
            )
            for item in preflight.protected
        ],
        files_in_scope=preflight.files_in_scope,
        bytes_in_scope=preflight.bytes_in_scope,
    )


def _confidence(confidence: PhaseConfidence) -> toolchain_pb2.PhaseConfidence:
    return toolchain_pb2.PhaseConfidence(
        deliverables=confidence.deliverables,
        category=confidence.category,
        scope=confidence.scope,
        validation=confidence.validation,
        overall=confidence.overall,
    )


def _decision(decision: Decision) -> toolchain_pb2.Decision:
    return toolchain_pb2.Decision(
        part=_PARTS[decision.part],
        phase_id=decision.phase_id,
        subject=decision.subject,
        choice=decision.choice,
        reason=decision.reason,
        evidence=[evidence_to_proto(evidence) for evidence in decision.evidence],
    )

"""What plan normalisation says: phases with their deliverables, scope, validation and budgets, and why.

Evidence from the text has an empty path, and its line is one of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from ..model import DetectionWarning, Evidence, Step

__all__ = [
    "Budget",
    "Category",
    "CategoryGuess",
    "ContextFile",
    "Decision",
    "Deliverable",
    "NormalizedPlan",
    "Part",
    "PhaseConfidence",
    "Plan",
    "PlanPhase",
    "Policy",
    "Preflight",
    "ProtectedPath",
    "Role",
    "Scope",
    "ScopeGlob",
    "ScopeKind",
    "Size",
]


class Category(Enum):
    """What kind of work a phase is."""

    FEATURE = "feature"
    BUGFIX = "bugfix"
    REFACTOR = "refactor"
    TEST = "test"
    DOCS = "docs"
    DEPENDENCY = "dependency"
    SECURITY = "security"
    PERFORMANCE = "performance"
    CI = "ci"
    BUILD = "build"


class Role(Enum):
    """What a section of the text is for; the values are the names in ``data/plan.toml``."""

    WORK = "work"
    CONTEXT = "context"
    PROBLEM = "problem"
    EXPECTED = "expected"
    REPRODUCTION = "reproduction"
    ACCEPTANCE = "acceptance"
    NON_GOALS = "non_goals"
    CONSTRAINTS = "constraints"
    REFERENCES = "references"
    FILES = "files"
    VALIDATION = "validation"
    BUDGET = "budget"
    DEPENDENCIES = "dependencies"
    IGNORED = "ignored"


class Part(Enum):
    """The part of a plan that a decision is about."""

    DELIVERABLES = "deliverables"
    CATEGORY = "category"
    SCOPE = "scope"
    CONTEXT = "context"
    VALIDATION = "validation"
    BUDGET = "budget"
    PHASES = "phases"
    PREFLIGHT = "preflight"


class ScopeKind(Enum):
    """What a glob of a scope stands for."""

    FILE = "file"
    DIRECTORY = "directory"
    NEW_FILE = "new_file"
    PATTERN = "pattern"


class Size(Enum):
    """How much work it seems to be."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Policy(Enum):
    """When a protected path may be changed."""

    NEVER = "never"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Deliverable:
    """One thing to be done.

    Attributes:
        text: as the author wrote it, without Markdown and without the parts that say what not to do.
        action: ``"create"``, ``"fix"``, ...: a key of ``[actions]`` in ``data/plan.toml``; empty if no verb was
            understood.
        details: points below it that ask for nothing by themselves.
        confidence: that this is something to be done, 0 to 1.
        evidence: where the text asks for it, each place once.
    """

    text: str
    action: str
    details: tuple[str, ...]
    confidence: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class CategoryGuess:
    """A category with what speaks for it."""

    category: Category
    confidence: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class ScopeGlob:
    """One glob (gitwildmatch) with its reason."""

    glob: str
    kind: ScopeKind
    confidence: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What may change, and what may not even inside of that."""

    include: tuple[ScopeGlob, ...]
    exclude: tuple[ScopeGlob, ...]


@dataclass(frozen=True, slots=True)
class ContextFile:
    """A file to read and not to change; ``reason`` is UPPER_SNAKE."""

    path: str
    reason: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Budget:
    """What a phase or plan may use at most; ``defaulted`` names the fields that the text did not set."""

    max_tokens: int
    max_cost_microusd: int
    max_wall_time: timedelta
    size: Size
    defaulted: tuple[str, ...]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class ProtectedPath:
    """A protected file in the way: kept out of the scope, or in it because the text asks for it (``allowed``)."""

    path: str
    policy: Policy
    reason: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was checked before anything runs."""

    files_to_create: tuple[str, ...]
    protected: tuple[ProtectedPath, ...]
    files_in_scope: int
    bytes_in_scope: int


@dataclass(frozen=True, slots=True)
class PhaseConfidence:
    """From 0 to 1, part by part; ``overall`` is the weakest of those that a run depends on."""

    deliverables: float
    category: float
    scope: float
    validation: float
    overall: float


@dataclass(frozen=True, slots=True)
class PlanPhase:
    """A part of the plan that is run, checked and merged by itself."""

    phase_id: str
    title: str
    depends_on: tuple[str, ...]
    deliverables: tuple[Deliverable, ...]
    category: CategoryGuess | None
    other_categories: tuple[CategoryGuess, ...]
    acceptance: tuple[str, ...]
    constraints: tuple[str, ...]
    non_goals: tuple[str, ...]
    scope: Scope
    read_only_context: tuple[ContextFile, ...]
    validation_steps: tuple[Step, ...]
    budget: Budget
    preflight: Preflight
    confidence: PhaseConfidence


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole; ``phases`` in an order in which each stands behind those it depends on."""

    title: str
    phases: tuple[PlanPhase, ...]
    budget: Budget


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice: about which part of which phase, what was looked at, what was chosen, and why (UPPER_SNAKE)."""

    part: Part
    phase_id: str
    subject: str
    choice: str
    reason: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class NormalizedPlan:
    """The answer."""

    plan: Plan
    confidence: float
    warnings: tuple[DetectionWarning, ...]
    decisions: tuple[Decision, ...]

"""The values that the orchestrator thinks in: what was asked for, and what a run is now.

All are frozen; a change is a new value (``dataclasses.replace``). They are stored as JSON by :mod:`.codec`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from autopack_kit.commands import Command

from autopack_orchestrator.core.isolation import Isolation, Limits
from autopack_orchestrator.core.sources import Workplace

__all__ = [
    "TERMINAL",
    "AgentPreset",
    "Batch",
    "BatchSpec",
    "BatchState",
    "Budget",
    "Doctor",
    "Event",
    "EventKind",
    "FileChange",
    "HttpExecutor",
    "Intention",
    "MitigationResult",
    "MockExecutor",
    "NewEvent",
    "OnDrift",
    "OnScopeViolation",
    "Prepare",
    "RetryOn",
    "RetryPolicy",
    "Run",
    "RunError",
    "RunResult",
    "RunSpec",
    "RunState",
    "StepKind",
    "StepOutcome",
    "StepResult",
]


class RunState(Enum):
    """States of a run; the last five are terminal."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    VALIDATING = "validating"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"


TERMINAL = frozenset(
    {RunState.SUCCEEDED, RunState.FAILED, RunState.TIMED_OUT, RunState.CANCELLED, RunState.LOST},
)


class BatchState(Enum):
    """States of a batch."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Prepare(Enum):
    """Whether install steps run before the agent."""

    AUTO = "auto"
    NONE = "none"


class OnScopeViolation(Enum):
    """What to do with changes outside the scope."""

    REVERT = "revert"
    FAIL = "fail"


class OnDrift(Enum):
    """What to do about drift."""

    WARN = "warn"
    STOP = "stop"


class RetryOn(Enum):
    """What a retry policy tries again."""

    LOST = "lost"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    AGENT_FAILED = "agent_failed"
    PREPARE_FAILED = "prepare_failed"
    VALIDATION_FAILED = "validation_failed"


class StepKind(Enum):
    """Purposes of detected steps, as the toolchain names them."""

    INSTALL = "install"
    BUILD = "build"
    TEST = "test"
    LINT = "lint"
    TYPECHECK = "typecheck"
    FORMAT = "format"
    RUN = "run"


class StepOutcome(Enum):
    """Results of a validation step."""

    PASSED = "passed"
    FIXED = "fixed"
    FAILED = "failed"
    PRE_EXISTING = "pre_existing"
    SKIPPED = "skipped"


class EventKind(Enum):
    """Kinds of events."""

    STATE = "state"
    PHASE_STARTED = "phase_started"
    PHASE_FINISHED = "phase_finished"
    COMMAND = "command"
    DIAGNOSIS = "diagnosis"
    MITIGATION = "mitigation"
    SCOPE = "scope"
    DRIFT = "drift"
    WARNING = "warning"
    RESULT = "result"
    CANCEL_REQUESTED = "cancel_requested"


@dataclass(frozen=True, slots=True)
class Intention:
    """What is to be done, and within which limits; see ``autopack.intention.v1.Intention``."""

    title: str
    description: str = ""
    constraints: tuple[str, ...] = ()
    acceptance: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    non_goals: tuple[str, ...] = ()
    non_goal_globs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentPreset:
    """An agent by its name in ``data/agents.toml``, with words appended to its command."""

    name: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpExecutor:
    """An agent on a server elsewhere: see :mod:`.http`.

    Attributes:
        headers: name of a header -> name of a credential, never a value.
        poll_interval, max_poll_interval: the first pause between two questions, and the longest.
        request_timeout: of one question with its answer.
    """

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    poll_interval: timedelta = timedelta(seconds=2)
    max_poll_interval: timedelta = timedelta(seconds=30)
    request_timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class MockExecutor:
    """A seeded imitation of an agent: it waits, then writes a file or fails."""

    seed: int = 0
    failure_rate: float = 0.0
    duration: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be used at most; None = no limit. Tokens of all kinds; cost in millionths of a US dollar."""

    max_tokens: int | None = None
    max_cost_microusd: int | None = None
    max_wall_time: timedelta | None = None

    @property
    def needs_telemetry(self) -> bool:
        """Whether live figures are needed to enforce it."""
        return self.max_tokens is not None or self.max_cost_microusd is not None


@dataclass(frozen=True, slots=True)
class Doctor:
    """The expensive escalation, and how often it may be called."""

    command: Command
    max_calls: int = 1


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run as it was asked for, defaults filled in."""

    name: str
    intention: Intention
    command: Command | None = None
    agent: AgentPreset | None = None
    mock: MockExecutor | None = None
    http: HttpExecutor | None = None
    prepare: Prepare = Prepare.AUTO
    install: tuple[Command, ...] = ()
    validate: tuple[Command, ...] = ()
    validate_kinds: tuple[StepKind, ...] = (StepKind.TEST,)
    fail_on_pre_existing: bool = False
    no_mitigation: bool = False
    mitigate_yes_to: tuple[str, ...] = ()
    on_scope_violation: OnScopeViolation = OnScopeViolation.REVERT
    on_drift: OnDrift = OnDrift.WARN
    drift_interval: timedelta = timedelta(minutes=2)
    timeout: timedelta = timedelta(hours=1)
    step_timeout: timedelta = timedelta(minutes=15)
    budget: Budget = Budget()
    doctor: Doctor | None = None
    max_attempts: int | None = None
    pass_env: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    idle_timeout: timedelta | None = None
    prepare_timeout: timedelta = timedelta(hours=1)
    isolation: Isolation = field(default_factory=Isolation)
    needs: tuple[str, ...] = ()
    workplace: Workplace = field(default_factory=Workplace)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a run that did not succeed is tried again, and how long it waits for that."""

    max_attempts: int = 2
    on: tuple[RetryOn, ...] = (RetryOn.LOST,)
    initial_backoff: timedelta = timedelta(seconds=1)
    max_backoff: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """A batch as it was asked for, defaults filled in."""

    path: str
    runs: tuple[RunSpec, ...]
    name: str = "batch"
    ref: str = "HEAD"
    max_concurrent_runs: int = 3
    budget: Budget = Budget()
    priority: int = 0
    retry: RetryPolicy = RetryPolicy()
    queue_timeout: timedelta | None = None
    workplace: Workplace = field(default_factory=Workplace)


@dataclass(frozen=True, slots=True)
class FileChange:
    """One changed file: git's status letter, its path, and the earlier path of a rename."""

    status: str
    path: str
    old_path: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one validation step ended; ``seconds`` is the wall time of its last try."""

    command: Command
    outcome: StepOutcome
    exit_code: int | None = None
    seconds: float = 0.0
    tries: int = 1
    pattern_id: str = ""


@dataclass(frozen=True, slots=True)
class MitigationResult:
    """One mitigation that was applied; ``fixed`` only if the same step then passed.

    ``outcome`` is ``fixed``, ``progressed``, ``unchanged`` or ``worse``.
    """

    pattern_id: str
    actions: tuple[str, ...]
    fixed: bool = False
    changed_paths: tuple[str, ...] = ()
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run did not succeed: a stable reason, a sentence, and what to do."""

    reason: str
    message: str
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """What is known of a run's outcome so far."""

    head_commit: str = ""
    tree_id: str = ""
    error: RunError | None = None
    changes: tuple[FileChange, ...] = ()
    reverted_paths: tuple[str, ...] = ()
    steps: tuple[StepResult, ...] = ()
    mitigations: tuple[MitigationResult, ...] = ()
    doctor_calls: int = 0
    drift_verdict: str = ""
    drift_z: tuple[float, ...] = ()
    drift_tree: str = ""
    intention_sha256: str = ""
    patch_bytes: int = 0
    agent_exit_code: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored.

    Attributes:
        lease_epoch: fencing token: every claim and adoption increases it, and a write under an older one is refused.
        cancel_requested: cancelling was asked for and has not happened yet.
        not_before: while it is queued for another attempt: it does not start before this time.
        counted: attempts, with this one, that count against ``max_attempts``; asking for a retry begins anew at 1.
        excused: attempts since then that did not count.
    """

    run_id: str
    batch_id: str
    tenant: str
    name: str
    position: int
    spec: RunSpec
    state: RunState
    activity: str
    attempt: int
    branch: str
    base_commit: str
    lease_epoch: int
    cancel_requested: bool
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    result: RunResult
    not_before: datetime | None = None
    counted: int = 1
    excused: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is stored."""

    batch_id: str
    tenant: str
    name: str
    repository: str
    base_commit: str
    state: BatchState
    max_concurrent_runs: int
    budget: Budget
    create_time: datetime
    end_time: datetime | None
    last_sequence: int
    runs_by_state: dict[str, int]
    priority: int = 0
    retry: RetryPolicy = RetryPolicy()
    queue_timeout: timedelta | None = None
    waiting_reason: str = ""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it has its number."""

    kind: EventKind
    message: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a batch; ``sequence`` counts from 1 without gaps."""

    sequence: int
    batch_id: str
    run_id: str
    time: datetime
    kind: EventKind
    message: str
    attributes: dict[str, str]

"""What is recorded, and what is told about it. Times are microseconds since 1970 in UTC, durations microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from autopack_telemetry.core.estimate import Estimate, EstimateSource, ModelClass

__all__ = [
    "Avoided",
    "PhaseOutcome",
    "PhaseRecord",
    "Price",
    "RunRecord",
    "RunSummary",
    "Session",
    "Signal",
    "SignalTotal",
    "Tokens",
    "UsageRecord",
    "UsageRole",
]


class PhaseOutcome(Enum):
    """How a phase ended; the value is what the database keeps and the summary tells."""

    UNSPECIFIED = "unspecified"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class UsageRole(Enum):
    """What a call of a model was for."""

    AGENT = "agent"
    DOCTOR = "doctor"


class Signal(Enum):
    """How usage was told; the value is what the database keeps. Which of them count says :mod:`.signals`."""

    API = "api"
    LOG = "log"
    SPAN = "span"
    FILE = "file"
    METRIC = "metric"


@dataclass(slots=True, unsafe_hash=True)
class Tokens:
    """Tokens by kind. The kinds are disjoint but for ``reasoning``, which is a part of ``output``.

    Nobody changes one; frozen, each would take three times as long to make.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """What was processed."""
        return self.input + self.cache_read + self.cache_write + self.output

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """One phase of a run. None is "not known", never zero; an empty text is "not known" too.

    Attributes:
        avoided: what the doctor call that was not needed is estimated to have cost; only with ``doctor_skipped``.
    """

    run_id: str
    phase_id: str
    kind: str = ""
    attempt: int | None = None
    started_at: int | None = None
    duration: int | None = None
    outcome: PhaseOutcome = PhaseOutcome.UNSPECIFIED
    hardening_triggered: bool | None = None
    pattern_id: str | None = None
    mitigated: bool | None = None
    doctor_called: bool | None = None
    doctor_skipped: bool | None = None
    avoided: Estimate | None = None
    context_bytes: int | None = None
    drift_z: float | None = None
    drift_verdict: str | None = None
    retries: int | None = None
    errors: int | None = None
    context_source: str | None = None
    plan_normalized: bool | None = None
    plan_confidence: float | None = None
    plan_warnings: int | None = None
    plan_deliverables: int | None = None
    scope_size: int | None = None
    warnings: int | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a whole run; None and the empty text are "not known".

    Attributes:
        task: what comparisons pair by.
        spec_hash: of goal, scope, validation and limits.
        models: by what they are for.
        token_limit: 0 for none.
        time_limit: microseconds.
    """

    run_id: str
    task: str = ""
    batch_id: str = ""
    base_commit: str = ""
    spec_hash: str = ""
    agent: str = ""
    agent_version: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    started_at: int | None = None
    duration: int | None = None
    outcome: PhaseOutcome = PhaseOutcome.UNSPECIFIED
    retries: int | None = None
    token_limit: int | None = None
    time_limit: int | None = None


@dataclass(slots=True)
class UsageRecord:
    """The tokens of one call of a model. Nobody changes one; frozen, each would take three times as long to make.

    Attributes:
        run_id: empty where no run is known: such usage is kept and shown, and moves when its session is registered.
        usage_id: unique in its run.
        reported_cost_microusd: as the sender says; None where it does not.
        time: when the call was.
        failed: counted, but never part of an estimate.
        session_id: the agent's own name of its session.
        response_id: the provider's id of the response, counted once for an agent and signal whatever the session.
        signal: how it was told.
        cumulative: the count since the beginning of a series, so a larger one replaces it.
        parts: of a series what it told, part by part, as :mod:`.otlp.parts` writes it: a record of the same id with
            other parts completes it.
    """

    run_id: str
    usage_id: str
    time: int
    tokens: Tokens = field(default_factory=Tokens)
    phase_id: str = ""
    agent: str = ""
    provider: str = ""
    model: str = ""
    role: UsageRole = UsageRole.AGENT
    model_class: ModelClass = ModelClass.UNKNOWN
    reported_cost_microusd: int | None = None
    failed: bool = False
    session_id: str = ""
    response_id: str = ""
    signal: Signal = Signal.API
    cumulative: bool = False
    parts: str | None = None


@dataclass(slots=True, unsafe_hash=True)
class Price:
    """What a price list says that a call cost. Nobody changes one; see :class:`Tokens`.

    Attributes:
        cost_microusd: millionths of a US dollar.
        source: name of the price list. At most 64 characters.
        version: of that list. At most 64 characters.
    """

    cost_microusd: int
    source: str
    version: str


@dataclass(frozen=True, slots=True)
class SignalTotal:
    """What one signal told of a session."""

    signal: Signal
    records: int
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Session:
    """The session of an agent.

    Attributes:
        key: of its row.
        run_id: empty if it belongs to none.
        signal: the one that counts; METRIC, say, where another source told of the same usage better, is the best of its
            own all the same.
        reported: what each signal told, whether it counts or not.
    """

    key: int
    agent: str
    session_id: str
    run_id: str
    signal: Signal
    reported: tuple[SignalTotal, ...]
    first_time: int
    last_time: int

    @property
    def mismatch(self) -> bool:
        """Whether the totals differ of the signals that tell of the same calls: all but API."""
        return len({total.tokens.total for total in self.reported if total.signal is not Signal.API}) > 1


@dataclass(frozen=True, slots=True)
class Avoided:
    """Estimates of one source, summed: how many, their tokens, and the observations behind them."""

    source: EstimateSource
    count: int
    tokens: int
    total_n: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The sums of a run.

    Attributes:
        phases: distinct phases.
        phases_by_outcome: of those, by outcome.
        tokens: of all calls of models.
        doctor_tokens: of those, of the doctor's calls.
        usage_records: calls of models.
        cost_microusd: of the calls whose cost is known: as reported, else as derived from a price list.
        records_without_cost: calls whose cost is not known.
        hardening_triggered: phases in which hardening was asked.
        mitigated: of those, fixed.
        patterns: named patterns with how often.
        doctor_calls: phases in which the doctor was called.
        doctor_skipped: phases in which it was not needed.
        avoided: one entry per source of estimates.
        context_bytes: given to the agent, all phases together.
        duration: of all phases together.
        reported_cost_microusd: of ``cost_microusd``, what senders said.
        price_lists: that the rest was derived from, as "source version".
        warnings: what does not add up.
        run: what is known of the run as a whole.
    """

    run_id: str
    phases: int
    phases_by_outcome: Mapping[PhaseOutcome, int]
    tokens: Tokens
    doctor_tokens: Tokens
    usage_records: int
    cost_microusd: int
    records_without_cost: int
    hardening_triggered: int
    mitigated: int
    patterns: Mapping[str, int]
    doctor_calls: int
    doctor_skipped: int
    avoided: tuple[Avoided, ...]
    context_bytes: int
    duration: int
    reported_cost_microusd: int = 0
    price_lists: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    run: RunRecord | None = None

"""What is compared, how, and what came out. Times are microseconds since 1970 in UTC, durations seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from autopack_telemetry.core.model import Avoided, PhaseOutcome, RunRecord

__all__ = [
    "DEFAULT_EXPECTED_PAIRS",
    "MIN_ANYTIME_PAIRS",
    "MIN_PAIRS",
    "Arm",
    "ArmRuns",
    "Check",
    "Design",
    "Excluded",
    "Exclusion",
    "GuardrailStatus",
    "Metric",
    "Mode",
    "Pair",
    "PairSpec",
    "RunMeasures",
    "RunProperty",
    "Scale",
    "Status",
    "Verdict",
]

MIN_PAIRS = 5
"""Below this no test is made: Wilcoxon's cannot reach 0.05 below six pairs, and a t interval of four says nothing."""
MIN_ANYTIME_PAIRS = 8
"""From here on the asymptotic confidence sequence keeps its level (simulated)."""
DEFAULT_EXPECTED_PAIRS = 30


class Scale(Enum):
    """How two values are compared."""

    RATIO = "ratio"
    DIFFERENCE = "difference"


class Metric(Enum):
    """What is compared. Metrics of which zero is a common and a good value are compared as differences."""

    TOTAL_TOKENS = "total_tokens"
    AGENT_TOKENS = "agent_tokens"
    DOCTOR_TOKENS = "doctor_tokens"
    DOCTOR_CALLS = "doctor_calls"
    DOCTOR_SKIPS = "doctor_skips"
    RETRIES = "retries"
    WALL_TIME = "wall_time"
    COST = "cost"

    @property
    def scale(self) -> Scale:
        """How it is compared."""
        as_ratio = (Metric.TOTAL_TOKENS, Metric.AGENT_TOKENS, Metric.WALL_TIME, Metric.COST)
        return Scale.RATIO if self in as_ratio else Scale.DIFFERENCE

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better; of all others less is."""
        return self is Metric.DOCTOR_SKIPS

    @property
    def words(self) -> str:
        """Its name for people."""
        return self.value.replace("_", " ")


class Mode(Enum):
    """Whether the result may be looked at more than once."""

    FIXED = "fixed"
    ANYTIME_VALID = "anytime_valid"


class RunProperty(Enum):
    """What is recorded of a run and may differ between the arms."""

    COMMIT = "commit"
    SPEC = "spec"
    MODELS = "models"
    AGENT = "agent"
    AGENT_VERSION = "agent_version"
    LIMITS = "limits"


class Exclusion(Enum):
    """Why a pair or run is left out."""

    NO_PARTNER = "no_partner"
    NO_TASK = "no_task"
    COMMITS_DIFFER = "commits_differ"
    SPECS_DIFFER = "specs_differ"
    ZERO = "zero"
    NOT_KNOWN = "not_known"


class Status(Enum):
    """What came out of a check."""

    PASS = "pass"  # noqa: S105 (no password)
    WARN = "warn"
    FAIL = "fail"


class GuardrailStatus(Enum):
    """Whether success has fallen by more than is allowed."""

    HELD = "held"
    BROKEN = "broken"
    UNDECIDED = "undecided"


class Verdict(Enum):
    """What came out."""

    BETTER = "better"
    WORSE = "worse"
    GUARDRAIL_BROKEN = "guardrail_broken"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW_PAIRS = "too_few_pairs"
    NOT_VALID = "not_valid"


class Arm(Enum):
    """A side of the comparison."""

    CONTROL = "control"
    TREATMENT = "treatment"


@dataclass(frozen=True, slots=True)
class RunMeasures:
    """What was measured of one run; None is "not known".

    Attributes:
        record: what is known of the run; with its id alone if nothing else is.
        total_tokens: of all calls; 0 without a record of usage.
        agent_tokens: of the agent's own calls.
        doctor_tokens: of the doctor's calls.
        usage_records: calls of models.
        phases: distinct phases.
        unpriced_records: those whose cost is not known.
        cost_microusd: of the others.
        doctor_calls: phases in which the doctor was called; of a run without phases, its calls.
        doctor_skips: phases in which it was not needed.
        retries: of the run, else of its phases.
        seconds: from begin to end.
        outcome: of the run, else of its last phase that has one.
        used_models: of each role the model with the most tokens; stands in where the record names no models.
        mismatched_sessions: sessions of which two signals tell different totals.
        avoided: estimates, by source.
    """

    record: RunRecord
    total_tokens: int = 0
    agent_tokens: int = 0
    doctor_tokens: int = 0
    usage_records: int = 0
    phases: int = 0
    unpriced_records: int = 0
    cost_microusd: int = 0
    doctor_calls: int = 0
    doctor_skips: int = 0
    retries: int | None = None
    seconds: float | None = None
    outcome: PhaseOutcome = PhaseOutcome.UNSPECIFIED
    used_models: Mapping[str, str] = field(default_factory=dict)
    mismatched_sessions: int = 0
    avoided: tuple[Avoided, ...] = ()

    @property
    def succeeded(self) -> bool | None:
        """Whether it did what it was for. A run that was stopped did not; of one without outcome nothing is known."""
        if self.outcome in (PhaseOutcome.UNSPECIFIED, PhaseOutcome.SKIPPED):
            return None
        return self.outcome is PhaseOutcome.SUCCEEDED

    @property
    def models(self) -> Mapping[str, str]:
        """As recorded, else as used."""
        return self.record.models or self.used_models

    @property
    def cost_usd(self) -> float | None:
        """None unless the cost of every call is known: a part of a cost would look cheap."""
        if not self.usage_records or self.unpriced_records:
            return None
        return self.cost_microusd / 1_000_000

    def value(self, metric: Metric) -> float | None:
        """The run's value of a metric. Nothing recorded is not zero; but total tokens are, so that they are missed."""
        if not self._is_known(metric):
            return None
        if metric is Metric.COST:
            return self.cost_usd
        if metric is Metric.WALL_TIME:
            return self.seconds
        count: int | None = getattr(self, metric.value)
        return count if count is None else float(count)

    def _is_known(self, metric: Metric) -> bool:
        if metric is Metric.DOCTOR_TOKENS:
            return self.usage_records > 0
        if metric is Metric.DOCTOR_CALLS:
            return self.usage_records > 0 or self.phases > 0
        return metric is not Metric.DOCTOR_SKIPS or self.phases > 0


@dataclass(frozen=True, slots=True)
class PairSpec:
    """The runs of one task, as the caller paired them; ``task`` may be empty."""

    task: str
    control: tuple[str, ...]
    treatment: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Design:
    """What is compared, and how.

    Attributes:
        control: ids of the runs without the change; with ``treatment`` or else ``pairs``.
        primary: what the verdict is about.
        level: of intervals; one minus it is that of tests.
        expected_pairs: for the mode ANYTIME_VALID.
        max_success_drop: the guardrail: success must not be shown to have fallen by more.
        intended: in what the arms are meant to differ.
    """

    control: tuple[str, ...] = ()
    treatment: tuple[str, ...] = ()
    pairs: tuple[PairSpec, ...] = ()
    primary: Metric = Metric.TOTAL_TOKENS
    level: float = 0.95
    mode: Mode = Mode.FIXED
    expected_pairs: int = DEFAULT_EXPECTED_PAIRS
    max_success_drop: float = 0.0
    control_label: str = "control"
    treatment_label: str = "treatment"
    hypothesis: str = ""
    intended: frozenset[RunProperty] = frozenset()

    @property
    def run_ids(self) -> list[str]:
        """All runs, control before treatment."""
        of_pairs = [run for pair in self.pairs for run in (*pair.control, *pair.treatment)]
        return [*self.control, *self.treatment, *of_pairs]

    @property
    def min_pairs(self) -> int:
        """Pairs below which no interval is given."""
        return MIN_PAIRS if self.mode is Mode.FIXED else MIN_ANYTIME_PAIRS


@dataclass(frozen=True, slots=True)
class Pair:
    """The runs of one task, repeats included."""

    task: str
    control: tuple[RunMeasures, ...]
    treatment: tuple[RunMeasures, ...]

    @property
    def runs(self) -> tuple[RunMeasures, ...]:
        """Both arms'."""
        return self.control + self.treatment

    @property
    def started_at(self) -> int | None:
        """When the last of its runs began, which is when the pair was there; None if one is not known."""
        starts = [run.record.started_at for run in self.runs]
        known = [start for start in starts if start is not None]
        return max(known) if len(known) == len(starts) else None

    @property
    def all_succeeded(self) -> bool:
        """Whether every run did."""
        return all(run.succeeded is True for run in self.runs)


@dataclass(frozen=True, slots=True)
class Excluded:
    """What was left out.

    Attributes:
        metric: the one for which; None for all.
    """

    task: str
    control: tuple[str, ...]
    treatment: tuple[str, ...]
    reason: Exclusion
    detail: str
    metric: Metric | None = None


@dataclass(frozen=True, slots=True)
class ArmRuns:
    """What occurs among the runs of one arm; at most 20 texts of each kind."""

    label: str
    runs: int
    base_commits: Sequence[str]
    agents: Sequence[str]
    models: Sequence[str]
    configuration_hash: str
    first_start: int | None
    last_start: int | None


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what came out, as a sentence, and the figures behind it."""

    id: str
    status: Status
    message: str
    data: Mapping[str, str] = field(default_factory=dict)

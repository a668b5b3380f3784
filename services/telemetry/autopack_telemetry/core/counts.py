"""What is counted while records come in, for whoever watches the service; the truth is in the database.

The counts differ from the sums of a run in three ways, because they must be known at once and in little memory. Where a
batch repeats some of its records, its tokens count in proportion to the part that was new. And where a worse signal of
a session comes before a better one (see :mod:`.signals`), both have counted. Of a series that grows, or that is told in
parts, what came first has counted.

Names are made up by whoever sends, and each new one would stay in the memory of every reader of the counts. So agents
without a preset are "other", as are all models beyond the first hundred.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol

from autopack_telemetry.core.model import PhaseOutcome, PhaseRecord, Price, RunRecord, Signal, Tokens, UsageRecord
from autopack_telemetry.core.signals import BITS, best

__all__ = ["KNOWN_AGENTS", "MAX_MODELS", "MAX_REMEMBERED", "OTHER", "Accounts", "Counts"]

KNOWN_AGENTS = frozenset({"claude", "codex", "gemini", "aider", "mini-swe-agent", "openhands", "generic"})
"""Names of presets."""
MAX_MODELS = 100
"""Pairs of agent and model with a name of their own; a team uses some ten at a time."""
MAX_MODEL_NAME = 64
"""Letters of a model that has a name of its own; those of providers have under 50."""
MAX_REMEMBERED = 20_000
"""Sessions, runs and phases that are remembered, to count each once: some 4 MB."""
OTHER = "other"

_KINDS = ("input", "cache_read", "cache_write", "output")
"""Disjoint, so that they may be added up: reasoning is a part of output."""
_MICRO = 1e-6


class Counts(Protocol):
    """Where counts go."""

    def tokens(self, agent: str, model: str, role: str, kind: str, count: float) -> None:
        """Tokens of calls of models."""

    def cost(self, agent: str, model: str, role: str, source: str, usd: float) -> None:
        """What calls cost: ``reported`` by who sent them, or ``derived`` from a list of prices."""

    def run(self, outcome: str, seconds: float | None) -> None:
        """A run that ended; its duration if it is known."""

    def retries(self, count: int) -> None:
        """Retries of a phase."""


class _Memory:
    """The last value of each key, of the keys used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, int] = OrderedDict()

    def swap(self, key: Hashable, value: int) -> int:
        """Sets the value and gives the one before; 0 for a key that is not known."""
        before = self._values.pop(key, 0)
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return before

    def get(self, key: Hashable) -> int:
        return self._values.get(key, 0)


class Accounts:
    """Counts what was kept. One thread at a time.

    Args:
        counts: where to.
        price: of a call whose sender did not say what it cost; None if that is not known.
        remembered: sessions, phases and runs that are remembered, each.
    """

    def __init__(
        self,
        counts: Counts,
        *,
        price: Callable[[UsageRecord], Price | None] | None = None,
        remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._counts = counts
        self._price = price
        self._models: set[tuple[str, str]] = set()
        self._sessions = _Memory(remembered)
        self._phases = _Memory(remembered)
        self._runs = _Memory(remembered)

    def usage(self, tenant: str, records: Sequence[UsageRecord], new: int) -> None:
        """Usage that was kept; ``new`` of the records were not known before."""
        if not new:
            return
        tokens: defaultdict[tuple[str, str, str], Tokens] = defaultdict(Tokens)
        cost: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        for record in self._that_count(tenant, records):
            named = (*self._names(record.agent, record.model), record.role._value_)
            tokens[named] += record.tokens
            source, micro = self._cost(record)
            if micro:
                cost[(*named, source)] += micro
        part = new / len(records)
        for (agent, model, role), summed in tokens.items():
            for kind in _KINDS:
                if count := getattr(summed, kind):
                    self._counts.tokens(agent, model, role, kind, count * part)
        for (agent, model, role, source), micro in cost.items():
            self._counts.cost(agent, model, role, source, micro * part * _MICRO)

    def phases(self, tenant: str, phases: Iterable[PhaseRecord]) -> None:
        """Phases that were kept: of one that is told again, what its retries have grown by."""
        for phase in phases:
            if phase.retries:
                before = self._phases.swap((tenant, phase.run_id, phase.phase_id), phase.retries)
                if phase.retries > before:
                    self._counts.retries(phase.retries - before)

    def runs(self, tenant: str, runs: Iterable[RunRecord]) -> None:
        """Runs that were kept: each end once."""
        for run in runs:
            if run.outcome is PhaseOutcome.UNSPECIFIED:
                continue
            key = (tenant, run.run_id, run.outcome, run.started_at)
            if not self._runs.swap(key, 1):
                self._counts.run(run.outcome.value, None if run.duration is None else run.duration * _MICRO)

    def _that_count(self, tenant: str, records: Sequence[UsageRecord]) -> Iterable[UsageRecord]:
        """Those that no better signal of their session has told."""
        for record in records:
            if record.signal is not Signal.API:
                key = (tenant, record.run_id, record.agent, record.session_id)
                known = self._sessions.get(key)
                bits = known | BITS[record.signal]
                if bits != known:
                    self._sessions.swap(key, bits)
                if BITS[record.signal] != best(bits):
                    continue
            yield record

    def _cost(self, record: UsageRecord) -> tuple[str, int]:
        """Source and millionths of a dollar; 0 where it is not known."""
        if record.reported_cost_microusd is not None:
            return "reported", record.reported_cost_microusd
        price = self._price(record) if self._price is not None else None
        return "derived", price.cost_microusd if price is not None else 0

    def _names(self, agent: str, model: str) -> tuple[str, str]:
        known = agent if agent in KNOWN_AGENTS else OTHER
        pair = known, model
        if pair in self._models:
            return pair
        if len(self._models) >= MAX_MODELS or len(model) > MAX_MODEL_NAME:
            return known, OTHER
        self._models.add(pair)
        return pair

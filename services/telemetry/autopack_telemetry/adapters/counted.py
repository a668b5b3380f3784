"""A store that counts what it keeps, and the counters of Prometheus that it counts in."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from autopack_telemetry.adapters.store import PriceOf, SqlStore
from autopack_telemetry.core.counts import Accounts
from autopack_telemetry.core.model import PhaseRecord, RunRecord, UsageRecord

__all__ = ["CountedStore", "PrometheusCounts", "counting"]

_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""From a page in memory to a disk that hardly answers."""
_RUN_SECONDS = (10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200)
"""From a command that does next to nothing to half a day."""


class PrometheusCounts:
    """:class:`autopack_telemetry.core.counts.Counts` at ``/metrics``.

    Args:
        registry: of the server.

    Attributes:
        queue: shows the rows that wait to be written.
        commits: is told the seconds of each transaction.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tokens = Counter(
            "autopack_llm_tokens",
            "Tokens of calls of models; the types are disjoint.",
            ("agent", "model", "role", "type"),
            registry=registry,
        )
        self._cost = Counter(
            "autopack_llm_cost_usd",
            "US dollars that calls of models cost: reported by agents, or derived from a list of prices.",
            ("agent", "model", "role", "source"),
            registry=registry,
        )
        self._runs = Counter("autopack_runs", "Runs that ended.", ("outcome",), registry=registry)
        self._run_seconds = Histogram(
            "autopack_run_duration_seconds", "Time that a run took.", buckets=_RUN_SECONDS, registry=registry
        )
        self._retries = Counter("autopack_phase_retries", "Retries within phases.", registry=registry)
        self._records = Counter(
            "autopack_otlp_records", "Records received over OTLP.", ("signal", "result"), registry=registry
        )

        self.queue = Gauge("autopack_ingest_queue_rows", "Rows that wait to be written.", registry=registry)
        self.commits = Histogram(
            "autopack_ingest_commit_seconds",
            "Time of a transaction, its commit included.",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )

    def tokens(self, agent: str, model: str, role: str, kind: str, count: float) -> None:
        """Tokens of calls of models."""
        self._tokens.labels(agent, model, role, kind).inc(count)

    def cost(self, agent: str, model: str, role: str, source: str, usd: float) -> None:
        """What calls cost."""
        self._cost.labels(agent, model, role, source).inc(usd)

    def run(self, outcome: str, seconds: float | None) -> None:
        """A run that ended."""
        self._runs.labels(outcome).inc()
        if seconds is not None:
            self._run_seconds.observe(seconds)

    def retries(self, count: int) -> None:
        """Retries of a phase."""
        self._retries.inc(count)

    def records(self, signal: str, result: str, count: int) -> None:
        """What came over OTLP, by what became of it."""
        if count:
            self._records.labels(signal, result).inc(count)


class CountedStore(SqlStore):
    """Counts what was committed."""

    accounts: Accounts | None = None

    async def record_usage(self, tenant: str, records: Sequence[UsageRecord], now: int) -> tuple[int, int]:
        """As the store does."""
        recorded, known = await super().record_usage(tenant, records, now)
        if self.accounts is not None:
            self.accounts.usage(tenant, records, recorded)
        return recorded, known

    async def record_phases(self, tenant: str, phases: Sequence[PhaseRecord], now: int) -> int:
        """As the store does."""
        recorded = await super().record_phases(tenant, phases, now)
        if self.accounts is not None:
            self.accounts.phases(tenant, phases)
        return recorded

    async def record_runs(self, tenant: str, runs: Sequence[RunRecord], now: int) -> int:
        """As the store does."""
        recorded = await super().record_runs(tenant, runs, now)
        if self.accounts is not None:
            self.accounts.runs(tenant, runs)
        return recorded


def counting(counts: PrometheusCounts, url: str, *, queue_rows: int, price: PriceOf | None = None) -> CountedStore:
    """Opens a store that counts; arguments and errors as :meth:`SqlStore.open`."""
    store = CountedStore.open(url, queue_rows=queue_rows, price=price)
    store.accounts = Accounts(counts, price=price)
    store.watch(counts.commits.observe)
    counts.queue.set_function(lambda: store.waiting)
    return store

"""Counts for who watches: what counts, once, and in bounded memory however many names are made up."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import Any

import pytest
from autopack_telemetry.adapters.counted import PrometheusCounts
from autopack_telemetry.core.counts import KNOWN_AGENTS, MAX_MODELS, Accounts
from autopack_telemetry.core.model import (
    PhaseOutcome,
    PhaseRecord,
    Price,
    RunRecord,
    Signal,
    Tokens,
    UsageRecord,
    UsageRole,
)
from prometheus_client import CollectorRegistry, generate_latest


class Kept:
    """Adds up what it is told."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, ...]] = Counter()
        self.seconds: list[float | None] = []

    def tokens(self, agent: str, model: str, role: str, kind: str, count: float) -> None:
        self.sums[("tokens", agent, model, role, kind)] += count  # type: ignore[assignment]

    def cost(self, agent: str, model: str, role: str, source: str, usd: float) -> None:
        self.sums[("cost", agent, model, role, source)] += usd  # type: ignore[assignment]

    def run(self, outcome: str, seconds: float | None) -> None:
        self.sums[("run", outcome)] += 1
        self.seconds.append(seconds)

    def retries(self, count: int) -> None:
        self.sums[("retries",)] += count


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def accounts(kept: Kept) -> Accounts:
    return Accounts(kept)


def usage(number: int = 0, **fields: Any) -> UsageRecord:
    values: dict[str, Any] = {
        "run_id": "r", "usage_id": f"u{number}", "time": 1, "agent": "claude", "model": "opus", "tokens": Tokens(10),
    }  # fmt: skip
    return UsageRecord(**{**values, **fields})


def test_tokens_are_counted_by_type_and_reasoning_only_as_the_output_that_it_is(accounts: Accounts, kept: Kept) -> None:
    doctor = usage(1, role=UsageRole.DOCTOR, tokens=Tokens(1, 2, 3, 40, reasoning=30), reported_cost_microusd=500_000)
    accounts.usage("t", [usage(), doctor], 2)
    assert kept.sums == {
        ("tokens", "claude", "opus", "agent", "input"): 10,
        ("tokens", "claude", "opus", "doctor", "input"): 1,
        ("tokens", "claude", "opus", "doctor", "cache_read"): 2,
        ("tokens", "claude", "opus", "doctor", "cache_write"): 3,
        ("tokens", "claude", "opus", "doctor", "output"): 40,
        ("cost", "claude", "opus", "doctor", "reported"): 0.5,
    }


def test_cost_is_what_the_sender_said_else_what_a_list_says_else_nothing(kept: Kept) -> None:
    accounts = Accounts(kept, price=lambda record: Price(3_000_000, "list", "1") if record.model == "known" else None)
    said = usage(1, tokens=Tokens(), model="known", reported_cost_microusd=0)
    accounts.usage("t", [said, usage(2, tokens=Tokens(), model="known"), usage(3, tokens=Tokens(), model="unknown")], 3)
    assert kept.sums == {("cost", "claude", "known", "agent", "derived"): 3.0}


def test_a_batch_that_comes_again_counts_nothing_and_one_half_known_counts_half(accounts: Accounts, kept: Kept) -> None:
    batch = [usage(number) for number in range(4)]
    accounts.usage("t", batch, 0)
    assert not kept.sums
    accounts.usage("t", batch, 2)
    assert kept.sums.total() == 20


def test_the_worse_signal_of_a_session_does_not_count_beside_the_better(accounts: Accounts, kept: Kept) -> None:
    accounts.usage("t", [usage(1, signal=Signal.LOG, session_id="s")], 1)
    accounts.usage(
        "t", [usage(2, signal=Signal.METRIC, session_id="s"), usage(3, signal=Signal.SPAN, session_id="s")], 2
    )
    assert kept.sums.total() == 10
    accounts.usage("t", [usage(4, signal=Signal.METRIC, session_id="another")], 1)
    assert kept.sums.total() == 20
    accounts.usage("t", [usage(5, signal=Signal.API, session_id="s")], 1)  # who records by itself knows what it does
    assert kept.sums.total() == 30


def test_a_run_counts_once_when_it_has_ended(accounts: Accounts, kept: Kept) -> None:
    accounts.runs("t", [RunRecord("r", started_at=1)])
    assert not kept.sums
    ended = RunRecord("r", started_at=1, duration=90_000_000, outcome=PhaseOutcome.SUCCEEDED)
    accounts.runs("t", [ended, ended])
    accounts.runs("t", [ended])
    accounts.runs("u", [RunRecord("r", outcome=PhaseOutcome.FAILED)])
    assert kept.sums == {("run", "succeeded"): 1, ("run", "failed"): 1}
    assert kept.seconds == [90.0, None]


def test_retries_of_a_phase_that_is_told_again_are_counted_as_they_grow(accounts: Accounts, kept: Kept) -> None:
    for retries in (None, 0, 1, 1, 3, 3):
        accounts.phases("t", [PhaseRecord("r", "p", retries=retries)])
    accounts.phases("t", [PhaseRecord("r", "q", retries=2)])
    assert kept.sums == {("retries",): 5}


def test_names_beyond_the_bound_are_other(accounts: Accounts, kept: Kept) -> None:
    accounts.usage("t", [usage(number, agent=f"made-up-{number}", model="m") for number in range(1000)], 1000)
    assert kept.sums == {("tokens", "other", "m", "agent", "input"): 10_000}
    accounts.usage("t", [usage(0, model="x" * 65)], 1)
    assert kept.sums[("tokens", "claude", "other", "agent", "input")] == 10
    for agent in sorted(KNOWN_AGENTS):
        accounts.usage("t", [usage(number, agent=agent, model=f"m{number}") for number in range(50)], 50)
    labels = {name[1:3] for name in kept.sums}
    assert len(labels) <= MAX_MODELS + len(KNOWN_AGENTS) + 1
    assert kept.sums.total() == 10 * (1000 + 1 + 50 * len(KNOWN_AGENTS))


def test_a_million_names_do_not_grow_the_memory() -> None:
    registry = CollectorRegistry()
    accounts = Accounts(PrometheusCounts(registry), remembered=200)

    def flood(start: int, stop: int) -> None:
        for begin in range(start, stop, 1000):
            names = range(begin, begin + 1000)
            batch = [
                usage(n, run_id=f"r{n}", agent=f"a{n}", model=f"m{n}", session_id=f"s{n}", signal=Signal.LOG)
                for n in names
            ]
            accounts.usage("t", batch, len(batch))
            accounts.phases("t", [PhaseRecord(f"r{n}", "p", retries=1) for n in names])
            accounts.runs("t", [RunRecord(f"r{n}", outcome=PhaseOutcome.FAILED) for n in names])

    flood(0, 2_000)
    tracemalloc.start()
    series = generate_latest(registry).count(b"\n")
    before = tracemalloc.get_traced_memory()[0]
    flood(2_000, 8_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert generate_latest(registry).count(b"\n") == series
    # Each name would keep some hundred bytes in three memories and a kilobyte in the registry; what is left of a name
    # that is remembered in place of another is as large as that one.
    assert grown < 300_000
    assert b'"m7999"' not in generate_latest(registry)


@pytest.mark.long
def test_a_million_names_indeed() -> None:
    registry = CollectorRegistry()
    accounts = Accounts(PrometheusCounts(registry))
    for begin in range(0, 1_000_000, 10_000):
        batch = [usage(n, agent=f"a{n}", model=f"m{n}", session_id=f"s{n}") for n in range(begin, begin + 10_000)]
        accounts.usage("t", batch, len(batch))
    text = generate_latest(registry).decode()
    assert len([line for line in text.splitlines() if line.startswith("autopack_llm_tokens_total{")]) <= MAX_MODELS + 1

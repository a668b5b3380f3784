"""What is measured of runs for their comparison, in both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from autopack_kit.db.testing import fresh_url
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.core.compare.model import RunMeasures
from autopack_telemetry.core.estimate import Estimate, EstimateSource
from autopack_telemetry.core.model import (
    Avoided,
    PhaseOutcome,
    PhaseRecord,
    RunRecord,
    Signal,
    Tokens,
    UsageRecord,
    UsageRole,
)

T0 = 1_700_000_000_000_000
SECOND = 1_000_000


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path, "telemetry") as fresh:
        yield fresh


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    opened = await asyncio.to_thread(SqlStore.open, url, queue_rows=10_000)
    yield opened
    await opened.close()


def call(run_id: str, usage_id: str, tokens: int, at: int = T0, **fields: Any) -> UsageRecord:
    return UsageRecord(run_id, usage_id, at, Tokens(input=tokens), **fields)


async def measured(store: SqlStore, *run_ids: str, tenant: str = "t") -> tuple[dict[str, RunMeasures], int]:
    runs, unattributed = await store.measures(tenant, run_ids)
    return {run.record.run_id: run for run in runs}, unattributed


async def test_of_several_signals_one_counts_and_their_difference_is_seen(store: SqlStore) -> None:
    session: dict[str, Any] = {"agent": "claude", "session_id": "s", "model": "sonnet"}
    await store.record_usage("t", [call("r", "l1", 100, signal=Signal.LOG, **session)], T0)
    await store.record_usage("t", [call("r", "s1", 130, signal=Signal.SPAN, **session)], T0)
    same: dict[str, Any] = {"agent": "claude", "session_id": "same"}
    await store.record_usage("t", [call("q", "l1", 7, signal=Signal.LOG, **same)], T0)
    await store.record_usage("t", [call("q", "s1", 7, signal=Signal.SPAN, **same)], T0)
    runs, _ = await measured(store, "r", "q")
    assert (runs["r"].total_tokens, runs["r"].usage_records, runs["r"].mismatched_sessions) == (100, 1, 1)
    assert (runs["q"].total_tokens, runs["q"].mismatched_sessions) == (7, 0)


async def test_tokens_of_no_run_count_in_the_time_of_the_runs_alone(store: SqlStore) -> None:
    await store.record_runs(
        "t", [RunRecord("a", started_at=T0, duration=60 * SECOND), RunRecord("b", started_at=T0)], T0
    )
    lost: dict[str, Any] = {"agent": "codex", "session_id": "x", "signal": Signal.LOG}
    times = {"before": T0 - 1, "in": T0 + 59 * SECOND, "after": T0 + 61 * SECOND}
    await store.record_usage("t", [call("", name, 1_000, at, **lost) for name, at in times.items()], T0)
    await store.record_usage("other", [call("", "in", 5, T0 + SECOND, **lost)], T0)
    runs, unattributed = await measured(store, "a", "b")
    assert (set(runs), unattributed) == ({"a", "b"}, 1_000)
    assert (await measured(store, "a", tenant="other"))[0] == {}
    assert (await measured(store, "nobody")) == ({}, 0)


async def test_models_as_used_are_those_with_the_most_tokens_of_each_role(store: SqlStore) -> None:
    calls = [call("r", "1", 10, model="haiku"), call("r", "2", 900, model="sonnet"), call("r", "3", 20, model="haiku")]
    doctor = call("r", "4", 5, model="opus", role=UsageRole.DOCTOR)
    await store.record_usage("t", [*calls, doctor], T0)
    run = (await measured(store, "r"))[0]["r"]
    assert run.models == {"agent": "sonnet", "doctor": "opus"}
    assert (run.total_tokens, run.agent_tokens, run.doctor_tokens, run.doctor_calls) == (935, 930, 5, 1)
    await store.record_runs("t", [RunRecord("r", models={"agent": "as recorded"})], T0)
    assert (await measured(store, "r"))[0]["r"].models == {"agent": "as recorded"}


async def test_outcome_is_that_of_the_run_else_of_its_last_phase(store: SqlStore) -> None:
    def phase(run_id: str, phase_id: str, attempt: int | None, outcome: PhaseOutcome) -> PhaseRecord:
        return PhaseRecord(run_id, phase_id, attempt=attempt, outcome=outcome)

    failed, succeeded, skipped = PhaseOutcome.FAILED, PhaseOutcome.SUCCEEDED, PhaseOutcome.SKIPPED
    await store.record_phases(
        "t",
        [
            phase("retried", "2/agent", 2, succeeded),
            phase("retried", "1/agent", 1, failed),  # told late
            phase("healed", "validate", None, failed),
            phase("healed", "validate-again", None, succeeded),
            phase("healed", "nothing", None, skipped),
            phase("said", "agent", 1, succeeded),
            PhaseRecord("bare", "agent"),
        ],
        T0,
    )
    await store.record_runs("t", [RunRecord("said", outcome=PhaseOutcome.TIMED_OUT)], T0)
    runs, _ = await measured(store, "retried", "healed", "said", "bare")
    assert {run_id: run.succeeded for run_id, run in runs.items()} == {
        "retried": True, "healed": True, "said": False, "bare": None,
    }  # fmt: skip


async def test_estimates_are_summed_by_source(store: SqlStore) -> None:
    def skipped(number: int, estimate: Estimate) -> PhaseRecord:
        return PhaseRecord("r", str(number), doctor_skipped=True, avoided=estimate)

    measured_ones = [skipped(number, Estimate(9_000, 5, EstimateSource.GLOBAL)) for number in range(3)]
    await store.record_phases("t", [*measured_ones, skipped(3, Estimate(12_000, 0, EstimateSource.FALLBACK))], T0)
    run = (await measured(store, "r"))[0]["r"]
    assert sorted(run.avoided, key=lambda item: item.source.value) == [
        Avoided(EstimateSource.FALLBACK, 1, 12_000, 0),
        Avoided(EstimateSource.GLOBAL, 3, 27_000, 15),
    ]
    assert (run.phases, run.doctor_skips, run.usage_records) == (4, 4, 0)

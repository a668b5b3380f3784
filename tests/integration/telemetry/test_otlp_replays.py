"""Requests that come twice, in another order, or in other parts leave the same rows."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from autopack_kit.db.testing import fresh_url
from autopack_telemetry import Tokens, UsageRecord
from autopack_telemetry.adapters.mappings import load_mappings
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.core.otlp import json_wire
from autopack_telemetry.core.otlp.batch import Batch, Sender
from hypothesis import given, settings
from hypothesis import strategies as st

MAPPINGS = load_mappings()
NOW = 1_764_000_100_000_000
MINUTE = 60 * 10**9
Item = tuple[str, dict[str, Any]]
"""Kind of request, and one record, span or metric of it."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path, "telemetry") as fresh:
        yield fresh


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]


def record(number: int, session: str, tokens: int) -> Item:
    values = {
        "event.name": "claude_code.api_request",
        "session.id": session,
        "event.sequence": number,
        "input_tokens": tokens,
        "output_tokens": 1,
    }
    return "log", {"timeUnixNano": str((NOW - 50) * 1000 + number), "attributes": attributes(values)}


def span(number: int, session: str, tokens: int) -> Item:
    values = {
        "gen_ai.conversation.id": session,
        "gen_ai.response.id": f"r{number}",
        "gen_ai.usage.input_tokens": tokens,
    }
    return "span", {"name": "chat", "endTimeUnixNano": str(NOW * 1000 - number), "attributes": attributes(values)}


def increase(number: int, session: str, tokens: int) -> Item:
    """Minute ``number`` of a cumulative series."""
    point = {
        "attributes": attributes({"gen_ai.token.type": "input", "gen_ai.conversation.id": session}),
        "startTimeUnixNano": str(NOW * 1000 - 60 * MINUTE),
        "timeUnixNano": str(NOW * 1000 - 60 * MINUTE + number * MINUTE),
        "sum": tokens * (number + 1),
        "count": "1",
    }
    data = {"aggregationTemporality": 2, "dataPoints": [point]}
    return "metric", {"name": "gen_ai.client.token.usage", "histogram": data}


def mapped(items: Sequence[Item]) -> list[UsageRecord]:
    batch = Batch(MAPPINGS, Sender(NOW, {"autopack.run.id": "run-1"}))
    for kind, add, outer, inner, leaf in (
        ("log", json_wire.add_logs, "resourceLogs", "scopeLogs", "logRecords"),
        ("span", json_wire.add_spans, "resourceSpans", "scopeSpans", "spans"),
        ("metric", json_wire.add_metrics, "resourceMetrics", "scopeMetrics", "metrics"),
    ):
        if found := [item for name, item in items if name == kind]:
            add(batch, {outer: [{inner: [{leaf: found}]}]})
    assert batch.message() == ""
    return batch.records


async def outcome(
    url: str, requests: Sequence[Sequence[Item]], *, at_once: bool = False
) -> tuple[int, Tokens, list[Any]]:
    """Records and tokens that count, and what each session told."""
    store = await asyncio.to_thread(SqlStore.open, url, queue_rows=100_000)
    try:
        writes = [store.record_usage("default", records, NOW) for items in requests if (records := mapped(items))]
        if at_once:
            await asyncio.gather(*writes)
        else:
            for write in writes:
                await write
        summary = await store.summary("default", "run-1")
        assert summary is not None
        sessions = await store.sessions("default", "run-1", unattributed=False, before=None, limit=100)
        told = [(found.agent, found.session_id, found.signal, found.reported) for found in sessions]
        return summary.usage_records, summary.tokens, sorted(told, key=repr)
    finally:
        await store.close()


ITEMS = st.builds(
    lambda make, number, session, tokens: make(number, session, tokens),
    st.sampled_from([record, span, increase]),
    st.integers(0, 5),
    st.sampled_from(["s1", "s2", ""]),
    st.just(7),
)


@settings(max_examples=12, deadline=None)
@given(items=st.lists(ITEMS, min_size=1, max_size=12), seed=st.integers(0, 2**16))
def test_order_parts_and_repetition_make_no_difference(items: list[Item], seed: int) -> None:
    chance = random.Random(seed)
    mixed = items + chance.sample(items, chance.randint(0, len(items)))
    chance.shuffle(mixed)
    parts = [mixed[start : start + 3] for start in range(0, len(mixed), 3)]
    with tempfile.TemporaryDirectory() as directory:
        # One at a time: two increases of a series in one request are one record, as they are in an exporter's.
        plain = asyncio.run(outcome(f"sqlite:///{directory}/plain", [[item] for item in items]))
        assert asyncio.run(outcome(f"sqlite:///{directory}/mixed", [*parts, *parts])) == plain


async def test_requests_that_are_replayed_at_once_leave_the_same_rows(url: str, tmp_path: Path) -> None:
    items = [
        make(number, session, 9) for make in (record, span, increase) for number in range(6) for session in ("a", "b")
    ]
    expected = await outcome(f"sqlite:///{tmp_path}/once.sqlite3", [items])
    chance = random.Random(7)
    replays = [chance.sample(items, 12) for _ in range(20)] + [items]
    assert await outcome(url, replays, at_once=True) == expected
    # Twelve log records of ten tokens. Of another agent six responses of nine, each told by both sessions; its metrics
    # are their shadow.
    assert expected[1].total == 12 * 10 + 6 * 9

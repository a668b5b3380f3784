"""Series that are told in parts: however requests cut and order them, what is counted is the same and disjoint."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Any

import pytest
from autopack_telemetry import Tokens
from autopack_telemetry.adapters.mappings import load_mappings
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.adapters.tables import USAGE
from autopack_telemetry.core.model import Price, UsageRecord
from autopack_telemetry.core.otlp import json_wire
from autopack_telemetry.core.otlp.batch import Batch, Sender
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

MAPPINGS = load_mappings()
NOW = 1_764_000_100_000_000
MINUTE = 60 * 10**9
Point = dict[str, Any]
DELTA, CUMULATIVE = 1, 2


def point(metric: str, temporality: int, number: int, value: int, **labels: str) -> Point:
    """The metric with one point, of that minute."""
    start = NOW * 1000 - 60 * MINUTE
    times = (start if temporality == CUMULATIVE else start + number * MINUTE, start + (number + 1) * MINUTE)
    attributes = {key.replace("__", "."): text for key, text in labels.items()} | {"conversation.id": "s"}
    held = {
        "attributes": [{"key": key, "value": {"stringValue": text}} for key, text in attributes.items()],
        "startTimeUnixNano": str(times[0]),
        "timeUnixNano": str(times[1]),
        "asInt": str(value),
    }
    return {"name": metric, "sum": {"aggregationTemporality": temporality, "dataPoints": [held]}}


def codex(number: int, temporality: int = DELTA, *, times: int = 1) -> list[Point]:
    told = {"input": 100, "cached_input": 70, "cache_write_input": 10, "output": 30, "reasoning_output": 20}
    return [
        point("codex.turn.token_usage", temporality, number, value * times, token_type=kind)
        for kind, value in told.items()
    ]


def gemini(number: int) -> list[Point]:
    told = {"input": 100, "cache": 60, "output": 30, "thought": 20, "tool": 5}
    return [point("gemini_cli.token.usage", CUMULATIVE, number, n * (number + 1), type=k) for k, n in told.items()]


def conventions(number: int) -> list[Point]:
    told = [
        ("tokens", 90, {"gen_ai__token__type": "input", "gen_ai__token__modality": "text"}),
        ("tokens", 10, {"gen_ai__token__type": "input", "gen_ai__token__modality": "image"}),
        ("tokens", 30, {"gen_ai__token__type": "output", "gen_ai__token__modality": "text"}),
        ("input_tokens_by_cache", 60, {"gen_ai__token__cache": "read", "gen_ai__token__modality": "text"}),
        ("input_tokens_by_cache", 5, {"gen_ai__token__cache": "creation", "gen_ai__token__modality": "text"}),
        ("output_tokens_by_phase", 8, {"gen_ai__token__phase": "reasoning", "gen_ai__token__modality": "text"}),
    ]
    return [
        point(f"gen_ai.client.inference.{name}", CUMULATIVE, number, value * (number + 1), **labels)
        for name, value, labels in told
    ]


SENDERS: dict[str, tuple[Callable[[int], list[Point]], Tokens]] = {
    "codex": (codex, Tokens(20 * 3, 70 * 3, 10 * 3, 30 * 3, 20 * 3)),
    "codex-cumulative": (lambda n: codex(n, CUMULATIVE, times=n + 1), Tokens(20 * 3, 70 * 3, 10 * 3, 30 * 3, 20 * 3)),
    "gemini": (gemini, Tokens(45 * 3, 60 * 3, 0, 50 * 3, 20 * 3)),
    "conventions": (conventions, Tokens(35 * 3, 60 * 3, 5 * 3, 30 * 3, 8 * 3)),
}


def records(points: Iterable[Point], run: str = "run-1") -> Sequence[UsageRecord]:
    batch = Batch(MAPPINGS, Sender(NOW, {"autopack.run.id": run} if run else {}))
    json_wire.add_metrics(batch, {"resourceMetrics": [{"scopeMetrics": [{"metrics": list(points)}]}]})
    assert batch.message() == ""
    return batch.records


async def told(store: SqlStore, requests: Iterable[Sequence[Point]], run: str = "run-1") -> None:
    for points in requests:
        if found := records(points, run):
            await store.record_usage("t", found, NOW)


async def tokens(store: SqlStore) -> Tokens:
    summary = await store.summary("t", "run-1")
    assert summary is not None
    return summary.tokens


async def counted(url: str, requests: Iterable[Sequence[Point]]) -> Tokens:
    store = await asyncio.to_thread(SqlStore.open, url, queue_rows=10_000)
    try:
        await told(store, requests)
        return await tokens(store)
    finally:
        await store.close()


@pytest.mark.parametrize("sender", SENDERS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_cuts_order_and_repetition_make_no_difference(sender: str, seed: int) -> None:
    make, expected = SENDERS[sender]
    chance = random.Random(seed)
    points = [one for number in range(3) for one in make(number)]
    mixed = points + chance.sample(points, chance.randint(0, len(points)))
    chance.shuffle(mixed)
    size = chance.randint(1, 4)
    with tempfile.TemporaryDirectory() as directory:
        requests = [mixed[start : start + size] for start in range(0, len(mixed), size)]
        assert asyncio.run(counted(f"sqlite:///{directory}/x", requests)) == expected


@pytest.mark.parametrize("sender", SENDERS)
async def test_parts_in_requests_of_their_own_are_counted_as_those_of_one(store: SqlStore, sender: str) -> None:
    make, expected = SENDERS[sender]
    await told(store, [make(number) for number in range(3)])
    assert await tokens(store) == expected
    await told(store, [[one] for number in range(3) for one in reversed(make(number))])
    assert await tokens(store) == expected  # and what is told again changes nothing


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_the_order_of_three_parts_is_of_no_matter(store: SqlStore, order: tuple[int, ...]) -> None:
    parts = codex(0)[:3]
    await told(store, [[parts[place]] for place in order])
    assert await tokens(store) == Tokens(20, 70, 10, 0, 0)


async def test_input_alone_is_uncached_until_the_cached_part_comes(store: SqlStore) -> None:
    whole, cached = codex(0)[:2]
    await told(store, [[whole]])
    assert await tokens(store) == Tokens(100, 0, 0, 0, 0)
    await told(store, [[cached]])
    assert await tokens(store) == Tokens(30, 70, 0, 0, 0)


async def test_a_cached_part_that_is_newer_than_its_whole_is_never_a_negative_count(store: SqlStore) -> None:
    whole, cached = codex(0, CUMULATIVE)[:2]
    later_whole, later_cached = codex(2, CUMULATIVE, times=3)[:2]
    await told(store, [[whole, cached, later_cached]])
    assert await tokens(store) == Tokens(0, 210, 0, 0, 0)
    await told(store, [[later_whole]])
    assert await tokens(store) == Tokens(90, 210, 0, 0, 0)


async def test_a_cached_part_with_one_modality_of_its_whole_is_not_refused(store: SqlStore) -> None:
    text, image, _, read, *_ = conventions(0)
    await told(store, [[image, read]])
    assert await tokens(store) == Tokens(0, 60, 0, 0, 0)
    await told(store, [[text]])
    assert await tokens(store) == Tokens(40, 60, 0, 0, 0)


async def test_parts_meet_when_their_session_is_registered(store: SqlStore) -> None:
    whole, cached, *rest = codex(0)
    await told(store, [[cached], rest], run="")
    await told(store, [[whole]])
    assert await store.register_session("t", "codex", "s", "run-1", "", NOW) == 0  # it is known already
    assert await tokens(store) == Tokens(20, 70, 10, 30, 20)


async def test_parts_of_one_interval_may_start_at_times_of_their_own(store: SqlStore) -> None:
    parts = codex(0)
    for later, part in enumerate(parts):
        held = part["sum"]["dataPoints"][0]
        held["startTimeUnixNano"] = str(int(held["startTimeUnixNano"]) + later)
    await told(store, [parts, *([part] for part in reversed(parts))])
    assert await tokens(store) == Tokens(20, 70, 10, 30, 20)


async def test_parts_that_meet_when_their_session_is_registered_have_a_price(url: str) -> None:
    def price(record: UsageRecord) -> Price:
        return Price(10 * record.tokens.input + record.tokens.cache_read, "list", "7")

    store = await asyncio.to_thread(SqlStore.open, url, queue_rows=1_000, price=price)
    whole, cached = codex(0)[:2]
    await told(store, [[cached]], run="")
    await told(store, [[whole]])
    await store.register_session("t", "codex", "s", "run-1", "", NOW)
    summary = await store.summary("t", "run-1")
    await store.close()
    assert summary is not None
    assert (summary.cost_microusd, summary.records_without_cost, summary.price_lists) == (370, 0, ("list 7",))


async def test_a_series_of_an_earlier_version_is_replaced_by_what_is_more(store: SqlStore) -> None:
    await told(store, [codex(0, CUMULATIVE)])
    await store._database.write(lambda connection: connection.execute(update(USAGE).values(parts=None)).rowcount)
    await told(store, [codex(0, CUMULATIVE)[:1]])
    assert await tokens(store) == Tokens(20, 70, 10, 30, 20)
    await told(store, [codex(1, CUMULATIVE, times=2)])
    assert await tokens(store) == Tokens(40, 140, 20, 60, 40)


async def test_a_series_in_parts_has_the_price_of_all_of_them(url: str) -> None:
    def price(record: UsageRecord) -> Price:
        return Price(10 * record.tokens.input + record.tokens.cache_read, "list", "7")

    store = await asyncio.to_thread(SqlStore.open, url, queue_rows=1_000, price=price)
    whole, cached = codex(0)[:2]
    found = []
    for request in ([whole], [cached], [whole, cached], [whole]):
        await told(store, [request])
        summary = await store.summary("t", "run-1")
        assert summary is not None
        found.append((summary.cost_microusd, summary.records_without_cost))
    await store.close()
    assert found == [(1000, 0), (370, 0), (370, 0), (370, 0)]

"""Whatever the order in which usage is told, told again and told by several signals, the rows are the same."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from autopack_kit.db.testing import fresh_url
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.adapters.tables import SESSIONS, USAGE
from autopack_telemetry.core.model import Signal, Tokens, UsageRecord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, select

EXAMPLES = {"sqlite": 40, "postgres": 15}
MANY = 10
"""As many times more in the long tier."""
AGENTS = ("a", "b")
NAMES = ("", "s", "t")
ARRIVAL = {"id", "recorded_at", "tenant"}
"""Columns that tell of the arrival, not of what arrived."""


@dataclass(frozen=True)
class Registration:
    agent: str
    session_id: str
    run_id: str


Step: TypeAlias = "UsageRecord | Registration"

_tenants = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SqlStore, int]]:
    with fresh_url(request.param, Path(tmp_path_factory.mktemp("orders")), "telemetry") as url:
        store = SqlStore.open(url, queue_rows=10_000)
        yield store, EXAMPLES[request.param]
        asyncio.run(store.close())


@st.composite
def tellings(draw: st.DrawFn) -> list[Step]:
    """What honest agents send: a session is of one run, an id stands for one thing, a series only grows."""
    runs = {(agent, name): draw(st.sampled_from(["r", "q"])) for agent in AGENTS for name in NAMES}
    found: list[Step] = []
    for number in range(draw(st.integers(1, 8))):
        agent, name = draw(st.sampled_from(AGENTS)), draw(st.sampled_from(NAMES))
        signal = draw(st.sampled_from(Signal))
        run_id = runs[agent, name]
        record = UsageRecord(
            run_id,
            f"{agent} {name} {signal.value} {number}",
            time=draw(st.integers(0, 5)),
            tokens=Tokens(output=draw(st.integers(0, 3))),
            phase_id=draw(st.sampled_from(["", "phase"])),
            agent=agent,
            session_id=name,
            signal=signal,
            response_id=draw(st.sampled_from(["", "x", "y"])),
        )
        if signal is Signal.METRIC and draw(st.booleans()):
            series = replace(record, cumulative=True, response_id="")
            found += [replace(series, tokens=Tokens(output=n), time=n) for n in range(draw(st.integers(1, 3)))]
            record = series
        found.append(record)
        if signal is not Signal.API and draw(st.booleans()):
            found.append(replace(record, run_id=""))  # the same, without its attribution
            if draw(st.booleans()):
                found.remove(record)
    for agent, name in itertools.product(AGENTS, NAMES[1:]):
        if draw(st.booleans()):
            found.append(Registration(agent, name, runs[agent, name]))
    return found


async def tell(store: SqlStore, tenant: str, steps: Sequence[Step], sizes: random.Random) -> dict[str, list[Any]]:
    """Sends the steps in this order, in batches of some size, and gives all rows that this makes."""
    waiting = list(steps)
    while waiting:
        step = waiting[0]
        if isinstance(step, Registration):
            await store.register_session(tenant, step.agent, step.session_id, step.run_id, "registered", 1)
            del waiting[0]
            continue
        batch = []
        for one in waiting[: sizes.randint(1, 4)]:
            if isinstance(one, Registration):
                break
            batch.append(one)
        del waiting[: len(batch)]
        await store.record_usage(tenant, batch, 1)

    def rows(connection: Connection, table: Table) -> list[Any]:
        columns = [column for column in table.columns if column.name not in ARRIVAL]
        query = select(*columns).where(table.c.tenant == tenant)
        return sorted((row._asdict() for row in connection.execute(query)), key=repr)

    return await store._database.read(lambda c: {table.name: rows(c, table) for table in (USAGE, SESSIONS)})


@pytest.mark.parametrize("times", [1, pytest.param(MANY, marks=pytest.mark.long)])
def test_rows_are_the_same_in_every_order(opened: tuple[SqlStore, int], times: int) -> None:
    store, examples = opened

    @settings(
        max_examples=examples * times, deadline=None, database=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(steps=tellings(), seed=st.integers(0, 2**32))
    def check(steps: list[Step], seed: int) -> None:
        chance = random.Random(seed)
        other = [*steps, *chance.choices(steps, k=len(steps))]  # some come again
        chance.shuffle(other)

        async def both() -> tuple[Any, Any]:
            first, second = f"t{next(_tenants)}", f"t{next(_tenants)}"
            return await tell(store, first, steps, chance), await tell(store, second, other, chance)

        one, two = asyncio.run(both())
        assert one == two

    check()

"""Who of a cluster is alive, and who may take what: every decision is one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from autopack_kit.db.testing import fresh_url
from autopack_orchestrator.adapters.fleet import ADMITTED, PREFIX, Fleet
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.model import EventKind, NewEvent, RunState
from autopack_orchestrator.errors import LeaseLost

from tests.integration.orchestrator.stored import end, submit

pytestmark = pytest.mark.postgres
ONE, TWO = f"{PREFIX}one", f"{PREFIX}two"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with fresh_url("postgres", tmp_path, "store") as fresh:
        yield fresh


@pytest.fixture
async def fleet(store: Store) -> Fleet:
    made = Fleet(store.database)
    await made.join(ONE, "host-1", 4)
    await made.join(TWO, "host-2", 4)
    return made


async def test_an_admitted_run_is_taken_once_however_often_and_by_whomever_it_is_delivered(
    store: Store, fleet: Fleet
) -> None:
    await submit(store, "batch")
    run = await store.claim(ADMITTED, limit=10)
    assert run is not None
    takers = [fleet.take(run.run_id, owner, "host") for owner in (ONE, TWO) * 8]
    taken = [found for found in await asyncio.gather(*takers) if found is not None]
    assert [(found.state, found.lease_epoch) for found in taken] == [(RunState.PREPARING, run.lease_epoch + 1)]


async def test_a_run_that_was_not_admitted_is_not_to_be_had(store: Store, fleet: Fleet) -> None:
    await submit(store, "batch")
    assert await fleet.take("batch.r0", ONE, "host") is None
    assert await fleet.take("batch.none", ONE, "host") is None
    assert (await store.get_run("default", "batch.r0")).state is RunState.QUEUED


async def test_who_has_moved_since_is_not_given_up_and_who_was_hears_of_it_and_takes_nothing(
    store: Store, fleet: Fleet
) -> None:
    await submit(store, "batch")
    await store.claim(ADMITTED, limit=10)
    one, two = await fleet.members()
    assert await fleet.beat(ONE, 4)
    assert not await fleet.give_up(one)
    assert await fleet.give_up(two)
    assert not await fleet.give_up(two)
    assert not await fleet.beat(TWO, 4)
    assert await fleet.take("batch.r0", TWO, "host-2") is None
    assert await fleet.take("batch.r0", ONE, "host-1") is not None


async def test_runs_of_who_was_given_up_are_orphans_and_those_of_others_are_not(store: Store, fleet: Fleet) -> None:
    await submit(store, "batch", 4)
    for _ in range(3):
        await store.claim(ADMITTED, limit=10)
    await store.claim("a local engine", limit=10)
    for name, owner in (("batch.r0", ONE), ("batch.r1", TWO)):
        assert await fleet.take(name, owner, "host") is not None
    assert await fleet.orphans() == []
    await fleet.leave(TWO)
    assert [run.run_id for run in await fleet.orphans()] == ["batch.r1"]


async def test_a_late_result_of_who_was_given_up_is_refused_and_noted(store: Store, fleet: Fleet) -> None:
    await submit(store, "batch")
    await store.claim(ADMITTED, limit=10)
    old = await fleet.take("batch.r0", ONE, "host-1")
    assert old is not None
    await fleet.leave(ONE)
    (orphan,) = await fleet.orphans()
    taken_over = await store.adopt(orphan, TWO)
    with pytest.raises(LeaseLost):
        await store.update(old, to=RunState.RUNNING)
    await store.note(old, NewEvent(EventKind.WARNING, "late", {"about": "late"}))
    done = await end(store, taken_over)
    assert done.state is RunState.SUCCEEDED
    events = await store.events_after("batch", 0)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert "late" in [event.message for event in events]

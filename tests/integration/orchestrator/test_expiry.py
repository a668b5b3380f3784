"""Batches that are deleted, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from autopack_kit.commands import Command
from autopack_kit.errors import NotFound
from autopack_orchestrator.adapters import expiry
from autopack_orchestrator.adapters.expiry import Ended, Expiry
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.model import (
    Batch,
    BatchState,
    Budget,
    Intention,
    Run,
    RunResult,
    RunSpec,
    RunState,
)


async def make(store: Store, batch_id: str, *names: str) -> None:
    now = datetime.now(UTC)
    batch = Batch(
        batch_id=batch_id, tenant="default", name="b", repository="/r", base_commit="0" * 40, state=BatchState.ACTIVE,
        max_concurrent_runs=0, budget=Budget(), create_time=now, end_time=None, last_sequence=0, runs_by_state={},
    )  # fmt: skip
    runs = [
        Run(
            run_id=f"{batch_id}.{name}",
            batch_id=batch_id,
            tenant="default",
            name=name,
            position=position,
            spec=RunSpec(name=name, intention=Intention(title="x"), command=Command.of("true"), needs=names[:position]),
            state=RunState.QUEUED,
            activity="",
            attempt=1,
            branch=f"autopack/{batch_id}/{name}",
            base_commit="0" * 40,
            lease_epoch=0,
            cancel_requested=False,
            create_time=now,
            start_time=None,
            end_time=None,
            result=RunResult(),
        )
        for position, name in enumerate(names)
    ]
    await store.create_batch(batch, runs, f"request-{batch_id}", "hash")


async def test_hidden_batch_is_deleted_in_pieces_and_others_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "ROWS", 2)
    own = Expiry(store.database)
    for batch_id in ("gone", "kept"):
        await make(store, batch_id, "a", "b", "c")
        await store.request_cancel("default", batch_id=batch_id)
    gone, kept = await own.ended()
    assert (gone.batch_id, gone.hidden, await own.batch_ids()) == ("gone", False, {"gone", "kept"})
    assert await own.attempts("gone") == [("a", 1), ("b", 1), ("c", 1)]
    assert await own.hide(gone)
    with pytest.raises(NotFound):
        await store.get_batch("default", "gone")
    assert await store.find_request("default", "request-gone", "hash") is None
    assert [found.hidden for found in await own.ended()] == [True, False]
    await own.delete("gone")
    assert await own.batch_ids() == {"kept"}
    assert await store.events_after("gone", 0) == []
    assert len(await store.all_runs("default", "kept")) == 3
    assert (await store.get_batch("default", "kept")).state is BatchState.CANCELLED
    assert await own.ended() == [kept]


async def test_batch_that_is_active_or_ended_anew_is_not_hidden(store: Store) -> None:
    own = Expiry(store.database)
    await make(store, "one", "a")
    assert await own.ended() == []
    assert await own.recent_runs(timedelta(hours=1)) == {"one.a"}
    assert not await own.hide(Ended("one", datetime.now(UTC), hidden=False))
    await store.request_cancel("default", batch_id="one")
    (ended,) = await own.ended()
    await store.retry("default", "one.a", "")
    assert not await own.hide(ended)
    assert (await store.get_batch("default", "one")).state is BatchState.ACTIVE

"""Batches and runs for tests of the store."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from autopack_kit.commands import Command
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.model import (
    AgentPreset,
    Batch,
    BatchState,
    Budget,
    Intention,
    Run,
    RunError,
    RunResult,
    RunSpec,
    RunState,
)
from autopack_orchestrator.core.names import branch, run_id

_CLOCK = itertools.count()


def a_batch(
    batch_id: str, *, most: int = 100, tenant: str = "default", repository: str = "/repo", **fields: Any
) -> Batch:
    """A batch that was created a second after the one before."""
    created = fields.pop("create_time", datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=next(_CLOCK)))
    return Batch(
        batch_id=batch_id, tenant=tenant, name="batch", repository=repository, base_commit="0" * 40,
        state=BatchState.ACTIVE, max_concurrent_runs=most, budget=Budget(), create_time=created, end_time=None,
        last_sequence=0, runs_by_state={}, **fields,
    )  # fmt: skip


def a_run(batch: Batch, name: str, position: int, *, agent: str = "", needs: Sequence[str] = ()) -> Run:
    """A queued run of a batch."""
    spec = RunSpec(
        name=name,
        intention=Intention(title="x"),
        command=None if agent else Command.of("true"),
        agent=AgentPreset(agent) if agent else None,
        needs=tuple(needs),
    )
    return Run(
        run_id=run_id(batch.batch_id, name), batch_id=batch.batch_id, tenant=batch.tenant, name=name, position=position,
        spec=spec, state=RunState.QUEUED, activity="", attempt=1, branch=branch(batch.batch_id, name, 1),
        base_commit=batch.base_commit, lease_epoch=0, cancel_requested=False, create_time=batch.create_time,
        start_time=None, end_time=None, result=RunResult(),
    )  # fmt: skip


async def submit(
    store: Store, batch_id: str, runs: int | dict[str, Sequence[str]] = 1, *, agent: str = "", **fields: Any
) -> Batch:
    """A stored batch of so many runs, or of runs by name with what they need."""
    batch = a_batch(batch_id, **fields)
    needs = {f"r{number}": () for number in range(runs)} if isinstance(runs, int) else runs
    made = [a_run(batch, name, at, agent=agent, needs=needed) for at, (name, needed) in enumerate(needs.items())]
    return await store.create_batch(batch, made, "", "")


async def end(store: Store, run: Run, state: RunState = RunState.SUCCEEDED, reason: str = "X") -> Run:
    """A leased run at its end."""
    if state is RunState.SUCCEEDED:
        for step in (RunState.RUNNING, RunState.VALIDATING):
            run = await store.update(run, to=step)
        return await store.update(run, to=state)
    return await store.update(run, to=state, result=RunResult(error=RunError(reason, "x")))

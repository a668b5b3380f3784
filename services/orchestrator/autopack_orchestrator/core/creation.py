"""What a batch and its runs are when they have just been created."""

from __future__ import annotations

from datetime import UTC, datetime

from autopack_orchestrator.core.model import Batch, BatchSpec, BatchState, Run, RunResult, RunSpec, RunState
from autopack_orchestrator.core.names import batch_id, branch, run_id

__all__ = ["new_batch", "new_run"]


def new_batch(tenant: str, spec: BatchSpec, repository: str, base_commit: str) -> Batch:
    """A batch with an id of its own, created now."""
    return Batch(
        batch_id=batch_id(spec.name),
        tenant=tenant,
        name=spec.name,
        repository=repository,
        base_commit=base_commit,
        state=BatchState.ACTIVE,
        max_concurrent_runs=spec.max_concurrent_runs,
        budget=spec.budget,
        priority=spec.priority,
        retry=spec.retry,
        queue_timeout=spec.queue_timeout,
        create_time=datetime.now(UTC),
        end_time=None,
        last_sequence=0,
        runs_by_state={},
    )


def new_run(batch: Batch, spec: RunSpec, position: int) -> Run:
    """The first attempt of a run, queued; ``position`` is its place in the batch, from 0."""
    return Run(
        run_id=run_id(batch.batch_id, spec.name),
        batch_id=batch.batch_id,
        tenant=batch.tenant,
        name=spec.name,
        position=position,
        spec=spec,
        state=RunState.QUEUED,
        activity=f"waits for {', '.join(spec.needs)}" if spec.needs else "",
        attempt=1,
        branch=branch(batch.batch_id, spec.name, 1),
        base_commit=batch.base_commit,
        lease_epoch=0,
        cancel_requested=False,
        create_time=batch.create_time,
        start_time=None,
        end_time=None,
        result=RunResult(),
    )

"""What an orchestrator needs of an engine, and which ones there are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Protocol

from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.execution.engine import LocalEngine
from autopack_orchestrator.execution.run import Worker
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["Engine", "Role", "make_engine"]


class Engine(Protocol):
    """Brings queued runs to somebody who carries them out. It knows run ids; everything else is in the store."""

    def start(self) -> None:
        """Begin to work, in tasks of its own."""

    def wake(self) -> None:
        """There is something new in the store: a batch, a cancel. It would be seen without this, a moment later."""

    async def stop(self) -> None:
        """Give back what is held, so that somebody else can take it."""


class Role(StrEnum):
    """What a process does with runs."""

    LOCAL = "local"
    """It carries them out: one machine."""
    CLUSTER = "cluster"
    """It says which may start; workers carry them out."""
    WORKER = "worker"
    """It carries out what it is told to."""


def make_engine(
    role: Role, store: Store, worker: Worker, root: Path, settings: OrchestratorSettings, database_url: str
) -> Engine:
    """The engine of a process.

    Args:
        root: the orchestrator's directory.
        database_url: of the store.

    Raises:
        FailedPrecondition: the cluster's engine cannot be used with these settings.
    """
    if role is Role.LOCAL:
        return LocalEngine(store, worker, root, settings)
    # Imported here: it needs packages that nobody else does.
    from autopack_orchestrator.execution.cluster.dispatcher import ClusterEngine
    from autopack_orchestrator.execution.cluster.jobs import Jobs
    from autopack_orchestrator.execution.cluster.worker import WorkerEngine

    jobs = Jobs(database_url)
    if role is Role.CLUSTER:
        return ClusterEngine(store, worker, jobs, settings)
    return WorkerEngine(store, worker, jobs, root, settings)

"""What an orchestrator needs of an engine, and which ones there are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Protocol

from autopack_kit.errors import FailedPrecondition

from autopack_orchestrator.adapters.objects import Objects
from autopack_orchestrator.adapters.shelf import Shelf
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.execution.archive import Archive
from autopack_orchestrator.execution.engine import LocalEngine
from autopack_orchestrator.execution.run import Worker
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["Engine", "Role", "make_archive", "make_engine"]


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


def make_archive(role: Role, store: Store, settings: OrchestratorSettings) -> Archive | None:
    """Where what runs leave can be read from any process; None where one machine has it all.

    Raises:
        FailedPrecondition: ``OBJECT_STORE_MISSING``, or it cannot be used.
    """
    if role is Role.LOCAL:
        return None
    if not settings.object_store_url:
        raise FailedPrecondition(
            "The cluster engine needs a place where workers leave logs and patches for all.",
            reason="OBJECT_STORE_MISSING",
            remedy="Set AUTOPACK_ORCHESTRATOR_OBJECT_STORE_URL to s3://bucket/prefix or file:///shared/directory, the "
            "same everywhere.",
        )
    return Archive(Objects(settings.object_store_url), Shelf(store.database))


def make_engine(
    role: Role,
    store: Store,
    worker: Worker,
    root: Path,
    settings: OrchestratorSettings,
    *,
    database_url: str,
    archive: Archive | None,
) -> Engine:
    """The engine of a process.

    Args:
        root: the orchestrator's directory.
        database_url: of the store.
        archive: from :func:`make_archive`.

    Raises:
        FailedPrecondition: the cluster's engine cannot be used with these settings.
    """
    if role is Role.LOCAL or archive is None:
        return LocalEngine(store, worker, root, settings)
    # Imported here: it needs packages that nobody else does.
    from autopack_orchestrator.execution.cluster.dispatcher import ClusterEngine
    from autopack_orchestrator.execution.cluster.jobs import Jobs
    from autopack_orchestrator.execution.cluster.worker import WorkerEngine

    jobs = Jobs(database_url)
    if role is Role.CLUSTER:
        return ClusterEngine(store, worker, jobs, settings)
    return WorkerEngine(store, worker, jobs, root, settings, archive)

"""Delivery of run ids to workers: Procrastinate on PostgreSQL.

It may lose a job, deliver it late, twice or to two workers: nothing depends on it. What counts is in the store, and the
dispatcher delivers anew what nobody takes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from autopack_kit.db.engines import parse_url
from autopack_kit.errors import FailedPrecondition, Unavailable

try:
    import procrastinate
    import psycopg
    from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
    from procrastinate.jobs import Status
    from procrastinate.schema import SchemaManager
    from sqlalchemy import URL
except ModuleNotFoundError as error:  # the only extra of this service that only one way of running it needs
    raise FailedPrecondition(
        f"The cluster engine needs the package {error.name!r}, which is not installed.",
        reason="ENGINE_NOT_INSTALLED",
        remedy="Install it: pip install 'autopack[cluster]'.",
        metadata={"package": error.name or ""},
    ) from error

__all__ = ["Handler", "Jobs"]

TASK = "autopack.run"
QUEUE = "runs"
POLL_S = 5.0  # the fallback where a notification was lost
RESTART_S = 1.0
CONNECTIONS = 4  # each statement takes milliseconds; one more listens
CONNECT_SECONDS = 10

Handler = Callable[[str], Awaitable[None]]
"""Carries out a delivered run; returns when it is over. It is cancelled when its job is lost, not its run."""

_log = structlog.get_logger("autopack.orchestrator")


class Jobs:
    """The queue of run ids in one database; :meth:`open` before anything else."""

    def __init__(self, database_url: str) -> None:
        url = parse_url(database_url)
        if url.drivername != "postgresql+psycopg":
            raise FailedPrecondition(
                "The cluster engine needs PostgreSQL.",
                reason="ENGINE_NEEDS_POSTGRESQL",
                remedy="Set AUTOPACK_ORCHESTRATOR_DATABASE_URL=postgresql://user@host/database, the same everywhere.",
            )
        # A schema of another version of the library is another schema: it holds nothing that the store lacks, so
        # there is nothing to migrate.
        digest = hashlib.sha256(SchemaManager.get_schema().encode()).hexdigest()[:12]
        self._schema = f"orchestrator_jobs_{digest}"
        self._conninfo = _conninfo(url)
        connector = procrastinate.PsycopgConnector(
            conninfo=self._conninfo,
            min_size=1,
            max_size=CONNECTIONS,
            kwargs={"options": f"-c search_path={self._schema}", "application_name": "autopack-orchestrator-jobs"},
        )
        self._app = procrastinate.App(connector=connector)
        self._handler: Handler | None = None
        self._app.task(name=TASK, queue=QUEUE)(self._handle)

    async def open(self) -> None:
        """Connect, and make the tables where they are missing.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with _explained():
            await asyncio.to_thread(self._make_schema)
            try:
                await self._app.open_async()
            except psycopg.Error:
                await self._app.close_async()  # else the next call would take what failed for open
                raise

    async def close(self) -> None:
        """Disconnect."""
        await self._app.close_async()

    async def submit(self, run_id: str) -> None:
        """Have a run delivered; once, however often it is asked for.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with _explained():
            try:
                job = self._app.configure_task(TASK, queue=QUEUE, lock=run_id, queueing_lock=run_id)
                await job.defer_async(run_id=run_id)
            except AlreadyEnqueued:
                return

    async def cancel(self, run_id: str) -> None:
        """Forget the jobs of a run, also one that a worker seems to be at: it may be dead, or have lost it.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with _explained():
            for job in await self._app.job_manager.list_jobs_async(lock=run_id):
                if job.id is not None and job.status in (Status.TODO.value, Status.DOING.value):
                    try:
                        await self._app.job_manager.finish_job_by_id_async(job.id, Status.ABORTED, delete_job=True)
                    except ConnectorException as error:  # it has ended meanwhile
                        _log.debug("a job was gone already", run_id=run_id, error=str(error))

    async def serve(self, handler: Handler, concurrency: int) -> None:
        """Give delivered runs to ``handler``, until cancelled; a database that goes away is waited for.

        Args:
            concurrency: handlers at once at most.
        """
        self._handler = handler
        while True:
            try:
                await self._app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=concurrency,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    fetch_job_polling_interval=POLL_S,
                    shutdown_graceful_timeout=0,  # a run goes on without its job
                )
            except ConnectorException as error:
                _log.warning("jobs cannot be fetched; trying again", error=str(error))
            await asyncio.sleep(RESTART_S)

    async def _handle(self, run_id: str) -> None:
        assert self._handler is not None
        await self._handler(run_id)

    def _make_schema(self) -> None:
        """Blocks. Under a lock, because any number of processes may start at once."""
        with psycopg.connect(self._conninfo, connect_timeout=CONNECT_SECONDS) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (self._schema,))
            if connection.execute("SELECT to_regnamespace(%s)", (self._schema,)).fetchone() != (None,):
                return
            connection.execute(f'CREATE SCHEMA "{self._schema}"'.encode())
            connection.execute(f'SET LOCAL search_path TO "{self._schema}"'.encode())
            connection.execute(SchemaManager.get_schema())


def _conninfo(url: URL) -> str:
    names: dict[str, Any] = url.translate_connect_args(database="dbname", username="user")
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    return psycopg.conninfo.make_conninfo("", **names, **query)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (ConnectorException, psycopg.Error) as error:
        raise Unavailable(
            f"The queue of the cluster cannot be used: {error.__cause__ or error}",
            reason="QUEUE_UNAVAILABLE",
            remedy="Nothing is lost; it goes on when PostgreSQL answers again.",
        ) from error

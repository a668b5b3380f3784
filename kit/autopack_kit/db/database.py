"""One database of one service: opened, migrated, read, written, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError

from autopack_kit.db.engines import READERS, Mode, make_directory, make_engine, parse_url, shown
from autopack_kit.db.faults import explain
from autopack_kit.db.migrate import migrate
from autopack_kit.db.writer import DEFAULT_CAPACITY, Writer

__all__ = ["Database"]

T = TypeVar("T")

READY_SECONDS = 5.0
"""Time in which a database answers a small question, if it can be worked with."""


class Database:
    """A migrated database with its one writer and a few readers; made by :meth:`open`.

    Attributes:
        location: path or server, without secrets.
    """

    def __init__(self, url: URL, name: str, *, capacity: int) -> None:
        self.location = shown(url)
        self._url = url
        self._name = name
        self._write_engine = make_engine(url, name, Mode.WRITE)
        self._read_engine = make_engine(url, name, Mode.READ)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="autopack-db-reader")
        self._writer = Writer(self._write_engine, self.location, capacity=capacity)

    @classmethod
    def open(cls, url: str, *, name: str, migrations: Path, capacity: int = DEFAULT_CAPACITY) -> Database:
        """Opens a database, makes it if it is missing, and migrates it. Blocks: call it in a thread.

        Args:
            url: ``sqlite:///relative``, ``sqlite:////absolute`` or ``postgresql+psycopg://user@host:port/database``.
            name: of the service; on PostgreSQL its schema.
            migrations: directory of the service's revisions.
            capacity: rows that may wait to be written.

        Raises:
            InvalidArgument: the URL cannot be used.
            FailedPrecondition: read-only, damaged, newer than this code.
            Unavailable: cannot be reached, full, locked.
        """
        parsed = parse_url(url)
        make_directory(parsed)
        migrate(parsed, name=name, migrations=migrations)
        return cls(parsed, name, capacity=capacity)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs ``work`` in a read-only transaction with one snapshot, on a reader thread.

        Raises:
            Unavailable: the database cannot be reached.
            FailedPrecondition: it is damaged.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[Connection], T], *, weight: int = 1) -> T:
        """As :meth:`Writer.run`: in a transaction on the writer thread, answered after the commit."""
        return await self._writer.run(work, weight=weight)

    @property
    def waiting(self) -> int:
        """Rows that wait to be written."""
        return self._writer.waiting

    def watch_commits(self, observe: Callable[[float], None]) -> None:
        """Tells ``observe`` the seconds of each transaction from now on, on the writer's thread; for metrics."""
        self._writer.on_commit = observe

    async def unready(self, look: Callable[[Connection], object]) -> str:
        """Why ``look``, a small question, has no answer within five seconds; empty if it has one. For /readyz."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self.read(look)
        except Exception as error:  # whatever it is, calls would meet it too
            return str(error) or "the database does not answer"
        return ""

    async def close(self) -> None:
        """Writes what waits, lets reads end, closes the connections. A second call does nothing."""
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        self._read_engine.dispose()
        self._write_engine.dispose()

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.connect() as connection, connection.begin():
                return work(connection)
        except DBAPIError as error:
            raise explain(error, self.location) or error from error

    def __repr__(self) -> str:
        return f"Database({self.location!r}, name={self._name!r})"

"""Connections: what each database must be told before its first transaction."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from autopack_kit.errors import FailedPrecondition, InvalidArgument

__all__ = ["READERS", "Mode", "make_engine", "parse_url", "shown"]

READERS = 4
"""Threads that read, each with its own connection: enough that one slow read does not hold up the others."""
BUSY_SECONDS = 10.0
"""Time to wait for another process that writes to the same SQLite file; its transactions take milliseconds."""
MIGRATION_SECONDS = 60.0
"""Time to wait for another process that migrates."""
CONNECT_SECONDS = 10
LOST_MILLISECONDS = 30_000
"""Time after which a PostgreSQL server that acknowledges nothing counts as lost; Linux takes about 15 minutes."""

_SCHEMA = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EXAMPLES = "sqlite:////var/lib/autopack/name.sqlite3 or postgresql+psycopg://user@host:5432/database"


class Mode(Enum):
    """What a connection is for."""

    READ = "read"
    """Transactions that see one snapshot and cannot write."""
    WRITE = "write"
    """Transactions that hold the write lock of an SQLite file from their beginning, so that none fails half-way."""
    MIGRATE = "migrate"
    """As WRITE, but waits longer, and foreign keys are checked at the end: rebuilding a table drops it for a moment."""


def parse_url(text: str) -> URL:
    """The URL of a database, checked.

    Raises:
        InvalidArgument: ``DATABASE_URL_INVALID`` or ``DATABASE_URL_PASSWORD``. The text is not repeated, as it may hold
            a password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _invalid("cannot be parsed") from None
    if url.password is not None or "password" in url.query:
        raise InvalidArgument(
            "The database URL holds a password, and settings are not secret.",
            reason="DATABASE_URL_PASSWORD",
            remedy="Put it into a file of mode 0600 with the line host:port:database:user:password, "
            "and add ?passfile=/path/of/the/file to the URL.",
        )
    match url.drivername:
        case "sqlite" | "sqlite+pysqlite":
            if not url.database or url.database == ":memory:":
                raise _invalid("names no file")
            return url.set(drivername="sqlite")
        case "postgresql" | "postgresql+psycopg":
            if not url.database:
                raise _invalid("names no database")
            return url.set(drivername="postgresql+psycopg")
    raise _invalid(f"has the unknown kind {url.drivername[:40]!r}")


def shown(url: URL) -> str:
    """The database as it may stand in a log: without query, which may name secrets."""
    if url.drivername == "sqlite":
        return str(url.database)
    user = f"{url.username}@" if url.username else ""
    return f"postgresql://{user}{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database}"


def make_engine(url: URL, name: str, mode: Mode) -> Engine:
    """An engine that opens its connections when they are needed.

    Args:
        url: from :func:`parse_url`.
        name: of the service, which is its schema on PostgreSQL.
        mode: what for. READ has :data:`READERS` connections, the others one.
    """
    if not _SCHEMA.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a schema")
    return _sqlite(url, mode) if url.drivername == "sqlite" else _postgres(url, name, mode)


def _sqlite(url: URL, mode: Mode) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=READERS if mode is Mode.READ else 1,
        max_overflow=0,
        connect_args={
            # None: sqlite3 begins no transactions of its own; the hook below does, of the kind we want.
            "isolation_level": None,
            "timeout": MIGRATION_SECONDS if mode is Mode.MIGRATE else BUSY_SECONDS,
            "check_same_thread": False,
        },
    )
    begin = "BEGIN" if mode is Mode.READ else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "do_connect")
    def own(_dialect: Any, _record: Any, _arguments: Any, _parameters: Any) -> None:
        _make_file(url)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        _use_wal(connection, shown(url))
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA foreign_keys={'OFF' if mode is Mode.MIGRATE else 'ON'}")
        connection.execute(f"PRAGMA query_only={'ON' if mode is Mode.READ else 'OFF'}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _make_file(url: URL) -> None:
    """Makes the file, for its owner alone, if it is missing; the files beside it get its mode from SQLite.

    SQLite itself would make it as the umask lets it, for all to read where the directory is. One that is there keeps
    its mode: somebody may have opened it to a group. It is not opened here, as to close it again would drop the locks
    that other threads have on it.
    """
    if not str(url.database).startswith("file:"):
        with suppress(OSError):  # it is there, or SQLite says why it cannot be made
            os.mknod(os.path.realpath(str(url.database)), stat.S_IFREG | 0o600)


def _use_wal(connection: sqlite3.Connection, path: str) -> None:
    """Turns WAL on, which stays on in the file. Several processes that open a new file at once are told "locked" at
    once, whatever the busy timeout: SQLite does not wait for this lock."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > end:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            raise FailedPrecondition(
                f"The database {path} cannot use a write-ahead log here.",
                reason="DATABASE_NO_WAL",
                remedy="Put it on a local file system; network shares lack the shared memory that it needs.",
                metadata={"database": path, "journal_mode": str(mode)},
            )
        return


def _postgres(url: URL, name: str, mode: Mode) -> Engine:
    reading = mode is Mode.READ
    options: dict[str, Any] = {"execution_options": {"postgresql_readonly": True}} if reading else {}
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=READERS if reading else 1,
        max_overflow=0,
        pool_pre_ping=True,  # a server that was restarted costs a reconnect, not an error
        # One snapshot for all statements of a read, as SQLite gives it.
        isolation_level="REPEATABLE READ" if reading else "READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": LOST_MILLISECONDS,
            "application_name": f"autopack-{name}-{mode.value}",
        },
        **options,
    )

    # insert=True: before SQLAlchemy asks for the default schema.
    @event.listens_for(engine, "connect", insert=True)
    def prepare(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(f'SET search_path TO "{name}"')
        connection.autocommit = False

    return engine


def make_directory(url: URL) -> None:
    """Makes the directory of an SQLite file, for its owner alone, if it is missing.

    Raises:
        FailedPrecondition: ``DATABASE_CANNOT_OPEN``.
    """
    if url.drivername != "sqlite" or str(url.database).startswith("file:"):
        return
    directory = Path(os.path.abspath(str(url.database))).parent
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FailedPrecondition(
            f"The directory {directory} of the database cannot be made: {error.strerror}.",
            reason="DATABASE_CANNOT_OPEN",
            remedy="Make it by hand, or set another database URL.",
            metadata={"database": shown(url)},
        ) from error


def _invalid(what: str) -> InvalidArgument:
    return InvalidArgument(f"The database URL {what}.", reason="DATABASE_URL_INVALID", remedy=f"Use {_EXAMPLES}.")

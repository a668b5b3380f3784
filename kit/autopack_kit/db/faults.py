"""What a database says when it cannot, as errors that say what to do."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from autopack_kit.errors import AutopackError, FailedPrecondition, Unavailable

__all__ = ["explain"]

_MAX_DETAIL = 300  # characters of the driver's own words

_Entry = tuple[type[AutopackError], str, str, str]

# SQLite: the primary error name. https://www.sqlite.org/rescode.html
_SQLITE: dict[str, _Entry] = {
    "SQLITE_READONLY": (
        FailedPrecondition,
        "DATABASE_READ_ONLY",
        "is read-only",
        "Make the file and its directory writable for the user of this service, or set another database URL.",
    ),
    "SQLITE_CANTOPEN": (
        FailedPrecondition,
        "DATABASE_CANNOT_OPEN",
        "cannot be opened",
        "Check that the directory exists and is writable, and that the path is a file; or set another database URL.",
    ),
    "SQLITE_NOTADB": (
        FailedPrecondition,
        "DATABASE_CORRUPT",
        "is not an SQLite database",
        "Set another database URL, or move the file away and restore it from a backup.",
    ),
    "SQLITE_CORRUPT": (
        FailedPrecondition,
        "DATABASE_CORRUPT",
        "is damaged",
        "Stop the service and restore the file from a backup.",
    ),
    "SQLITE_FULL": (Unavailable, "DATABASE_DISK_FULL", "has no room left", "Free space on its disk, then try again."),
    "SQLITE_IOERR": (
        Unavailable,
        "DATABASE_IO_ERROR",
        "cannot be read or written",
        "Check its disk and file system (a local one, not a network share), then try again.",
    ),
    "SQLITE_BUSY": (
        Unavailable,
        "DATABASE_BUSY",
        "is locked by another process",
        "Try again; if it lasts, find the process that holds the file open.",
    ),
}

# PostgreSQL: SQLSTATE, or its class of two characters. https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES: dict[str, _Entry] = {
    "25006": (
        FailedPrecondition,
        "DATABASE_READ_ONLY",
        "is read-only",
        "Point the database URL at the primary, or end the server's read-only mode.",
    ),
    "42501": (
        FailedPrecondition,
        "DATABASE_PERMISSION",
        "does not allow this",
        "Give the user of the URL the schema of this service, or CREATE on the database so that it can make it.",
    ),
    "53100": (Unavailable, "DATABASE_DISK_FULL", "has no room left", "Free space on the server, then try again."),
    "53": (Unavailable, "DATABASE_BUSY", "is out of resources", "Try again, or raise its connections or memory."),
    "55P03": (
        Unavailable,
        "DATABASE_BUSY",
        "is locked by another process",
        "Try again; if it lasts, look for a long transaction in pg_stat_activity.",
    ),
    "40": (Unavailable, "DATABASE_BUSY", "had a conflict between transactions", "Try again."),
    "08": (
        Unavailable,
        "DATABASE_UNREACHABLE",
        "cannot be reached",
        "Check that PostgreSQL runs there, then try again.",
    ),
    "57": (Unavailable, "DATABASE_UNREACHABLE", "is stopping or starting", "Try again in a moment."),
}

_UNREACHABLE: _Entry = (
    Unavailable,
    "DATABASE_UNREACHABLE",
    "cannot be reached",
    "Check that PostgreSQL runs there, that the database and the user of the URL exist, and the password file.",
)


def explain(error: BaseException, location: str) -> AutopackError | None:
    """The error a user can act on; None if this is none of the environment's faults but a fault of the statement.

    Args:
        error: what was raised.
        location: the database, without secrets.
    """
    if not isinstance(error, DBAPIError):
        return None
    entry = _entry(error)
    if entry is None:
        return None
    kind, reason, what, remedy = entry
    detail = " ".join(str(error.orig).split())[:_MAX_DETAIL]
    return kind(
        f"The database {location} {what}: {detail}.",
        reason=reason,
        remedy=remedy,
        metadata={"database": location, "detail": detail},
    )


def _entry(error: DBAPIError) -> _Entry | None:
    original = error.orig
    if isinstance(original, sqlite3.Error):
        # Extended names add a word: SQLITE_READONLY_DIRECTORY.
        name = "_".join(getattr(original, "sqlite_errorname", "").split("_")[:2])
        return _SQLITE.get(name)
    state = getattr(original, "sqlstate", None)
    if state is not None:
        return _POSTGRES.get(state) or _POSTGRES.get(state[:2])
    # psycopg has no SQLSTATE for what happens before or without a server: refused, timed out, broken, bad password.
    lost = error.connection_invalidated or type(original).__name__ in ("OperationalError", "ConnectionTimeout")
    return _UNREACHABLE if lost else None

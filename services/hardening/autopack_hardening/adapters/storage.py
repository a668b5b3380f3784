"""The database, opened when it is first needed: a diagnosis needs none, and most processes never do."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from autopack_hardening.errors import store_unavailable

if TYPE_CHECKING:
    from autopack_hardening.adapters.store import SqlStore

__all__ = ["Storage"]

AGAIN_SECONDS = 10.0
"""After a failure to open it, the next attempt is made so much later."""
PEEK_SECONDS = 1.0
_SQLITE = "sqlite:///"


class Storage:
    """Opens the store once. For one event loop.

    Args:
        url: of the database.
        clock: seconds, monotonic.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._store: SqlStore | None = None
        self._opening: asyncio.Task[SqlStore] | None = None
        self._again_at = 0.0
        self._why = ""

    async def get(self) -> SqlStore:
        """The open store.

        Raises:
            Unavailable: it could not be opened now, or a moment ago.
        """
        if self._store is not None:
            return self._store
        if self._opening is None:
            if self._clock() < self._again_at:
                raise store_unavailable(self._why)
            self._opening = asyncio.create_task(self._open())
        # Shielded: the caller that came first may run out of time, the others still wait for the same task.
        return await asyncio.shield(self._opening)

    async def _open(self) -> SqlStore:
        try:
            self._store = await asyncio.to_thread(_open, self._url)
            return self._store
        except Exception as error:  # whatever it is: without the database the built-in patterns work
            self._again_at, self._why = self._clock() + AGAIN_SECONDS, str(error) or repr(error)
            raise store_unavailable(self._why) from error
        finally:
            self._opening = None

    async def if_any(self) -> SqlStore | None:
        """The open store; None if no custom pattern can be in it, which is told without opening it.

        Raises:
            Unavailable: as :meth:`get`.
        """
        if self._store is None and self._url.startswith(_SQLITE):
            path = unquote(self._url.removeprefix(_SQLITE))
            if not await asyncio.to_thread(_has_patterns, path):
                return None
        return await self.get()

    async def close(self) -> None:
        """Writes what waits and closes the database."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self._store is not None:
            await self._store.close()


def _open(url: str) -> SqlStore:
    # Imported here: SQLAlchemy and Alembic take a second, which a command that only diagnoses does not have.
    from autopack_hardening.adapters.store import SqlStore

    return SqlStore.open(url)


def _has_patterns(path: str) -> bool:
    """Whether the file has custom patterns, asked with the standard library; True if it cannot be told."""
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", PEEK_SECONDS, uri=True)
    except sqlite3.Error:
        return False  # there is no such file
    try:
        return connection.execute("SELECT 1 FROM patterns LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError as error:
        return "no such table" not in str(error)
    except sqlite3.Error:
        return True
    finally:
        connection.close()

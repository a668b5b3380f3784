"""Storage for services: one database, SQLite or PostgreSQL, through the same code.

A service declares its tables once and its migrations beside them, and opens both with one call::

    database = await asyncio.to_thread(
        Database.open, "sqlite:////var/lib/autopack/notes.sqlite3",
        name="notes", migrations=Path(autopack_notes.__file__).parent / "migrations",
    )
    await database.write(lambda connection: connection.execute(insert(NOTES), rows), weight=len(rows))
    rows = await database.read(lambda connection: connection.execute(select(NOTES)).all())
    await database.close()

A write runs on the one writer thread and is answered after its commit; reads run on a few threads of their own. On
PostgreSQL each service owns the schema of its name; on SQLite, its own file.
"""

from __future__ import annotations

from autopack_kit.db.database import Database
from autopack_kit.db.migrate import differences, migrate
from autopack_kit.db.sql import RowId, insert
from autopack_kit.db.writer import Writer

__all__ = ["Database", "RowId", "Writer", "differences", "insert", "migrate"]

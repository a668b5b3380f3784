"""Schema changes: Alembic, as a library, under a lock, in one transaction.

A service's revisions are files in one directory, ``0001_initial.py`` and so on, written by hand. Their ids are the
service's name and the number of the file (``notes_0001``): that is how a database of another service, or of newer code,
is told apart, and how one that is up to date is known without Alembic, whose import costs more than most commands do.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, MetaData, inspect, text
from sqlalchemy.exc import DBAPIError

from autopack_kit.db.engines import MIGRATION_SECONDS, Mode, make_engine, parse_url, shown
from autopack_kit.db.faults import explain
from autopack_kit.errors import FailedPrecondition

__all__ = ["differences", "migrate"]

_ENVIRONMENT = Path(__file__).parent / "migration_env"

APPLICATION_ID = 0x4155_544F
"""Marks our SQLite files ("AUTO" in ASCII) for tools such as file(1)."""

# ``alembic.op`` and ``alembic.context`` are globals of the process, and several services may start at once in it.
_ALEMBIC = threading.Lock()


def migrate(url: URL | str, *, name: str, migrations: Path) -> tuple[str, ...]:
    """Brings a database to the newest revision; does nothing when it is there. Blocks.

    Any number of processes may call this at once: one migrates, the others wait and find it done. All revisions run in
    one transaction, so that an error leaves the database as it was.

    Args:
        url: the database.
        name: of the service; on PostgreSQL its schema, made if it is missing.
        migrations: directory of the revisions.

    Returns:
        The revisions that were applied, oldest first.

    Raises:
        FailedPrecondition: ``DATABASE_NEWER``: its revision is not one of ours.
    """
    parsed = parse_url(url) if isinstance(url, str) else url
    engine = make_engine(parsed, name, Mode.MIGRATE)
    try:
        with engine.begin() as connection:
            _prepare(connection, name)
            if _is_newest(connection, name, migrations):
                return ()
            applied = _upgrade(connection, name, migrations, shown(parsed))
            if connection.dialect.name == "sqlite" and applied:
                _check_foreign_keys(connection, shown(parsed))
            return applied
    except DBAPIError as error:
        raise explain(error, shown(parsed)) or error from error
    finally:
        engine.dispose()


def differences(url: URL | str, *, name: str, metadata: MetaData) -> list[Any]:
    """What is still missing to make the database equal ``metadata``: empty when the revisions are complete."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    engine = make_engine(parse_url(url) if isinstance(url, str) else url, name, Mode.READ)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return list(compare_metadata(context, metadata))
    finally:
        engine.dispose()


def _prepare(connection: Connection, name: str) -> None:
    """Takes the lock and makes the schema. On SQLite BEGIN IMMEDIATE was the lock, and there are no schemas."""
    if connection.dialect.name == "sqlite":
        # Written each time: a read-only file lets a transaction begin and refuses only its first write.
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        return
    connection.execute(text(f"SET LOCAL lock_timeout = {round(MIGRATION_SECONDS * 1000)}"))
    # Ends with the transaction, however that ends.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"autopack:{name}"})
    # Asked first: IF NOT EXISTS wants CREATE on the database even when there is nothing to do.
    if connection.execute(text("SELECT to_regnamespace(:name)"), {"name": name}).scalar() is None:
        connection.execute(text(f'CREATE SCHEMA "{name}"'))


def _is_newest(connection: Connection, name: str, migrations: Path) -> bool:
    """Whether the database's revision is that of the newest file; False leaves the question to Alembic."""
    files = sorted(path.name for path in migrations.glob("[0-9][0-9][0-9][0-9]_*.py"))
    if not files or not inspect(connection).has_table("alembic_version"):
        return False
    stored = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return list(stored) == [f"{name}_{files[-1][:4]}"]


def _upgrade(connection: Connection, name: str, migrations: Path, location: str) -> tuple[str, ...]:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    # The options pass through configparser, which reads "%" as the beginning of a reference.
    config.set_main_option("script_location", str(_ENVIRONMENT).replace("%", "%%"))
    config.set_main_option("version_locations", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    with _ALEMBIC:
        script = ScriptDirectory.from_config(config)
        ours = [revision.revision for revision in script.walk_revisions()][::-1]
        for found in script.walk_revisions():
            if found.revision != (expected := f"{name}_{Path(found.path).name[:4]}"):
                raise ValueError(f"revision {found.revision!r} of {migrations} must be {expected!r}, as its file is")
        current = MigrationContext.configure(connection).get_current_revision()
        if current is not None and current not in ours:
            raise _newer(location, current, ours[-1])
        missing = ours[ours.index(current) + 1 :] if current is not None else ours
        if missing:
            command.upgrade(config, "head")
        return tuple(missing)


def _check_foreign_keys(connection: Connection, location: str) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise FailedPrecondition(
            f"The migration of {location} would leave a row of table {broken[0]!r} without the one it refers to.",
            reason="DATABASE_MIGRATION_FAILED",
            remedy="Nothing was changed. Restore the missing row, or report this with the versions before and after.",
            metadata={"database": location, "table": str(broken[0])},
        )


def _newer(location: str, current: str, ours: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"The database {location} is at revision {current!r}, which this version (up to {ours!r}) does not know.",
        reason="DATABASE_NEWER",
        remedy="Use the version of Autopack that made it, or a newer one; or give this service a database of its own.",
        metadata={"database": location, "revision": current, "newest_known": ours},
    )

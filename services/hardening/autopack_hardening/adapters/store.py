"""Custom patterns and outcomes in SQL: the same statements on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autopack_kit.db import Database, insert
from sqlalchemy import Connection, delete, func, select, update

from autopack_hardening.adapters import clusters
from autopack_hardening.adapters.tables import COUNTS, OUTCOMES, PATTERNS, SETS
from autopack_hardening.core.custom import StoredPattern
from autopack_hardening.core.outcomes import OutcomeRecord, Success
from autopack_hardening.core.templates import Cluster, Unexplained
from autopack_hardening.errors import pattern_changed, pattern_exists, too_many_patterns, unknown_pattern

__all__ = ["MIGRATIONS", "SqlStore"]

MIGRATIONS = Path(__file__).parent.parent / "migrations"
MAX_PATTERNS = 200
"""Custom patterns of a tenant: more than half as many as are built in."""
KEEP_OUTCOMES = 90 * 24 * 3600 * 1_000_000
"""Microseconds for which the id of an outcome is remembered; what it added to the counts stays."""


class SqlStore:
    """All that the service keeps, each row a tenant's.

    Args:
        database: open and migrated; closed with the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str) -> SqlStore:
        """Opens and migrates the database; blocks. Errors as :meth:`autopack_kit.db.Database.open`."""
        return cls(Database.open(url, name="hardening", migrations=MIGRATIONS))

    async def close(self) -> None:
        """Writes what waits and closes the database."""
        await self._database.close()

    async def tenants(self, limit: int) -> list[str]:
        """Tenants with custom patterns, at most ``limit``."""
        query = select(PATTERNS.c.tenant).distinct().order_by(PATTERNS.c.tenant).limit(limit)
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))

    async def version(self, tenant: str) -> int:
        """A number that grows with every change of the tenant's patterns; 0 before the first."""
        return await self._database.read(lambda connection: _version(connection, tenant))

    async def patterns(self, tenant: str) -> tuple[int, list[StoredPattern]]:
        """The version, and the custom patterns of it by id."""
        query = select(PATTERNS).where(PATTERNS.c.tenant == tenant).order_by(PATTERNS.c.id)

        def work(connection: Connection) -> tuple[int, list[StoredPattern]]:
            rows = connection.execute(query).all()
            return _version(connection, tenant), [StoredPattern(row.id, row.revision, row.definition) for row in rows]

        return await self._database.read(work)

    async def create(self, tenant: str, pattern_id: str, definition: str, now: int) -> int:
        """Keeps a new pattern and gives its revision; the same definition again gives the one it has.

        Raises:
            AlreadyExists: ``PATTERN_EXISTS``: with another definition.
            ResourceExhausted: ``PATTERN_LIMIT``.
        """

        def work(connection: Connection) -> int:
            # First, so that two that create at once come one after the other on both databases.
            revision = _next_version(connection, tenant)
            found = _row(connection, tenant, pattern_id)
            if found is not None:
                if found.definition != definition:
                    raise pattern_exists(pattern_id, found.revision)
                return found.revision
            count = select(func.count()).select_from(PATTERNS).where(PATTERNS.c.tenant == tenant)
            if connection.execute(count).scalar_one() >= MAX_PATTERNS:
                raise too_many_patterns(MAX_PATTERNS)
            row = {"tenant": tenant, "id": pattern_id, "revision": revision, "definition": definition}
            connection.execute(insert(connection, PATTERNS), [{**row, "updated_at": now}])
            return revision

        return await self._database.write(work)

    async def update(self, tenant: str, pattern_id: str, revision: int, definition: str, now: int) -> int:
        """Replaces a pattern that still has ``revision``, and gives the new one.

        Raises:
            NotFound: ``PATTERN_NOT_FOUND``.
            Aborted: ``PATTERN_CHANGED``.
        """

        def work(connection: Connection) -> int:
            new = _next_version(connection, tenant)
            _expect(connection, tenant, pattern_id, revision)
            statement = update(PATTERNS).where(PATTERNS.c.tenant == tenant, PATTERNS.c.id == pattern_id)
            connection.execute(statement.values(revision=new, definition=definition, updated_at=now))
            return new

        return await self._database.write(work)

    async def delete(self, tenant: str, pattern_id: str, revision: int) -> None:
        """Deletes a pattern, with what was counted of it; ``revision`` 0 = whatever it has.

        Raises:
            NotFound: ``PATTERN_NOT_FOUND``.
            Aborted: ``PATTERN_CHANGED``.
        """

        def work(connection: Connection) -> None:
            _next_version(connection, tenant)
            _expect(connection, tenant, pattern_id, revision)
            connection.execute(delete(PATTERNS).where(PATTERNS.c.tenant == tenant, PATTERNS.c.id == pattern_id))
            connection.execute(delete(COUNTS).where(COUNTS.c.tenant == tenant, COUNTS.c.pattern_id == pattern_id))

        await self._database.write(work)

    async def record(self, tenant: str, record: OutcomeRecord, now: int) -> bool:
        """Counts an outcome once; False if its id is known."""

        def work(connection: Connection) -> bool:
            old = delete(OUTCOMES).where(OUTCOMES.c.tenant == tenant, OUTCOMES.c.recorded_at < now - KEEP_OUTCOMES)
            connection.execute(old)
            row = {
                "tenant": tenant,
                "id": record.id,
                "pattern_id": record.pattern_id,
                "outcome": record.outcome.value,
                "run_id": record.run_id,
                "recorded_at": now,
            }
            if not connection.execute(insert(connection, OUTCOMES).on_conflict_do_nothing(), [row]).rowcount:
                return False
            _count(connection, tenant, record, now)
            return True

        return await self._database.write(work)

    async def successes(self, tenant: str, pattern_ids: Sequence[str]) -> Mapping[str, Success]:
        """How often these patterns' mitigations helped; those that were never recorded are left out."""
        query = select(COUNTS).where(COUNTS.c.tenant == tenant, COUNTS.c.pattern_id.in_(pattern_ids))
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {
            row.pattern_id: Success(row.fixed, row.progressed, row.unchanged, row.worse, row.last_at) for row in rows
        }

    async def note(self, tenant: str, failure: Unexplained, now: int) -> None:
        """Counts a failure that nothing explains, in the cluster that it is like, or in a new one."""
        await self._database.write(lambda connection: clusters.note(connection, tenant, failure, now))

    async def clusters(self, tenant: str, after: tuple[int, str] | None, limit: int) -> list[Cluster]:
        """A page of clusters, the one that was met most often first; ``after`` is count and id of the one before."""
        return await self._database.read(lambda connection: clusters.page(connection, tenant, after, limit))

    async def forget(self, tenant: str, cluster_ids: Sequence[str]) -> None:
        """Drops clusters that a pattern explains by now."""
        await self._database.write(lambda connection: clusters.forget(connection, tenant, cluster_ids))


def _version(connection: Connection, tenant: str) -> int:
    return connection.execute(select(SETS.c.version).where(SETS.c.tenant == tenant)).scalar() or 0


def _next_version(connection: Connection, tenant: str) -> int:
    """Takes the next one; on PostgreSQL this locks the tenant's patterns until the transaction ends."""
    statement = insert(connection, SETS).on_conflict_do_update(
        index_elements=[SETS.c.tenant], set_={"version": SETS.c.version + 1}
    )
    connection.execute(statement, [{"tenant": tenant, "version": 1}])
    return _version(connection, tenant)


def _row(connection: Connection, tenant: str, pattern_id: str) -> StoredPattern | None:
    query = select(PATTERNS).where(PATTERNS.c.tenant == tenant, PATTERNS.c.id == pattern_id)
    row = connection.execute(query).first()
    return StoredPattern(row.id, row.revision, row.definition) if row is not None else None


def _expect(connection: Connection, tenant: str, pattern_id: str, revision: int) -> None:
    found = _row(connection, tenant, pattern_id)
    if found is None:
        raise unknown_pattern(pattern_id)
    if revision and found.revision != revision:
        raise pattern_changed(pattern_id, revision, found.revision)


def _count(connection: Connection, tenant: str, record: OutcomeRecord, now: int) -> None:
    column = COUNTS.c[record.outcome.value]
    row: dict[str, str | int] = {"tenant": tenant, "pattern_id": record.pattern_id, "last_at": now}
    row |= {"fixed": 0, "progressed": 0, "unchanged": 0, "worse": 0, record.outcome.value: 1}
    statement = insert(connection, COUNTS)
    statement = statement.on_conflict_do_update(
        index_elements=[COUNTS.c.tenant, COUNTS.c.pattern_id], set_={column.name: column + 1, "last_at": now}
    )
    connection.execute(statement, [row])

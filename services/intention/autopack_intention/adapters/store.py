"""Profiles in SQL: the same statements on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

import structlog
from autopack_kit.db import Database, insert
from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, or_, select, update

from autopack_intention.adapters.tables import PROFILES
from autopack_intention.core.profile import Profile

__all__ = ["MIGRATIONS", "SqlProfileStore", "StoredProfile"]

MIGRATIONS = Path(__file__).parent.parent / "migrations"

_log = structlog.get_logger("autopack.intention")


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile as it is kept.

    Attributes:
        last_used: microseconds since 1970.
    """

    profile: Profile
    last_used: int


class SqlProfileStore:
    """One row per tenant and profile.

    Args:
        database: open and migrated; closed with the store.
        max_profiles: kept per tenant; at least 1.
        max_bytes: kept per tenant; a profile that is larger is kept alone.
    """

    def __init__(self, database: Database, *, max_profiles: int, max_bytes: int) -> None:
        self._database = database
        self._max_profiles = max_profiles
        self._max_bytes = max_bytes

    @classmethod
    def open(cls, url: str, *, max_profiles: int, max_bytes: int) -> SqlProfileStore:
        """Opens and migrates the database; blocks. Errors as :meth:`autopack_kit.db.Database.open`."""
        database = Database.open(url, name="intention", migrations=MIGRATIONS)
        return cls(database, max_profiles=max_profiles, max_bytes=max_bytes)

    async def put(self, tenant: str, profile: Profile, now: int) -> None:
        """Keeps a profile, then lets the least recently used beyond the limits go; one that is kept is only used."""
        if await self.touch(tenant, profile.id, now):
            return
        content = await asyncio.to_thread(profile.to_json)
        row = {"tenant": tenant, "id": profile.id, "last_used": now, "size": len(content), "content": content}

        def work(connection: Connection) -> None:
            # Another replica may have been faster; the content is the same.
            connection.execute(insert(connection, PROFILES).on_conflict_do_nothing(), [row])
            self._evict(connection, tenant, profile.id)

        # The weight of a write is counted in rows of some hundred bytes.
        await self._database.write(work, weight=1 + (len(content) >> 10))

    async def get(self, tenant: str, profile_id: str) -> StoredProfile | None:
        """The profile, None if it is not kept (any more); one that is damaged or of an earlier model is dropped."""
        query = select(PROFILES.c.content, PROFILES.c.last_used).where(_is(tenant, profile_id))
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            return None
        try:
            return StoredProfile(await asyncio.to_thread(_read, row.content, profile_id), row.last_used)
        except ValueError as error:
            _log.warning("dropped a profile", profile_id=profile_id, error=str(error))
        drop = delete(PROFILES).where(_is(tenant, profile_id))
        await self._database.write(lambda connection: connection.execute(drop).rowcount)
        return None

    async def touch(self, tenant: str, profile_id: str, now: int) -> bool:
        """Notes a use; False if the profile is not kept (any more)."""
        statement = update(PROFILES).where(_is(tenant, profile_id)).values(last_used=now)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount) > 0

    async def unready(self) -> str:
        """Why the database cannot be worked with; empty if it can."""
        return await self._database.unready(lambda connection: connection.scalar(select(PROFILES.c.id).limit(1)))

    async def close(self) -> None:
        """Writes what waits and closes the database."""
        await self._database.close()

    def _evict(self, connection: Connection, tenant: str, newest: str) -> None:
        """``newest`` counts as the last one used whatever the clock of another replica says, and always stays."""
        order = (case((PROFILES.c.id == newest, 0), else_=1), PROFILES.c.last_used.desc(), PROFILES.c.id)
        ranked = (
            select(
                PROFILES.c.id,
                func.row_number().over(order_by=order).label("position"),
                func.sum(PROFILES.c.size).over(order_by=order, rows=(None, 0)).label("total"),
            )
            .where(PROFILES.c.tenant == tenant)
            .subquery()
        )
        beyond = or_(ranked.c.position > self._max_profiles, ranked.c.total > self._max_bytes)
        surplus = select(ranked.c.id).where(ranked.c.position > 1, beyond)
        connection.execute(delete(PROFILES).where(PROFILES.c.tenant == tenant, PROFILES.c.id.in_(surplus)))


def _is(tenant: str, profile_id: str) -> ColumnElement[bool]:
    return and_(PROFILES.c.tenant == tenant, PROFILES.c.id == profile_id)


def _read(content: bytes, profile_id: str) -> Profile:
    """The profile of a row.

    Raises:
        ValueError: it is not what its id says, or of another model.
    """
    if hashlib.sha256(content).hexdigest() != profile_id:
        raise ValueError("its content has another hash")
    return Profile.from_json(content)

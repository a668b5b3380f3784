"""Profiles ready in memory, in front of the database that outlives the process.

A profile is content-addressed and can always be sent again, so nothing here is precious: a database that does not
answer costs a warning, not a run.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from autopack_kit.errors import AutopackError

from autopack_intention.adapters.store import SqlProfileStore
from autopack_intention.core.profile import Profile
from autopack_intention.core.scoring import Scorer

__all__ = ["ProfileCache"]

STORE_SECONDS = 5.0
"""Time that the database has to answer, well below what callers wait: they need the profile, not the database."""
TOUCH_SECONDS = 60.0
"""Age at which the stored time of the last use is renewed: a profile that is read does not turn into writes."""
_MICROSECONDS = 1_000_000

_log = structlog.get_logger("autopack.intention")

_Key = tuple[str, str]


@dataclass(slots=True)
class _Ready:
    """Attributes:
    noted: seconds since 1970: the last use that the database knows of.
    """

    scorer: Scorer
    noted: float


class ProfileCache:
    """The profiles of all tenants. For one event loop.

    Args:
        store: what is behind it; closed with it.
        max_profiles: kept ready; the least recently used goes first.
        clock: seconds since 1970.
    """

    def __init__(self, store: SqlProfileStore, *, max_profiles: int, clock: Callable[[], float]) -> None:
        self._store = store
        self._max_profiles = max_profiles
        self._clock = clock
        self._ready: OrderedDict[_Key, _Ready] = OrderedDict()
        self._loading: dict[_Key, asyncio.Task[_Ready | None]] = {}
        self._touching: set[asyncio.Task[None]] = set()

    async def put(self, tenant: str, profile: Profile) -> None:
        """Keep a profile; in memory alone, with a warning, if it cannot be stored."""
        key, now = (tenant, profile.id), self._clock()
        known = self._ready.get(key)
        scorer = known.scorer if known else await asyncio.to_thread(_prepared, profile)
        self._remember(key, _Ready(scorer, now))
        async with _warned("profile kept in memory only", profile.id):
            await self._store.put(tenant, profile, round(now * _MICROSECONDS))

    async def get(self, tenant: str, profile_id: str) -> Scorer | None:
        """The profile's scorer, None if it is not kept; many callers at once load it once."""
        key = (tenant, profile_id)
        ready = self._ready.get(key) or await self._load_once(key)
        if ready is None:
            return None
        if key in self._ready:
            self._ready.move_to_end(key)
        self._note_use(key, ready)
        return ready.scorer

    async def unready(self) -> str:
        """Why the database cannot be worked with; empty if it can."""
        return await self._store.unready()

    async def close(self) -> None:
        """Wait for what is under way, then close the store."""
        if tasks := [*self._loading.values(), *self._touching]:
            await asyncio.wait(tasks)
        await self._store.close()

    async def _load_once(self, key: _Key) -> _Ready | None:
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._load(key))
            task.add_done_callback(lambda _: self._loading.pop(key, None))
        # Shielded: the caller that came first may be cancelled, the others still wait for the same task.
        return await asyncio.shield(task)

    async def _load(self, key: _Key) -> _Ready | None:
        stored = None
        async with _warned("profile cannot be read", key[1]):
            stored = await self._store.get(*key)
        if stored is None:
            return None
        scorer = await asyncio.to_thread(_prepared, stored.profile)
        ready = _Ready(scorer, stored.last_used / _MICROSECONDS)
        self._remember(key, ready)
        return ready

    def _note_use(self, key: _Key, ready: _Ready) -> None:
        """Tell the database, now and then, behind the caller's back: a check waits for no write."""
        now = self._clock()
        if now - ready.noted < TOUCH_SECONDS:
            return
        ready.noted = now
        task = asyncio.create_task(self._touch(key, now))
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)

    async def _touch(self, key: _Key, now: float) -> None:
        async with _warned("use of a profile not noted", key[1]):
            await self._store.touch(*key, round(now * _MICROSECONDS))

    def _remember(self, key: _Key, ready: _Ready) -> None:
        self._ready[key] = ready
        self._ready.move_to_end(key)
        while len(self._ready) > self._max_profiles:
            self._ready.popitem(last=False)


@asynccontextmanager
async def _warned(event: str, profile_id: str) -> AsyncIterator[None]:
    """What the database refuses or does not answer in time ends the block with a warning."""
    try:
        async with asyncio.timeout(STORE_SECONDS):
            yield
    except TimeoutError:
        _log.warning(event, profile_id=profile_id, error=f"the database did not answer within {STORE_SECONDS:g} s")
    except AutopackError as error:
        _log.warning(event, profile_id=profile_id, error=str(error))


def _prepared(profile: Profile) -> Scorer:
    """A scorer whose first check is as fast as its second."""
    scorer = Scorer(profile)
    scorer.goal("")
    return scorer

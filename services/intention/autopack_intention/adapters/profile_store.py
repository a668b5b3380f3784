"""Where profiles are kept: ready in memory for the next check, as files for the next start.

A profile is content-addressed and can always be sent again, so nothing here is precious: what is damaged or does not
fit is dropped, and a disk that cannot be written to costs a warning, not a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

import structlog

from autopack_intention.core.profile import Profile
from autopack_intention.core.scoring import Scorer

__all__ = ["FileProfileStore", "ProfileCache", "ProfileStore"]

_log = structlog.get_logger("autopack.intention")


class ProfileStore(Protocol):
    """A place that outlives the process. Blocking; ids were checked to be hexadecimal by the caller."""

    def put(self, tenant: str, profile: Profile) -> None:
        """Keep a profile; the same one again only counts as a use."""

    def get(self, tenant: str, profile_id: str) -> Profile | None:
        """The profile, None if it is not kept here (any more)."""


class FileProfileStore:
    """One file per profile, one directory per tenant.

    Args:
        directory: made when the first profile is put.
        max_profiles: kept per tenant.
        max_bytes: kept per tenant.
    """

    def __init__(self, directory: Path, *, max_profiles: int, max_bytes: int) -> None:
        self._directory = directory
        self._max_profiles = max_profiles
        self._max_bytes = max_bytes

    def put(self, tenant: str, profile: Profile) -> None:
        """Keep a profile: written whole or not at all; then the least recently used beyond the limits go.

        Raises:
            OSError: the directory cannot be written to.
        """
        path = self._path(tenant, profile.id)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            os.utime(path)
            return
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            try:
                part.write(profile.to_json())
                part.flush()
                os.fsync(part.fileno())
                os.replace(part.name, path)
            except OSError:
                os.unlink(part.name)
                raise
        self._evict(path.parent)

    def get(self, tenant: str, profile_id: str) -> Profile | None:
        """The profile; a file that is not what its name says, or is of an earlier version, is dropped.

        Raises:
            OSError: it is there and cannot be read.
        """
        path = self._path(tenant, profile_id)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            if hashlib.sha256(data).hexdigest() != profile_id:
                raise ValueError("its content has another hash")
            profile = Profile.from_json(data)
        except ValueError as error:
            _log.warning("dropped a profile", profile_id=profile_id, error=str(error))
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):  # a read-only disk still serves
            os.utime(path)
        return profile

    def _path(self, tenant: str, profile_id: str) -> Path:
        # A tenant's name may hold any character; its hash cannot leave the directory.
        return self._directory / hashlib.sha256(tenant.encode()).hexdigest()[:32] / f"{profile_id}.json"

    def _evict(self, directory: Path) -> None:
        found = []
        for entry in os.scandir(directory):
            with contextlib.suppress(FileNotFoundError):  # another process evicts too
                found.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
        found.sort(reverse=True)
        kept_bytes = 0
        for position, (_, size, path) in enumerate(found):
            kept_bytes += size
            if position and (position >= self._max_profiles or kept_bytes > self._max_bytes):
                Path(path).unlink(missing_ok=True)


class ProfileCache:
    """Profiles ready to compare with, in front of a store. For one event loop.

    Args:
        store: what is behind it.
        max_profiles: kept ready; the least recently used goes first.
    """

    def __init__(self, store: ProfileStore, *, max_profiles: int) -> None:
        self._store = store
        self._max_profiles = max_profiles
        self._ready: OrderedDict[tuple[str, str], Scorer] = OrderedDict()
        self._loading: dict[tuple[str, str], asyncio.Task[Scorer | None]] = {}

    async def put(self, tenant: str, profile: Profile) -> None:
        """Keep a profile; in memory alone, with a warning, if it cannot be stored."""
        scorer = await asyncio.to_thread(_prepared, profile)
        try:
            await asyncio.to_thread(self._store.put, tenant, profile)
        except OSError as error:
            _log.warning("profile kept in memory only", profile_id=profile.id, error=str(error))
        self._remember((tenant, profile.id), scorer)

    async def get(self, tenant: str, profile_id: str) -> Scorer | None:
        """The profile's scorer, None if it is not kept; many callers at once load it once."""
        key = (tenant, profile_id)
        if key in self._ready:
            self._ready.move_to_end(key)
            return self._ready[key]
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._load(key))
            task.add_done_callback(lambda _: self._loading.pop(key, None))
        # Shielded: the caller that came first may be cancelled, the others still wait for the same task.
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Wait for what is being loaded."""
        await asyncio.gather(*self._loading.values(), return_exceptions=True)

    async def _load(self, key: tuple[str, str]) -> Scorer | None:
        try:
            profile = await asyncio.to_thread(self._store.get, *key)
        except OSError as error:
            _log.warning("profile cannot be read", profile_id=key[1], error=str(error))
            return None
        if profile is None:
            return None
        scorer = await asyncio.to_thread(_prepared, profile)
        self._remember(key, scorer)
        return scorer

    def _remember(self, key: tuple[str, str], scorer: Scorer) -> None:
        self._ready[key] = scorer
        self._ready.move_to_end(key)
        while len(self._ready) > self._max_profiles:
            self._ready.popitem(last=False)


def _prepared(profile: Profile) -> Scorer:
    """A scorer whose first check is as fast as its second."""
    scorer = Scorer(profile)
    scorer.goal("")
    return scorer

"""The patterns that work for a tenant: the built-in ones and its own, which are read again every few seconds.

A database that does not answer costs a warning and what is in it, never a diagnosis.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import structlog
from autopack_kit.errors import AutopackError

from autopack_hardening.adapters.storage import Storage
from autopack_hardening.core.custom import Entry, StoredPattern, disproof, problems_with, read_definition
from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.patterns import Pattern, PatternError
from autopack_hardening.core.templates import Cluster, failure_of
from autopack_hardening.errors import bad_definition, pattern_built_in

__all__ = ["Catalog", "Known"]

RELOAD_SECONDS = 3.0
"""How old a tenant's patterns may be: after so long, what another replica was told works here, too."""
STORE_SECONDS = 2.0
"""Time that the database has to answer, so that a diagnosis comes well within its deadline."""
OPEN_SECONDS = 10.0
"""The same for the first time, when it is opened and perhaps migrated."""
AGAIN_SECONDS = 10.0
"""A database that failed is left alone so long."""
MAX_CLUSTERS = 500
"""As many as a tenant has."""
MAX_TENANTS = 64
"""Whose own patterns stay compiled in memory; the least recently used go first."""

_log = structlog.get_logger("autopack.hardening")


@dataclass(frozen=True, slots=True)
class Known:
    """What works for a tenant.

    Attributes:
        core: the patterns that work.
        version: of the tenant's own; 0 = it has none.
        stored: its own by id, as they are kept.
        disabled: why some of them do not work, by id.
        warnings: what was left out; for people.
        fresh_until: seconds of the clock, after which the database is asked again.
    """

    core: Diagnostician
    version: int = 0
    stored: Mapping[str, StoredPattern] = field(default_factory=lambda: MappingProxyType({}))
    disabled: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()
    fresh_until: float = 0.0

    def entries(self) -> list[Entry]:
        """All patterns by priority, then by id."""
        found = [Entry(one.id, one, self.stored.get(one.id)) for one in self.core.patterns]
        found += [Entry(id_, None, self.stored.get(id_), reason) for id_, reason in self.disabled.items()]
        return sorted(found, key=lambda entry: entry.key)


class Catalog:
    """The patterns of all tenants. For one event loop.

    Args:
        storage: where the custom ones are.
        built_in: gives the packaged ones; slow the first time.
        clock: seconds, monotonic.
    """

    def __init__(
        self, storage: Storage, built_in: Callable[[], Diagnostician], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage = storage
        self._built_in = built_in
        self._clock = clock
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def built_in(self) -> Diagnostician:
        """The packaged patterns alone."""
        return await asyncio.to_thread(self._built_in)

    async def of(self, tenant: str, *, now: bool = False) -> Known:
        """What works for ``tenant``; ``now`` asks the database however fresh it is."""
        known = self._known.get(tenant)
        if known is not None and not now and self._clock() < known.fresh_until:
            self._known.move_to_end(tenant)
            return known
        async with self._locks[tenant]:
            known = self._known.get(tenant)
            if known is None or now or self._clock() >= known.fresh_until:
                known = await self._read(tenant, known or Known(await self.built_in()))
                self._remember(tenant, known)
            return known

    async def warm(self) -> None:
        """Reads the custom patterns of all tenants there are, so that broken ones are told of at the start."""
        store = await self._storage.if_any()
        for tenant in await store.tenants(MAX_TENANTS) if store is not None else ():
            await self.of(tenant)

    async def proven(self, tenant: str, definition: str) -> Pattern:
        """The pattern of a definition, if it may be kept.

        Raises:
            InvalidArgument: ``PATTERN_INVALID``.
        """
        known = await self.of(tenant)
        return await asyncio.to_thread(_proven, definition, await self.built_in(), known)

    async def changed(self, tenant: str) -> None:
        """After a change of the tenant's patterns: they work at once, and what they explain is unmatched no more."""
        known = await self.of(tenant, now=True)
        try:
            store = await self._storage.get()
            clusters = await store.clusters(tenant, None, MAX_CLUSTERS)
            if explained := await asyncio.to_thread(_explained, clusters, known):
                await store.forget(tenant, explained)
        except AutopackError as error:
            _log.warning("unmatched failures not looked at again", tenant=tenant, error=str(error))

    async def check_custom(self, pattern_id: str) -> None:
        """Refuses to change a built-in pattern.

        Raises:
            FailedPrecondition: ``PATTERN_BUILT_IN``.
        """
        if any(one.id == pattern_id for one in (await self.built_in()).patterns):
            raise pattern_built_in(pattern_id)

    async def _read(self, tenant: str, known: Known) -> Known:
        try:
            async with asyncio.timeout(OPEN_SECONDS if known.fresh_until == 0 else STORE_SECONDS):
                store = await self._storage.if_any()
                version = await store.version(tenant) if store is not None else 0
                if version == known.version:
                    warnings = tuple(_of_disabled(known.disabled))
                    return replace(known, warnings=warnings, fresh_until=self._clock() + RELOAD_SECONDS)
                version, stored = await store.patterns(tenant) if store is not None else (0, [])
        except Exception as error:  # the database must not stop a diagnosis, whatever it has
            why = str(error) or f"the database did not answer within {STORE_SECONDS:g} s"
            _log.warning("custom patterns cannot be read", tenant=tenant, error=why)
            warning = f"Custom patterns may be missing or old: {why}"
            return replace(known, warnings=(warning,), fresh_until=self._clock() + AGAIN_SECONDS)
        built_in = await self.built_in()
        found = await asyncio.to_thread(_compiled, built_in, known, version, stored)
        for pattern_id, reason in found.disabled.items():
            _log.warning("custom pattern disabled", tenant=tenant, pattern_id=pattern_id, reason=reason)
        return replace(found, fresh_until=self._clock() + RELOAD_SECONDS)

    def _remember(self, tenant: str, known: Known) -> None:
        self._known[tenant] = known
        self._known.move_to_end(tenant)
        while len(self._known) > MAX_TENANTS:
            dropped, _ = self._known.popitem(last=False)
            if not self._locks[dropped].locked():
                del self._locks[dropped]


def _compiled(built_in: Diagnostician, known: Known, version: int, stored: Sequence[StoredPattern]) -> Known:
    """What works of ``stored``: what this version cannot read, or what its own samples disprove, does not.

    What worked before (``known``) is not proven again.
    """
    before = {one.id: one for one in known.core.patterns if one.is_custom and one.id in known.stored}
    good: list[Pattern] = []
    disabled: dict[str, str] = {}
    for one in stored:
        try:
            is_same = known.stored.get(one.id) == one and one.id in before
            good.append(before[one.id] if is_same else _sound(one, built_in))
        except PatternError as error:
            disabled[one.id] = error.problem
    core = built_in.with_custom(good)
    return Known(
        core,
        version,
        MappingProxyType({one.id: one for one in stored}),
        MappingProxyType(disabled),
        tuple(_of_disabled(disabled)),
    )


def _sound(stored: StoredPattern, built_in: Diagnostician) -> Pattern:
    """The pattern, beside the built-in ones alone: another custom one that is bad shall not take it with it."""
    pattern = read_definition(stored.definition)
    problem = disproof(pattern, built_in.with_custom([pattern]))
    if problem or pattern.id != stored.id:
        raise PatternError(stored.id, pattern.id, problem or f"its id is {pattern.id} by now")
    return pattern


def _explained(clusters: Sequence[Cluster], known: Known) -> list[str]:
    """Of those of which a custom pattern explains every example."""
    custom = known.core.only([one for one in known.core.patterns if one.is_custom])
    return [one.id for one in clusters if all(custom.diagnose(failure_of(item)).diagnoses for item in one.examples)]


def _of_disabled(disabled: Mapping[str, str]) -> list[str]:
    return [f"Pattern {pattern_id} does not work in this version: {why}" for pattern_id, why in disabled.items()]


def _proven(definition: str, built_in: Diagnostician, known: Known) -> Pattern:
    try:
        pattern = read_definition(definition)
    except PatternError as error:
        raise bad_definition([str(error)]) from error
    others = [one for one in known.core.patterns if one.is_custom and one.id != pattern.id]
    problems = problems_with(pattern, built_in, others)
    if problems:
        raise bad_definition([str(problem) for problem in problems])
    return pattern

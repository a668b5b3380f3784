"""The servicer: convert, call core, convert."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import grpc.aio
import structlog
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_api.hardening.v1 import hardening_pb2_grpc
from autopack_api.hardening.v1 import patterns_pb2 as patterns
from autopack_kit.errors import AutopackError
from autopack_kit.identity import Scope, current_principal, require
from autopack_kit.paging import decode_token, encode_token, page_size
from autopack_kit.server import ServiceContext

from autopack_hardening import convert, convert_answers, convert_patterns
from autopack_hardening.adapters.catalog import Catalog
from autopack_hardening.adapters.registry import diagnostician
from autopack_hardening.adapters.storage import Storage
from autopack_hardening.adapters.unmatched import Recorder
from autopack_hardening.core.diagnosing import Diagnostician
from autopack_hardening.core.model import DiagnosisResult, Failure, Outcome
from autopack_hardening.core.outcomes import Success
from autopack_hardening.errors import unknown_pattern
from autopack_hardening.settings import HardeningSettings

__all__ = ["HardeningService"]

MAX_PAGE_SIZE = 500
"""Patterns of a page; the contract's limit."""
MAX_CLUSTERS_SIZE = 200
"""Clusters of a page; the contract's limit."""
WRITE_SECONDS = 10.0
"""Time to count what waits when the service stops: a command's own server may have to make the database first."""
MICROSECONDS = 1_000_000

Context = grpc.aio.ServicerContext[Any, Any]
_log = structlog.get_logger("autopack.hardening")


class HardeningService(hardening_pb2_grpc.HardeningServiceServicer):
    """``autopack.hardening.v1.HardeningService`` as a service of the kit. Executes nothing.

    The packaged patterns are loaded by the first call that needs them; without its database it diagnoses with those.

    Args:
        settings: which patterns are off, and where custom ones are.
        clock: seconds since 1970.

    Raises:
        InvalidArgument: the settings disable a pattern that does not exist.
    """

    name = "hardening"
    full_names = (pb.DESCRIPTOR.services_by_name["HardeningService"].full_name,)

    def __init__(self, settings: HardeningSettings, *, clock: Callable[[], float] = time.time) -> None:
        if settings.disabled_patterns:
            diagnostician(settings.disabled_patterns)
        self._settings = settings
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        # From the start on: no call is answered before.
        self._storage: Storage
        self._catalog: Catalog
        self._unmatched: Recorder

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the servicer."""
        hardening_pb2_grpc.add_HardeningServiceServicer_to_server(self, server)

    async def start(self, context: ServiceContext) -> None:
        """Reads custom patterns, if there are any, behind the callers' backs."""
        self._storage = Storage(self._settings.database_url)
        self._catalog = Catalog(self._storage, self._built_in)
        self._unmatched = Recorder(self._storage, clock=self._clock)
        self._tasks = [asyncio.create_task(self._warm()), asyncio.create_task(self._unmatched.run())]

    async def stop(self, grace: float) -> None:
        """Writes what waits, as long as it may, and closes the database."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(grace, WRITE_SECONDS)):
                await self._unmatched.drained()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._storage.close()

    async def Diagnose(self, request: pb.DiagnoseRequest, context: Context) -> pb.DiagnoseResponse:
        """Why did this command fail? In a thread: 1 MiB of output and 50,000 paths take some 50 ms."""
        tenant = current_principal().tenant
        known = await self._catalog.of(tenant)

        def work() -> tuple[Failure, DiagnosisResult, pb.DiagnoseResponse]:
            failure = convert.failure_from_request(request)
            result = known.core.diagnose(failure)
            return failure, result, convert_answers.result_to_response(result, known.warnings)

        failure, result, response = await asyncio.to_thread(work)
        if result.outcome is Outcome.NO_MATCH and self._settings.unmatched:
            self._unmatched.note(tenant, failure, known.core)
        return response

    async def ListPatterns(self, request: pb.ListPatternsRequest, context: Context) -> pb.ListPatternsResponse:
        """The patterns by priority, then by id."""
        size = page_size(request.page_size, maximum=MAX_PAGE_SIZE)
        filters = {"family": request.family, "tier": request.tier, "custom": request.custom_only}
        after = decode_token(request.page_token, filters, int, str)
        known = await self._catalog.of(current_principal().tenant)
        wanted = [one for one in known.entries() if convert_patterns.fits(one, request)]
        rest = [one for one in wanted if after is None or one.key > after]
        successes = await self._successes([one.id for one in rest[:size]])
        return pb.ListPatternsResponse(
            patterns=[convert_patterns.entry_to_proto(one, _of(one.id, successes)) for one in rest[:size]],
            next_page_token=encode_token(rest[size - 1].key, filters) if len(rest) > size else "",
            warnings=known.warnings,
        )

    async def GetPattern(self, request: pb.GetPatternRequest, context: Context) -> pb.GetPatternResponse:
        """One pattern, by its id or by an earlier name."""
        id_ = convert_patterns.pattern_id_from_request(request)
        for entry in (await self._catalog.of(current_principal().tenant)).entries():
            if id_ == entry.id or (entry.pattern is not None and id_ in entry.pattern.aliases):
                success = _of(entry.id, await self._successes([entry.id]))
                return pb.GetPatternResponse(pattern=convert_patterns.entry_to_proto(entry, success, whole=True))
        raise unknown_pattern(id_)

    async def CreatePattern(
        self, request: patterns.CreatePatternRequest, context: Context
    ) -> patterns.CreatePatternResponse:
        """Keep a new pattern, if it proves itself."""
        tenant, definition = require(Scope.ADMIN).tenant, convert_patterns.definition_from_request(request)
        store = await self._storage.get()
        pattern = await self._catalog.proven(tenant, definition)
        revision = await store.create(tenant, pattern.id, definition, self._now())
        await self._catalog.changed(tenant)
        return patterns.CreatePatternResponse(pattern_id=pattern.id, revision=revision)

    async def UpdatePattern(
        self, request: patterns.UpdatePatternRequest, context: Context
    ) -> patterns.UpdatePatternResponse:
        """Replace a pattern, if the new one proves itself and nobody was faster."""
        tenant, definition = require(Scope.ADMIN).tenant, convert_patterns.definition_from_request(request)
        expected = convert_patterns.revision_from_request(request)
        store = await self._storage.get()
        pattern = await self._catalog.proven(tenant, definition)
        revision = await store.update(tenant, pattern.id, expected, definition, self._now())
        await self._catalog.changed(tenant)
        return patterns.UpdatePatternResponse(revision=revision)

    async def DeletePattern(
        self, request: patterns.DeletePatternRequest, context: Context
    ) -> patterns.DeletePatternResponse:
        """Delete a pattern."""
        tenant, id_ = require(Scope.ADMIN).tenant, convert_patterns.pattern_id_from_request(request)
        expected = convert_patterns.revision_from_request(request)
        await self._catalog.check_custom(id_)
        await (await self._storage.get()).delete(tenant, id_, expected)
        await self._catalog.changed(tenant)
        return patterns.DeletePatternResponse()

    async def RecordOutcome(
        self, request: patterns.RecordOutcomeRequest, context: Context
    ) -> patterns.RecordOutcomeResponse:
        """Count what became of a failure."""
        # Services have scope ingest, people who run things have scope run.
        tenant = (current_principal() if current_principal().has(Scope.RUN) else require(Scope.INGEST)).tenant
        record = convert_patterns.outcome_from_request(request)
        if all(one.id != record.pattern_id for one in (await self._catalog.of(tenant)).core.patterns):
            raise unknown_pattern(record.pattern_id)
        is_new = await (await self._storage.get()).record(tenant, record, self._now())
        return patterns.RecordOutcomeResponse(duplicate=not is_new)

    async def ListUnmatched(
        self, request: patterns.ListUnmatchedRequest, context: Context
    ) -> patterns.ListUnmatchedResponse:
        """The next patterns to write."""
        size = page_size(request.page_size, maximum=MAX_CLUSTERS_SIZE)
        after = decode_token(request.page_token, {}, int, str)
        store = await self._storage.get()
        found = await store.clusters(current_principal().tenant, after, size + 1)
        more = encode_token((found[size - 1].count, found[size - 1].id), {}) if len(found) > size else ""
        return convert_patterns.unmatched_to_response(found[:size], more)

    async def _successes(self, pattern_ids: Sequence[str]) -> Mapping[str, Success] | None:
        """None while they cannot be read: a list of patterns is worth having without them."""
        try:
            return await (await self._storage.get()).successes(current_principal().tenant, pattern_ids)
        except AutopackError as error:
            _log.warning("outcomes cannot be read", error=str(error))
            return None

    async def _warm(self) -> None:
        try:
            await self._catalog.warm()
        except AutopackError as error:
            _log.warning("custom patterns cannot be read; built-in ones work", error=str(error))

    @functools.cached_property
    def _core(self) -> Diagnostician:
        loaded = diagnostician(self._settings.disabled_patterns)
        # They stay: to look through them for garbage would hold up calls.
        gc.collect()
        gc.freeze()
        return loaded

    def _built_in(self) -> Diagnostician:
        return self._core

    def _now(self) -> int:
        return round(self._clock() * MICROSECONDS)


def _of(pattern_id: str, successes: Mapping[str, Success] | None) -> Success | None:
    return None if successes is None else successes.get(pattern_id, Success())

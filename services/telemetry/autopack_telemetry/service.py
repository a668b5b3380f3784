"""The servicer: convert, record or ask, convert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc.aio
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.identity import Scope, require, require_run
from autopack_kit.offload import compute
from autopack_kit.server import ServiceContext

from autopack_telemetry import convert
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.core.estimate import choose
from autopack_telemetry.core.store import DiscardingStore, Store
from autopack_telemetry.errors import run_not_found
from autopack_telemetry.settings import TelemetrySettings

__all__ = ["TelemetryService"]

Context = grpc.aio.ServicerContext[Any, Any]

_FULL_NAME = pb.DESCRIPTOR.services_by_name["TelemetryService"].full_name


class TelemetryService(pb_grpc.TelemetryServiceServicer):
    """``autopack.telemetry.v1.TelemetryService``.

    Args:
        settings: where to keep it, and whether to.
        clock: seconds since 1970.
    """

    name = "telemetry"
    full_names = (_FULL_NAME,)
    ingest_methods = frozenset({f"/{_FULL_NAME}/RecordPhases", f"/{_FULL_NAME}/RecordUsage"})

    def __init__(self, settings: TelemetrySettings, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._store: Store = DiscardingStore()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the servicer."""
        pb_grpc.add_TelemetryServiceServicer_to_server(self, server)

    async def start(self, context: ServiceContext) -> None:
        """Opens and migrates the database, unless telemetry is off."""
        if self._settings.enabled:
            self._store = await asyncio.to_thread(
                SqlStore.open, self._settings.database_url, queue_rows=self._settings.queue_rows
            )

    async def stop(self, grace: float) -> None:
        """Commits what waits and closes the database."""
        await self._store.close()

    async def RecordPhases(self, request: pb.RecordPhasesRequest, context: Context) -> pb.RecordPhasesResponse:
        """Keeps phases, each in place of an earlier one with its ids."""
        tenant, now = require(Scope.INGEST).tenant, self._now()
        phases = await compute(request, convert.phases_of, request, now)
        for run_id in {phase.run_id for phase in phases}:
            require_run(run_id)
        return pb.RecordPhasesResponse(recorded=await self._store.record_phases(tenant, phases, now))

    async def RecordUsage(self, request: pb.RecordUsageRequest, context: Context) -> pb.RecordUsageResponse:
        """Keeps usage, each id once."""
        tenant, now = require(Scope.INGEST).tenant, self._now()
        records = await compute(request, convert.usage_of, request, now)
        for run_id in {record.run_id for record in records}:
            require_run(run_id)
        recorded, duplicates = await self._store.record_usage(tenant, records, now)
        return pb.RecordUsageResponse(recorded=recorded, duplicates=duplicates)

    async def GetRunSummary(self, request: pb.GetRunSummaryRequest, context: Context) -> pb.GetRunSummaryResponse:
        """The sums of a run."""
        tenant = require(Scope.READ).tenant
        summary = await self._store.summary(tenant, convert.run_id_of(request))
        if summary is None:
            raise run_not_found(request.run_id)
        return convert.summary_response(summary)

    async def ListPhases(self, request: pb.ListPhasesRequest, context: Context) -> pb.ListPhasesResponse:
        """A page of phases."""
        tenant, run_id = require(Scope.READ).tenant, convert.run_id_of(request)
        after, size = convert.page_of(request)
        found = await self._store.phases(tenant, run_id, after, size + 1)  # one more tells whether there is a next page
        token = convert.next_page_token(run_id, found[size - 1][0]) if len(found) > size else ""
        return await asyncio.to_thread(convert.phase_page, [phase for _, phase in found[:size]], token)

    async def EstimateAvoidedTokens(
        self, request: pb.EstimateAvoidedTokensRequest, context: Context
    ) -> pb.EstimateAvoidedTokensResponse:
        """What one doctor call would cost."""
        tenant = require(Scope.READ).tenant
        run_id, model_class = convert.estimate_subject(request)

        async def observe(of_run: str | None, limit: int) -> list[int]:
            return await self._store.doctor_calls(tenant, of_run, model_class, limit)

        return convert.estimate_response(await choose(observe, run_id, model_class))

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

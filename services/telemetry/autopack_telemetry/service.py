"""The servicer: convert, record or ask, convert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc.aio
from autopack_api.telemetry.v1 import agents_pb2, compare_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.auth import ensure_signing_key, mint_run_token
from autopack_kit.identity import Scope, current_principal, require, require_run
from autopack_kit.kit_settings import KitSettings
from autopack_kit.offload import compute
from autopack_kit.server import MAX_TELEMETRY_REQUEST_BYTES, ServiceContext

from autopack_telemetry import convert, convert_agents, convert_compare, convert_import, convert_runs
from autopack_telemetry.adapters.agents import known_agents
from autopack_telemetry.adapters.prices import price_list
from autopack_telemetry.adapters.retention import retain
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.core.estimate import choose
from autopack_telemetry.core.responses import of_bound_run
from autopack_telemetry.core.store import DiscardingStore, Store
from autopack_telemetry.errors import run_not_found
from autopack_telemetry.service_otlp import FULL_NAMES, HTTP_PATHS, INGEST_METHODS, Receiver
from autopack_telemetry.settings import Prices, TelemetrySettings

__all__ = ["TelemetryService"]

Context = grpc.aio.ServicerContext[Any, Any]

TOKEN_SECONDS = 25 * 3600
"""Life of a token that is handed out for a run: the longest agent has a day, and its last words come later."""

DAY = 86_400 * 1_000_000
"""Microseconds."""

_FULL_NAME = pb.DESCRIPTOR.services_by_name["TelemetryService"].full_name


class TelemetryService(pb_grpc.TelemetryServiceServicer):
    """``autopack.telemetry.v1.TelemetryService``.

    Args:
        settings: where to keep it, and whether to.
        kit: of the process: the key that signs the tokens of runs, and whether its port speaks TLS; None = neither.
        clock: seconds since 1970.
    """

    name = "telemetry"
    full_names = (_FULL_NAME, *FULL_NAMES)
    max_request_bytes = MAX_TELEMETRY_REQUEST_BYTES
    ingest_methods = frozenset(
        f"/{_FULL_NAME}/{method}"
        for method in ("RecordPhases", "RecordUsage", "RecordRuns", "RegisterSession", "ImportUsage")
    ).union(INGEST_METHODS)
    ingest_paths = HTTP_PATHS

    def __init__(
        self, settings: TelemetrySettings, kit: KitSettings | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._clock = clock
        self._store: Store = DiscardingStore()
        self._database: SqlStore | None = None
        self._retention: asyncio.Task[None] | None = None
        self._endpoints: convert_agents.Endpoints = {}
        self._otlp = Receiver(lambda: self._store, self._now)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the servicer, and those of the OpenTelemetry collector."""
        pb_grpc.add_TelemetryServiceServicer_to_server(self, server)
        self._otlp.add_to(server)

    def http_routes(self) -> list[Any]:
        """The collector over HTTP."""
        return self._otlp.http_routes()

    async def start(self, context: ServiceContext) -> None:
        """Opens and migrates the database, unless telemetry is off."""
        await self._otlp.start()
        tls = self._kit is not None and self._kit.tls_certificate_file is not None
        self._endpoints = convert_agents.endpoints(
            context.address, context.http_address, self._settings.otlp_endpoint, tls=tls
        )
        if context.registry is None:
            opening: Callable[..., SqlStore] = SqlStore.open
        else:
            from autopack_telemetry.adapters.counted import PrometheusCounts, counting  # with what only metrics need

            counts = PrometheusCounts(context.registry)
            self._otlp.observe = counts.records
            opening = partial(counting, counts)
        if self._settings.enabled:
            price = await asyncio.to_thread(
                price_list, self._settings.prices_file, derive=self._settings.prices is Prices.AUTO
            )
            self._database = await asyncio.to_thread(
                opening, self._settings.database_url, queue_rows=self._settings.queue_rows, price=price
            )
            self._store = self._database
            if self._settings.retention_days:
                keep = self._settings.retention_days * DAY
                self._retention = asyncio.create_task(retain(self._database.prune, keep, self._now))

    async def unready(self) -> str:
        """Why nothing can be recorded now: the database does not answer as it should."""
        return "" if self._database is None else await self._database.unready()

    async def stop(self, grace: float) -> None:
        """Commits what waits and closes the database."""
        if self._retention is not None:
            self._retention.cancel()
            await asyncio.gather(self._retention, return_exceptions=True)
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
        principal, now = require(Scope.INGEST), self._now()
        records = await compute(request, convert.usage_of, request, now)
        for run_id in {record.run_id for record in records}:
            require_run(run_id)
        mine = of_bound_run(records, principal.run_id)
        recorded, duplicates = await self._store.record_usage(principal.tenant, mine, now)
        return pb.RecordUsageResponse(recorded=recorded, duplicates=duplicates)

    async def RecordRuns(self, request: pb.RecordRunsRequest, context: Context) -> pb.RecordRunsResponse:
        """Fills in what is known of runs."""
        tenant, now = require(Scope.INGEST).tenant, self._now()
        runs = await compute(request, convert_runs.runs_of, request, now)
        for run_id in {run.run_id for run in runs}:
            require_run(run_id)
        return pb.RecordRunsResponse(recorded=await self._store.record_runs(tenant, runs, now))

    async def RegisterSession(
        self, request: agents_pb2.RegisterSessionRequest, context: Context
    ) -> agents_pb2.RegisterSessionResponse:
        """Says to which run a session belongs."""
        principal, now = require(Scope.INGEST), self._now()
        convert_runs.check_registration(request)
        bound = require_run(request.run_id).run_id is not None
        session = request.agent, request.session_id, request.run_id, request.phase_id
        moved = await self._store.register_session(principal.tenant, *session, now, bound=bound)
        return agents_pb2.RegisterSessionResponse(moved=moved)

    async def ListSessions(
        self, request: agents_pb2.ListSessionsRequest, context: Context
    ) -> agents_pb2.ListSessionsResponse:
        """A page of sessions."""
        tenant = require(Scope.READ).tenant
        query = convert_runs.sessions_query(request)
        found = await self._store.sessions(
            tenant, query.run_id, unattributed=query.unattributed, before=query.before, limit=query.size + 1
        )
        return query.page(found)

    async def ImportUsage(
        self, request: agents_pb2.ImportUsageRequest, context: Context
    ) -> agents_pb2.ImportUsageResponse:
        """Keeps the usage in a file of an agent, each id once."""
        principal, now = require_run(request.run_id), self._now()
        require(Scope.INGEST)
        told, found = await compute(request, convert_import.usage_in, request, now)
        recorded = duplicates = 0
        for start in range(0, len(found.records), convert.MAX_USAGE):  # no more at once than one request may record
            part = of_bound_run(found.records[start : start + convert.MAX_USAGE], principal.run_id)
            new, known = await self._store.record_usage(principal.tenant, part, now)
            recorded, duplicates = recorded + new, duplicates + known
        return convert_import.import_response(told, found, recorded, duplicates)

    async def GetAgentEnvironment(
        self, request: agents_pb2.GetAgentEnvironmentRequest, context: Context
    ) -> agents_pb2.GetAgentEnvironmentResponse:
        """What makes an agent report here, with a token for its run."""
        # The token can do less than that of a caller who may run commands, or record for any run.
        tenant = (current_principal() if current_principal().has(Scope.RUN) else require(Scope.INGEST)).tenant
        agent, protocol = convert_agents.agent_of(request, known_agents())
        require_run(request.run_id)
        if not self._settings.enabled:
            return convert_agents.switched_off()
        token = await self._run_token(request.run_id, tenant) if agent.sends else ""
        return convert_agents.agent_environment(request, agent, protocol, self._endpoints, token)

    async def CompareRuns(
        self, request: compare_pb2.CompareRunsRequest, context: Context
    ) -> compare_pb2.CompareRunsResponse:
        """Runs with a change beside runs without it."""
        tenant = require(Scope.READ).tenant
        design = await compute(request, convert_compare.design_of, request)
        runs, unattributed = await self._store.measures(tenant, design.run_ids)
        unknown = sorted(set(design.run_ids) - {run.record.run_id for run in runs})
        if unknown:
            raise run_not_found(unknown[0])
        return await asyncio.to_thread(
            convert_compare.compare_response, request, design, runs, unattributed, self._now()
        )

    async def PlanComparison(
        self, request: compare_pb2.PlanComparisonRequest, context: Context
    ) -> compare_pb2.PlanComparisonResponse:
        """How many pairs a comparison needs."""
        require(Scope.READ)
        return await asyncio.to_thread(convert_compare.plan_response, request)

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

    async def _run_token(self, run_id: str, tenant: str) -> str:
        if self._kit is None:
            return ""
        key = await asyncio.to_thread(ensure_signing_key, self._kit.signing_key_path)
        return mint_run_token(key, run_id, tenant, self._clock() + TOKEN_SECONDS)

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

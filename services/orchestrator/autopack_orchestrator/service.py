"""The thin servicer: convert, ask, convert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1 import orchestrator_pb2_grpc
from autopack_kit.identity import Scope, require
from autopack_kit.server import ServiceContext

from autopack_orchestrator import convert, convert_isolation, convert_upkeep
from autopack_orchestrator.adapters import queries
from autopack_orchestrator.convert_upload import upload_from_proto, upload_to_proto
from autopack_orchestrator.execution.orchestrator import Orchestrator

__all__ = ["OrchestratorService"]

Context = grpc.aio.ServicerContext[Any, Any]


class OrchestratorService(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """``autopack.orchestrator.v1.OrchestratorService`` as a service of the kit."""

    name = "orchestrator"
    full_names = (pb.DESCRIPTOR.services_by_name["OrchestratorService"].full_name,)

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._own = orchestrator

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the servicer."""
        orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(self, server)

    async def start(self, context: ServiceContext) -> None:
        """Opens the store and begins to work."""
        await self._own.start(context.address, context.services)
        if context.registry is not None:
            from autopack_orchestrator.adapters.gauges import show  # with what only metrics need

            show(context.registry, self._own.database)

    async def unready(self) -> str:
        """Why no run can be asked for now: the database does not answer as it should."""
        return await self._own.database.unready(queries.unfinished)

    async def stop(self, grace: float) -> None:
        """Hands runs off and closes the store."""
        await self._own.stop()

    async def CreateBatch(self, request: pb.CreateBatchRequest, context: Context) -> pb.CreateBatchResponse:
        """Checks a batch whole and queues its runs."""
        tenant = require(Scope.RUN).tenant
        spec, problems = await asyncio.to_thread(convert.batch_spec_from_proto, request.spec)  # may have 1,000 runs
        created = await self._own.create_batch(
            tenant,
            spec,
            problems=problems,
            request_id=request.request_id,
            content=convert.spec_hash_input(request.spec),
            validate_only=request.validate_only,
        )
        batch = None if created.batch is None else convert.batch_to_proto(created.batch)
        return pb.CreateBatchResponse(batch=batch, warnings=created.warnings)

    async def UploadSource(
        self, request_iterator: AsyncIterator[pb.UploadSourceRequest], context: Context
    ) -> pb.UploadSourceResponse:
        """Takes a git bundle."""
        tenant = require(Scope.RUN).tenant
        size, sha256, pieces = await upload_from_proto(request_iterator)
        return upload_to_proto(await self._own.uploads.take(tenant, size, sha256, pieces))

    async def GetBatch(self, request: pb.GetBatchRequest, context: Context) -> pb.GetBatchResponse:
        """One batch."""
        batch = await self._own.get_batch(require(Scope.READ).tenant, request.batch_id)
        return pb.GetBatchResponse(batch=convert.batch_to_proto(batch))

    async def ListBatches(self, request: pb.ListBatchesRequest, context: Context) -> pb.ListBatchesResponse:
        """A page of batches."""
        tenant = require(Scope.READ).tenant
        batches, token = await self._own.list_batches(tenant, request.page_size, request.page_token)
        return pb.ListBatchesResponse(batches=map(convert.batch_to_proto, batches), next_page_token=token)

    async def CancelBatch(self, request: pb.CancelBatchRequest, context: Context) -> pb.CancelBatchResponse:
        """Asks for the end of a batch."""
        batch = await self._own.cancel_batch(require(Scope.RUN).tenant, request.batch_id)
        return pb.CancelBatchResponse(batch=convert.batch_to_proto(batch))

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        """One run."""
        run = await self._own.get_run(require(Scope.READ).tenant, request.run_id)
        return pb.GetRunResponse(run=convert.run_to_proto(run))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """A page of runs."""
        tenant = require(Scope.READ).tenant
        states = convert.run_states_from_proto(request.states)
        runs, token = await self._own.list_runs(tenant, request.batch_id, states, request.page_size, request.page_token)
        return pb.ListRunsResponse(runs=map(convert.run_to_proto, runs), next_page_token=token)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        """Asks for the end of a run."""
        run = await self._own.cancel_run(require(Scope.RUN).tenant, request.run_id)
        return pb.CancelRunResponse(run=convert.run_to_proto(run))

    async def RetryRun(self, request: pb.RetryRunRequest, context: Context) -> pb.RetryRunResponse:
        """Queues an ended run again."""
        run = await self._own.retry_run(require(Scope.RUN).tenant, request.run_id, request.request_id)
        return pb.RetryRunResponse(run=convert.run_to_proto(run))

    async def GetCapabilities(self, request: pb.GetCapabilitiesRequest, context: Context) -> pb.GetCapabilitiesResponse:
        """What the host offers."""
        require(Scope.READ)
        return convert_isolation.capabilities_to_proto(await self._own.get_capabilities())

    async def PreviewMerge(self, request: pb.PreviewMergeRequest, context: Context) -> pb.PreviewMergeResponse:
        """How the finished branches of a batch merge."""
        tenant = require(Scope.READ).tenant
        preview = await self._own.merges.preview(tenant, request.batch_id, request.into)
        return convert_upkeep.preview_to_proto(preview)

    async def MergeBatch(self, request: pb.MergeBatchRequest, context: Context) -> pb.MergeBatchResponse:
        """Merges the finished branches of a batch into a new branch."""
        tenant = require(Scope.RUN).tenant
        preview = await self._own.merges.write(tenant, request.batch_id, request.into, request.branch)
        return pb.MergeBatchResponse(
            merge=convert_upkeep.preview_to_proto(preview), branch=request.branch, commit=preview.merged.commit
        )

    async def CollectGarbage(self, request: pb.CollectGarbageRequest, context: Context) -> pb.CollectGarbageResponse:
        """Removes what was kept long enough."""
        require(Scope.ADMIN)
        return convert_upkeep.report_to_proto(await self._own.retention.collect(dry_run=request.dry_run))

    async def WatchBatch(self, request: pb.WatchBatchRequest, context: Context) -> AsyncIterator[pb.WatchBatchResponse]:
        """The events of a batch, from a number on, until it ends."""
        tenant = require(Scope.READ).tenant
        async for event in self._own.watch_batch(tenant, request.batch_id, request.after_sequence):
            yield pb.WatchBatchResponse(event=convert.event_to_proto(event))

    async def ReadLog(self, request: pb.ReadLogRequest, context: Context) -> AsyncIterator[pb.ReadLogResponse]:
        """The log of an attempt."""
        tenant = require(Scope.READ).tenant
        pieces = self._own.read_log(
            tenant, request.run_id, attempt=request.attempt, offset=request.offset, follow=request.follow
        )
        async for data, offset in pieces:
            yield pb.ReadLogResponse(data=data, offset=offset)

    async def GetPatch(self, request: pb.GetPatchRequest, context: Context) -> AsyncIterator[pb.GetPatchResponse]:
        """The patch of a run."""
        tenant = require(Scope.READ).tenant
        async for data in self._own.read_patch(tenant, request.run_id):
            yield pb.GetPatchResponse(data=data)

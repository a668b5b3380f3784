"""The client against a real server whose answers are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.orchestrator_pb2_grpc import (
    OrchestratorServiceServicer,
    add_OrchestratorServiceServicer_to_server,
)
from autopack_client import AutopackError, connect, connect_sync, get_patch, read_log, watch_batch
from autopack_kit.errors import InvalidArgument, NotFound, Unavailable, invalid_field
from autopack_kit.interceptors import CallLimits
from autopack_kit.server import ServerOptions, ServiceContext
from autopack_kit.status import STREAM_ENDED
from autopack_kit.testing import running

LAST = 5


class Scripted(OrchestratorServiceServicer):
    """Sends events 1 to LAST, two at a time, then breaks off; bytes likewise."""

    name = "orchestrator"
    full_names = ("autopack.orchestrator.v1.OrchestratorService",)

    def __init__(self) -> None:
        self.asked_after: list[int] = []
        self.asked_offsets: list[tuple[int, int]] = []
        self.log = b"0123456789"
        self.cancelled = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        add_OrchestratorServiceServicer_to_server(self, server)

    async def start(self, context: ServiceContext) -> None:
        pass

    async def stop(self, grace: float) -> None:
        pass

    async def CreateBatch(self, request: Any, context: Any) -> pb.CreateBatchResponse:
        raise invalid_field("runs[2].name", "is not a branch name")

    async def GetRun(self, request: Any, context: Any) -> pb.GetRunResponse:
        if request.run_id != "b.r":
            raise NotFound("No such run.", reason="RUN_NOT_FOUND", remedy="`autopack runs list` lists them.")
        return pb.GetRunResponse(run=pb.Run(run_id="b.r", attempt=3))

    async def WatchBatch(self, request: Any, context: Any) -> AsyncIterator[pb.WatchBatchResponse]:
        self.asked_after.append(request.after_sequence)
        if request.batch_id == "endless":
            try:
                yield pb.WatchBatchResponse(event=pb.Event(sequence=1))
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if request.batch_id == "quiet" and len(self.asked_after) < 5:
            await asyncio.Event().wait()
        if request.batch_id == "away":
            raise Unavailable("Away.", reason="AWAY")
        first = request.after_sequence + 1
        for sequence in range(first, min(first + 2, LAST + 1)):
            yield pb.WatchBatchResponse(event=pb.Event(sequence=sequence))
        if first + 2 <= LAST:
            raise Unavailable("Old.", reason=STREAM_ENDED)

    async def ReadLog(self, request: Any, context: Any) -> AsyncIterator[pb.ReadLogResponse]:
        self.asked_offsets.append((request.attempt, request.offset))
        start = request.offset if request.offset >= 0 else len(self.log) + request.offset
        yield pb.ReadLogResponse(data=self.log[start : start + 4], offset=start)
        if start + 4 < len(self.log):
            raise Unavailable("Old.", reason=STREAM_ENDED)

    async def _not_scripted(self, request: Any, context: Any) -> Any:
        raise AssertionError("no test calls this")

    async def UploadSource(self, request_iterator: Any, context: Any) -> pb.UploadSourceResponse:
        raise AssertionError("no test calls this")

    GetBatch = ListBatches = CancelBatch = ListRuns = CancelRun = RetryRun = _not_scripted
    GetCapabilities = PreviewMerge = MergeBatch = CollectGarbage = _not_scripted

    async def GetPatch(self, request: Any, context: Any) -> AsyncIterator[pb.GetPatchResponse]:
        yield pb.GetPatchResponse(data=b"diff ")
        yield pb.GetPatchResponse(data=b"--git")


async def test_error_of_a_call_has_reason_remedy_and_violations() -> None:
    async with running(Scripted()) as target, connect(target.address) as client:
        with pytest.raises(InvalidArgument) as invalid:
            await client.orchestrator.CreateBatch(pb.CreateBatchRequest())
        with pytest.raises(NotFound) as missing:
            await client.orchestrator.GetRun(pb.GetRunRequest(run_id="x"))
    assert [item.field for item in invalid.value.violations] == ["runs[2].name"]
    assert (missing.value.reason, missing.value.remedy) == ("RUN_NOT_FOUND", "`autopack runs list` lists them.")


async def test_sync_client_raises_the_same_error_and_reads_streams() -> None:
    async with running(Scripted()) as target:

        def work() -> tuple[AutopackError, bytes]:
            with connect_sync(target.address) as client:
                with pytest.raises(NotFound) as missing:
                    client.orchestrator.GetRun(pb.GetRunRequest(run_id="x"))
                patch = b"".join(piece.data for piece in client.orchestrator.GetPatch(pb.GetPatchRequest()))
            return missing.value, patch

        error, patch = await asyncio.to_thread(work)
    assert error.reason == "RUN_NOT_FOUND"
    assert patch == b"diff --git"


async def test_call_without_server_is_unavailable(tmp_path: Any) -> None:
    async with connect(f"unix:{tmp_path}/none.sock") as client:
        with pytest.raises(Unavailable):
            await client.orchestrator.GetRun(pb.GetRunRequest(run_id="x"), timeout=5)


async def test_watch_resumes_after_the_stream_aged_out_and_sees_each_event_once() -> None:
    service = Scripted()
    async with running(service) as target, connect(target.address) as client:
        seen = [event.sequence async for event in watch_batch(client, "b")]
    assert seen == [1, 2, 3, 4, 5]
    assert service.asked_after == [0, 2, 4]


async def test_watch_starts_after_the_given_event() -> None:
    async with running(Scripted()) as target, connect(target.address) as client:
        assert [event.sequence async for event in watch_batch(client, "b", after=3)] == [4, 5]


async def test_watch_gives_up_when_the_server_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopack_client.watch.FIRST_DELAY", 0.0001)
    monkeypatch.setattr("autopack_client.watch.PATIENCE", 3)
    async with running(Scripted()) as target, connect(target.address) as client:
        with pytest.raises(Unavailable) as error:
            _ = [event async for event in watch_batch(client, "away")]
    assert error.value.reason == "AWAY"


async def test_watch_of_a_quiet_batch_outlives_any_number_of_streams_that_the_server_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("autopack_client.watch.FIRST_DELAY", 0.0001)
    monkeypatch.setattr("autopack_client.watch.PATIENCE", 2)
    service, limits = Scripted(), CallLimits(max_deadline=0.2)
    async with running(service, options=ServerOptions(limits=limits)) as target, connect(target.address) as client:
        seen = [event.sequence async for event in watch_batch(client, "quiet", after=3)]
    assert seen == [4, 5]
    assert service.asked_after == [3] * 5


async def test_stream_is_cancelled_on_the_server_when_its_reader_is_cancelled() -> None:
    service = Scripted()
    async with running(service) as target, connect(target.address) as client:
        got = asyncio.Event()

        async def read() -> None:
            async for _ in watch_batch(client, "endless"):
                got.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(got.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(service.cancelled.wait(), 20)


async def test_log_resumes_at_the_byte_where_it_broke_off_in_the_same_attempt() -> None:
    service = Scripted()
    async with running(service) as target, connect(target.address) as client:
        pieces = [piece async for piece in read_log(client, "b.r", offset=-7)]
    assert b"".join(pieces) == b"3456789"
    assert service.asked_offsets == [(3, -7), (3, 7)]


async def test_patch_comes_in_pieces() -> None:
    async with running(Scripted()) as target, connect(target.address) as client:
        assert b"".join([piece async for piece in get_patch(client, "b.r")]) == b"diff --git"

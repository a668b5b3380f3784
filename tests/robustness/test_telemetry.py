"""The database of telemetry is held by somebody else, full, or gone: senders are told what to do, and nothing that was
acknowledged is lost. That a killed service loses nothing is tested with its storage."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeAlias

import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.errors import AutopackError
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import running
from autopack_telemetry import create
from autopack_telemetry.adapters.store import SqlStore
from autopack_telemetry.settings import TelemetrySettings
from grpc.aio import AioRpcError

from tests.robustness.postgres import own_postgres
from tests.robustness.processes import until

Stub: TypeAlias = "pb_grpc.TelemetryServiceAsyncStub"  # the stub files know it, the module does not


def usage(*ids: str) -> pb.RecordUsageRequest:
    tokens = TokenUsage(output=1)
    records = [pb.UsageRecord(run_id="run-1", usage_id=one, agent="a", session_id="s", tokens=tokens) for one in ids]
    return pb.RecordUsageRequest(records=records)


async def recorded(stub: Stub) -> int:
    return (await stub.GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1"))).usage_records


async def refusal(stub: Stub, *ids: str) -> AutopackError:
    with pytest.raises(AioRpcError) as caught:
        await stub.RecordUsage(usage(*ids))
    return from_rpc_error(caught.value)


@asynccontextmanager
async def serving(url: str, queue_rows: int = 1_000) -> AsyncIterator[tuple[Stub, SqlStore]]:
    service = create(TelemetrySettings(database_url=url, queue_rows=queue_rows))
    async with running(service) as target:
        assert service._database is not None
        yield pb_grpc.TelemetryServiceStub(target.channel), service._database


async def test_while_another_process_holds_the_database_senders_wait_or_are_told_to_come_again(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.sqlite3"
    async with serving(f"sqlite:///{path}", queue_rows=6) as (stub, store):
        assert (await stub.RecordUsage(usage("first"))).recorded == 1
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waits = asyncio.ensure_future(stub.RecordUsage(usage("a", "b", "c")))
            await until(lambda: store.waiting == 3, "the record waits to be written")
            error = await refusal(stub, *"defg")
            assert (error.reason, error.metadata["retry_delay"]) == ("DATABASE_QUEUE_FULL", "0.5")
            assert await recorded(stub) == 1  # questions are answered meanwhile
            other.execute("ROLLBACK")
        assert (await waits).recorded == 3
        assert (await stub.RecordUsage(usage(*"defg"))).recorded == 4
        assert await recorded(stub) == 8


async def test_full_disk_refuses_records_whole_and_room_takes_them(tmp_path: Path) -> None:
    async with serving(f"sqlite:///{tmp_path}/telemetry.sqlite3", queue_rows=100_000) as (stub, store):
        assert (await stub.RecordUsage(usage("first"))).recorded == 1

        async def limit(pages: int) -> None:
            await store._database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}").first())

        await limit(1)  # SQLite takes the number of pages that there are
        many = [f"{number}" for number in range(5_000)]
        error = await refusal(stub, *many)
        assert error.reason == "DATABASE_DISK_FULL"
        assert await recorded(stub) == 1
        await limit(1 << 30)
        assert (await stub.RecordUsage(usage(*many))).recorded == len(many)
        assert await recorded(stub) == len(many) + 1


async def test_server_that_goes_away_is_told_and_met_again_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    with own_postgres() as server:
        async with serving(server.url) as (stub, _):
            assert (await stub.RecordUsage(usage("first"))).recorded == 1
            await asyncio.to_thread(server.stop)
            error = await refusal(stub, "lost")
            assert error.reason == "DATABASE_UNREACHABLE"
            with pytest.raises(AioRpcError) as caught:
                await recorded(stub)
            assert from_rpc_error(caught.value).reason == "DATABASE_UNREACHABLE"
            await asyncio.to_thread(server.start)
            assert (await stub.RecordUsage(usage("first", "lost"))).recorded == 1
            assert await recorded(stub) == 2

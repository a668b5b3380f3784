from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.channel import open_channel
from autopack_kit.db import Database, differences, migrate
from autopack_kit.db.testing import fresh_url
from autopack_kit.errors import FailedPrecondition, ResourceExhausted, Unavailable
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import running
from autopack_telemetry import create
from autopack_telemetry.adapters.store import MIGRATIONS, SqlStore
from autopack_telemetry.adapters.tables import METADATA
from autopack_telemetry.core.estimate import ModelClass
from autopack_telemetry.core.model import PhaseRecord, Price, Tokens, UsageRecord, UsageRole
from autopack_telemetry.settings import TelemetrySettings
from grpc.aio import AioRpcError
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import Engine


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path, "telemetry") as fresh:
        yield fresh


ENOUGH = 4_000
"""Acknowledged records after which the server is killed."""


def usage(*ids: str) -> pb.RecordUsageRequest:
    return pb.RecordUsageRequest(
        records=[pb.UsageRecord(run_id="run-1", usage_id=item, tokens=TokenUsage(output=1)) for item in ids]
    )


def test_migrations_make_exactly_the_tables_that_the_code_declares(url: str) -> None:
    migrate(url, name="telemetry", migrations=MIGRATIONS)
    assert differences(url, name="telemetry", metadata=METADATA) == []
    assert migrate(url, name="telemetry", migrations=MIGRATIONS) == ()


async def test_four_servers_that_start_at_once_on_an_empty_database_share_it(url: str) -> None:
    servers = [running(create(TelemetrySettings(database_url=url))) for _ in range(4)]
    targets = await asyncio.gather(*(server.__aenter__() for server in servers))
    stubs = [pb_grpc.TelemetryServiceStub(target.channel) for target in targets]
    answers = await asyncio.gather(*(stub.RecordUsage(usage("a", "b", "c")) for stub in stubs))
    total = await stubs[0].GetRunSummary(pb.GetRunSummaryRequest(run_id="run-1"))
    for server in servers:
        await server.__aexit__(None, None, None)
    assert sum(answer.recorded for answer in answers) == 3
    assert total.usage_records == 3


async def test_start_when_the_database_cannot_be_used_fails_with_path_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = TelemetrySettings(database_url=f"sqlite:///{tmp_path}/file/telemetry.sqlite3")
    with pytest.raises(FailedPrecondition) as refused:
        async with running(create(settings)):
            pass
    assert str(tmp_path) in refused.value.message
    assert refused.value.remedy


class _Held:
    """The writer thread of a database, held in a write until the end of the block."""

    def __init__(self, database: Database, weight: int) -> None:
        self._reached, self._open = threading.Event(), threading.Event()
        self._database, self._weight = database, weight

    def _wait(self, _connection: Connection) -> None:
        self._reached.set()
        assert self._open.wait(60)

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._database.write(self._wait, weight=self._weight))
        await asyncio.to_thread(self._reached.wait, 60)

    async def __aexit__(self, *_: object) -> None:
        self._open.set()
        await self._task


async def test_full_queue_tells_the_sender_when_to_come_again_and_nothing_is_recorded(url: str) -> None:
    service = create(TelemetrySettings(database_url=url, queue_rows=10))
    async with running(service) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        store = service._store
        assert isinstance(store, SqlStore)
        async with _Held(store._database, weight=9):
            with pytest.raises(AioRpcError) as caught:
                await stub.RecordUsage(usage("a", "b"), timeout=5)
        error = from_rpc_error(caught.value)
        assert isinstance(error, ResourceExhausted)
        assert error.reason == "DATABASE_QUEUE_FULL"
        assert (await stub.RecordUsage(usage("a", "b"))).duplicates == 0


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_lost_connection_is_an_error_that_callers_see_and_heals(url: str) -> None:
    service = create(TelemetrySettings(database_url=url))
    async with running(service) as target:
        stub = pb_grpc.TelemetryServiceStub(target.channel)
        store = service._store
        assert isinstance(store, SqlStore)
        with pytest.raises(Unavailable):
            await store._database.write(lambda c: c.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")))
        assert (await stub.RecordUsage(usage("a"))).recorded == 1


@contextmanager
def _statements(word: str) -> Iterator[list[tuple[str, Any]]]:
    """What is executed in the block with ``word`` in it, and its parameters."""
    found: list[tuple[str, Any]] = []

    def note(_conn: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if word in statement:
            found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def _plans(store: SqlStore, statements: list[tuple[str, Any]]) -> list[str]:
    def explain(connection: Connection) -> list[str]:
        return [
            " ".join(str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
            for statement, parameters in statements
        ]

    return await store._database.read(explain)


async def test_sums_of_a_run_are_read_from_indexes_alone(tmp_path: Path) -> None:
    price = partial(Price, 7, "a list")
    versions = iter("12")
    store = await asyncio.to_thread(
        SqlStore.open, f"sqlite:///{tmp_path}/t.sqlite3", queue_rows=100, price=lambda _: price(next(versions))
    )
    await store.record_phases("t", [PhaseRecord("run-1", "a", pattern_id="p")], 0)
    await store.record_usage("t", [UsageRecord("run-1", str(n), n, Tokens(5)) for n in range(2)], 0)
    with _statements("SELECT") as statements:
        summary = await store.summary("t", "run-1")
    plans = await _plans(store, statements)
    await store.close()
    assert summary is not None
    assert summary.price_lists == ("a list 1", "a list 2")
    summed = [plan for plan in plans if "phases" in plan or "usage" in plan]
    assert ["COVERING INDEX" in plan for plan in summed] == [True] * 4
    assert "TEMP B-TREE" not in summed[0]


async def test_last_doctor_calls_are_found_by_index_and_not_by_sorting(tmp_path: Path) -> None:
    store = await asyncio.to_thread(SqlStore.open, f"sqlite:///{tmp_path}/t.sqlite3", queue_rows=100_000)
    record = UsageRecord("run-1", "", 0, Tokens(input=5), role=UsageRole.DOCTOR)
    records = [UsageRecord(record.run_id, str(n), n, record.tokens, role=record.role) for n in range(5_000)]
    await store.record_usage("t", records, 0)
    with _statements("LIMIT") as statements:
        for run_id in (None, "run-1"):
            for model_class in (ModelClass.UNKNOWN, ModelClass.CHEAP):
                await store.doctor_calls("t", run_id, model_class, 100)
    plans = await _plans(store, statements)
    await store.close()
    used = ["doctor_by_time", "doctor_by_class", "doctor_by_run", "doctor_by_run"]
    assert [name in found and "TEMP B-TREE" not in found for name, found in zip(used, plans, strict=True)] == [True] * 4


async def test_kill_under_load_loses_nothing_that_was_acknowledged(url: str, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "AUTOPACK_DATA_DIR": str(tmp_path),
        "AUTOPACK_TELEMETRY_DATABASE_URL": url,
        "AUTOPACK_LOG_LEVEL": "error",
    }
    # A test's own directory may be too deep for a socket.
    with tempfile.TemporaryDirectory(prefix="ap-") as directory:
        address = f"unix:{directory}/s"
        server = _serve(address, environment)
        try:
            assert server.stdout is not None
            assert (await asyncio.to_thread(server.stdout.readline)).strip() == address
            acknowledged = await _send_until_killed(address, server)
        finally:
            server.kill()
            assert await asyncio.to_thread(server.wait, 30) == -signal.SIGKILL
    database = await asyncio.to_thread(Database.open, url, name="telemetry", migrations=MIGRATIONS)
    kept = await database.read(lambda c: set(c.scalars(text("SELECT usage_id FROM usage"))))
    await database.close()
    assert len(acknowledged) >= ENOUGH
    assert acknowledged <= kept


def _serve(address: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "autopack_telemetry", "--address", address]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


async def _send_until_killed(address: str, server: subprocess.Popen[str]) -> set[str]:
    """Ids that the server said it had, sent by eight senders until it was killed in the middle."""
    acknowledged: set[str] = set()

    async def send(stub: pb_grpc.TelemetryServiceAsyncStub, sender: int) -> None:
        for number in itertools.count():
            ids = [f"{sender}-{number}-{part}" for part in range(20)]
            try:
                await stub.RecordUsage(usage(*ids), timeout=10)
            except AioRpcError:
                return
            acknowledged.update(ids)
            if len(acknowledged) >= ENOUGH:
                server.kill()

    async with open_channel(address) as channel:
        stub = pb_grpc.TelemetryServiceStub(channel)
        async with asyncio.TaskGroup() as senders:
            for sender in range(8):
                senders.create_task(send(stub, sender))
    return acknowledged


@pytest.mark.postgres
async def test_two_processes_add_the_same_calls_in_opposite_order(tmp_path: Path) -> None:
    with fresh_url("postgres", tmp_path, "telemetry") as url:
        stores = [await asyncio.to_thread(SqlStore.open, url, queue_rows=100_000) for _ in range(2)]
        for turn in range(6):
            records = [UsageRecord("run-1", f"{turn}-{number}", 1, Tokens(output=1)) for number in range(3_000)]
            answers = await asyncio.gather(
                stores[0].record_usage("default", records, 1), stores[1].record_usage("default", records[::-1], 1)
            )
            assert sum(recorded for recorded, _ in answers) == 3_000
        for store in stores:
            await store.close()

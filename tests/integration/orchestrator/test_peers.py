"""The other services, asked for the tenant of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import autopack_telemetry
import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_client import connect
from autopack_kit.auth import Authenticator, mint_run_token
from autopack_kit.bind import Bind
from autopack_kit.errors import NotFound
from autopack_kit.server import ServerOptions
from autopack_kit.testing import running
from autopack_orchestrator.adapters.peers import PeerAddresses, Peers
from autopack_orchestrator.core.judge import Usage
from autopack_orchestrator.core.records import PhaseRecord
from autopack_telemetry.settings import TelemetrySettings

KEY = b"k" * 32


@asynccontextmanager
async def telemetry(directory: Path, bind: Bind | None = None) -> AsyncIterator[str]:
    """A telemetry service that knows the signing key; gives its address."""
    service = autopack_telemetry.create(TelemetrySettings(database_url=f"sqlite:///{directory / 't.sqlite3'}"))
    options = ServerOptions(authenticator=Authenticator(signing_key=KEY))
    async with running(service, bind=bind, options=options) as target:
        yield target.address


def peers_at(address: str) -> Peers:
    return Peers(PeerAddresses(toolchain="", hardening="", intention="", telemetry=address), KEY)


@pytest.mark.parametrize("bind", [None, Bind.parse("127.0.0.1:0")], ids=["socket", "tcp"])
@pytest.mark.parametrize("tenant", ["default", "acme"])
async def test_usage_that_a_run_records_with_its_token_is_what_the_orchestrator_sees(
    tmp_path: Path, bind: Bind | None, tenant: str
) -> None:
    async with telemetry(tmp_path, bind) as address:
        token = mint_run_token(KEY, "b.r", tenant, expires=2**40)
        record = pb.UsageRecord(run_id="b.r", usage_id="u1", tokens=TokenUsage(input=70, output=7), cost_microusd=5)
        async with connect(address, token=token) as agent:
            await agent.telemetry.RecordUsage(pb.RecordUsageRequest(records=[record]))
        peers = peers_at(address)
        try:
            assert await peers.of(tenant).usage("b.r") == Usage(tokens=77, cost_microusd=5)
            assert await peers.of("others").usage("b.r") == Usage()
        finally:
            await peers.close()


async def test_phase_of_a_run_is_recorded_for_its_tenant_and_no_other(tmp_path: Path) -> None:
    async with telemetry(tmp_path) as address:
        peers = peers_at(address)
        try:
            await peers.of("acme").record_phase(PhaseRecord("b.r", "1", "agent", 1, outcome="succeeded"))
            own = peers.of("acme")._client("telemetry").telemetry
            assert (await own.GetRunSummary(pb.GetRunSummaryRequest(run_id="b.r"))).phases == 1
        finally:
            await peers.close()
        async with connect(address) as owner:  # of the socket: the default tenant
            with pytest.raises(NotFound):
                await owner.telemetry.GetRunSummary(pb.GetRunSummaryRequest(run_id="b.r"))

"""GetAgentEnvironment: what makes each agent report here, and who may ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import grpc
import pytest
from autopack_api.telemetry.v1 import agents_pb2 as pb
from autopack_api.telemetry.v1.telemetry_pb2_grpc import TelemetryServiceStub
from autopack_kit.auth import Authenticator, ensure_signing_key, mint_run_token, mint_service_token, verify_signed_token
from autopack_kit.bind import Bind
from autopack_kit.channel import open_channel
from autopack_kit.errors import AutopackError, InvalidArgument, NotFound
from autopack_kit.identity import Principal, Scope
from autopack_kit.kit_settings import KitSettings
from autopack_kit.server import ServerOptions
from autopack_kit.settings import load
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import Running, running
from autopack_telemetry import create
from autopack_telemetry.adapters.agents import known_agents
from autopack_telemetry.core.agents import USAGE_FILE
from autopack_telemetry.settings import TelemetrySettings

SENDERS = sorted(name for name, agent in known_agents().items() if agent.sends)
WRITERS = sorted(name for name, agent in known_agents().items() if agent.usage_file)


@asynccontextmanager
async def served(
    directory: Path,
    *,
    http: bool = True,
    tcp: bool = False,
    scopes: frozenset[Scope] = frozenset({Scope.RUN}),
    **settings: object,
) -> AsyncIterator[Running]:
    """A telemetry service whose caller has ``scopes``."""
    kit = load(KitSettings, {"AUTOPACK_DATA_DIR": str(directory)})
    key = ensure_signing_key(kit.signing_key_path)
    options = ServerOptions(
        authenticator=Authenticator(local=Principal("me", "default", scopes), signing_key=key),
        http_bind=Bind.parse("127.0.0.1:0") if http else None,
    )
    chosen = TelemetrySettings(database_url=f"sqlite:///{directory}/telemetry.sqlite3", **settings)  # type: ignore[arg-type]
    token = mint_service_token(key, "test", "default") if tcp else None
    bind = Bind.parse("127.0.0.1:0") if tcp else None
    async with running(create(chosen, kit), bind=bind, options=options, token=token) as target:
        yield target


async def ask(target: Running, agent: str, **fields: object) -> pb.GetAgentEnvironmentResponse:
    """What makes ``agent`` report."""
    request = pb.GetAgentEnvironmentRequest(**{"run_id": "b1.one", "agent": agent, **fields})  # type: ignore[arg-type]
    try:
        return await TelemetryServiceStub(target.channel).GetAgentEnvironment(request)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


@pytest.mark.parametrize("agent", SENDERS)
async def test_every_agent_is_told_where_to_send_as_whom_and_for_which_run(tmp_path: Path, agent: str) -> None:
    async with served(tmp_path) as target:
        told = await ask(target, agent, phase_id="1.1.2.agent")
        address = target.server.http_address
    everything = " ".join([*told.env.values(), *told.arguments])
    assert address in everything
    assert "{" not in "".join(told.env.values())
    assert told.env["OTEL_RESOURCE_ATTRIBUTES"] == "autopack.run.id=b1.one,autopack.phase.id=1.1.2.agent"
    headers = dict(part.split("=", 1) for part in unquote(told.env["OTEL_EXPORTER_OTLP_HEADERS"]).split(","))
    assert headers["x-autopack-run-id"] == "b1.one"
    assert headers["x-autopack-phase-id"] == "1.1.2.agent"
    token = headers["authorization"].removeprefix("Bearer ")
    # The token stands in a variable alone: command lines are public.
    assert not any(token in word for word in told.arguments)
    caller = verify_signed_token(ensure_signing_key(tmp_path / "signing.key"), token, now=0)
    assert (caller.run_id, caller.tenant, caller.scopes) == ("b1.one", "default", frozenset({Scope.INGEST}))
    assert list(told.signals)


@pytest.mark.parametrize("agent", SENDERS)
async def test_over_grpc_every_agent_is_given_the_grpc_address(tmp_path: Path, agent: str) -> None:
    async with served(tmp_path, tcp=True) as target:
        told = await ask(target, agent, protocol=pb.OTLP_PROTOCOL_GRPC)
        everything = " ".join([*told.env.values(), *told.arguments])
        assert f"http://{target.address}" in everything
        assert target.server.http_address not in everything
        assert "grpc" in everything


@pytest.mark.parametrize("agent", WRITERS)
async def test_an_agent_that_writes_a_file_is_told_to_and_needs_no_address(tmp_path: Path, agent: str) -> None:
    async with served(tmp_path, http=False) as target:
        told = await ask(target, agent)
    assert USAGE_FILE in [*told.arguments, *told.env.values()]
    assert told.usage_file_format != pb.USAGE_FILE_FORMAT_UNSPECIFIED
    assert list(told.signals) == [pb.USAGE_SIGNAL_FILE]
    assert told.note
    assert not any("Bearer" in value for value in told.env.values())


async def test_agents_elsewhere_are_told_the_address_that_was_set(tmp_path: Path) -> None:
    async with served(tmp_path, http=False, otlp_endpoint="https://telemetry.example:4318/") as target:
        told = await ask(target, "generic")
    assert told.env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://telemetry.example:4318"


async def test_without_an_address_the_remedy_names_the_settings(tmp_path: Path) -> None:
    async with served(tmp_path, http=False) as target:
        for protocol in (pb.OTLP_PROTOCOL_UNSPECIFIED, pb.OTLP_PROTOCOL_GRPC):
            with pytest.raises(AutopackError) as caught:
                await ask(target, "claude", protocol=protocol)
            assert caught.value.reason == "OTLP_ENDPOINT_UNKNOWN"
            assert "AUTOPACK_HTTP_ADDRESS" in caught.value.remedy
            assert "AUTOPACK_TELEMETRY_OTLP_ENDPOINT" in caught.value.remedy


async def test_an_agent_that_is_not_known_is_told_which_are(tmp_path: Path) -> None:
    async with served(tmp_path) as target:
        with pytest.raises(AutopackError) as caught:
            await ask(target, "nobody")
    assert isinstance(caught.value, NotFound)
    assert caught.value.reason == "AGENT_NOT_KNOWN"
    assert "claude" in caught.value.remedy


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"run_id": "a run"}, "run_id"),
        ({"run_id": ""}, "run_id"),
        ({"agent": ""}, "agent"),
        ({"phase_id": "x" * 129}, "phase_id"),
        ({"phase_id": "a\nb"}, "phase_id"),
        ({"protocol": 77}, "protocol"),
    ],
)
async def test_bad_input_names_its_field(tmp_path: Path, fields: dict[str, object], field: str) -> None:
    async with served(tmp_path) as target:
        with pytest.raises(AutopackError) as caught:
            await ask(target, **{"agent": "claude", **fields})  # type: ignore[arg-type]
    assert isinstance(caught.value, InvalidArgument)
    assert field in str(caught.value)


async def test_who_may_only_read_or_is_an_agent_gets_no_token(tmp_path: Path) -> None:
    async with served(tmp_path, scopes=frozenset({Scope.READ})) as target:
        with pytest.raises(AutopackError) as caught:
            await ask(target, "claude")
        assert caught.value.reason == "SCOPE_MISSING"
        # The token of a run could renew itself for ever.
        key = ensure_signing_key(tmp_path / "signing.key")
        own = mint_run_token(key, "b1.one", "default", 2**40)
        async with open_channel(target.address, token=own) as channel:
            with pytest.raises(AutopackError) as caught:
                await ask(replace(target, channel=channel), "claude")
        assert caught.value.reason == "SCOPE_MISSING"


async def test_where_telemetry_is_off_there_is_nothing_to_set(tmp_path: Path) -> None:
    async with served(tmp_path, enabled=False) as target:
        told = await ask(target, "claude")
    assert (dict(told.env), list(told.arguments), list(told.signals)) == ({}, [], [])
    assert "AUTOPACK_TELEMETRY_ENABLED" in told.note

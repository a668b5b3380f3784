"""Runs by state, as Prometheus reads them of a real server."""

from __future__ import annotations

from pathlib import Path

import autopack_orchestrator
import httpx
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1 import orchestrator_pb2_grpc
from autopack_api.orchestrator.v1.batch_pb2 import BatchSpec
from autopack_kit.auth import Authenticator, ensure_tokens_file, read_token
from autopack_kit.bind import Bind
from autopack_kit.kit_settings import KitSettings
from autopack_kit.server import ServerOptions
from autopack_kit.settings import load
from autopack_kit.testing import running
from autopack_orchestrator.settings import OrchestratorSettings
from prometheus_client.parser import text_string_to_metric_families

from tests.service.orchestrator.bench import run


async def test_runs_that_have_not_ended_are_counted_by_state(repo: Path, tmp_path: Path) -> None:
    tokens = ensure_tokens_file(tmp_path / "tokens.toml")
    token = read_token(tmp_path / "token")
    kit = load(KitSettings, {"AUTOPACK_DATA_DIR": str(tmp_path / "data"), "HOME": str(tmp_path)})
    service = autopack_orchestrator.create(OrchestratorSettings(allowed_roots=(tmp_path,)), kit, carry_out=False)
    options = ServerOptions(authenticator=Authenticator(tokens), http_bind=Bind.parse("127.0.0.1:0"))
    async with running(service, options=options, token=token) as target:
        client = httpx.AsyncClient(
            base_url=target.server.http_address, headers={"authorization": f"Bearer {token}"}, verify=False, timeout=60
        )
        async with client:
            nothing = {"queued": 0.0, "preparing": 0.0, "running": 0.0, "validating": 0.0}
            assert await counted(client) == nothing
            stub = orchestrator_pb2_grpc.OrchestratorServiceStub(target.channel)
            spec = BatchSpec(path=str(repo), runs=[run("a"), run("b"), run("c")])
            batch = (await stub.CreateBatch(pb.CreateBatchRequest(spec=spec))).batch
            assert await counted(client) == nothing | {"queued": 3.0}
            await stub.CancelBatch(pb.CancelBatchRequest(batch_id=batch.batch_id))
            assert await counted(client) == nothing
            assert (await client.get("/readyz")).status_code == 200


async def counted(client: httpx.AsyncClient) -> dict[str, float]:
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    (found,) = (family for family in families if family.name == "autopack_orchestrator_runs")
    return {sample.labels["state"]: sample.value for sample in found.samples}

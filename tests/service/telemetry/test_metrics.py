"""What /metrics of a real server tells, the dashboard that reads it, and /readyz when the database is away."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import autopack_orchestrator
import grpc
import grpc.aio
import httpx
import pytest
from autopack_api.common.v1.common_pb2 import TokenUsage
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2_grpc as pb_grpc
from autopack_kit.auth import Authenticator, ensure_tokens_file, mint_run_token, read_token
from autopack_kit.bind import Bind
from autopack_kit.kit_settings import KitSettings
from autopack_kit.server import ServerOptions
from autopack_kit.settings import load
from autopack_kit.testing import Running, running
from autopack_orchestrator.settings import OrchestratorSettings
from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = ROOT / "deploy/grafana/autopack.json"
KEY = b"k" * 32


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Running]:
    tokens = ensure_tokens_file(tmp_path / "tokens.toml")
    options = ServerOptions(authenticator=Authenticator(tokens, signing_key=KEY), http_bind=Bind.parse("127.0.0.1:0"))
    telemetry = create(TelemetrySettings(database_url=f"sqlite:///{tmp_path}/t.sqlite3"))
    kit = load(KitSettings, {"AUTOPACK_DATA_DIR": str(tmp_path / "data"), "HOME": str(tmp_path)})
    orchestrator = autopack_orchestrator.create(OrchestratorSettings(), kit, carry_out=False)
    async with running(telemetry, orchestrator, options=options, token=read_token(tmp_path / "token")) as found:
        yield found


@pytest.fixture
def token(tmp_path: Path) -> str:
    return read_token(tmp_path / "token")


async def scrape(target: Running, token: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample name -> labels -> value."""
    async with httpx.AsyncClient(verify=False, timeout=60) as client:
        answer = await client.get(f"{target.server.http_address}/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def record(target: Running) -> None:
    """Some of everything that is counted."""
    stub: Any = pb_grpc.TelemetryServiceStub(target.channel)
    now = Timestamp()
    now.GetCurrentTime()
    usage = pb.UsageRecord(
        run_id="run-1", usage_id="u1", time=now, agent="claude", model="claude-opus-5", cost_microusd=250_000,
        tokens=TokenUsage(input=100, cache_read=50, cache_write=5, output=20, reasoning=10),
    )  # fmt: skip
    await stub.RecordUsage(pb.RecordUsageRequest(records=[usage]))
    await stub.RecordUsage(pb.RecordUsageRequest(records=[usage]))
    run = pb.RunRecord(run_id="run-1", outcome=pb.PHASE_OUTCOME_SUCCEEDED, duration=Duration(seconds=90))
    await stub.RecordRuns(pb.RecordRunsRequest(runs=[run]))
    phase = pb.Phase(run_id="run-1", phase_id="p1", retries=2)
    await stub.RecordPhases(pb.RecordPhasesRequest(phases=[phase]))


async def export(target: Running, token: str) -> None:
    """A log record of Claude Code, as its exporter sends it; and a request that fails."""
    record = {
        "timeUnixNano": str(time.time_ns()),
        "body": {"stringValue": "claude_code.api_request"},
        "attributes": [
            attribute("event.name", "api_request"),
            attribute("session.id", "s-1"),
            attribute("model", "claude-opus-5"),
            attribute("input_tokens", "7"),
            attribute("output_tokens", "3"),
        ],
    }
    resource = {"attributes": [attribute("service.name", "claude-code"), attribute("autopack.run.id", "run-2")]}
    scope = {"scope": {"name": "com.anthropic.claude_code.events"}, "logRecords": [record]}
    body = {"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]}
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        verify=False, timeout=60, base_url=target.server.http_address, headers=headers
    ) as client:
        assert (await client.post("/v1/logs", json=body)).status_code == 200
        assert (await client.get("/nothing")).status_code == 404


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


async def test_what_was_recorded_is_counted_once(target: Running, token: str) -> None:
    await record(target)
    found = await scrape(target, token)
    tokens = {dict(labels)["type"]: value for labels, value in found["autopack_llm_tokens_total"].items()}
    assert tokens == {"input": 100, "cache_read": 50, "cache_write": 5, "output": 20}
    of = (("agent", "claude"), ("model", "claude-opus-5"), ("role", "agent"), ("source", "reported"))
    assert found["autopack_llm_cost_usd_total"] == {of: 0.25}
    assert found["autopack_runs_total"] == {(("outcome", "succeeded"),): 1}
    assert list(found["autopack_run_duration_seconds_sum"].values()) == [90]
    assert list(found["autopack_phase_retries_total"].values()) == [2]
    assert next(iter(found["autopack_ingest_commit_seconds_count"].values())) >= 3
    assert list(found["autopack_ingest_queue_rows"].values()) == [0]
    calls = {dict(labels)["method"]: value for labels, value in found["autopack_rpc_calls_total"].items()}
    assert calls["RecordUsage"] == 2
    for samples in found.values():
        for labels in samples:
            assert not {"run_id", "phase_id", "session_id", "tenant"} & dict(labels).keys()
            assert "run-1" not in dict(labels).values()


async def test_two_servers_in_one_process_count_for_themselves(target: Running, token: str, tmp_path: Path) -> None:
    settings = TelemetrySettings(database_url=f"sqlite:///{tmp_path}/other.sqlite3")
    options = ServerOptions(
        authenticator=Authenticator(ensure_tokens_file(tmp_path / "tokens.toml")), http_bind=Bind.parse("127.0.0.1:0")
    )
    async with running(create(settings), options=options) as other:
        await record(other)
        assert "autopack_llm_tokens_total" in await scrape(other, token)
    assert "autopack_llm_tokens_total" not in await scrape(target, token)


async def test_metrics_are_not_for_the_token_of_a_run(target: Running) -> None:
    headers = {"authorization": f"Bearer {mint_run_token(KEY, 'run-1', 'default', 4e9)}"}
    async with httpx.AsyncClient(verify=False, timeout=60) as client:
        answer = await client.get(f"{target.server.http_address}/metrics", headers=headers)
    assert answer.status_code == 403


async def test_a_database_that_cannot_be_read_makes_the_service_not_ready(target: Running, tmp_path: Path) -> None:
    async with httpx.AsyncClient(verify=False, timeout=60, base_url=target.server.http_address) as client:
        assert (await client.get("/readyz")).status_code == 200
        with closing(sqlite3.connect(tmp_path / "t.sqlite3")) as other:
            other.execute("DROP TABLE runs")
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["not_ready"]) == (503, ["telemetry"])
        assert (await client.get("/healthz")).status_code == 200


async def test_what_comes_over_otlp_is_counted_by_what_became_of_it(target: Running, token: str) -> None:
    await export(target, token)
    await export(target, token)
    found = await scrape(target, token)
    assert found["autopack_otlp_records_total"][(("result", "recorded"), ("signal", "logs"))] >= 1
    tokens = found["autopack_llm_tokens_total"]
    labels = (("agent", "claude"), ("model", "claude-opus-5"), ("role", "agent"), ("type", "input"))
    assert tokens[labels] % 7 == 0
    assert found["autopack_http_requests_total"][(("path", "/v1/logs"), ("status", "200"))] == 2


async def test_dashboard_asks_for_nothing_that_a_server_does_not_tell(target: Running, token: str) -> None:
    await record(target)
    await export(target, token)
    await scrape(target, token)
    with pytest.raises(grpc.aio.AioRpcError):
        await pb_grpc.TelemetryServiceStub(target.channel).GetRunSummary(pb.GetRunSummaryRequest())
    found = await scrape(target, token)
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [query["expr"] for panel in dashboard["panels"] for query in panel.get("targets", ())]
    expressions += [item["query"]["query"] for item in dashboard["templating"]["list"] if item["type"] == "query"]
    assert len(expressions) > 20
    asked = {name for expression in expressions for name in check_expression(expression, found)}
    own = {name for name in found if name.startswith("autopack_") and not name.endswith(("_created", "_sum", "_count"))}
    assert own <= asked  # and what a server tells is shown


def check_expression(expression: str, found: dict[str, Any]) -> set[str]:
    """The metrics that a PromQL expression names; each must exist with the labels, and the values, asked for."""
    names = set(re.findall(r"\b(?:autopack|process)_[a-z_]+", expression))
    assert names, expression
    for name, matchers in re.findall(r"\b((?:autopack|process)_[a-z_]+)(?:\{([^}]*)\})?", expression):
        assert name in found, f"no {name} in a scrape: {expression}"
        samples = [dict(labels) for labels in found[name]]
        for label, operator, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', matchers):
            if label != "instance":  # Prometheus adds it
                assert any(label in sample for sample in samples), f"{name} has no label {label}"
            if operator in ("=", "=~") and not value.startswith("$"):
                wanted = re.compile(value)
                assert any(wanted.fullmatch(sample.get(label, "")) for sample in samples), f"{name}: no {label} {value}"
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        labels = {label for name in names for sample in found[name] for label in dict(sample)}
        assert {part.strip() for part in group.split(",")} <= labels | {"instance"}, expression
    return names


def test_dashboard_can_be_provisioned() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["uid"] == "autopack"
    assert dashboard["id"] is None  # given by Grafana
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in own) < 24
        cells |= own
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["description"]
            assert len({query["refId"] for query in panel["targets"]}) == len(panel["targets"])

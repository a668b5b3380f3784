"""Whole runs whose agents tell what they use: the variables, the token, the budget, the run's own record, the files."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import (
    NETWORK_OFF,
    SANDBOX_REQUIRED,
    AgentPreset,
    Budget,
    Doctor,
    Isolation,
)
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_client import ClientTls, connect
from autopack_kit import certs
from autopack_kit.auth import ensure_signing_key, mint_service_token
from autopack_kit.bind import Bind
from autopack_kit.errors import NotFound
from autopack_kit.kit_settings import KitSettings
from autopack_kit.server import Server
from autopack_kit.settings import load
from autopack_kit.tls import ServerTls
from autopack_telemetry import create
from autopack_telemetry.settings import TelemetrySettings

from tests.integration.orchestrator.sandboxes import needs_sandbox
from tests.service.orchestrator.bench import ADVISERS, Bench, argv, bench, options, repository, run, shell

AGENT = str(Path(__file__).with_name("sdk_agent.py"))
TRAJECTORY = Path(__file__).parents[2] / "unit/telemetry/golden_files/mini-swe-agent.traj.json"
INSIDE = Isolation(sandbox=SANDBOX_REQUIRED)
USED = (904, 4_096, 0, 300)  # uncached input, read from and written to a cache, output


async def summary_of(stack: Bench, run_id: str) -> telemetry_pb2.GetRunSummaryResponse:
    """What telemetry knows of a run."""
    return await stack.client.telemetry.GetRunSummary(telemetry_pb2.GetRunSummaryRequest(run_id=run_id))


def tokens(summary: telemetry_pb2.GetRunSummaryResponse) -> tuple[int, int, int, int]:
    """As USED."""
    told = summary.tokens
    return told.input, told.cache_read, told.cache_write, told.output


@pytest.mark.parametrize(
    ("signal", "isolation"),
    [
        ("span", None),
        pytest.param("log", None, marks=pytest.mark.long),
        pytest.param("span", INSIDE, marks=[needs_sandbox, pytest.mark.long]),
    ],
)
async def test_what_an_agent_tells_with_a_stock_sdk_is_of_its_run_and_its_token_stays_secret(
    tmp_path: Path, signal: str, isolation: Isolation | None
) -> None:
    repo = repository(tmp_path / "calc")
    # In the sandbox it can write to its worktree alone.
    witness = "witness" if isolation else str(tmp_path / "witness")
    item = run("one", command=argv(sys.executable, AGENT, witness, signal))
    async with bench(tmp_path, http=True) as stack:
        (done,) = await stack.finish(repo, item, isolation=isolation)
        log = await stack.log(done.run_id)
        summary = await summary_of(stack, done.run_id)
        events = "\n".join(map(str, stack.events[done.batch_id]))
    assert done.state == pb.RUN_STATE_SUCCEEDED, (done.error, log.decode())
    assert not done.warnings
    assert tokens(summary) == USED
    assert summary.usage_records == 1
    assert f"autopack.run.id={done.run_id},autopack.phase.id=".encode() in log
    if isolation is None:
        headers = Path(witness).read_text()
        (token,) = re.findall("Bearer ([^,]+)", unquote(headers))
        assert len(token) > 60
        assert token.encode() not in log
        assert b"*" * len(token) in log
        assert token not in events
    run_record = summary.run
    assert (run_record.task, run_record.batch_id, run_record.agent) == ("one", done.batch_id, "generic")
    assert run_record.base_commit == done.base_commit
    assert run_record.outcome == telemetry_pb2.PHASE_OUTCOME_SUCCEEDED
    assert (run_record.retries, run_record.token_limit, run_record.time_limit.seconds) == (0, 0, 3600)
    assert run_record.duration.ToTimedelta().total_seconds() > 0


@pytest.mark.long
async def test_the_agents_phase_says_what_it_was_given_and_owns_what_it_used(tmp_path: Path) -> None:
    repo = repository(tmp_path / "calc")
    item = run("one", command=argv(sys.executable, AGENT, str(tmp_path / "witness"), "span"))
    item.intention.scope.extend(["src/**", "tests/**"])
    async with bench(tmp_path, http=True) as stack:
        (done,) = await stack.finish(repo, item)
        request = telemetry_pb2.ListPhasesRequest(run_id=done.run_id)
        phases = (await stack.client.telemetry.ListPhases(request)).phases
        log = (await stack.log(done.run_id)).decode()
    (phase,) = (phase for phase in phases if phase.kind == "agent")
    assert f"autopack.phase.id={phase.phase_id}" in log
    assert (phase.context_source, phase.scope_size, phase.warnings) == ("intention", 2, 0)
    assert phase.context_bytes > 0


@pytest.mark.long
async def test_the_same_task_has_the_same_hash_and_another_one_another(tmp_path: Path) -> None:
    repo = repository(tmp_path / "calc")
    other = run("two")
    other.intention.scope.append("src/**")
    async with bench(tmp_path) as stack:
        first, again, second = await stack.finish(repo, run("one"), run("again", "echo '# x' >> src/calc.py"), other)
        hashes = [(await summary_of(stack, item.run_id)).run.spec_hash for item in (first, again, second)]
    # Who does it, and how, is no part of what is to be done.
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.long
async def test_a_budget_ends_the_run_while_its_agent_is_at_work(tmp_path: Path) -> None:
    repo = repository(tmp_path / "calc")
    witness = tmp_path / "witness"
    Path(f"{witness}.wait").touch()  # for ever: only the budget ends it
    item = run("one", command=argv(sys.executable, AGENT, str(witness), "span"), budget=Budget(max_tokens=5_299))
    async with bench(tmp_path, http=True) as stack:
        (done,) = await stack.finish(repo, item)
        summary = await summary_of(stack, done.run_id)
    assert (done.state, done.error.reason) == (pb.RUN_STATE_FAILED, "BUDGET"), done.error
    assert "5300 tokens used, 5299 allowed" in done.error.message
    assert (summary.run.outcome, summary.run.token_limit) == (telemetry_pb2.PHASE_OUTCOME_FAILED, 5_299)


@pytest.mark.long
async def test_usage_that_an_agent_lays_at_another_runs_door_is_refused(tmp_path: Path) -> None:
    repo = repository(tmp_path / "calc")
    item = run("one", command=argv(sys.executable, AGENT, str(tmp_path / "witness"), "span", "batch-other.one"))
    async with bench(tmp_path, http=True) as stack:
        (done,) = await stack.finish(repo, item)
        assert (await summary_of(stack, done.run_id)).usage_records == 0
        with pytest.raises(NotFound):
            await summary_of(stack, "batch-other.one")


async def test_what_a_doctor_uses_is_told_apart(tmp_path: Path) -> None:
    repo = repository(tmp_path / "calc")
    doctor = Doctor(command=argv(sys.executable, AGENT, str(tmp_path / "witness"), "span"), max_calls=1)
    item = run("one", "echo '# more' >> src/calc.py", validate=[shell("grep -q 'def sub' src/calc.py")], doctor=doctor)
    async with bench(tmp_path, http=True) as stack:
        (done,) = await stack.finish(repo, item)
        summary = await summary_of(stack, done.run_id)
        log = await stack.log(done.run_id)
    assert done.state == pb.RUN_STATE_SUCCEEDED, (done.error, log.decode())
    assert tokens(summary) == USED
    assert summary.doctor_tokens == summary.tokens


@pytest.mark.long
@needs_sandbox
async def test_without_a_network_there_is_nothing_to_send_to(tmp_path: Path) -> None:
    repo = repository(tmp_path / "calc")
    isolation = Isolation(sandbox=SANDBOX_REQUIRED, network=NETWORK_OFF)
    item = run("one", "env | grep OTEL || echo nothing is set; echo '# more' >> src/calc.py")
    async with bench(tmp_path, http=True) as stack:
        (done,) = await stack.finish(repo, item, isolation=isolation)
        log = await stack.log(done.run_id)
    assert b"nothing is set" in log, log
    assert not done.warnings


@pytest.mark.long
async def test_over_tls_an_agent_knows_the_authority_of_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telemetry is apart, over TLS; the other services are not there, which a run bears."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # with them the SDK of Python forgets its own certificate
        monkeypatch.delenv(name, raising=False)
    repo = repository(tmp_path / "calc")
    made = certs.init(tmp_path / "certs")
    tls = ServerTls(made.server, made.server_key)
    (tmp_path / "data").mkdir()
    secured = replace(options(tmp_path / "data", http=True), tls=tls, http_tls=tls)
    kit = load(
        KitSettings, {"AUTOPACK_DATA_DIR": str(tmp_path / "data"), "AUTOPACK_TLS_CERTIFICATE_FILE": str(made.server)}
    )
    service = create(TelemetrySettings(database_url=f"sqlite:///{tmp_path}/telemetry.sqlite3"), kit)
    item = run("one", command=argv(sys.executable, AGENT, str(tmp_path / "witness"), "span"))
    server = Server([service], Bind.parse("127.0.0.1:0"), secured)
    await server.start()
    try:
        async with bench(tmp_path, without=ADVISERS, telemetry_address=server.address, peer_ca_file=made.ca) as stack:
            (done,) = await stack.finish(repo, item)
            log = await stack.log(done.run_id)
        token = mint_service_token(ensure_signing_key(kit.signing_key_path), "test", "default")
        async with connect(server.address, token=token, tls=ClientTls(ca=made.ca)) as client:
            request = telemetry_pb2.GetRunSummaryRequest(run_id=done.run_id)
            summary = await client.telemetry.GetRunSummary(request)
    finally:
        await server.stop(grace=0)
    assert b"OTEL_EXPORTER_OTLP_ENDPOINT=https://" in log
    assert tokens(summary) == USED


@pytest.mark.long
async def test_variables_of_the_commands_own_stay_as_they_are(tmp_path: Path) -> None:
    repo = repository(tmp_path / "calc")
    command = shell("echo to $OTEL_EXPORTER_OTLP_ENDPOINT as $OTEL_EXPORTER_OTLP_PROTOCOL; echo '# x' >> src/calc.py")
    command.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
    async with bench(tmp_path, http=True) as stack:
        (done,) = await stack.finish(repo, run("one", command=command))
        assert b"to http://127.0.0.1:1 as http/protobuf\n" in await stack.log(done.run_id)


@pytest.mark.parametrize("isolation", [None, pytest.param(INSIDE, marks=[needs_sandbox, pytest.mark.long])])
async def test_the_file_that_an_agent_writes_about_its_usage_is_handed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolation: Isolation | None
) -> None:
    """The real agent is in the long tier; here the program of that name writes what a real one wrote."""
    repo = repository(tmp_path / "calc", {"src/calc.py": "x = 1\n", "traj.json": TRAJECTORY.read_text()})
    monkeypatch.setenv("PATH", f"{_programs(tmp_path)}:/usr/local/bin:/usr/bin:/bin")
    item = run("one", agent=AgentPreset(name="mini-swe-agent"))
    async with bench(tmp_path, http=True) as stack:
        (done,) = await stack.finish(repo, item, isolation=isolation)
        summary = await summary_of(stack, done.run_id)
        log = await stack.log(done.run_id)
    assert done.state == pb.RUN_STATE_SUCCEEDED, (done.error, log.decode())
    assert not done.warnings
    assert summary.run.agent == "mini-swe-agent"
    expected = json.loads(TRAJECTORY.read_text())["info"]["model_stats"]["api_calls"]
    assert summary.usage_records == expected > 0
    assert summary.tokens.output > 0


@pytest.mark.long
async def test_what_an_agent_had_used_until_it_was_cancelled_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = repository(tmp_path / "calc", {"src/calc.py": "x = 1\n", "traj.json": TRAJECTORY.read_text()})
    programs = _programs(tmp_path, 'cp traj.json "$last"; echo it is written; exec sleep 600')
    monkeypatch.setenv("PATH", f"{programs}:/usr/local/bin:/usr/bin:/bin")
    async with bench(tmp_path, http=True) as stack:
        batch = await stack.submit(repo, run("one", agent=AgentPreset(name="mini-swe-agent")))
        async with asyncio.timeout(60):
            while b"it is written\n" not in await stack.log(f"{batch.batch_id}.one"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await stack.client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=batch.batch_id))
        await stack.watch(batch.batch_id)
        summary = await summary_of(stack, f"{batch.batch_id}.one")
    assert summary.tokens.output > 0
    assert summary.run.outcome == telemetry_pb2.PHASE_OUTCOME_CANCELLED


@pytest.mark.long
async def test_an_agent_that_leaves_no_file_or_something_else_in_its_place_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = repository(tmp_path / "calc")
    programs = _programs(tmp_path, 'ln -s /etc/passwd "$last"')
    monkeypatch.setenv("PATH", f"{programs}:/usr/local/bin:/usr/bin:/bin")
    async with bench(tmp_path, http=True) as stack:
        (linked,) = await stack.finish(repo, run("one", agent=AgentPreset(name="mini-swe-agent")))
        _programs(tmp_path, "true")
        (missing,) = await stack.finish(repo, run("one", agent=AgentPreset(name="mini-swe-agent")))
    assert [item.state for item in (linked, missing)] == [pb.RUN_STATE_SUCCEEDED] * 2
    assert "is not a file; it is not opened" in linked.warnings[0]
    assert "the agent wrote none" in missing.warnings[0]


@pytest.mark.long
async def test_an_agent_that_nobody_hears_is_a_warning_where_it_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = repository(tmp_path / "calc")
    programs = _programs(tmp_path, "true")
    (programs / "mini").rename(programs / "claude")
    monkeypatch.setenv("PATH", f"{programs}:/usr/local/bin:/usr/bin:/bin")
    async with bench(tmp_path) as stack:  # without a port to which agents can send
        plain, preset = await stack.finish(repo, run("plain"), run("preset", agent=AgentPreset(name="claude")))
    assert not plain.warnings  # it may have its own ways to tell
    assert "What the agent uses will not be known" in preset.warnings[0]


def _programs(directory: Path, leave: str = 'cp traj.json "$last"') -> Path:
    """A directory with a program ``mini`` that makes its change and leaves something at the path in its last word."""
    programs = directory / "programs"
    programs.mkdir(exist_ok=True)
    script = f'#!/bin/sh -e\nfor last in "$@"; do :; done\necho "# more" >> src/calc.py\n{leave}\n'
    (programs / "mini").write_text(script)
    (programs / "mini").chmod(0o755)
    return programs

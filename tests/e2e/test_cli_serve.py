"""``autopack serve``: addresses, tokens, reflection, an orderly end."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from autopack_kit.auth import ensure_signing_key, mint_run_token

Cli = Any
Servers = Any
Serving = Any
BUF = Path(sys.executable).with_name("buf")
ENTRY = '[[tokens]]\nname = "{name}"\nscopes = ["{scope}"]\nsha256 = "{digest}"\n'


def buf_curl(address: str, method: str, request: dict[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
    """One call through reflection, by a client that has never seen our protos."""
    unix = address.startswith("unix:")
    target = (
        ["--unix-socket", address.removeprefix("unix:"), f"http://localhost/{method}"]
        if unix
        else [f"http://{address}/{method}"]
    )
    return subprocess.run(
        [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(request), *words, *target],
        capture_output=True, text=True, timeout=120, check=False, env={"HOME": "/tmp", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


CALLS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("autopack.toolchain.v1.ToolchainService/GetSnapshotSpec", {}, "contentPatterns"),
    ("autopack.hardening.v1.HardeningService/ListPatterns", {}, "py.module_not_found"),
    ("autopack.intention.v1.IntentionService/BuildContext", {"intention": {"title": "Fix it"}}, "Fix it"),
    ("autopack.orchestrator.v1.OrchestratorService/ListRuns", {}, "{}"),
    ("autopack.telemetry.v1.TelemetryService/EstimateAvoidedTokens", {}, "12000"),
)


def test_buf_curl_calls_one_rpc_of_each_service_through_reflection(servers: Servers) -> None:
    server = servers.start("--all")
    assert server.address.startswith("unix:")
    for method, request, answer in CALLS:
        done = buf_curl(server.address, method, request)
        assert done.returncode == 0, done.stderr
        assert answer in done.stdout


def test_tcp_needs_a_token_that_is_right_and_has_the_scope(cli: Cli, servers: Servers, repository: Path) -> None:
    for name, scope in (("reader", "read"), ("runner", "run")):
        digest = hashlib.sha256(name.encode()).hexdigest()
        tokens = cli.data / "tokens.toml"
        tokens.parent.mkdir(mode=0o700, exist_ok=True)
        with tokens.open("a") as file:
            file.write(ENTRY.format(name=name, scope=scope, digest=digest))
        tokens.chmod(0o600)
        (cli.home / name).write_text(name)
        (cli.home / name).chmod(0o600)
    (cli.home / "wrong").write_text("wrong")
    (cli.home / "wrong").chmod(0o600)
    run_token = mint_run_token(ensure_signing_key(cli.data / "signing.key"), "b.r", "default", 4e9)
    (cli.home / "inside").write_text(run_token)
    (cli.home / "inside").chmod(0o600)
    server = servers.start("--all", "--address", "127.0.0.1:0", "--allow-root", repository)

    def ask(token: str | None, *words: str | Path) -> subprocess.CompletedProcess[str]:
        env = {"AUTOPACK_ADDRESS": server.address, **({"AUTOPACK_TOKEN_FILE": str(cli.home / token)} if token else {})}
        done: subprocess.CompletedProcess[str] = cli(*words, env=env)
        assert run_token not in done.stdout + done.stderr
        return done

    run = ("run", "--repo", repository, "--goal", "g", "--command", "true", "--check")
    for token, words, reason in (
        (None, ("runs", "list"), "TOKEN_MISSING"),
        ("wrong", ("runs", "list"), "TOKEN_INVALID"),
        ("reader", run, "SCOPE_MISSING"),
        ("inside", ("runs", "list"), "SCOPE_MISSING"),
        ("inside", run, "SCOPE_MISSING"),
        ("inside", ("stats", "b.r"), "SCOPE_MISSING"),
    ):
        done = ask(token, *words)
        assert done.returncode == 1, (token, words)
        assert f"reason: {reason}" in done.stderr
        assert "what to do: " in done.stderr
    assert ask("reader", "runs", "list").returncode == 0
    assert ask("runner", *run).returncode == 0
    assert ask(None, "health").returncode == 0  # probes carry no credentials


def test_token_of_a_run_may_ingest_for_that_run_and_nothing_else(cli: Cli, servers: Servers) -> None:
    token = mint_run_token(ensure_signing_key(cli.data / "signing.key"), "b.r", "default", 4e9)
    server = servers.start("telemetry", "--address", "127.0.0.1:0")
    header = (
        "--reflect-header",
        f"authorization: Bearer {admin_token(cli)}",
        "--header",
        f"authorization: Bearer {token}",
    )
    record = "autopack.telemetry.v1.TelemetryService/RecordPhases"
    phase = {"phaseId": "p", "kind": "agent"}
    own = buf_curl(server.address, record, {"phases": [{"runId": "b.r", **phase}]}, *header)
    assert own.returncode == 0, own.stderr
    other = buf_curl(server.address, record, {"phases": [{"runId": "b.other", **phase}]}, *header)
    assert "permission_denied" in other.stderr
    read = buf_curl(server.address, "autopack.telemetry.v1.TelemetryService/GetRunSummary", {"runId": "b.r"}, *header)
    assert "permission_denied" in read.stderr


def admin_token(cli: Cli) -> str:
    return str((cli.data / "token").read_text().strip())


def test_generated_token_is_used_by_the_same_user(cli: Cli, servers: Servers) -> None:
    server = servers.start("orchestrator", "--address", "127.0.0.1:0")
    assert (cli.data / "token").stat().st_mode & 0o777 == 0o600
    done = cli("runs", "list", "--address", server.address)
    assert done.returncode == 0, done.stderr
    assert admin_token(cli) not in done.stdout + done.stderr


def test_port_in_use_is_refused_with_what_to_do(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("serve", "toolchain", "--address", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 1
    assert "reason: ADDRESS_UNAVAILABLE" in done.stderr
    assert "choose another address" in done.stderr


def test_second_server_on_the_same_socket_is_refused(cli: Cli, servers: Servers) -> None:
    servers.start("--all")
    done = cli("serve", "--all")
    assert done.returncode == 1
    assert "reason: ALREADY_SERVING" in done.stderr


def test_plaintext_on_a_public_address_is_refused(cli: Cli) -> None:
    done = cli("serve", "toolchain", "--address", "0.0.0.0:0")
    assert done.returncode == 1
    assert "reason: TLS_NEEDED" in done.stderr
    assert "--tls-terminated-elsewhere" in done.stderr


def test_tls_with_the_made_certificates_serves_and_is_demanded(cli: Cli, servers: Servers) -> None:
    assert cli("certs", "init", "certs").returncode == 0
    certs = cli.home / "certs"
    env = {
        "AUTOPACK_TLS_CERTIFICATE_FILE": str(certs / "server.pem"),
        "AUTOPACK_TLS_KEY_FILE": str(certs / "server.key"),
        "AUTOPACK_TLS_CLIENT_CA_FILE": str(certs / "ca.pem"),
    }
    server = servers.start("toolchain", "--address", "localhost:0", env=env)
    address = f"localhost:{server.address.rpartition(':')[2]}"
    mutual = (
        "--tls-ca",
        certs / "ca.pem",
        "--tls-certificate",
        certs / "client.pem",
        "--tls-key",
        certs / "client.key",
    )
    assert "serving" in cli(*mutual, "health", "--address", address).stdout
    without = cli("--tls-ca", certs / "ca.pem", "health", "--address", address)
    assert without.returncode == 1
    plain = cli("health", "--address", address)
    assert "reason: RPC_UNAVAILABLE" in plain.stderr
    assert "--tls-ca" in plain.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_in_order(cli: Cli, servers: Servers, number: signal.Signals) -> None:
    server = servers.start("--all", "--health-address", "127.0.0.1:0")
    assert cli("health").returncode == 0
    server.process.send_signal(number)
    server.process.communicate(timeout=60)
    assert server.process.returncode == 0
    assert not Path(server.address.removeprefix("unix:")).exists()


def test_health_of_one_service_names_the_others_as_absent(cli: Cli, servers: Servers) -> None:
    server = servers.start("intention")
    done = cli("health", "--address", server.address, "--json")
    answers = json.loads(done.stdout)
    assert answers.pop("intention") == "SERVING"
    assert set(answers.values()) == {"NOT_HERE"}
    missing = cli("detect", ".", "--address", server.address)
    assert missing.returncode == 1
    assert "reason: RPC_UNIMPLEMENTED" in missing.stderr


def test_path_outside_the_roots_is_refused(cli: Cli, servers: Servers, repository: Path) -> None:
    servers.start("--all", "--allow-root", repository)
    outside = cli.home / "outside"
    outside.mkdir()
    subprocess.run(["git", "init", "--quiet", outside], check=True, timeout=60)
    assert cli("detect", repository).returncode == 0
    detect = cli("detect", outside)
    assert detect.returncode == 1
    run = cli("run", "--repo", outside, "--goal", "g", "--command", "true")
    assert run.returncode == 1
    for done in (detect, run):
        assert "ROOT" in done.stderr or "ALLOWED" in done.stderr
        assert "what to do: " in done.stderr


def test_http_port_is_opened_where_agents_report_and_where_it_is_asked_for(cli: Cli, servers: Servers) -> None:
    together = servers.start("orchestrator", "telemetry", "--allow-root", cli.home)
    found = _http_line(together)
    assert found.startswith("http://127.0.0.1:")
    assert httpx.get(f"{found}/readyz", timeout=60).json() == {"ready": True, "not_ready": []}
    assert httpx.get(f"{found}/metrics", timeout=60).status_code == 401

    asked = servers.start("toolchain", "--http-address", "127.0.0.1:0")
    found = _http_line(asked)
    token = (cli.data / "token").read_text().strip()
    answer = httpx.get(f"{found}/metrics", headers={"authorization": f"Bearer {token}"}, timeout=60)
    assert "autopack_build_info{" in answer.text

    refused = cli("serve", "toolchain", "--http-address", "0.0.0.0:0")
    assert refused.returncode != 0
    assert "TLS_NEEDED" in refused.stderr


def test_http_port_is_left_out_on_request(cli: Cli, servers: Servers) -> None:
    server = servers.start("orchestrator", "telemetry", env={"AUTOPACK_HTTP_ADDRESS": "none"})
    server.process.send_signal(signal.SIGTERM)
    _, errors = server.process.communicate(timeout=60)
    assert "http: " not in errors


def _http_line(server: Serving) -> str:
    assert server.process.stderr is not None
    for line in map(str, server.process.stderr):
        if line.startswith("http: "):
            return line.removeprefix("http: ").strip()
    raise AssertionError("no HTTP address was printed")

"""The compose file, its secrets and the image's context, as far as they can be tried without a container engine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from autopack_api.hardening.v1 import hardening_pb2
from autopack_api.intention.v1 import intention_pb2
from autopack_api.orchestrator.v1 import orchestrator_pb2
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_client import AsyncClient, ClientTls, connect
from autopack_kit import certs
from autopack_kit.db.testing import postgres_url
from autopack_kit.errors import AutopackError
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
SERVICES = {"toolchain", "hardening", "intention", "orchestrator", "telemetry"}
STATELESS = ["toolchain"]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_compose = load(ROOT / "tools/check_compose.py")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    rendered: dict[str, Any] = check_compose.rendered()
    return rendered


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("deploy") / "secrets"
    make_secrets(directory)
    return directory


def make_secrets(directory: Path) -> None:
    subprocess.run([sys.executable, ROOT / "deploy/docker/make_secrets.py", directory], check=True, capture_output=True)


def test_the_compose_file_has_every_service_and_nothing_else(document: dict[str, Any]) -> None:
    assert set(document["services"]) == SERVICES | {"postgres", "worker"}
    assert check_compose.faults(document, SERVICES) == []


def test_the_check_names_each_fault(document: dict[str, Any]) -> None:
    broken = deepcopy(document)
    del broken["services"]["intention"]
    del broken["services"]["hardening"]["cap_drop"]
    del broken["services"]["telemetry"]["mem_limit"]
    broken["services"]["toolchain"]["ports"][0]["host_ip"] = "0.0.0.0"
    broken["services"]["orchestrator"]["command"][1] = "telemetry"
    assert check_compose.faults(broken, SERVICES) == [
        "intention: not in docker-compose.yml",
        "hardening: cap_drop must be ['ALL']",
        "orchestrator: its command must begin with: serve orchestrator",
        "telemetry: has no mem_limit",
        "toolchain: port 7440 is published beyond loopback",
    ]


def test_every_secret_of_the_compose_file_is_made_and_private(document: dict[str, Any], secrets: Path) -> None:
    wanted = {Path(secret["file"]).name for secret in document["secrets"].values()}
    assert wanted <= {path.name for path in secrets.iterdir()}
    public = {"ca.pem", "server.pem", "client.pem"}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir() if path.name not in public}
    assert set(modes.values()) == {0o600}


def test_making_the_secrets_again_replaces_nothing(tmp_path: Path) -> None:
    make_secrets(tmp_path / "secrets")
    before = {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()}
    make_secrets(tmp_path / "secrets")
    assert {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()} == before


def test_every_variable_of_the_compose_file_is_a_setting(
    document: dict[str, Any], secrets: Path, tmp_path: Path
) -> None:
    variables = {"AUTOPACK_DATA_DIR": str(tmp_path)}
    for service in document["services"].values():
        variables |= local(service.get("environment", {}), secrets)
    listed = autopack(["config", "--json"], variables)
    assert listed.returncode == 0, listed.stderr
    for name in variables:
        if name.startswith("AUTOPACK_"):
            assert name in listed.stdout


@pytest.mark.parametrize("name", STATELESS)
async def test_a_stateless_service_starts_as_in_its_container(
    name: str, document: dict[str, Any], secrets: Path, tmp_path: Path
) -> None:
    environment = document["services"][name]["environment"]
    await starts(name, document, secrets, tmp_path, local(environment, secrets))


@pytest.mark.postgres
@pytest.mark.parametrize("name", sorted(SERVICES - set(STATELESS)))
async def test_a_stateful_service_starts_as_in_its_container_on_postgresql(
    name: str, document: dict[str, Any], secrets: Path, tmp_path: Path
) -> None:
    environment = local(document["services"][name]["environment"], secrets)
    with postgres_url() as url:
        server = url.partition("//")[2]
        own = {key: value.replace("autopack@postgres/autopack", server) for key, value in environment.items()}
        assert own != environment
        await starts(name, document, secrets, tmp_path, own)


async def starts(
    name: str, document: dict[str, Any], secrets: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """The container's command serves: with its token over TLS, without it not, and health in the clear."""
    command = document["services"][name]["command"]
    own = ["127.0.0.1:0" if word.startswith(("0.0.0.0:", "127.0.0.1:")) else word for word in command]
    variables = environment | {"AUTOPACK_DATA_DIR": str(tmp_path / "data")}
    tls = ClientTls(ca=secrets / "ca.pem")
    with serving(own, variables, tmp_path / "errors") as address:
        token = (secrets / "token").read_text().strip()
        async with connect(address, token=token, tls=tls) as client:
            health = health_pb2_grpc.HealthStub(client.channel)
            answer = await health.Check(
                health_pb2.HealthCheckRequest(service=f"autopack.{name}.v1.{name.title()}Service")
            )
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            assert await reason_of_a_call(client, name) != "TOKEN_INVALID"
        async with connect(address, token="apk_wrong", tls=tls) as client:
            assert await reason_of_a_call(client, name) == "TOKEN_INVALID"


async def reason_of_a_call(client: AsyncClient, name: str) -> str:
    """Why a call that needs a token failed; empty if it did not."""
    calls: dict[str, Any] = {
        "toolchain": lambda: client.toolchain.GetSnapshotSpec(toolchain_pb2.GetSnapshotSpecRequest()),
        "hardening": lambda: client.hardening.ListPatterns(hardening_pb2.ListPatternsRequest()),
        "intention": lambda: client.intention.BuildContext(intention_pb2.BuildContextRequest()),
        "orchestrator": lambda: client.orchestrator.ListBatches(orchestrator_pb2.ListBatchesRequest()),
        "telemetry": lambda: client.telemetry.ListPhases(telemetry_pb2.ListPhasesRequest(run_id="r")),
    }
    try:
        await calls[name]()
    except AutopackError as error:
        return error.reason
    return ""


def test_agents_are_told_the_port_that_telemetry_publishes(document: dict[str, Any]) -> None:
    telemetry = document["services"]["telemetry"]
    command = telemetry["command"]
    address = command[command.index("--http-address") + 1]
    port = address.rpartition(":")[2]
    assert telemetry["environment"]["AUTOPACK_TELEMETRY_OTLP_ENDPOINT"] == f"https://telemetry:{port}"
    assert port in {str(item["target"]) for item in telemetry["ports"]}
    assert "telemetry" in certs.SERVER_NAMES


def test_the_image_context_builds_a_wheel_with_every_package_and_its_data(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            copy(ROOT / line[1:], context / line[1:])
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, context],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for service in SERVICES:
        package = ROOT / "services" / service
        data = [path for path in package.rglob("*") if path.suffix in {".py", ".toml"}]
        assert {str(path.relative_to(package)) for path in data} <= names


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def local(environment: dict[str, str], secrets: Path) -> dict[str, str]:
    """The variables of a container with its secrets where they are here."""
    return {name: value.replace("/run/secrets", str(secrets)) for name, value in environment.items()}


def outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTOPACK_")}


def autopack(words: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "autopack", *words], env=outside() | variables, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def serving(words: list[str], variables: dict[str, str], errors: Path) -> Iterator[str]:
    """A server in a process of its own; gives the address that it prints once it answers."""
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [BIN / "autopack", *words], env=outside() | variables, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, errors.read_text()
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=60)

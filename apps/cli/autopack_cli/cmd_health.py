"""``autopack health``: is every service there?"""

from __future__ import annotations

import json

import typer
from autopack_api.hardening.v1 import hardening_pb2
from autopack_api.intention.v1 import intention_pb2
from autopack_api.orchestrator.v1 import orchestrator_pb2
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_client import AsyncClient
from autopack_kit.status import from_rpc_error
from grpc import RpcError, StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from autopack_cli.options import Address, Json
from autopack_cli.render import console, err_console, table
from autopack_cli.session import Needs, run, running_address, session

__all__ = ["register"]

TIMEOUT = 10.0
"""Seconds: a server that needs longer for this is not healthy."""
_MODULES = (toolchain_pb2, hardening_pb2, intention_pb2, orchestrator_pb2, telemetry_pb2)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("health")(health)


def health(address: Address = None, as_json: Json = False) -> None:
    """Ask each service whether it serves; exit status 0 only if all that are there do.

    \b
    autopack health --address 127.0.0.1:7070
    """
    own = address is None and running_address() is None

    async def work() -> dict[str, str]:
        async with session(address, Needs()) as client:
            return {name: await _ask(client, full) for name, full in _names().items()}

    answers = run(work)
    if as_json:
        typer.echo(json.dumps(answers, indent=2))
    else:
        if own:
            err_console().print("No server runs here: these are the services of this command itself.", style="dim")
        rows = table("service", "health")
        for name, answer in answers.items():
            rows.add_row(name, answer.lower().replace("_", " "))
        console().print(rows)
    if not any(answer == "SERVING" for answer in answers.values()) or "NOT_SERVING" in answers.values():
        raise typer.Exit(1)


def _names() -> dict[str, str]:
    services = [service for module in _MODULES for service in module.DESCRIPTOR.services_by_name.values()]
    return {service.name.removesuffix("Service").lower(): service.full_name for service in services}


async def _ask(client: AsyncClient, full_name: str) -> str:
    stub = health_pb2_grpc.HealthStub(client.channel)
    try:
        response = await stub.Check(health_pb2.HealthCheckRequest(service=full_name), timeout=TIMEOUT)
    except RpcError as error:
        if getattr(error, "code", lambda: None)() is StatusCode.NOT_FOUND:
            return "NOT_HERE"
        raise from_rpc_error(error) from error
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))

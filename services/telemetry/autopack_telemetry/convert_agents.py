"""Asking how an agent is made to report, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from autopack_api.telemetry.v1 import agents_pb2 as pb
from autopack_kit.errors import invalid_field

from autopack_telemetry.core.agents import Agent, Protocol, Reporting, reporting
from autopack_telemetry.core.checks import check_reporting
from autopack_telemetry.core.model import Signal
from autopack_telemetry.errors import agent_not_known, no_otlp_endpoint

__all__ = ["Endpoints", "agent_environment", "agent_of", "endpoints", "switched_off"]

_PROTOCOLS: dict[int, Protocol | None] = {
    pb.OTLP_PROTOCOL_UNSPECIFIED: None,
    pb.OTLP_PROTOCOL_GRPC: Protocol.GRPC,
    pb.OTLP_PROTOCOL_HTTP: Protocol.HTTP,
}
_SIGNALS = {signal: pb.UsageSignal.Value(f"USAGE_SIGNAL_{signal.name}") for signal in Signal}

Endpoints = Mapping[Protocol, str]
"""``http://host:port`` by protocol, as far as agents can reach this server by it."""


def endpoints(address: str, http_address: str, otlp_endpoint: str, *, tls: bool) -> Endpoints:
    """Where agents can send to.

    Args:
        address: of the gRPC port, as clients dial it; agents know no UNIX sockets.
        http_address: of the HTTP port; empty without one.
        otlp_endpoint: what was set for agents elsewhere, instead of the HTTP port.
        tls: whether the gRPC port speaks TLS.
    """
    found = {Protocol.HTTP: otlp_endpoint or http_address}
    if not address.startswith("unix:"):
        found[Protocol.GRPC] = f"{'https' if tls else 'http'}://{address}"
    return {protocol: url.rstrip("/") for protocol, url in found.items() if url and _is_reachable(url)}


def agent_of(request: pb.GetAgentEnvironmentRequest, known: Mapping[str, Agent]) -> tuple[Agent, Protocol | None]:
    """Who is to report, and by what; None = whatever there is.

    Raises:
        InvalidArgument: naming the field.
        NotFound: ``AGENT_NOT_KNOWN``.
    """
    check_reporting(request.run_id, request.phase_id, request.agent)
    if request.protocol not in _PROTOCOLS:
        raise invalid_field("protocol", f"{request.protocol} is not one of its values")
    agent = known.get(request.agent)
    if agent is None:
        raise agent_not_known(request.agent, sorted(known))
    return agent, _PROTOCOLS[request.protocol]


def agent_environment(
    request: pb.GetAgentEnvironmentRequest, agent: Agent, wanted: Protocol | None, reachable: Endpoints, token: str
) -> pb.GetAgentEnvironmentResponse:
    """What makes the agent report; an agent that sends nothing needs no address.

    Raises:
        FailedPrecondition: ``OTLP_ENDPOINT_UNKNOWN``.
    """
    protocol = wanted or next((item for item in Protocol if item in reachable), Protocol.HTTP)
    if agent.sends and protocol not in reachable:
        raise no_otlp_endpoint(protocol.value)
    endpoint = reachable.get(protocol, "")
    told = reporting(agent, protocol, endpoint, request.run_id, request.phase_id, token)
    return _response(agent, told)


def switched_off() -> pb.GetAgentEnvironmentResponse:
    """Nothing to set: what an agent sent would be dropped."""
    return pb.GetAgentEnvironmentResponse(note="Telemetry is off: AUTOPACK_TELEMETRY_ENABLED is false.")


def _response(agent: Agent, told: Reporting) -> pb.GetAgentEnvironmentResponse:
    name = f"USAGE_FILE_FORMAT_{agent.usage_file.upper() or 'UNSPECIFIED'}"
    return pb.GetAgentEnvironmentResponse(
        env=told.env,
        arguments=told.arguments,
        signals=[_SIGNALS[signal] for signal in agent.signals],
        verified=agent.verified,
        agent_version=agent.version,
        note=agent.note,
        usage_file_format=pb.UsageFileFormat.Value(name),
        usage_file_pattern=agent.usage_pattern,
    )


def _is_reachable(url: str) -> bool:
    """Not the address that stands for all addresses of a host: nobody can dial it."""
    try:
        return not ip_address(urlsplit(url).hostname or "").is_unspecified
    except ValueError:  # a name
        return True

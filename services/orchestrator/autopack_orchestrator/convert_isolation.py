"""Isolation, limits and capabilities, to and from messages."""

from __future__ import annotations

from autopack_api.orchestrator.v1 import batch_pb2, orchestrator_pb2
from autopack_kit.convert import duration_from_proto
from autopack_kit.errors import invalid_field

from autopack_orchestrator.adapters.capabilities import Capabilities
from autopack_orchestrator.core.isolation import Isolation, Limits, Network, SandboxMode

__all__ = ["capabilities_to_proto", "isolation_from_proto", "limits_from_proto"]

_MODES = {
    batch_pb2.SANDBOX_UNSPECIFIED: None,
    batch_pb2.SANDBOX_AUTO: SandboxMode.AUTO,
    batch_pb2.SANDBOX_REQUIRED: SandboxMode.REQUIRED,
    batch_pb2.SANDBOX_NONE: SandboxMode.NONE,
}
_NETWORKS = {
    batch_pb2.NETWORK_UNSPECIFIED: Network.ON,
    batch_pb2.NETWORK_ON: Network.ON,
    batch_pb2.NETWORK_OFF: Network.OFF,
}


def isolation_from_proto(message: batch_pb2.Isolation, field: str) -> Isolation:
    """What a batch asks for.

    Raises:
        InvalidArgument: a number that this version does not know: what it would mean must not be guessed.
    """
    if message.sandbox not in _MODES:
        raise invalid_field(f"{field}.sandbox", f"{message.sandbox} is not known; use AUTO, REQUIRED or NONE")
    if message.network not in _NETWORKS:
        raise invalid_field(f"{field}.network", f"{message.network} is not known; use ON or OFF")
    return Isolation(_MODES[message.sandbox], _NETWORKS[message.network])


def limits_from_proto(message: batch_pb2.Limits, field: str) -> Limits:
    """What each command of a run may use.

    Raises:
        InvalidArgument: a duration that is none.
    """
    return Limits(
        max_memory_bytes=message.max_memory_bytes if message.HasField("max_memory_bytes") else None,
        max_processes=message.max_processes if message.HasField("max_processes") else None,
        max_file_bytes=message.max_file_bytes if message.HasField("max_file_bytes") else None,
        max_open_files=message.max_open_files if message.HasField("max_open_files") else None,
        max_cpu_time=duration_from_proto(message.max_cpu_time, f"{field}.max_cpu_time")
        if message.HasField("max_cpu_time")
        else None,
    )


def capabilities_to_proto(found: Capabilities) -> orchestrator_pb2.GetCapabilitiesResponse:
    """What the host offers."""
    sandbox, groups = found.host.sandbox, found.host.cgroups
    return orchestrator_pb2.GetCapabilitiesResponse(
        sandbox=orchestrator_pb2.SandboxCapability(
            available=sandbox.available,
            problem=sandbox.problem,
            version=sandbox.version,
            pid_namespace=sandbox.available,
            network_off=sandbox.network_off,
            default_mode=found.host.mode.value,
        ),
        cgroups=orchestrator_pb2.CgroupCapability(
            version=groups.version,
            memory=groups.memory is not None,
            processes=groups.processes is not None,
            problem=groups.problem,
        ),
        rlimits=found.rlimits,
        pidfd=found.pidfd,
        git_version=found.git_version,
        free_disk_bytes=found.free_disk_bytes,
        agents=[
            orchestrator_pb2.AgentCapability(name=agent.name, path=agent.path, version=agent.version)
            for agent in found.agents
        ],
        notes=found.notes,
    )

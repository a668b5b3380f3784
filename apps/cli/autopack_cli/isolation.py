"""``isolation`` and ``limits`` of a batch file, and the options that say the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

import yaml
from autopack_api.orchestrator.v1 import batch_pb2 as pb

from autopack_cli.batchvalues import MAX_INT32, MAX_INT64, Values

__all__ = ["NetworkOption", "SandboxOption", "read_isolation", "read_limits", "set_isolation"]

SANDBOXES: Mapping[str, int] = {
    "auto": pb.SANDBOX_AUTO,
    "required": pb.SANDBOX_REQUIRED,
    "none": pb.SANDBOX_NONE,
}
NETWORKS: Mapping[str, int] = {"on": pb.NETWORK_ON, "off": pb.NETWORK_OFF}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,18}) ?(?:([KMGT])(?:i?B)?|B)?")


class SandboxOption(Enum):
    """Values of ``--sandbox``."""

    AUTO = "auto"
    REQUIRED = "required"
    NONE = "none"


class NetworkOption(Enum):
    """Values of ``--network``."""

    ON = "on"
    OFF = "off"


def set_isolation(spec: pb.BatchSpec, sandbox: SandboxOption | None, network: NetworkOption | None) -> None:
    """What the options say stands, whatever the file says."""
    if sandbox is not None:
        spec.isolation.sandbox = pb.Sandbox.ValueType(SANDBOXES[sandbox.value])
    if network is not None:
        spec.isolation.network = pb.Network.ValueType(NETWORKS[network.value])


def read_isolation(values: Values, node: yaml.Node, target: pb.Isolation, what: str = "isolation") -> None:
    """``sandbox``, ``network``."""
    for key, key_node, value in values.entries(node, what):
        if key == "sandbox":
            if (choice := values.choice(value, f"{what}.sandbox", SANDBOXES)) is not None:
                target.sandbox = pb.Sandbox.ValueType(choice)
        elif key == "network":
            # YAML reads a plain `off` as false, and what is meant is plain too.
            word = value.value.lower() if isinstance(value, yaml.ScalarNode) else ""
            if word in NETWORKS:
                target.network = pb.Network.ValueType(NETWORKS[word])
            else:
                values.fail(value, f"{what}.network must be on or off")
        else:
            values.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are sandbox, network")


def read_limits(values: Values, node: yaml.Node, what: str, target: pb.Limits) -> None:
    """``max_memory``, ``max_processes``, ``max_file_size``, ``max_open_files``, ``max_cpu_time``."""
    for key, key_node, value in values.entries(node, what):
        where = f"{what}.{key}"
        if key in ("max_memory", "max_file_size"):
            if (size := _size(values, value, where)) is not None:
                setattr(target, {"max_memory": "max_memory_bytes", "max_file_size": "max_file_bytes"}[key], size)
        elif key in ("max_processes", "max_open_files"):
            if (number := values.integer(value, where, low=1, high=MAX_INT32)) is not None:
                setattr(target, key, number)
        elif key == "max_cpu_time":
            if (duration := values.duration(value, where)) is not None:
                target.max_cpu_time.CopyFrom(duration)
        else:
            known = "max_memory, max_processes, max_file_size, max_open_files, max_cpu_time"
            values.fail(key_node, f"{key[:60]!r} is not a key of {what}; known are {known}")


def _size(values: Values, node: yaml.Node, what: str) -> int | None:
    """``512M``, ``2G``, or bytes."""
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    found = _SIZE.fullmatch(text)
    size = int(found[1]) * _UNITS[found[2] or ""] if found else 0
    if not 0 < size <= MAX_INT64:
        values.fail(node, f"{what} must be a size, such as 512M, 2G or a number of bytes")
        return None
    return size

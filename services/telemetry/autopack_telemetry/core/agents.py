"""What makes an agent report its usage to this service: variables and words from ``data/agents.toml``, filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote

from autopack_telemetry.core.model import Signal

__all__ = ["GENERIC", "USAGE_FILE", "Agent", "Channel", "Protocol", "Reporting", "parse_agents", "reporting"]

GENERIC = "generic"
"""Any program with an OpenTelemetry SDK."""
USAGE_FILE = "{usage_file}"
"""Stands in arguments where the caller puts the path of the file that the agent shall write."""
RUN_HEADER, PHASE_HEADER = "x-autopack-run-id", "x-autopack-phase-id"

_PLACEHOLDERS = ("{endpoint}", "{resource}", "{headers}", "{plain_headers}")
_KEYS = frozenset(
    {
        "signals",
        "env",
        "arguments",
        "http",
        "grpc",
        "usage_file",
        "usage_pattern",
        "version",
        "verified",
        "reason",
        "note",
        "source",
    }
)


class Protocol(Enum):
    """What carries OpenTelemetry data; the value is the table's name in the data."""

    HTTP = "http"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class Channel:
    """Variables and words for one way of sending."""

    env: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Agent:
    """How an agent is made to report; see ``data/agents.toml`` for the meaning of each field.

    Attributes:
        signals: what it sends, the one that counts first; empty for an agent that sends nothing.
        always: whatever carries the data.
        channels: besides, by protocol.
        usage_file: the format of the file that it writes; empty for none.
        usage_pattern: which files count where it makes a directory of it; empty if it is the file itself.
        verified: the stored rows were equal to what the model's endpoint had reported, with ``version``.
        reason: why that is not so.
    """

    name: str
    signals: tuple[Signal, ...] = ()
    always: Channel = Channel()
    channels: Mapping[Protocol, Channel] = field(default_factory=dict)
    usage_file: str = ""
    usage_pattern: str = ""
    version: str = ""
    verified: bool = False
    reason: str = ""
    note: str = ""

    @property
    def sends(self) -> bool:
        """Whether it needs an address to send to."""
        return any(signal is not Signal.FILE for signal in self.signals)


@dataclass(frozen=True, slots=True)
class Reporting:
    """Variables to set and words to add, for one run."""

    env: Mapping[str, str]
    arguments: tuple[str, ...]


def parse_agents(document: Mapping[str, Any]) -> dict[str, Agent]:
    """The agents of a parsed ``agents.toml``.

    Raises:
        ValueError: a key that is not known: a mistyped one would silently have no effect.
    """
    return {name: _agent(name, entry) for name, entry in document.items()}


def reporting(agent: Agent, protocol: Protocol, endpoint: str, run_id: str, phase_id: str, token: str) -> Reporting:
    """What makes ``agent`` report.

    Args:
        agent: whom.
        protocol: what carries the data.
        endpoint: where to, ``http://host:port``.
        run_id: whose usage it is.
        phase_id: empty if it is not known.
        token: that may record for this run; empty = none is sent.
    """
    values = dict(zip(_PLACEHOLDERS, (endpoint, *_attribution(run_id, phase_id, token)), strict=True))
    channel = agent.channels.get(protocol, Channel())
    env = {**agent.always.env, **channel.env}
    return Reporting(
        env={name: _fill(value, values) for name, value in env.items()},
        arguments=tuple(_fill(word, values) for word in (*agent.always.arguments, *channel.arguments)),
    )


def _attribution(run_id: str, phase_id: str, token: str) -> tuple[str, str, str]:
    """Resource attributes and headers, these also as they are for programs that do not decode them."""
    ids = {"autopack.run.id": run_id, "autopack.phase.id": phase_id}
    resource = ",".join(f"{name}={quote(value, safe='')}" for name, value in ids.items() if value)
    headers = {RUN_HEADER: run_id, PHASE_HEADER: phase_id}
    rest = [f"{name}={quote(value, safe='')}" for name, value in headers.items() if value]
    coded, plain = ([f"authorization=Bearer{space}{token}"] if token else [] for space in ("%20", " "))
    return resource, ",".join([*coded, *rest]), ",".join([*plain, *rest])


def _fill(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _agent(name: str, entry: Mapping[str, Any]) -> Agent:
    unknown = set(entry) - _KEYS
    if unknown:
        raise ValueError(f"agent {name!r} has unknown keys: {', '.join(sorted(unknown))}")
    return Agent(
        name=name,
        signals=tuple(Signal(signal) for signal in entry["signals"]),
        always=_channel(entry),
        channels={protocol: _channel(entry[protocol.value]) for protocol in Protocol if protocol.value in entry},
        **{
            key: entry[key]
            for key in ("usage_file", "usage_pattern", "version", "verified", "reason", "note")
            if key in entry
        },
    )


def _channel(entry: Mapping[str, Any]) -> Channel:
    return Channel(dict(entry.get("env", {})), tuple(entry.get("arguments", ())))

"""The agents that can be made to report: ``data/agents.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from autopack_telemetry.core.agents import Agent, parse_agents

__all__ = ["known_agents"]


@cache
def known_agents() -> Mapping[str, Agent]:
    """Every agent by its name."""
    text = (resources.files("autopack_telemetry") / "data" / "agents.toml").read_text()
    return MappingProxyType(parse_agents(tomllib.loads(text)))

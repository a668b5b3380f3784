"""The agents that can be named in a batch: ``data/agents.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Agent", "known_agents"]


@dataclass(frozen=True, slots=True)
class Agent:
    """How an agent is started.

    Attributes:
        command: its argument vector; ``{context}``, ``{goal}`` and ``{context_file}`` stand for what the run was given.
        pass_env: variables of the server's environment that it needs, passed where they are set and allowed.
    """

    command: tuple[str, ...]
    pass_env: tuple[str, ...]


@cache
def known_agents() -> Mapping[str, Agent]:
    """Every agent by its name."""
    text = (resources.files("autopack_orchestrator") / "data" / "agents.toml").read_text()
    return {
        name: Agent(command=tuple(entry["command"]), pass_env=tuple(entry.get("pass_env", ())))
        for name, entry in tomllib.loads(text).items()
    }

"""The agents that can be named in a batch: ``data/agents.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from autopack_orchestrator.core.agents import Agent

__all__ = ["Agent", "known_agents"]

_LISTS = ("command", "pass_env", "own_files", "overload_exit_codes", "overload_patterns")


@cache
def known_agents() -> Mapping[str, Agent]:
    """Every agent by its name."""
    text = (resources.files("autopack_orchestrator") / "data" / "agents.toml").read_text()
    return MappingProxyType({name: _agent(entry) for name, entry in tomllib.loads(text).items()})


def _agent(entry: dict[str, Any]) -> Agent:
    """One agent; a key that is not known is an error, so that a mistyped one is not silently without effect."""
    values: dict[str, Any] = {key: tuple(value) if key in _LISTS else value for key, value in entry.items()}
    values["exit_codes"] = {int(code): meaning for code, meaning in values.get("exit_codes", {}).items()}
    return Agent(**values)

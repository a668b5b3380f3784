"""What is known about an agent: how it is started, what its exit means, how an overloaded provider looks in its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import re2

__all__ = ["GENERIC", "OVERLOAD_TAIL_BYTES", "Agent", "overloaded"]

GENERIC = "generic"
"""The preset whose command is what the batch names: any program, with what is known about providers in general."""

OVERLOAD_TAIL_BYTES = 8 << 10
"""Of the log that is searched: agents say last why they end; what stands further up they have got over."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent by name; see ``data/agents.toml`` for the meaning of each field.

    Attributes:
        title: its name for people.
        command: its argument vector; ``{context}``, ``{goal}`` and ``{context_file}`` stand for what the run was given.
        env: variables that are set for it.
        pass_env: variables of the server's environment that it needs, passed where they are set and allowed.
        own_files: pathspecs of files that it keeps in the worktree for itself; no part of the change.
        exit_codes: what they mean.
        overload_exit_codes: those with which it ends when its provider is overloaded; empty = any but 0.
        overload_patterns: RE2 on lines of the end of its log, any of which says so.
        version: the one that it was tried with.
        verified: it was carried through a whole run with that version.
        reason: why it was not.
    """

    title: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    own_files: tuple[str, ...] = ()
    exit_codes: Mapping[int, str] = field(default_factory=dict)
    overload_exit_codes: tuple[int, ...] = ()
    overload_patterns: tuple[str, ...] = ()
    prompt: str = ""
    headless: str = ""
    source: str = ""
    version: str = ""
    verified: bool = False
    reason: str = ""
    note: str = ""


def overloaded(preset: Agent, log_tail: bytes, exit_code: int | None) -> bool:
    """Whether an agent ended because its model provider takes no more requests now (HTTP 429, 503, 529).

    Args:
        preset: the agent.
        log_tail: the end of what it printed; at most the last :data:`OVERLOAD_TAIL_BYTES` count.
        exit_code: None for one that was ended by a signal: then it did not end by itself, and the answer is False.
    """
    if exit_code is None or not preset.overload_patterns:
        return False
    if exit_code not in preset.overload_exit_codes and (exit_code == 0 or preset.overload_exit_codes):
        return False
    text = log_tail[-OVERLOAD_TAIL_BYTES:].decode("utf-8", "replace")
    return any(pattern.search(text) is not None for pattern in _compiled(preset.overload_patterns))


@lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...]) -> tuple[re2.Pattern, ...]:  # linear time, whatever the log says
    return tuple(re2.compile(pattern) for pattern in patterns)

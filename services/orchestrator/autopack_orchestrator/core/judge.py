"""Decisions about a run's change that need no disk: its scope and its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from autopack_kit.globs import out_of_scope as _out_of_scope

from autopack_orchestrator.core.model import Budget, FileChange, Intention
from autopack_orchestrator.core.text import clean

__all__ = ["Usage", "out_of_scope", "over_budget", "over_wall_time"]


def out_of_scope(intention: Intention, changes: Sequence[FileChange]) -> tuple[str, ...]:
    """Changed paths that the intention does not allow: both ends of a rename count, deletions too.

    The old end of a rename whose new end is not allowed is one of them wherever it is: reverting half of it would
    delete the file.
    """
    names = {path: clean(path) for change in changes for path in (change.path, change.old_path) if path}
    outside = set(_out_of_scope(list(names.values()), intention.scope, intention.non_goal_globs))
    found: dict[str, None] = {}
    for change in changes:
        if names[change.path] in outside:
            found |= dict.fromkeys(path for path in (change.path, change.old_path) if path)
        elif change.old_path and names[change.old_path] in outside:
            found[change.old_path] = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used so far: tokens of all kinds, and cost in millionths of a US dollar."""

    tokens: int = 0
    cost_microusd: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.tokens + other.tokens, self.cost_microusd + other.cost_microusd)


def over_wall_time(budget: Budget, used: timedelta) -> str | None:
    """In words that the wall time is used up, or None."""
    if budget.max_wall_time is None or used < budget.max_wall_time:
        return None
    return f"{used.total_seconds():.0f} s of wall time used, {budget.max_wall_time.total_seconds():.0f} s allowed"


def over_budget(budget: Budget, usage: Usage) -> str | None:
    """What is used up, in words, or None."""
    if budget.max_tokens is not None and usage.tokens > budget.max_tokens:
        return f"{usage.tokens} tokens used, {budget.max_tokens} allowed"
    if budget.max_cost_microusd is not None and usage.cost_microusd > budget.max_cost_microusd:
        return f"{usage.cost_microusd / 1e6:.4f} USD used, {budget.max_cost_microusd / 1e6:.4f} allowed"
    return None

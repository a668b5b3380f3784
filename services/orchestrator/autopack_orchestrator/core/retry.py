"""Whether a run that did not succeed is tried again, when, and how an overloaded provider is given room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from autopack_orchestrator.core.model import RetryOn, RetryPolicy, Run, RunError, RunState

__all__ = ["MAX_EXCUSED", "OVERLOADED", "Again", "Throttle", "again", "attempts", "backoff", "excused_again"]

OVERLOADED = "OVERLOADED"
"""Reason of an attempt that its agent's provider turned away for now."""
MAX_EXCUSED = 20
"""Attempts that do not count, at most: with the default backoff a provider may be overloaded for over an hour."""
OVERLOAD_BACKOFF = timedelta(seconds=10)
"""The least first wait for an overloaded provider: it asks for patience, whatever the policy says of failures."""
JITTER = 0.2  # so that what failed together is not tried again together
RECOVERY = timedelta(seconds=30)
"""After which a throttled agent may have one more run at work. Within it, further overloads are the same overload."""

#: Reasons of RunError behind the narrower kinds of failures.
_REASONS = {
    "AGENT_FAILED": RetryOn.AGENT_FAILED,
    "AGENT_NOT_STARTED": RetryOn.AGENT_FAILED,
    "PREPARE_FAILED": RetryOn.PREPARE_FAILED,
    "VALIDATION_FAILED": RetryOn.VALIDATION_FAILED,
    "NO_CHANGES": RetryOn.VALIDATION_FAILED,
}
#: What a second attempt cannot change.
_FINAL = frozenset({"BUDGET", "CANCELLED", "DEPENDENCY_FAILED", "DEPENDENCY_CONFLICT", "QUEUE_TIMEOUT"})
_STATES = {
    RunState.LOST: RetryOn.LOST,
    RunState.TIMED_OUT: RetryOn.TIMED_OUT,
    RunState.FAILED: RetryOn.FAILED,
}


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt: how long it waits, and whether it counts against ``max_attempts``."""

    wait: timedelta
    counts: bool


def again(run: Run, policy: RetryPolicy, state: RunState, error: RunError, chance: Callable[[], float]) -> Again | None:
    """Whether the run is tried again after an attempt that would end it in ``state`` with ``error``.

    Args:
        chance: from 0 to 1, for the jitter.
    """
    if error.reason == OVERLOADED:
        if run.excused >= MAX_EXCUSED:
            return None
        first = max(policy.initial_backoff, OVERLOAD_BACKOFF)
        return Again(backoff(first, max(first, policy.max_backoff), run.excused + 1, chance()), counts=False)
    if error.reason in _FINAL or run.counted >= attempts(run, policy):
        return None
    kinds = {kind for kind in (_STATES.get(state), _REASONS.get(error.reason)) if kind is not None}
    if kinds.isdisjoint(policy.on):
        return None
    return Again(backoff(policy.initial_backoff, policy.max_backoff, run.counted, chance()), counts=True)


def excused_again(run: Run) -> Again | None:
    """Another attempt for a run whose orchestrator ended before its agent began, which is not the run's fault."""
    return Again(timedelta(0), counts=False) if run.excused < MAX_EXCUSED else None


def attempts(run: Run, policy: RetryPolicy) -> int:
    """Attempts that a run has at most."""
    return run.spec.max_attempts or policy.max_attempts


def backoff(first: timedelta, most: timedelta, number: int, chance: float) -> timedelta:
    """The wait before try ``number + 1``: doubled each time up to ``most``, then plus or minus 20 %."""
    doubled = first * 2.0 ** min(number - 1, MAX_EXCUSED)  # no run gets further
    return min(doubled, most) * (1 + JITTER * (2 * chance - 1))


@dataclass(frozen=True, slots=True)
class Throttle:
    """How many runs of an agent may be at work, as it was decided at a time."""

    runs: int
    changed: datetime

    def limit(self, now: datetime) -> int:
        """How many may be at work now: one more for every :data:`RECOVERY` since then."""
        return self.runs + max(0, int((now - self.changed) / RECOVERY))

    @classmethod
    def cut(cls, known: Throttle | None, at_work: int, now: datetime) -> Throttle:
        """After an overload: half of what was at work, at least one.

        Args:
            known: what holds already.
            at_work: runs of the agent at work, with the one that was turned away.
        """
        if known is not None and now - known.changed < RECOVERY:
            return known
        before = at_work if known is None else min(at_work, known.limit(now))
        return cls(max(1, before // 2), now)

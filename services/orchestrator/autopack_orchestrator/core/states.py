"""Which state may follow which."""

from __future__ import annotations

from autopack_orchestrator.core.model import TERMINAL, BatchState, RunState

__all__ = ["ALLOWED", "LEASED", "batch_state"]

#: States in which a worker holds the run.
LEASED = frozenset({RunState.PREPARING, RunState.RUNNING, RunState.VALIDATING})

_ENDS = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.CANCELLED, RunState.LOST})

#: From each state, the states that may follow. QUEUED again is the next attempt;
#: an ended run gets one only on request (RetryRun).
ALLOWED: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.PREPARING}) | _ENDS,
    RunState.PREPARING: frozenset({RunState.RUNNING, RunState.QUEUED}) | _ENDS,
    RunState.RUNNING: frozenset({RunState.VALIDATING, RunState.QUEUED}) | _ENDS,
    RunState.VALIDATING: frozenset({RunState.SUCCEEDED, RunState.QUEUED}) | _ENDS,
    **dict.fromkeys(TERMINAL, frozenset()),
}


def batch_state(counts: dict[str, int]) -> BatchState:
    """State of a batch from its runs by state."""
    ended = {state.value for state in TERMINAL}
    if any(count for state, count in counts.items() if state not in ended):
        return BatchState.ACTIVE
    rest = {state for state, count in counts.items() if count} - {RunState.SUCCEEDED.value}
    if not rest:
        return BatchState.SUCCEEDED
    return BatchState.CANCELLED if rest == {RunState.CANCELLED.value} else BatchState.FAILED

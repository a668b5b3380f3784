"""What is tried again, how long it waits, and how an overloaded provider gets room."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from autopack_orchestrator.core.model import (
    Intention,
    RetryOn,
    RetryPolicy,
    Run,
    RunError,
    RunResult,
    RunSpec,
    RunState,
)
from autopack_orchestrator.core.retry import MAX_EXCUSED, RECOVERY, Throttle, again, backoff, excused_again
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run(
    run_id="b.a", batch_id="b", tenant="t", name="a", position=0,
    spec=RunSpec(name="a", intention=Intention(title="x")),
    state=RunState.RUNNING, activity="", attempt=1, branch="", base_commit="", lease_epoch=1, cancel_requested=False,
    create_time=NOW, start_time=NOW, end_time=None, result=RunResult(),
)  # fmt: skip
ALL = RetryPolicy(max_attempts=5, on=tuple(RetryOn))


def middle() -> float:
    return 0.5


def error(reason: str) -> RunError:
    return RunError(reason, "what happened")


@pytest.mark.parametrize(
    ("state", "reason", "on", "repeated"),
    [
        (RunState.LOST, "LOST", RetryOn.LOST, True),
        (RunState.LOST, "LOST", RetryOn.FAILED, False),
        (RunState.TIMED_OUT, "TIMEOUT", RetryOn.TIMED_OUT, True),
        (RunState.FAILED, "DRIFT", RetryOn.FAILED, True),
        (RunState.FAILED, "AGENT_FAILED", RetryOn.AGENT_FAILED, True),
        (RunState.FAILED, "AGENT_FAILED", RetryOn.VALIDATION_FAILED, False),
        (RunState.FAILED, "PREPARE_FAILED", RetryOn.PREPARE_FAILED, True),
        (RunState.FAILED, "NO_CHANGES", RetryOn.VALIDATION_FAILED, True),
        (RunState.FAILED, "BUDGET", RetryOn.FAILED, False),
        (RunState.FAILED, "DEPENDENCY_CONFLICT", RetryOn.FAILED, False),
        (RunState.CANCELLED, "CANCELLED", RetryOn.FAILED, False),
    ],
)
def test_only_what_the_policy_names_is_tried_again(state: RunState, reason: str, on: RetryOn, repeated: bool) -> None:
    decided = again(RUN, RetryPolicy(on=(on,)), state, error(reason), middle)
    assert (decided is not None) == repeated
    assert decided is None or decided.counts


def test_the_last_attempt_is_the_last_and_a_run_may_say_so_itself() -> None:
    policy = RetryPolicy(max_attempts=2)
    assert again(RUN, policy, RunState.LOST, error("LOST"), middle)
    assert again(replace(RUN, counted=2), policy, RunState.LOST, error("LOST"), middle) is None
    once = replace(RUN, spec=replace(RUN.spec, max_attempts=1))
    assert again(once, policy, RunState.LOST, error("LOST"), middle) is None


def test_attempts_that_did_not_count_leave_the_others() -> None:
    excused = replace(RUN, attempt=9, counted=1, excused=8)
    assert again(excused, RetryPolicy(), RunState.LOST, error("LOST"), middle)


def test_an_overloaded_provider_costs_no_attempt_but_not_for_ever() -> None:
    policy = RetryPolicy(max_attempts=1)
    decided = again(RUN, policy, RunState.FAILED, error("OVERLOADED"), middle)
    assert decided is not None
    assert (decided.counts, decided.wait) == (False, timedelta(seconds=10))
    later = again(replace(RUN, excused=3), policy, RunState.FAILED, error("OVERLOADED"), middle)
    assert later is not None
    assert later.wait == timedelta(seconds=80)
    assert again(replace(RUN, excused=MAX_EXCUSED), ALL, RunState.FAILED, error("OVERLOADED"), middle) is None


def test_an_orchestrator_that_ends_while_preparing_costs_no_attempt_but_not_for_ever() -> None:
    decided = excused_again(RUN)
    assert decided is not None
    assert not decided.counts
    assert excused_again(replace(RUN, excused=MAX_EXCUSED)) is None


@given(
    first=st.timedeltas(timedelta(0), timedelta(hours=1)),
    most=st.timedeltas(timedelta(hours=1), timedelta(hours=24)),
    number=st.integers(1, 100),
    chance=st.floats(0, 1),
)
def test_a_wait_doubles_up_to_its_limit_within_a_fifth(
    first: timedelta, most: timedelta, number: int, chance: float
) -> None:
    exact = min(first * 2.0 ** min(number - 1, MAX_EXCUSED), most)
    tolerance = timedelta(microseconds=2)
    assert exact * 0.8 - tolerance <= backoff(first, most, number, chance) <= exact * 1.2 + tolerance


def test_an_overload_halves_what_is_at_work_and_time_gives_it_back() -> None:
    cut = Throttle.cut(None, 9, NOW)
    assert cut.limit(NOW) == 4
    assert Throttle.cut(cut, 9, NOW + timedelta(seconds=1)) is cut  # nine runs that fail at once are one overload
    assert cut.limit(NOW + 3 * RECOVERY) == 7
    again_ = Throttle.cut(cut, 7, NOW + 3 * RECOVERY)
    assert again_.limit(NOW + 3 * RECOVERY) == 3
    assert Throttle.cut(None, 1, NOW).runs == 1
    assert cut.limit(NOW - timedelta(hours=1)) == 4  # a clock that was set back

"""Who may start next: limits are never exceeded, tenants get equal shares, nobody waits for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from autopack_orchestrator.core.admission import (
    MAX_PRIORITY,
    PRIORITY_WORTH,
    Busy,
    Head,
    Lane,
    Limits,
    choose,
    lane_of,
    rank,
)
from autopack_orchestrator.core.model import AgentPreset, Intention, RunSpec
from hypothesis import given, settings
from hypothesis import strategies as st

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Waiting:
    """A run in the queue of a test."""

    lane: Lane
    batch: str
    rank: int
    position: int

    @property
    def run_id(self) -> str:
        return f"{self.batch}.{self.position}"


@dataclass
class World:
    """A queue and what is at work, decided by :func:`choose` alone."""

    limits: Limits
    batch_limits: dict[str, int]
    queue: list[Waiting] = field(default_factory=list)
    working: list[Waiting] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)

    def head(self, lane: Lane, full: Collection[str]) -> Head | None:
        found = [run for run in self.queue if run.lane == lane and run.batch not in full]
        first = min(found, key=lambda run: (run.rank, run.batch, run.position), default=None)
        return None if first is None else Head(first.run_id, first.batch, lane, first.rank, first.position)

    def start(self) -> Waiting | None:
        counts = Counter((run.batch, run.lane) for run in self.working)
        busy = Busy.of((batch, self.batch_limits[batch], lane, count) for (batch, lane), count in counts.items())
        chosen = choose({run.lane for run in self.queue}, self.head, busy, self.turns, self.limits)
        if chosen is None:
            return None
        run = next(run for run in self.queue if run.run_id == chosen.run_id)
        self.queue.remove(run)
        self.working.append(run)
        self.turns[run.lane.tenant] = max(self.turns.values(), default=0) + 1
        return run

    def start_all(self) -> list[Waiting]:
        started = []
        while (run := self.start()) is not None:
            started.append(run)
        return started


def runs(tenant: str, count: int, *, batch: str = "", rank: int = 0, agent: str = "") -> list[Waiting]:
    lane = Lane(tenant, "repo", agent)
    return [Waiting(lane, batch or f"of-{tenant}", rank, position) for position in range(count)]


def world(limits: Limits, *queued: list[Waiting], most: int = 1000) -> World:
    queue = [run for runs in queued for run in runs]
    return World(limits, {run.batch: most for run in queue}, queue)


def test_one_run_of_another_tenant_gets_the_next_slot_that_is_free() -> None:
    here = world(Limits(total=4), runs("a", 100))
    assert len(here.start_all()) == 4
    here.queue += runs("b", 1, rank=10**18)  # submitted last, and of no priority
    here.batch_limits["of-b"] = 1
    here.working.pop()
    started = here.start()
    assert started is not None
    assert started.lane.tenant == "b"


def test_tenants_share_slots_equally_however_many_wait() -> None:
    here = world(Limits(total=6), runs("a", 100), runs("b", 50), runs("c", 10))
    assert Counter(run.lane.tenant for run in here.start_all()) == {"a": 2, "b": 2, "c": 2}


def test_more_tenants_than_slots_take_turns() -> None:
    names = "abcdefg"
    here = world(Limits(total=2), *(runs(name, 20) for name in names))
    order: list[str] = []
    for _ in range(21):
        order += [run.lane.tenant for run in here.start_all()]
        here.working.pop(0)
    assert [sorted(order[at : at + 7]) for at in (0, 7, 14)] == [list(names)] * 3


def test_a_tenant_that_cannot_start_does_not_hold_up_the_others() -> None:
    here = world(Limits(total=10), runs("a", 5, agent="busy"), runs("b", 2))
    here.limits = Limits(total=10, agents={"busy": 1})
    assert Counter(run.lane.tenant for run in here.start_all()) == {"a": 1, "b": 2}


def test_a_full_batch_does_not_hold_up_the_next_of_its_tenant() -> None:
    here = world(Limits(total=10), runs("a", 5, batch="one"), runs("a", 5, batch="two", rank=1))
    here.batch_limits = {"one": 2, "two": 3}
    assert Counter(run.batch for run in here.start_all()) == {"one": 2, "two": 3}


def test_higher_priority_goes_first_and_is_worth_ten_minutes_a_point() -> None:
    low, high = rank(START, 0), rank(START + timedelta(minutes=19), 2)
    assert high < low
    assert rank(START + timedelta(minutes=21), 2) > low
    here = world(Limits(total=1), runs("a", 1, batch="low", rank=low), runs("a", 1, batch="high", rank=high))
    assert [run.batch for run in here.start_all()] == ["high"]


@given(
    early=st.integers(-MAX_PRIORITY, MAX_PRIORITY),
    late=st.integers(-MAX_PRIORITY, MAX_PRIORITY),
    wait=st.timedeltas(2 * MAX_PRIORITY * PRIORITY_WORTH + timedelta(microseconds=1), timedelta(days=1000)),
)
def test_nothing_that_comes_two_hundred_minutes_later_goes_ahead(early: int, late: int, wait: timedelta) -> None:
    assert rank(START, early) < rank(START + wait, late)


def test_a_lane_is_of_one_tenant_repository_and_agent() -> None:
    plain = RunSpec(name="a", intention=Intention(title="x"))
    agent = RunSpec(name="a", intention=Intention(title="x"), agent=AgentPreset("claude"))
    lanes = [lane_of("t", "/r", plain), lane_of("t", "/r", agent), lane_of("t", "/s", plain), lane_of("u", "/r", plain)]
    assert len(set(lanes)) == 4
    odd = lane_of("a\nb\n", "/r\udcff", agent)
    assert Lane.of_key(odd.key()) == odd


NAMES = st.sampled_from("abc")
QUEUED = st.builds(
    Waiting,
    lane=st.builds(Lane, NAMES, st.sampled_from(["r", "s"]), st.sampled_from(["", "x", "y"])),
    batch=st.sampled_from(["b1", "b2", "b3", "b4"]),
    rank=st.integers(0, 5),
    position=st.integers(0, 999),
)
LIMITS = st.builds(
    Limits,
    total=st.integers(0, 8),
    per_tenant=st.none() | st.integers(1, 4),
    per_repository=st.none() | st.integers(1, 4),
    agents=st.dictionaries(st.sampled_from(["x", "y"]), st.integers(1, 3)),
)


@settings(deadline=None)
@given(
    limits=LIMITS,
    queue=st.lists(QUEUED, max_size=40, unique_by=lambda run: run.run_id),
    batches=st.fixed_dictionaries({name: st.integers(1, 4) for name in ("b1", "b2", "b3", "b4")}),
    ends=st.lists(st.integers(0, 100), max_size=60),
)
def test_no_limit_is_ever_exceeded_nothing_stands_idle_and_everybody_ends(
    limits: Limits, queue: list[Waiting], batches: dict[str, int], ends: list[int]
) -> None:
    here = World(limits, batches, list(queue))
    for end in [*ends, *([0] * len(queue))]:
        here.start_all()
        _within(here)
        _nothing_could_start(here)
        if here.working:
            here.working.pop(end % len(here.working))
    assert not here.queue or not limits.total
    assert not here.working or not limits.total


def _within(here: World) -> None:
    limits, working = here.limits, here.working
    assert len(working) <= limits.total
    assert max(Counter(run.batch for run in working).values(), default=0) <= 4
    for batch, count in Counter(run.batch for run in working).items():
        assert count <= here.batch_limits[batch]
    for of, most in (("tenant", limits.per_tenant), ("repository", limits.per_repository)):
        counts = Counter(getattr(run.lane, of) for run in working)
        assert most is None or max(counts.values(), default=0) <= most
    for agent, most in limits.agents.items():
        assert sum(run.lane.agent == agent for run in working) <= most


def _nothing_could_start(here: World) -> None:
    """A slot is free only if no waiting run may have it."""
    for run in here.queue:
        one_more = World(here.limits, here.batch_limits, [], [*here.working, run])
        with pytest.raises(AssertionError):
            _within(one_more)

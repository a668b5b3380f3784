"""Who may start next: a function of what is worked on, of the limits, and of the heads of the queues.

Runs that the same limits hold for wait in one *lane*: those of one tenant, on one repository, with one agent. The rule:

1. Nobody starts beyond a limit: of all, of the tenant, of the repository, of the agent, of the batch.
2. Of the tenants that may start one, the one that is owed most goes first: the one with the fewest runs at work;
   between equals, the one whose last turn is longest ago (deficit round robin; what is owed are slots). So a tenant
   that submits one run beside a hundred of another gets the next slot that is free.
3. Of that tenant's runs, the lowest *rank* goes first: the time at which it was queued, less ten minutes for each point
   of priority. A rank never changes and time goes on, so every run becomes the first of its tenant in the end.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autopack_orchestrator.core.model import RunSpec

__all__ = [
    "MAX_PRIORITY",
    "PRIORITY_WORTH",
    "Busy",
    "Head",
    "Lane",
    "Limits",
    "choose",
    "lane_of",
    "rank",
]

MAX_PRIORITY = 10
PRIORITY_WORTH = timedelta(minutes=10)
"""Waiting that a point of priority is worth: the highest passes the lowest for 200 minutes, and no longer."""
_SEPARATOR = "\n"  # in no digest and no agent's name; a tenant is what stands before the last two


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """Runs that the same limits hold for.

    Attributes:
        tenant: whose.
        repository: a digest that stands for the repository.
        agent: the preset, which may be throttled; empty for what is none.
    """

    tenant: str
    repository: str
    agent: str

    def key(self) -> str:
        """The lane as a text, to be stored."""
        return _SEPARATOR.join((self.tenant, self.repository, self.agent))

    @classmethod
    def of_key(cls, key: str) -> Lane:
        """The lane of a stored text."""
        tenant, repository, agent = key.rsplit(_SEPARATOR, 2)
        return cls(tenant, repository, agent)


@dataclass(frozen=True, slots=True)
class Head:
    """The first run of a lane whose batch is not at its limit."""

    run_id: str
    batch_id: str
    lane: Lane
    rank: int
    position: int

    @property
    def order(self) -> tuple[int, str, int]:
        """The place among the runs of one tenant."""
        return self.rank, self.batch_id, self.position


@dataclass(frozen=True, slots=True)
class Limits:
    """Runs at once at most; None = no limit of this kind.

    Attributes:
        agents: of those presets whose provider said that it is overloaded.
    """

    total: int
    per_tenant: int | None = None
    per_repository: int | None = None
    agents: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Busy:
    """What is worked on now.

    Attributes:
        full: batches at their own limit.
    """

    total: int = 0
    tenants: Counter[str] = field(default_factory=Counter)
    repositories: Counter[str] = field(default_factory=Counter)
    agents: Counter[str] = field(default_factory=Counter)
    full: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, rows: Iterable[tuple[str, int, Lane, int]]) -> Busy:
        """From (batch, its limit, lane, runs at work) of every batch and lane that has any."""
        busy, batches = cls(), Counter[str]()
        for batch_id, most, lane, count in rows:
            busy.total += count
            busy.tenants[lane.tenant] += count
            busy.repositories[lane.repository] += count
            busy.agents[lane.agent] += count
            batches[batch_id] += count
            if batches[batch_id] >= most:
                busy.full.add(batch_id)
        return busy


def choose(
    lanes: Collection[Lane],
    head: Callable[[Lane, Collection[str]], Head | None],
    busy: Busy,
    turns: Mapping[str, int],
    limits: Limits,
) -> Head | None:
    """The run that may start now, or None.

    Args:
        lanes: those in which a run waits.
        head: the first run of a lane that is in none of the given batches; asked for the lanes of few tenants.
        busy: what is worked on.
        turns: the number of each tenant's last turn; who is not in it never had one.
        limits: of this orchestrator.
    """
    if busy.total >= limits.total:
        return None
    of_tenant: dict[str, list[Lane]] = {}
    for lane in lanes:
        if _has_room(lane, busy, limits):
            of_tenant.setdefault(lane.tenant, []).append(lane)
    for tenant in sorted(of_tenant, key=lambda tenant: (busy.tenants[tenant], turns.get(tenant, 0), tenant)):
        heads = [found for lane in of_tenant[tenant] if (found := head(lane, busy.full)) is not None]
        if heads:
            return min(heads, key=lambda found: found.order)
    return None


def _has_room(lane: Lane, busy: Busy, limits: Limits) -> bool:
    return (
        (limits.per_tenant is None or busy.tenants[lane.tenant] < limits.per_tenant)
        and (limits.per_repository is None or busy.repositories[lane.repository] < limits.per_repository)
        and (lane.agent not in limits.agents or busy.agents[lane.agent] < limits.agents[lane.agent])
    )


def lane_of(tenant: str, repository: str, spec: RunSpec) -> Lane:
    """Where a run waits."""
    digest = hashlib.sha256(repository.encode(errors="surrogateescape")).hexdigest()[:16]
    return Lane(tenant, digest, spec.agent.name if spec.agent is not None else "")


def rank(queued: datetime, priority: int) -> int:
    """A run's place among those of its tenant, in microseconds; lower first."""
    return round((queued - priority * PRIORITY_WORTH).timestamp() * 1_000_000)

"""What does not add up in a run: told with its sums, as a number alone would be believed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, func, literal, select

from autopack_telemetry.adapters.tables import PHASES, RUNS, SESSIONS, USAGE
from autopack_telemetry.core.model import Signal
from autopack_telemetry.core.signals import BITS, RIVALS

__all__ = ["warnings_of"]

MAX_COMPARED = 1_000
"""Sessions of a run whose signals are compared: more than any run has, and a bound on the work."""
MAX_NAMED = 20
"""Sessions that warnings name."""
MAX_STRAY = 1_000
"""Sessions of no run that are counted."""


def warnings_of(connection: Connection, tenant: str, run_id: str) -> tuple[str, ...]:
    """What does not add up, in sentences."""
    found = [
        _difference(agent, session_id, told)
        for (agent, session_id), told in _compared(connection, tenant, run_id).items()
        if len(set(told.values())) > 1
    ]
    named, more = found[:MAX_NAMED], len(found) - MAX_NAMED
    if more > 0:
        named.append(f"Of {more} more sessions the signals' tokens differ.")
    stray = _stray(connection, tenant, run_id)
    if stray:
        count = f"{stray}" if stray < MAX_STRAY else f"At least {stray}"
        named.append(
            f"{count} {'session' if stray == 1 else 'sessions'} of no run reported usage in the time of this run, "
            "which is not in its sums: list them as unattributed, and register those that belong to it."
        )
    return tuple(named)


def _compared(connection: Connection, tenant: str, run_id: str) -> dict[tuple[str, str], dict[Signal, int]]:
    """Tokens by signal of the sessions of which several signals told, by agent and session."""
    rivals = SESSIONS.c.signals.bitwise_and(RIVALS)
    several = (
        select(SESSIONS.c.agent, SESSIONS.c.session_id)
        .where(
            SESSIONS.c.tenant == tenant,
            SESSIONS.c.run_id == run_id,
            rivals.bitwise_and(rivals - 1) != 0,  # more than one bit
        )
        .order_by(SESSIONS.c.id)
        .limit(MAX_COMPARED)
    )
    found: dict[tuple[str, str], dict[Signal, int]] = {
        (row.agent, row.session_id): {} for row in connection.execute(several)
    }
    if not found:
        return found
    # In the order of an index, of all sessions: to pick some of them would cost a sort of all their calls.
    key = (USAGE.c.agent, USAGE.c.session_id, USAGE.c.signal)
    query = select(*key, func.sum(USAGE.c.total)).where(USAGE.c.tenant == tenant, USAGE.c.run_id == run_id)
    for agent, session_id, signal, total in connection.execute(query.group_by(*key)):
        told = found.get((agent, session_id))
        if told is not None and signal != Signal.API.value:  # that tells of other calls
            told[Signal(signal)] = int(total)
    return found


def _difference(agent: str, session_id: str, told: Mapping[Signal, int]) -> str:
    name = f"Session {session_id!r}" if session_id else "The usage without session"
    best_first = sorted(told, key=BITS.__getitem__)
    tokens = ", ".join(f"{signal.value} {told[signal]}" for signal in best_first)
    return f"{name} of {agent!r}: the signals' tokens differ ({tokens}); {best_first[0].value} counts."


def _stray(connection: Connection, tenant: str, run_id: str) -> int:
    """Sessions of no run that overlap in time with what is known of this run; at most :data:`MAX_STRAY`."""
    any_stray = select(SESSIONS.c.id).where(SESSIONS.c.tenant == tenant, SESSIONS.c.run_id == "").limit(1)
    if connection.scalar(any_stray) is None:
        return 0
    span = _span(connection, tenant, run_id)
    if span is None:
        return 0
    overlapping = (
        select(SESSIONS.c.id)
        .where(
            SESSIONS.c.tenant == tenant,
            SESSIONS.c.run_id == "",
            SESSIONS.c.first_time <= span[1],
            SESSIONS.c.last_time >= span[0],
        )
        .limit(MAX_STRAY)
    )
    return connection.scalar(select(func.count()).select_from(overlapping.subquery())) or 0


def _span(connection: Connection, tenant: str, run_id: str) -> tuple[int, int] | None:
    """First and last time known of a run."""
    times: list[int] = []
    for table, start, length in (
        (PHASES, PHASES.c.started_at, func.coalesce(PHASES.c.duration, 0)),
        (RUNS, RUNS.c.started_at, func.coalesce(RUNS.c.duration, 0)),
        (USAGE, USAGE.c.time, literal(0)),
    ):
        query = select(func.min(start), func.max(start + length)).where(
            table.c.tenant == tenant, table.c.run_id == run_id
        )
        times += [time for time in connection.execute(query).one() if time is not None]
    return (min(times), max(times)) if times else None

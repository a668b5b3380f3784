"""Sessions of agents: to which run each belongs, what told of it, and so which of its usage counts.

Everything is done once for a batch, not once for a row. On PostgreSQL the upsert of a session's row is also the lock
under which its usage is weighed: another process that tells of the same session waits for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from autopack_kit.db import insert
from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Update,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    select,
    text,
    true,
    update,
)
from sqlalchemy import tuple_ as sql_tuple

from autopack_telemetry.adapters.chunks import chunks
from autopack_telemetry.adapters.tables import SESSIONS, USAGE
from autopack_telemetry.adapters.usage import PriceOf, keep_larger
from autopack_telemetry.core.model import Signal
from autopack_telemetry.core.signals import BITS, RIVALS, Standing, best
from autopack_telemetry.errors import session_not_of_run, session_of_another_run

__all__ = ["Key", "place", "register"]

Key: TypeAlias = tuple[str, str, str]
"""Run, agent and session."""

_KEY = (SESSIONS.c.run_id, SESSIONS.c.agent, SESSIONS.c.session_id)
_STATES = select(*_KEY, SESSIONS.c.signals, SESSIONS.c.named_signals).where(
    SESSIONS.c.tenant == bindparam("tenant"), sql_tuple(*_KEY).in_(bindparam("keys", expanding=True))
)
_REGISTERED = text("registered")  # in words, so that the partial index is seen to hold them all
_PLACES = select(SESSIONS.c.agent, SESSIONS.c.session_id, SESSIONS.c.run_id, SESSIONS.c.phase_id).where(
    SESSIONS.c.tenant == bindparam("tenant"),
    _REGISTERED,
    sql_tuple(SESSIONS.c.agent, SESSIONS.c.session_id).in_(bindparam("keys", expanding=True)),
)


_Row: TypeAlias = dict[str, Any]
_Group: TypeAlias = tuple[str, str, str, str, str]
"""Run, phase, agent, session and signal: what rows have in common whose place is the same, as are nearly all of a
batch."""
_GROUP = itemgetter("run_id", "phase_id", "agent", "session_id", "signal")
_BITS = {signal.value: bit for signal, bit in BITS.items()}


@dataclass(frozen=True, slots=True)
class _Told:
    """What a batch tells of one session: signals as bits, and the time of its first and last call."""

    signals: int = 0
    first: int | None = None
    last: int | None = None


class _State(NamedTuple):
    signals: int
    named: int


_NOTHING = _State(0, 0)


def place(connection: Connection, tenant: str, rows: list[_Row], now: int) -> list[_Row]:
    """Notes what the rows tell of sessions.

    Returns:
        The rows: with the run and phase for which their session is registered where they name none, and marked where
        they are shadows.
    """
    groups: defaultdict[_Group, list[_Row]] = defaultdict(list)
    for row in rows:
        groups[_GROUP(row)].append(row)
    places = _places(connection, tenant, groups)
    told = _told_by(groups, places)
    deciding = _note(connection, tenant, told, now) if told else {}
    changes: dict[_Group, dict[str, Any]] = {}
    for group, (run_id, phase_id) in places.items():
        agent, session_id, signal = group[2:]
        standing, signals = deciding.get((run_id, agent, session_id), (Standing(), 0))
        shadow = standing.shadow(Signal(signal), session_id, signals)
        if shadow or (run_id, phase_id) != group[:2]:
            changes[group] = {"run_id": run_id, "phase_id": phase_id, "shadow": shadow}
    # New ones, as those given are placed anew if the transaction must be repeated.
    return [row | changes.get(_GROUP(row), {}) for row in rows] if changes else rows


def _places(connection: Connection, tenant: str, groups: Iterable[_Group]) -> dict[_Group, tuple[str, str]]:
    """Run and phase of each group: its own, or where it lacks one those for which its session is registered."""
    places = {group: group[:2] for group in groups}
    lacking = [group for group in groups if group[3] and not (group[0] and group[1])]
    if not lacking:
        return places
    _lock(connection, tenant, shared=True)
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for part in chunks(sorted({(agent, session_id) for _, _, agent, session_id, _ in lacking})):
        for agent, session_id, run_id, phase_id in connection.execute(_PLACES, {"tenant": tenant, "keys": part}):
            found[agent, session_id] = (run_id, phase_id)
    for group in lacking:
        run_id, phase_id = found.get(group[2:4], ("", ""))
        if run_id and group[0] in ("", run_id):
            places[group] = (run_id, group[1] or phase_id)
    return places


def _note(connection: Connection, tenant: str, told: Mapping[Key, _Told], now: int) -> dict[Key, tuple[Standing, int]]:
    """Keeps what was told of sessions and weighs anew the usage of those whose best signal has changed.

    Returns:
        For each session what decides about its usage: the standing of its agent in the run, and its own signals.
    """
    rows = {key: _session_row(tenant, key, one, now) for key, one in told.items()}
    for (run_id, agent, session_id), one in told.items():
        if run_id and session_id:
            whole = (run_id, agent, "")
            rows.setdefault(whole, _session_row(tenant, whole, _Told(), now))["named_signals"] |= one.signals
    keys = sorted(rows)  # in one order, lest two processes wait for each other
    before = _states(connection, tenant, keys)
    after = _upsert(connection, [rows[key] for key in keys])
    _settle(connection, tenant, before, after)
    return {key: (_standing(after, key), after[key].signals) for key in told}


def register(
    connection: Connection,
    tenant: str,
    key: Key,
    phase_id: str,
    now: int,
    *,
    bound: bool,
    price: PriceOf | None = None,
) -> int:
    """Registers a session and moves its usage of no run there; see :meth:`.core.store.Store.register_session`."""
    run_id, agent, session_id = key
    _lock(connection, tenant, shared=False)
    mine = (SESSIONS.c.tenant == tenant, SESSIONS.c.agent == agent, SESSIONS.c.session_id == session_id)
    owner = connection.scalar(select(SESSIONS.c.run_id).where(*mine, _REGISTERED))
    elsewhere = select(SESSIONS.c.id).where(*mine, SESSIONS.c.run_id != run_id).limit(1)
    if bound and owner != run_id and connection.scalar(elsewhere) is not None:
        raise session_not_of_run(agent, session_id, run_id)
    if owner not in (None, run_id):
        raise session_of_another_run(agent, session_id, owner)
    stray = connection.execute(select(SESSIONS).where(*mine, SESSIONS.c.run_id == "")).one_or_none()
    told = _Told(stray.signals, stray.first_time, stray.last_time) if stray is not None else _Told()
    standing, _ = _note(connection, tenant, {key: told}, now)[key]
    values = {"registered": True} | ({"phase_id": phase_id} if phase_id else {})
    connection.execute(update(SESSIONS).where(*mine, SESSIONS.c.run_id == run_id).values(values))
    moved = 0
    if stray is not None:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.id == stray.id))
        moved = _move(connection, tenant, key, price)
    if phase_id:
        told_no_phase = (*_of_session(tenant, key), USAGE.c.phase_id == "")
        connection.execute(update(USAGE).where(*told_no_phase).values(phase_id=phase_id))
    if stray is None:
        return 0
    connection.execute(_reshadow(tenant, run_id, agent, standing).where(USAGE.c.session_id == session_id))
    return moved


def _session_row(tenant: str, key: Key, told: _Told, now: int) -> dict[str, Any]:
    run_id, agent, session_id = key
    return {
        "tenant": tenant,
        "run_id": run_id,
        "agent": agent,
        "session_id": session_id,
        "phase_id": "",
        "registered": False,
        "signals": told.signals,
        "named_signals": 0,
        "first_time": told.first,
        "last_time": told.last,
        "recorded_at": now,
    }


def _states(connection: Connection, tenant: str, keys: list[Key]) -> dict[Key, _State]:
    found = {}
    for part in chunks(keys):
        for row in connection.execute(_STATES, {"tenant": tenant, "keys": part}):
            found[row[0], row[1], row[2]] = _State(row[3], row[4])
    return found


def _upsert(connection: Connection, rows: list[dict[str, Any]]) -> dict[Key, _State]:
    dialect = connection.dialect.name
    if dialect not in _upserts:
        _upserts[dialect] = _upsert_statement(connection)
    return {(row[0], row[1], row[2]): _State(row[3], row[4]) for row in connection.execute(_upserts[dialect], rows)}


_upserts: dict[str, Executable] = {}
"""By database: made once, as every batch executes it."""


def _upsert_statement(connection: Connection) -> Executable:
    statement = insert(connection, SESSIONS)
    old, new = SESSIONS.c, statement.excluded
    # Either may be NULL: a comparison with NULL is not true.
    told_first, told_last = func.coalesce(new.first_time, old.first_time), func.coalesce(new.last_time, old.last_time)
    first = case((old.first_time <= told_first, old.first_time), else_=new.first_time)
    last = case((old.last_time >= told_last, old.last_time), else_=new.last_time)
    return statement.on_conflict_do_update(
        index_elements=["tenant", "run_id", "agent", "session_id"],
        set_={
            "signals": old.signals.bitwise_or(new.signals),
            "named_signals": old.named_signals.bitwise_or(new.named_signals),
            "first_time": first,
            "last_time": last,
            "recorded_at": case((old.recorded_at >= new.recorded_at, old.recorded_at), else_=new.recorded_at),
        },
    ).returning(*_KEY, old.signals, old.named_signals)


def _standing(states: Mapping[Key, _State], key: Key) -> Standing:
    run_id, agent, session_id = key
    if session_id and not run_id:
        return Standing()  # what belongs to no run may belong to many: there each session stands for itself
    state = states.get((run_id, agent, ""), _NOTHING)
    return Standing(state.signals, state.named)


def _settle(connection: Connection, tenant: str, before: Mapping[Key, _State], after: Mapping[Key, _State]) -> None:
    """Corrects earlier usage where another signal counts now."""
    whole = set()
    for run_id, agent in {(run_id, agent) for run_id, agent, _ in after}:
        earlier, standing = _standing(before, (run_id, agent, "")), _standing(after, (run_id, agent, ""))
        if earlier.named and earlier.unnamed_rules != standing.unnamed_rules:
            connection.execute(_reshadow(tenant, run_id, agent, standing))
            whole.add((run_id, agent))
        elif earlier.unnamed & RIVALS and earlier.unnamed_best != standing.unnamed_best:
            connection.execute(_reshadow(tenant, run_id, agent, standing).where(USAGE.c.session_id == ""))
    for key in after:
        run_id, agent, session_id = key
        signals = before.get(key, _NOTHING).signals
        if not session_id or (run_id, agent) in whole or not signals & RIVALS:
            continue
        if best(signals) != best(after[key].signals):
            statement = _reshadow(tenant, run_id, agent, _standing(after, key))
            connection.execute(statement.where(USAGE.c.session_id == session_id))


def _reshadow(tenant: str, run_id: str, agent: str, standing: Standing) -> Update:
    """Marks the usage of an agent in a run as :meth:`Standing.shadow` says, touching only what is not so already."""
    bit: ColumnElement[int] = case(_BITS, value=USAGE.c.signal, else_=0)
    told = (
        select(SESSIONS.c.signals.bitwise_and(RIVALS))
        .where(
            SESSIONS.c.tenant == tenant,
            SESSIONS.c.run_id == run_id,
            SESSIONS.c.agent == agent,
            SESSIONS.c.session_id == USAGE.c.session_id,
        )
        .scalar_subquery()
    )
    of_session = true() if standing.unnamed_rules else bit != told.bitwise_and(-told)
    shadow = case(
        (USAGE.c.signal == Signal.API.value, false()),
        (USAGE.c.session_id == "", bit != standing.unnamed_best),
        else_=of_session,
    )
    return (
        update(USAGE)
        .where(
            USAGE.c.tenant == tenant,
            USAGE.c.run_id == run_id,
            USAGE.c.agent == agent,
            USAGE.c.shadow.is_distinct_from(shadow),
        )
        .values(shadow=shadow)
    )


def _move(connection: Connection, tenant: str, key: Key, price: PriceOf | None) -> int:
    """Moves usage of no run into one; what that run knows already is not moved but dropped."""
    run_id, agent, session_id = key
    stray = _of_session(tenant, ("", agent, session_id))
    known = USAGE.alias()
    twice = exists().where(known.c.tenant == tenant, known.c.run_id == run_id, known.c.usage_id == USAGE.c.usage_id)
    moved = connection.execute(update(USAGE).where(*stray, ~twice).values(run_id=run_id)).rowcount
    left = [row._asdict() for row in connection.execute(select(USAGE).where(*stray))]
    if left:
        keep_larger(connection, [row | {"run_id": run_id} for row in left], price)
        connection.execute(delete(USAGE).where(*stray))
    return moved


def _of_session(tenant: str, key: Key) -> tuple[ColumnElement[bool], ...]:
    usage = USAGE.c
    values = zip((usage.tenant, usage.run_id, usage.agent, usage.session_id), (tenant, *key), strict=True)
    return tuple(column == value for column, value in values)


def _lock(connection: Connection, tenant: str, *, shared: bool) -> None:
    """Usage without a run must not come in between the look for a registration and that registration. Only PostgreSQL
    has several writers at once."""
    if connection.dialect.name == "postgresql":
        take = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        connection.execute(select(take(func.hashtextextended(f"autopack:telemetry:sessions:{tenant}", 0))))


def _told_by(groups: Mapping[_Group, Sequence[_Row]], places: Mapping[_Group, tuple[str, str]]) -> dict[Key, _Told]:
    """What usage tells of sessions; usage over the API that names none is of no session."""
    found: dict[Key, tuple[int, int, int]] = {}
    for group, members in groups.items():
        agent, session_id, signal = group[2:]
        if not session_id and signal == Signal.API.value:
            continue
        key, times = (places[group][0], agent, session_id), [row["time"] for row in members]
        signals, first, last = _BITS[signal], min(times), max(times)
        if (other := found.get(key)) is not None:
            signals, first, last = signals | other[0], min(first, other[1]), max(last, other[2])
        found[key] = (signals, first, last)
    return {key: _Told(*one) for key, one in found.items()}

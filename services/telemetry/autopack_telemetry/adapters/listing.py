"""Sessions with what each of their signals told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy import tuple_ as sql_tuple

from autopack_telemetry.adapters.chunks import chunks
from autopack_telemetry.adapters.rows import TOKENS
from autopack_telemetry.adapters.sessions import Key
from autopack_telemetry.adapters.tables import SESSIONS, USAGE
from autopack_telemetry.core.model import Session, Signal, SignalTotal, Tokens
from autopack_telemetry.core.signals import BITS, signals_of

__all__ = ["list_sessions", "sessions_of", "totals_of"]


def list_sessions(
    connection: Connection, tenant: str, run_id: str | None, before: int | None, limit: int
) -> list[Session]:
    """Sessions that reported usage, newest first: of a run, of none (empty), or of all (None)."""
    query = select(SESSIONS).where(SESSIONS.c.tenant == tenant, SESSIONS.c.signals != 0)
    if run_id is not None:
        query = query.where(SESSIONS.c.run_id == run_id)
    if before is not None:
        query = query.where(SESSIONS.c.id < before)
    return sessions_of(connection, tenant, connection.execute(query.order_by(SESSIONS.c.id.desc()).limit(limit)).all())


def sessions_of(connection: Connection, tenant: str, rows: Sequence[Row[Any]]) -> list[Session]:
    """The sessions of rows, with their totals."""
    totals = totals_of(connection, tenant, [(row.run_id, row.agent, row.session_id) for row in rows])
    return [
        Session(
            key=row.id,
            agent=row.agent,
            session_id=row.session_id,
            run_id=row.run_id,
            signal=signals_of(row.signals)[0],
            reported=tuple(totals[(row.run_id, row.agent, row.session_id)]),
            first_time=row.first_time,
            last_time=row.last_time,
        )
        for row in rows
    ]


def totals_of(connection: Connection, tenant: str, keys: Sequence[Key]) -> dict[Key, list[SignalTotal]]:
    """What each signal told of these sessions, shadows included, best first."""
    found: dict[Key, list[SignalTotal]] = defaultdict(list)
    key = (USAGE.c.run_id, USAGE.c.agent, USAGE.c.session_id)
    for part in chunks(keys):
        query = (
            select(*key, USAGE.c.signal, func.count(), *(func.sum(USAGE.c[name]) for name in TOKENS))
            .where(USAGE.c.tenant == tenant, sql_tuple(*key).in_(part))
            .group_by(*key, USAGE.c.signal)
        )
        for run_id, agent, session_id, signal, records, *tokens in connection.execute(query):
            total = SignalTotal(Signal(signal), records, Tokens(*map(int, tokens)))
            found[(run_id, agent, session_id)].append(total)
    for totals in found.values():
        totals.sort(key=lambda total: BITS[total.signal])
    return found

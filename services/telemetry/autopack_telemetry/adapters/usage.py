"""Rows of usage: each call once, whatever repeats it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, update
from sqlalchemy import tuple_ as sql_tuple

from autopack_telemetry.adapters.bulk import add_new
from autopack_telemetry.adapters.chunks import chunks
from autopack_telemetry.adapters.tables import USAGE

__all__ = ["add", "keep_larger"]

_Row: TypeAlias = Mapping[str, Any]

_COUNTED = (
    "input",
    "cache_read",
    "cache_write",
    "output",
    "reasoning",
    "total",
    "reported_cost_microusd",
    "cost_microusd",
    "price_source",
    "price_version",
    "time",
    "recorded_at",
)
"""What a cumulative record replaces."""
_RESPONSE = (USAGE.c.response_id, USAGE.c.agent, USAGE.c.signal, USAGE.c.total)
_TOLD = select(USAGE.c.id, *_RESPONSE, USAGE.c.time, USAGE.c.session_id, USAGE.c.usage_id, USAGE.c.run_id).where(
    USAGE.c.tenant == bindparam("tenant"),
    USAGE.c.response_id.is_not(None),
    sql_tuple(*_RESPONSE).in_(bindparam("keys", expanding=True)),
)


def add(connection: Connection, rows: Sequence[_Row]) -> int:
    """Adds what is new and resolves what is not, so that the rows are the same in whatever order they came.

    Returns:
        How many were new.
    """
    new = add_new(connection, USAGE, rows)
    if new < len(rows):  # most batches hold nothing that is known, and pay nothing for this
        keep_larger(connection, [row for row in rows if row["cumulative"]])
        _keep_first_told(connection, [row for row in rows if row["response_id"] is not None])
    return new


def keep_larger(connection: Connection, rows: Sequence[_Row]) -> None:
    """Lets counts of a series replace smaller ones under their ids, and later ones the same count."""
    if not rows:
        return
    key = ("tenant", "run_id", "usage_id")
    statement = (
        update(USAGE)
        .where(
            *(USAGE.c[name] == bindparam(f"_{name}") for name in key),
            USAGE.c.cumulative,
            or_(
                USAGE.c.total < bindparam("_total"),
                and_(USAGE.c.total == bindparam("_total"), USAGE.c.time < bindparam("_time")),
            ),
        )
        .values({name: bindparam(f"_{name}") for name in _COUNTED})
    )
    names = (*key, *_COUNTED)
    connection.execute(statement, [{f"_{name}": row[name] for name in names} for row in rows])


def _keep_first_told(connection: Connection, rows: Sequence[_Row]) -> None:
    """Of a response that several sessions tell of, keeps what was told first by its own time, not by its arrival."""
    earliest: dict[tuple[Any, ...], _Row] = {}
    for row in rows:
        key = (row["response_id"], row["agent"], row["signal"], row["total"])
        if key not in earliest or _told_order(row) < _told_order(earliest[key]):
            earliest[key] = row
    if not earliest:
        return
    tenant = rows[0]["tenant"]
    late, winners = [], []
    for part in chunks(list(earliest)):
        for kept in (row._asdict() for row in connection.execute(_TOLD, {"tenant": tenant, "keys": part})):
            row = earliest[(kept["response_id"], kept["agent"], kept["signal"], kept["total"])]
            if _told_order(row) < _told_order(kept):
                late.append(kept["id"])
                winners.append(row)
    for ids in chunks(late):
        connection.execute(delete(USAGE).where(USAGE.c.id.in_(ids)))
    if winners:
        add_new(connection, USAGE, winners)


def _told_order(row: _Row) -> tuple[Any, ...]:
    """Of the same call told twice at one time, the one that names its run comes first."""
    return row["time"], row["session_id"], row["usage_id"], not row["run_id"], row["run_id"]

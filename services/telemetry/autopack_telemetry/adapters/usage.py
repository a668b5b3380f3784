"""Rows of usage: each call once, whatever repeats it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, update
from sqlalchemy import tuple_ as sql_tuple

from autopack_telemetry.adapters.bulk import add_new
from autopack_telemetry.adapters.chunks import chunks
from autopack_telemetry.adapters.rows import TOKENS
from autopack_telemetry.adapters.tables import USAGE
from autopack_telemetry.core.model import Price, Signal, UsageRecord
from autopack_telemetry.core.otlp.parts import Parts

__all__ = ["PriceOf", "add", "keep_larger"]

_Row: TypeAlias = Mapping[str, Any]
PriceOf: TypeAlias = Callable[[UsageRecord], Price | None]
"""What a call cost by a price list; None if the list does not know its model."""

_KEY = ("run_id", "usage_id")
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
_SERIES = (
    select(USAGE.c.id, USAGE.c.run_id, USAGE.c.usage_id, USAGE.c.parts, *(USAGE.c[name] for name in _COUNTED))
    .where(
        USAGE.c.tenant == bindparam("tenant"),
        sql_tuple(USAGE.c.run_id, USAGE.c.usage_id).in_(bindparam("keys", expanding=True)),
    )
    .order_by(USAGE.c.id)  # in one order, lest two processes wait for each other
    .with_for_update()
)
_CHANGE = (
    update(USAGE)
    .where(USAGE.c.id == bindparam("_id"))
    .values({name: bindparam(f"_{name}") for name in (*_COUNTED, "parts")})
)
_RESPONSE = (USAGE.c.response_id, USAGE.c.agent, USAGE.c.signal, USAGE.c.total)
_TOLD = select(USAGE.c.id, *_RESPONSE, USAGE.c.time, USAGE.c.session_id, USAGE.c.usage_id, USAGE.c.run_id).where(
    USAGE.c.tenant == bindparam("tenant"),
    USAGE.c.response_id.is_not(None),
    sql_tuple(*_RESPONSE).in_(bindparam("keys", expanding=True)),
)


def add(connection: Connection, rows: Sequence[_Row], price: PriceOf | None = None) -> int:
    """Adds what is new and resolves what is not, so that the rows are the same in whatever order they came.

    Args:
        connection: in a transaction.
        rows: all of one tenant.
        price: of a series that was told in several parts; None for "not known".

    Returns:
        How many were new.
    """
    new = add_new(connection, USAGE, rows, key=_KEY)
    if new < len(rows):  # most batches hold nothing that is known, and pay nothing for this
        keep_larger(connection, rows, price)
        _keep_first_told(connection, [row for row in rows if row["response_id"] is not None])
    return new


def keep_larger(connection: Connection, rows: Sequence[_Row], price: PriceOf | None = None) -> None:
    """Lets counts of a series replace smaller ones under their ids, and later ones the same count.

    Of a series that is told in parts each part does so by itself, and the counts are made from all of them.
    """
    _complete(connection, [row for row in rows if row["parts"] is not None], price)
    rows = [row for row in rows if row["cumulative"] and row["parts"] is None]
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


def _complete(connection: Connection, rows: Sequence[_Row], price: PriceOf | None) -> None:
    told: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        told.setdefault((row["run_id"], row["usage_id"]), []).append(row)
    changes = []
    for part in chunks(sorted(told)):
        for kept in connection.execute(_SERIES, {"tenant": rows[0]["tenant"], "keys": part}):
            change = _completed(kept._asdict(), told[kept.run_id, kept.usage_id], price)
            if change is not None:
                changes.append({"_id": kept.id} | {f"_{name}": change[name] for name in (*_COUNTED, "parts")})
    if changes:
        connection.execute(_CHANGE, changes)


def _completed(kept: _Row, rows: Sequence[_Row], price: PriceOf | None) -> _Row | None:
    """The row with what others of its id told; None if they told nothing new."""
    if kept["parts"] is None:  # of an earlier version, which kept the larger whole
        larger = max(rows, key=itemgetter("total", "time"))
        return larger if (larger["total"], larger["time"]) > (kept["total"], kept["time"]) else None
    before = Parts.from_text(kept["parts"])
    after = before
    for row in rows:
        after = after.merged(Parts.from_text(row["parts"]))
    time = max(kept["time"], *(row["time"] for row in rows))
    if after == before and time == kept["time"]:
        return None
    tokens = after.tokens()
    record = UsageRecord(
        rows[0]["run_id"], rows[0]["usage_id"], time, tokens, signal=Signal(rows[0]["signal"]),
        cumulative=rows[0]["cumulative"], **{name: rows[0][name] for name in ("agent", "provider", "model")},
    )  # fmt: skip
    cost = price(record) if price else None
    return {
        **{name: getattr(tokens, name) for name in (*TOKENS, "total")},
        "reported_cost_microusd": after.cost,
        "cost_microusd": cost and cost.cost_microusd,
        "price_source": cost and cost.source,
        "price_version": cost and cost.version,
        "parts": after.to_text(),
        "time": time,
        "recorded_at": max(kept["recorded_at"], *(row["recorded_at"] for row in rows)),
    }


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
        add_new(connection, USAGE, winners, key=_KEY)


def _told_order(row: _Row) -> tuple[Any, ...]:
    """Of the same call told twice at one time, the one that names its run comes first."""
    return row["time"], row["session_id"], row["usage_id"], not row["run_id"], row["run_id"]

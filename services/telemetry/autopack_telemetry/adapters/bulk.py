"""Many rows into one table, at little more than what the database itself needs.

SQLAlchemy works out the parameters of each row anew, which for a table of thirty columns costs more than the insertion.
Here the statement is compiled by it once, and rows go to the driver as they are. SQLite also gets many rows in one
statement: its driver lets go of the interpreter for each statement, and gets it back late while other threads are busy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from autopack_kit.db import insert
from sqlalchemy import Connection, Table

__all__ = ["add_new"]

TOGETHER = 32
"""Rows of one statement: of thirty columns each they stay far below SQLite's limit of 32,766 values."""
_COUNTED = {"preserve_rowcount": True}


def add_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str]) -> int:
    """Inserts the rows that no unique index of the table has yet, and says how many.

    Args:
        rows: each with a value, of a type that the driver takes as it is, for all columns but ``id``.
        key: columns that tell the rows apart.
    """
    if connection.dialect.name != "sqlite":
        # The driver sends them all before it waits for the first answer.
        statement, _ = _compiled(connection, table)
        # In one order, lest two processes that add the same rows wait for each other.
        ordered = [dict(row) for row in sorted(rows, key=itemgetter(*key))]
        return connection.exec_driver_sql(statement, ordered, execution_options=_COUNTED).rowcount
    statement, names = _compiled(connection, table)
    values = list(map(itemgetter(*names), rows))
    whole = len(values) - len(values) % TOGETHER
    added = 0
    if whole:
        groups = [tuple(chain.from_iterable(values[n : n + TOGETHER])) for n in range(0, whole, TOGETHER)]
        result = connection.exec_driver_sql(_repeated(statement, TOGETHER), groups, execution_options=_COUNTED)
        added += result.rowcount
    if whole < len(values):
        added += connection.exec_driver_sql(statement, values[whole:], execution_options=_COUNTED).rowcount
    return added


_cache: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}


def _compiled(connection: Connection, table: Table) -> tuple[str, tuple[str, ...]]:
    """The statement for one row, and the order of its values where they have no names."""
    key = (connection.dialect.name, table.name)
    if key not in _cache:
        names = [column.name for column in table.columns if column.name != "id"]
        statement = insert(connection, table).on_conflict_do_nothing()
        compiled = statement.compile(dialect=connection.dialect, column_keys=names)
        _cache[key] = (str(compiled), tuple(getattr(compiled, "positiontup", None) or ()))
    return _cache[key]


@lru_cache
def _repeated(statement: str, times: int) -> str:
    """The statement for several rows."""
    start = statement.index("VALUES (") + len("VALUES ")
    end = statement.index(")", start) + 1
    return statement[:start] + ", ".join([statement[start:end]] * times) + statement[end:]

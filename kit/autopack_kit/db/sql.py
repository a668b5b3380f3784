"""The few places where SQLite and PostgreSQL want to be told the same thing in different words."""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, Integer, Table
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["RowId", "insert"]

RowId = BigInteger().with_variant(Integer(), "sqlite")
"""Type of a generated 64-bit primary key: SQLite generates keys only for INTEGER, which there has 64 bits."""


def insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``, which both databases spell alike.

    Give rows to ``connection.execute(statement, rows)``: a list in ``values()`` costs twenty times as much. Its
    result's ``rowcount`` says how many rows were really inserted or updated.
    """
    statement = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    # psycopg's cursor is closed before anybody could ask it.
    return statement.execution_options(preserve_rowcount=True)

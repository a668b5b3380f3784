"""Databases for tests, shipped with the kit: each test gets one that nothing else has touched."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

__all__ = ["POSTGRES_VARIABLE", "fresh_url", "postgres_url"]

POSTGRES_VARIABLE = "AUTOPACK_TEST_POSTGRES_URL"
"""Names a server whose user may make databases, such as ``postgresql+psycopg://user@127.0.0.1:5432/postgres``."""


@contextmanager
def fresh_url(kind: str, directory: Path, name: str) -> Iterator[str]:
    """The URL of an empty database; ``kind`` is ``sqlite`` (a file in ``directory``) or ``postgres``.

    For a fixture with ``params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]``.
    """
    if kind == "sqlite":
        yield f"sqlite:///{directory}/{name}.sqlite3"
        return
    with postgres_url() as url:
        yield url


@contextmanager
def postgres_url() -> Iterator[str]:
    """The URL of a new database on the server of :data:`POSTGRES_VARIABLE`, dropped at the end.

    Skips the test if the variable is not set.
    """
    server = os.environ.get(POSTGRES_VARIABLE)
    if not server:
        import pytest

        pytest.skip(f"{POSTGRES_VARIABLE} is not set")
    name = f"autopack_test_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    finally:
        engine.dispose()

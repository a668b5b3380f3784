from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from autopack_kit.db import Database, insert
from autopack_kit.db.testing import fresh_url
from autopack_kit.errors import AutopackError, FailedPrecondition, ResourceExhausted, Unavailable
from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError


def _add(notes: Table, *texts: str, writer: str = "ada") -> Any:
    def work(connection: Connection) -> int:
        rows = [{"writer": writer, "text": text} for text in texts]
        connection.execute(insert(connection, notes), rows)
        return len(rows)

    return work


async def _texts(database: Database, notes: Table) -> list[str]:
    return await database.read(lambda connection: list(connection.scalars(select(notes.c.text).order_by(notes.c.id))))


class _Gate:
    """A write that holds the writer thread until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, _connection: Connection) -> str:
        self.reached.set()
        assert self.open.wait(30)
        return "through"


async def test_write_when_answered_is_committed_and_read_back(database: Database, notes: Table) -> None:
    assert await database.write(_add(notes, "a", "b"), weight=2) == 2
    assert await _texts(database, notes) == ["a", "b"]


async def test_writes_that_wait_share_one_transaction(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autopack_kit.db.writer.GROUP_SECONDS", 60.0)  # loaded machines take their time
    gate = _Gate()
    first = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.reached.wait, 30)
    rest = [asyncio.create_task(database.write(lambda connection: connection)) for _ in range(5)]
    await asyncio.sleep(0)
    gate.open.set()
    await first
    connections = await asyncio.gather(*rest)
    assert len({id(connection) for connection in connections}) == 1


async def test_write_that_raises_undoes_itself_alone(database: Database, notes: Table) -> None:
    def bad(connection: Connection) -> None:
        _add(notes, "half")(connection)
        raise LookupError("no")

    gate = _Gate()
    held = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.reached.wait, 30)
    tasks = [
        asyncio.create_task(database.write(work))
        for work in (_add(notes, "before"), bad, _add(notes, "before"), _add(notes, "after"))
    ]
    await asyncio.sleep(0)
    gate.open.set()
    before, error, duplicate, after = await asyncio.gather(*tasks, return_exceptions=True)
    assert await held == "through"
    assert (before, after) == (1, 1)
    assert isinstance(error, LookupError)
    assert isinstance(duplicate, IntegrityError)
    assert await _texts(database, notes) == ["before", "after"]


async def test_write_when_queue_is_full_is_refused_with_delay(database: Database, notes: Table) -> None:
    gate = _Gate()
    held = asyncio.create_task(database.write(gate, weight=60))
    await asyncio.to_thread(gate.reached.wait, 30)
    waiting = asyncio.create_task(database.write(_add(notes, "fits"), weight=40))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as refused:
        await database.write(_add(notes, "too much"), weight=1)
    gate.open.set()
    assert (await held, await waiting) == ("through", 1)
    assert refused.value.reason == "DATABASE_QUEUE_FULL"
    assert float(refused.value.metadata["retry_delay"]) > 0
    assert await database.write(_add(notes, "later"), weight=100) == 1


async def test_write_heavier_than_the_queue_is_taken_when_nothing_waits(database: Database, notes: Table) -> None:
    assert await database.write(_add(notes, "heavy"), weight=1_000_000) == 1


async def test_write_that_is_cancelled_while_it_waits_is_never_run(database: Database, notes: Table) -> None:
    gate = _Gate()
    held = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.reached.wait, 30)
    waiting = asyncio.create_task(database.write(_add(notes, "never")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.open.set()
    await held
    assert await _texts(database, notes) == []


async def test_close_writes_what_waits_and_refuses_the_rest(url: str, migrations: Path, notes: Table) -> None:
    database = Database.open(url, name="notes", migrations=migrations)
    gate = _Gate()
    held = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.reached.wait, 30)
    waiting = asyncio.create_task(database.write(_add(notes, "last")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refused:
        await database.write(_add(notes, "too late"))
    gate.open.set()
    await closing
    assert (await held, await waiting, refused.value.reason) == ("through", 1, "DATABASE_CLOSED")
    again = Database.open(url, name="notes", migrations=migrations)
    assert await _texts(again, notes) == ["last"]
    await again.close()


async def test_read_cannot_write(database: Database, notes: Table) -> None:
    with pytest.raises((AutopackError, DBAPIError)):
        await database.read(_add(notes, "sneaked in"))
    assert await _texts(database, notes) == []


async def test_read_sees_one_snapshot_while_others_write(database: Database, notes: Table) -> None:
    counted, go_on = threading.Event(), threading.Event()

    def twice(connection: Connection) -> tuple[int | None, int | None]:
        count = select(func.count()).select_from(notes)
        first = connection.scalar(count)
        counted.set()
        assert go_on.wait(30)
        return first, connection.scalar(count)

    reading = asyncio.create_task(database.read(twice))
    await asyncio.to_thread(counted.wait, 30)
    await database.write(_add(notes, "meanwhile"))
    go_on.set()
    assert await reading == (0, 0)


async def test_statement_that_is_wrong_is_raised_as_it_is(database: Database) -> None:
    with pytest.raises(DBAPIError):
        await database.write(lambda connection: connection.execute(text("SELECT * FROM nowhere")))
    with pytest.raises(DBAPIError):
        await database.read(lambda connection: connection.execute(text("SELECT * FROM nowhere")))


async def test_two_databases_that_open_at_once_in_one_process_are_both_migrated(
    tmp_path: Path, migrations: Path
) -> None:
    urls = [f"sqlite:///{tmp_path}/{number}.sqlite3" for number in range(4)]
    opened = await asyncio.gather(
        *(asyncio.to_thread(Database.open, url, name="notes", migrations=migrations) for url in urls)
    )
    for database in opened:
        assert await database.read(lambda c: c.scalar(text("SELECT version_num FROM alembic_version"))) == "notes_0002"
        await database.close()


# What the two databases do under faults differs; so do these.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite3"


async def test_open_when_sqlite_is_read_only_says_so_with_path_and_remedy(path: Path, migrations: Path) -> None:
    database = Database.open(f"sqlite:///{path}", name="notes", migrations=migrations)
    await database.close()
    with pytest.raises(FailedPrecondition) as refused:
        Database.open(f"sqlite:///file:{path}?mode=ro&uri=true", name="notes", migrations=migrations)
    assert refused.value.reason == "DATABASE_READ_ONLY"
    assert str(path) in refused.value.message
    assert "writable" in refused.value.remedy


async def test_open_when_the_path_is_a_directory_says_so(tmp_path: Path, migrations: Path) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        Database.open(f"sqlite:///{tmp_path}", name="notes", migrations=migrations)
    assert refused.value.reason == "DATABASE_CANNOT_OPEN"


async def test_open_when_the_directory_cannot_be_made_says_so(tmp_path: Path, migrations: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition) as refused:
        Database.open(f"sqlite:///{tmp_path}/file/notes.sqlite3", name="notes", migrations=migrations)
    assert refused.value.reason == "DATABASE_CANNOT_OPEN"


async def test_open_when_the_file_is_something_else_says_so_and_leaves_it(path: Path, migrations: Path) -> None:
    path.write_bytes(b"not a database, but somebody's text\n" * 40)
    with pytest.raises(FailedPrecondition) as refused:
        Database.open(f"sqlite:///{path}", name="notes", migrations=migrations)
    assert refused.value.reason == "DATABASE_CORRUPT"
    assert path.read_bytes() == b"not a database, but somebody's text\n" * 40


async def test_open_makes_the_missing_directory_for_its_owner_alone(tmp_path: Path, migrations: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/a/b/notes.sqlite3", name="notes", migrations=migrations)
    await database.close()
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o022])
async def test_open_makes_files_for_their_owner_alone_also_in_an_open_directory(
    tmp_path: Path, migrations: Path, notes: Table, umask: int
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "notes.sqlite3")
    before = os.umask(umask)
    try:
        database = Database.open(f"sqlite:///{tmp_path}/link", name="notes", migrations=migrations)
        await database.write(_add(notes, "a"))
        assert await _texts(database, notes) == ["a"]
        modes = {path.name: path.lstat().st_mode & 0o777 for path in tmp_path.glob("notes*")}
        await database.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("notes.sqlite3", "notes.sqlite3-wal", "notes.sqlite3-shm"), 0o600)


async def test_open_leaves_the_mode_of_a_file_that_is_there(path: Path, migrations: Path, notes: Table) -> None:
    await Database.open(f"sqlite:///{path}", name="notes", migrations=migrations).close()
    path.chmod(0o640)
    database = Database.open(f"sqlite:///{path}", name="notes", migrations=migrations)
    await database.write(_add(notes, "a"))
    assert path.stat().st_mode & 0o777 == 0o640
    await database.close()


async def test_write_when_disk_is_full_is_unavailable_for_all_and_works_again_after(
    path: Path, migrations: Path, notes: Table
) -> None:
    database = Database.open(f"sqlite:///{path}", name="notes", migrations=migrations)
    pages = "PRAGMA max_page_count"
    await database.write(lambda connection: connection.exec_driver_sql(f"{pages}=20").all())
    with pytest.raises(Unavailable) as full:
        await database.write(_add(notes, *(f"{number}" * 3000 for number in range(1000, 1100))))
    assert full.value.reason == "DATABASE_DISK_FULL"
    assert str(path) in full.value.message
    await database.write(lambda connection: connection.exec_driver_sql(f"{pages}=1000000").all())
    assert await database.write(_add(notes, "room again")) == 1
    assert await _texts(database, notes) == ["room again"]
    await database.close()


async def test_open_when_no_server_listens_is_unavailable_and_shows_no_secret(
    unused_tcp_port: int, migrations: Path
) -> None:
    url = f"postgresql+psycopg://ada@127.0.0.1:{unused_tcp_port}/notes?passfile=/nowhere/secret"
    with pytest.raises(Unavailable) as refused:
        Database.open(url, name="notes", migrations=migrations)
    assert refused.value.reason == "DATABASE_UNREACHABLE"
    assert f"ada@127.0.0.1:{unused_tcp_port}/notes" in refused.value.message
    assert "secret" not in str(refused.value)


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_write_when_its_connection_is_lost_is_unavailable_and_the_next_one_works(
    url: str, database: Database, notes: Table
) -> None:
    def cut(connection: Connection) -> None:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Unavailable) as lost:
        await database.write(cut)
    assert lost.value.reason == "DATABASE_UNREACHABLE"
    assert await database.write(_add(notes, "after")) == 1
    assert await _texts(database, notes) == ["after"]


@pytest.mark.postgres
async def test_writes_of_two_processes_that_wait_for_each_other_both_come_through(
    migrations: Path, notes: Table, tmp_path: Path
) -> None:
    barrier = threading.Barrier(2)
    tries: list[str] = []

    def swap(first: str, second: str) -> Any:
        def work(connection: Connection) -> None:
            tries.append(first)
            connection.execute(notes.update().where(notes.c.text == first).values(writer="x"))
            if len(tries) <= 2:  # both hold their first row before either wants its second
                barrier.wait(30)
            connection.execute(notes.update().where(notes.c.text == second).values(writer="x"))

        return work

    with fresh_url("postgres", tmp_path, "notes") as url:
        one = await asyncio.to_thread(Database.open, url, name="notes", migrations=migrations)
        two = await asyncio.to_thread(Database.open, url, name="notes", migrations=migrations)
        try:
            await one.write(_add(notes, "a", "b"))
            await asyncio.gather(one.write(swap("a", "b")), two.write(swap("b", "a")))
            writers = await one.read(lambda connection: list(connection.scalars(select(notes.c.writer))))
        finally:
            await one.close()
            await two.close()
    assert writers == ["x", "x"]
    assert len(tries) == 3

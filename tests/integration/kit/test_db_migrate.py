from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from autopack_kit.db import Database, differences, migrate
from autopack_kit.errors import FailedPrecondition
from sqlalchemy import MetaData, text

PROCESS = """
import json, sys
from pathlib import Path
from autopack_kit.db import migrate
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
print(json.dumps(migrate(sys.argv[1], name="notes", migrations=Path(sys.argv[2]))))
"""


def _only_first(migrations: Path, directory: Path) -> Path:
    """The revisions of the version before."""
    old = directory / "old"
    old.mkdir()
    (old / "0001_initial.py").write_bytes((migrations / "0001_initial.py").read_bytes())
    return old


def _of_letters(migrations: Path, directory: Path) -> Path:
    """The same revisions under the name of another service."""
    letters = directory / "letters"
    letters.mkdir()
    for path in migrations.glob("*.py"):
        (letters / path.name).write_text(path.read_text().replace("notes_00", "letters_00"))
    return letters


def test_migrate_when_sqlite_file_belongs_to_another_service_says_so(tmp_path: Path, migrations: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.sqlite3"
    migrate(url, name="notes", migrations=migrations)
    with pytest.raises(FailedPrecondition) as refused:
        migrate(url, name="letters", migrations=_of_letters(migrations, tmp_path))
    assert refused.value.reason == "DATABASE_NEWER"
    assert "database of its own" in refused.value.remedy


def test_migrate_when_a_revision_lacks_the_name_of_the_service_is_a_mistake_of_ours(
    tmp_path: Path, migrations: Path
) -> None:
    with pytest.raises(ValueError, match="must be 'letters_0002'"):
        migrate(f"sqlite:///{tmp_path}/letters.sqlite3", name="letters", migrations=migrations)


def test_migrate_when_four_processes_start_at_once_one_migrates(url: str, migrations: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, url, str(migrations)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    applied = [json.loads(process.communicate(timeout=90)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(applied) == [[], [], [], ["notes_0001", "notes_0002"]]


def test_migrate_when_done_already_does_nothing(url: str, migrations: Path) -> None:
    assert migrate(url, name="notes", migrations=migrations) == ("notes_0001", "notes_0002")
    assert migrate(url, name="notes", migrations=migrations) == ()


def test_migrate_makes_what_the_metadata_declares(url: str, migrations: Path, metadata: MetaData) -> None:
    migrate(url, name="notes", migrations=migrations)
    assert differences(url, name="notes", metadata=metadata) == []


def test_differences_when_a_revision_is_missing_are_told(
    url: str, migrations: Path, metadata: MetaData, tmp_path: Path
) -> None:
    migrate(url, name="notes", migrations=_only_first(migrations, tmp_path))
    assert differences(url, name="notes", metadata=metadata) != []


async def test_migrate_from_an_older_revision_keeps_rows_and_the_rows_that_refer_to_them(
    url: str, migrations: Path, tmp_path: Path
) -> None:
    old = Database.open(url, name="notes", migrations=_only_first(migrations, tmp_path))
    await old.write(lambda c: c.execute(text("INSERT INTO notes (id, author, text) VALUES (1, 'ada', 'kept')")))
    await old.write(lambda c: c.execute(text("INSERT INTO comments (note_id) VALUES (1)")))
    await old.close()
    new = Database.open(url, name="notes", migrations=migrations)
    joined = "SELECT writer, text FROM notes JOIN comments ON note_id = notes.id"
    assert await new.read(lambda c: [tuple(row) for row in c.execute(text(joined))]) == [("ada", "kept")]
    await new.close()


def test_migrate_when_the_database_is_newer_says_so_and_changes_nothing(
    url: str, migrations: Path, tmp_path: Path, metadata: MetaData
) -> None:
    migrate(url, name="notes", migrations=migrations)
    with pytest.raises(FailedPrecondition) as refused:
        migrate(url, name="notes", migrations=_only_first(migrations, tmp_path))
    assert refused.value.reason == "DATABASE_NEWER"
    assert refused.value.metadata["revision"] == "notes_0002"
    assert differences(url, name="notes", metadata=metadata) == []


def test_migrate_when_a_revision_fails_leaves_the_database_as_it_was(
    url: str, migrations: Path, tmp_path: Path, metadata: MetaData
) -> None:
    broken = _only_first(migrations, tmp_path)
    (broken / "0002_broken.py").write_text(
        "from alembic import op\nrevision = 'notes_0002'\ndown_revision = 'notes_0001'\n"
        "def upgrade():\n    op.drop_table('comments')\n    raise RuntimeError('half-way')\n"
    )
    with pytest.raises(RuntimeError, match="half-way"):
        migrate(url, name="notes", migrations=broken)
    assert migrate(url, name="notes", migrations=migrations) == ("notes_0001", "notes_0002")
    assert differences(url, name="notes", metadata=metadata) == []


def test_migrate_works_below_a_directory_with_a_percent_sign_and_a_space(tmp_path: Path, migrations: Path) -> None:
    odd = tmp_path / "100% odd"
    odd.mkdir()
    directory = _only_first(migrations, odd)
    assert migrate(f"sqlite:///{odd}/notes.sqlite3", name="notes", migrations=directory) == ("notes_0001",)


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_two_services_in_one_postgres_database_have_schemas_of_their_own(
    url: str, migrations: Path, tmp_path: Path
) -> None:
    notes = Database.open(url, name="notes", migrations=migrations)
    letters = Database.open(url, name="letters", migrations=_of_letters(migrations, tmp_path))
    await notes.write(lambda c: c.execute(text("INSERT INTO notes (writer, text) VALUES ('ada', 'x')")))
    count = "SELECT count(*) FROM notes"
    assert await notes.read(lambda c: c.scalar(text(count))) == 1
    assert await letters.read(lambda c: c.scalar(text(count))) == 0
    await notes.close()
    await letters.close()


def test_migrate_when_the_database_is_up_to_date_does_not_need_alembic(url: str, migrations: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from autopack_kit.db import migrate;"
        "print(migrate(sys.argv[1], name='notes', migrations=Path(sys.argv[2])), 'alembic' in sys.modules)"
    )
    said = [
        subprocess.run([sys.executable, "-c", program, url, str(migrations)], stdout=subprocess.PIPE, check=True).stdout
        for _ in range(2)
    ]
    assert said == [b"('notes_0001', 'notes_0002') True\n", b"() False\n"]

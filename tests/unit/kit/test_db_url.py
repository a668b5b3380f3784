from __future__ import annotations

import pytest
from autopack_kit.db.engines import parse_url, shown
from autopack_kit.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("sqlite:////var/lib/x.sqlite3", "/var/lib/x.sqlite3"),
        ("sqlite:///x.sqlite3", "x.sqlite3"),
        ("postgresql+psycopg://ada@db:5433/notes?passfile=/run/secrets/p", "postgresql://ada@db:5433/notes"),
        ("postgresql://db/notes", "postgresql://db/notes"),
    ],
)
def test_url_when_usable_is_shown_without_its_query(text: str, location: str) -> None:
    assert shown(parse_url(text)) == location


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ada:hunter2@db/notes",
        "postgresql://ada@db/notes?password=hunter2",
        "postgresql://ada:hunter2@db:x/n",
    ],
)
def test_url_with_a_password_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_url(text)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "text", ["", "notes.db", "sqlite://", "sqlite:///:memory:", "mysql://db/notes", "postgresql://db"]
)
def test_url_when_unusable_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_url(text)
    assert refused.value.reason == "DATABASE_URL_INVALID"
    assert "sqlite:///" in refused.value.remedy

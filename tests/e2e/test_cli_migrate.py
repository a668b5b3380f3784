"""``autopack migrate``: every database of every service, and what it says when it cannot."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

Cli = Any
SERVICES = ["hardening", "intention", "orchestrator", "telemetry"]


def test_it_makes_all_databases_and_the_second_time_nothing(cli: Cli) -> None:
    first = json.loads(cli("migrate", "--json").stdout)
    assert [one["service"] for one in first] == SERVICES
    assert all(one["applied"][0] == f"{one['service']}_0001" for one in first)
    for one in first:
        assert Path(one["database"]).stat().st_mode & 0o777 == 0o600
        with sqlite3.connect(one["database"]) as database:
            assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(one["applied"][-1],)]
    again = cli("migrate")
    assert [line.split()[0] for line in again.stdout.splitlines()] == SERVICES
    assert again.stdout.count(": nothing to do") == 4


def test_the_databases_are_those_that_the_services_use(cli: Cli) -> None:
    assert cli("runs", "list").returncode == 0  # a server for this command alone has made its own
    made = {one["service"]: one["applied"] for one in json.loads(cli("migrate", "--json").stdout)}
    assert made["orchestrator"] == []


def test_one_service_alone(cli: Cli) -> None:
    told = cli("migrate", "--service", "telemetry")
    assert told.stdout.startswith("telemetry")
    assert len(told.stdout.splitlines()) == 1
    assert not list(cli.data.glob("intention*"))


def test_what_cannot_be_migrated_is_told_with_what_to_do(cli: Cli) -> None:
    assert cli("migrate", "--service", "telemetry").returncode == 0
    with sqlite3.connect(cli.data / "telemetry.sqlite3") as database:
        database.execute("UPDATE alembic_version SET version_num = 'telemetry_9999'")
    newer = cli("migrate")
    assert newer.returncode == 1
    assert "telemetry_9999" in newer.stderr
    assert newer.stdout.startswith("hardening")  # what was done before it
    for name, code, words in (("toolchain", 2, "no database"), ("nonsense", 2, "no service")):
        refused = cli("migrate", "--service", name)
        assert (refused.returncode, words in refused.stderr) == (code, True)

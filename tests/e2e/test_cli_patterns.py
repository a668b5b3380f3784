"""``autopack patterns``: from a failure that nobody knows to a pattern that names it."""

from __future__ import annotations

import json
from typing import Any

import pytest

Cli = Any
FAILED = "widget-press 4.1\nwidget {} exploded: sprocket error\n"


def diagnose(cli: Cli, number: int) -> str:
    found = cli("diagnose", "--command", "widget-press all", input=FAILED.format(number).encode())
    return str(found.stdout)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_from_an_unknown_failure_to_a_pattern_of_ones_own(cli: Cli) -> None:
    for number in (17, 93):
        assert "No known pattern" in diagnose(cli, number)
    (cluster,) = json.loads(cli("patterns", "unmatched", "--json").stdout)["clusters"]
    assert (cluster["template"], cluster["count"]) == ("widget <*> exploded: sprocket error", "2")
    assert "2x widget <*> exploded" in cli("patterns", "unmatched").stdout

    file = cli.home / "own.toml"
    file.write_text(cli("patterns", "unmatched", "--skeletons").stdout)
    assert cli("patterns", "test", file).returncode == 0
    added = cli("patterns", "add", file)
    assert added.returncode == 0, added.stderr
    id_ = added.stdout.split()[0]
    assert id_ in diagnose(cli, 5)
    assert "Nothing is unmatched" in cli("patterns", "unmatched").stderr

    assert id_ in cli("patterns", "list", "--custom").stdout
    shown = cli("patterns", "show", id_, "--definition")
    file.write_text(shown.stdout.replace('"TO DO: what to do about it."', '"Oil the press."'))
    refused = cli("patterns", "add", file)
    assert (refused.returncode, "PATTERN_EXISTS" in refused.stderr) == (1, True)
    assert cli("patterns", "add", file, "--replace").returncode == 0
    assert "Oil the press." in diagnose(cli, 5)
    assert cli("patterns", "remove", id_).returncode == 0
    assert "No known pattern" in diagnose(cli, 5)


def test_built_in_patterns_are_listed_and_shown(cli: Cli) -> None:
    listed = json.loads(cli("patterns", "list", "--family", "git", "--json").stdout)["patterns"]
    assert listed
    assert {one["family"] for one in listed} == {"git"}
    shown = cli("patterns", "show", listed[0]["pattern_id"])
    assert listed[0]["title"] in shown.stdout
    assert cli("patterns", "show", "no.such").returncode == 1
    assert cli("patterns", "remove", listed[0]["pattern_id"]).returncode == 1


def test_a_file_that_is_no_pattern_file_is_refused(cli: Cli) -> None:
    file = cli.home / "bad.toml"
    for content, words in ((b"\xff", "no valid TOML"), (b"a = 1", "no [[pattern]]"), (b"[" * 9999, "no valid TOML")):
        file.write_bytes(content)
        told = cli("patterns", "add", file)
        assert (told.returncode, words in told.stderr) == (2, True), told.stderr
    assert cli("patterns", "add", cli.home / "missing.toml").returncode == 1

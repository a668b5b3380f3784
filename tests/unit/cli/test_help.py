"""Every command explains itself, with an example."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from autopack_cli.main import COMMANDS as SUMMARIES
from autopack_cli.main import app
from typer import Context
from typer.core import TyperGroup
from typer.main import get_group
from typer.testing import CliRunner

COMMANDS = (
    ("run",), ("demo",), ("detect",), ("plan",), ("diagnose",), ("context",), ("drift",), ("stats",),
    ("import",), ("usage", "sessions"), ("compare",), ("power",),
    ("serve",), ("worker",), ("health",), ("capabilities",),
    ("config",), ("migrate",), ("patterns", "test"),
    ("patterns", "list"), ("patterns", "show"), ("patterns", "unmatched"), ("patterns", "add"), ("patterns", "remove"),
    ("runs", "list"), ("runs", "show"), ("runs", "log"), ("runs", "patch"), ("runs", "watch"),
    ("merge",), ("gc",), ("top",), ("resume",),
    ("runs", "retry"), ("runs", "cancel"), ("certs", "init"),
)  # fmt: skip
WITHOUT_SERVER = {"serve", "worker", "config", "migrate", "certs", "demo"}
WITHOUT_RESPONSE = {("runs", "log"), ("runs", "patch"), ("patterns", "test")}


def shown(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    return str(result.output)


def leaves(group: TyperGroup, name: str) -> Iterator[tuple[str, ...]]:
    """The commands behind a name, which may be a group's."""
    _, command, _ = group.resolve_command(Context(group), [name])
    if isinstance(command, TyperGroup):
        yield from ((name, below) for below in command.commands)
    else:
        yield (name,)


def test_list_of_commands_is_complete() -> None:
    group = get_group(app)
    assert {leaf for name in group.commands for leaf in leaves(group, name)} == set(COMMANDS)


def test_list_of_commands_says_what_each_is_for() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    listed = [line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == list(SUMMARIES)


def test_unknown_command_is_told_with_the_nearest_one() -> None:
    result = CliRunner().invoke(app, ["detcet"])
    assert result.exit_code == 2
    assert "detect" in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    usage, _, body = shown(*command).partition("Options:")
    assert f"autopack {' '.join(command)}" in usage.partition("\n\n")[2]
    assert body


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_that_asks_a_server_takes_an_address_and_prints_json(command: tuple[str, ...]) -> None:
    text = shown(*command)
    asks = command[0] not in WITHOUT_SERVER and command != ("patterns", "test")
    assert ("--address" in text) == (asks or command == ("serve",))
    assert ("--json" in text) == (command not in WITHOUT_RESPONSE and command[0] not in {"serve", "worker", "certs"})

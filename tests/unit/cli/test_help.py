"""Every command explains itself, with an example."""

from __future__ import annotations

import pytest
from autopack_cli.main import app
from typer.testing import CliRunner

COMMANDS = (
    ("run",), ("demo",), ("detect",), ("plan",), ("diagnose",), ("context",), ("drift",), ("stats",),
    ("serve",), ("worker",), ("health",), ("capabilities",),
    ("config",), ("runs", "list"), ("runs", "show"), ("runs", "log"), ("runs", "patch"), ("runs", "watch"),
    ("merge",), ("gc",), ("top",), ("resume",),
    ("runs", "retry"), ("runs", "cancel"), ("certs", "init"),
)  # fmt: skip
WITHOUT_SERVER = {"serve", "worker", "config", "certs", "demo"}
WITHOUT_RESPONSE = {("runs", "log"), ("runs", "patch")}


def shown(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    return str(result.output)


def test_list_of_commands_is_complete() -> None:
    single = {command.name or "" for command in app.registered_commands}
    grouped = {
        (group.name or "", command.name or "")
        for group in app.registered_groups
        for command in (group.typer_instance.registered_commands if group.typer_instance else ())
    }
    assert {(name,) for name in single} | grouped == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    usage, _, body = shown(*command).partition("Options:")
    assert f"autopack {' '.join(command)}" in usage.partition("\n\n")[2]
    assert body


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_command_that_asks_a_server_takes_an_address_and_prints_json(command: tuple[str, ...]) -> None:
    text = shown(*command)
    assert ("--address" in text) == (command[0] not in WITHOUT_SERVER or command == ("serve",))
    assert ("--json" in text) == (command not in WITHOUT_RESPONSE and command[0] not in {"serve", "worker", "certs"})

"""``autopack config``: every setting, its value, and where it comes from."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Annotated

import typer
from autopack_kit.settings import SettingDescription, describe

from autopack_cli.options import Json
from autopack_cli.render import console, table
from autopack_cli.serve import SERVICES, check_environment, settings_classes

__all__ = ["register"]

_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^@]*(?=@)")
_SECRET_PARAMETER = re.compile(r"(?i)\b(password|passwd|token|secret)=[^&\s]+")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("config")(config)


def config(
    changed: Annotated[bool, typer.Option("--changed", help="Only those that differ from the default.")] = False,
    as_json: Json = False,
) -> None:
    """List every setting with its value and source. Each is an environment variable; passwords are masked.

    \b
    AUTOPACK_LOG_LEVEL=debug autopack config --changed
    """
    check_environment(tuple(SERVICES))
    found = [_masked(item) for cls in settings_classes() for item in describe(cls, os.environ)]
    if changed:
        found = [item for item in found if item.source != "default"]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(item) for item in found], indent=2))
        return
    rows = table("setting", "value", "from", "what it does")
    for item in found:
        rows.add_row(
            item.name, item.value or "-", item.source, item.help, style=None if item.source == "default" else "bold"
        )
    console().print(rows)


def _masked(item: SettingDescription) -> SettingDescription:
    value = _SECRET_PARAMETER.sub(r"\1=***", _PASSWORD.sub(r"\1:***", item.value))
    return dataclasses.replace(item, value=value)

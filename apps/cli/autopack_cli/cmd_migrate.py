"""``autopack migrate``: the databases are brought to what this version expects."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer
from autopack_kit.db import migrate as bring_up
from autopack_kit.db.engines import make_directory, parse_url, shown
from rich.text import Text

from autopack_cli.options import Json
from autopack_cli.render import console
from autopack_cli.serve import STATEFUL, check_environment, storages

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("migrate")(migrate)


def migrate(
    service: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"Of {', '.join(STATEFUL)}; repeatable. Default: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the databases of services to what this version expects; make those that are missing.

    A service does this by itself when it starts. Do it beforehand where its user may not change tables, or to see it
    done before anything is stopped. It may run while older servers run, and any number of times at once: one does it,
    the others wait. All changes of a database are made together or not at all. Settings say where the databases are.

    \b
    autopack migrate
    AUTOPACK_TELEMETRY_DATABASE_URL=postgresql+psycopg://owner@db/autopack autopack migrate --service telemetry
    """
    chosen = tuple(dict.fromkeys(service or STATEFUL))
    check_environment(chosen)
    done = []
    for storage in storages(chosen, os.environ):
        url = parse_url(storage.url)
        make_directory(url)
        applied = bring_up(url, name=storage.service, migrations=storage.migrations)
        done.append({"service": storage.service, "database": shown(url), "applied": list(applied)})
        if not as_json:
            # At once: what comes next may fail, and this one is done.
            what = ", ".join(applied) or "nothing to do"
            console().print(Text(f"{storage.service}  {shown(url)}: {what}"), soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(done, indent=2))

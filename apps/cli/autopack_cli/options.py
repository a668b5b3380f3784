"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Address", "Json", "Repository", "Scope"]

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="AUTOPACK_ADDRESS",
        metavar="ADDRESS",
        help="Server: unix:/path or HOST:PORT. Default: the one that runs here, else one for this command alone.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the response as JSON.")]
Repository = Annotated[Path, typer.Option("--repo", metavar="DIR", help="The repository.")]
Scope = Annotated[list[str] | None, typer.Option("--scope", metavar="GLOB", help="Files that may change; repeatable.")]

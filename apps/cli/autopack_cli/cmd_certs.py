"""``autopack certs init``: a working set of certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from autopack_kit.errors import FailedPrecondition

from autopack_cli.render import console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Certificates for compose files and tests.", no_args_is_help=True, rich_markup_mode=None)
    group.command("init")(init)
    group.callback()(_group)
    app.add_typer(group, name="certs")


def _group() -> None:
    """Certificates for compose files and tests; in production use your own PKI."""


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made with mode 0700.")] = Path("certs"),
    force: Annotated[bool, typer.Option("--force", help="Replace a set that is there.")] = False,
) -> None:
    """Make a CA, a server certificate and a client certificate.

    \b
    autopack certs init ./certs
    """
    try:
        from autopack_kit.certs import init as make
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "Certificates need the package 'cryptography', which is not installed.",
            reason="EXTRA_NOT_INSTALLED",
            remedy="Install it: pip install 'autopack[certs]'.",
        ) from error
    made = make(directory, force=force)
    out = console()
    for path in made.files():
        out.print(str(path), soft_wrap=True)
    out.print(
        f"serve with AUTOPACK_TLS_CERTIFICATE_FILE={made.server} AUTOPACK_TLS_KEY_FILE={made.server_key}; "
        f"call with `autopack --tls-ca {made.ca} ...`",
        style="dim",
        soft_wrap=True,
    )

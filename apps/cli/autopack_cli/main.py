"""The command ``autopack``."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from autopack_client import ClientTls
from autopack_kit.errors import AutopackError, InvalidArgument

from autopack_cli import (
    cmd_capabilities,
    cmd_certs,
    cmd_config,
    cmd_demo,
    cmd_detect,
    cmd_diagnose,
    cmd_gc,
    cmd_health,
    cmd_intention,
    cmd_merge,
    cmd_plan,
    cmd_resume,
    cmd_run,
    cmd_runs,
    cmd_serve,
    cmd_stats,
    cmd_top,
    cmd_worker,
    session,
)
from autopack_cli.render import err_console, print_error

__all__ = ["app", "main"]

EXIT_FAILURE = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="autopack",
    help="Run coding agents by the dozen: isolated, checked, repaired and measured, without calling a model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autopack {metadata.version('autopack')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Token for the server. Default: AUTOPACK_TOKEN_FILE.")
    ] = None,
    tls_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA of the server; turns TLS on.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="Own certificate, for mTLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS with the CAs of this system.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options for all commands, before the command's name."""
    # --debug is looked for in main(), because an error may come before this is called.
    session.connection.token_file = token_file
    if tls or tls_ca or tls_certificate or tls_key:
        session.connection.tls = ClientTls(tls_ca, tls_certificate, tls_key)


for module in (
    cmd_run,
    cmd_resume,
    cmd_runs,
    cmd_merge,
    cmd_top,
    cmd_demo,
    cmd_detect,
    cmd_plan,
    cmd_diagnose,
    cmd_intention,
    cmd_stats,
    cmd_serve,
    cmd_worker,
    cmd_gc,
    cmd_health,
    cmd_capabilities,
    cmd_config,
    cmd_certs,
):
    module.register(app)


def main() -> None:
    """The entry point: no error reaches a person as a traceback, unless it was asked for."""
    try:
        app()
    except AutopackError as error:
        if _debug():
            raise
        print_error(error)
        sys.exit(EXIT_USAGE if isinstance(error, InvalidArgument) else EXIT_FAILURE)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it flushes.
        sys.stderr.close()
        sys.exit(EXIT_FAILURE)
    except Exception as error:
        if _debug():
            raise
        err_console().print(f"error: something unexpected went wrong: {type(error).__name__}: {error}", soft_wrap=True)
        err_console().print("  what to do: report it with the output of the same command after `autopack --debug`.")
        sys.exit(EXIT_FAILURE)


def _debug() -> bool:
    return "--debug" in sys.argv[1:]


if __name__ == "__main__":
    main()

"""The command ``autopack``: its options, and for each command the module that is imported when it is used."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from autopack_kit.errors import AutopackError, InvalidArgument
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

__all__ = ["COMMANDS", "app", "main"]

EXIT_FAILURE = 1
EXIT_USAGE = 2

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("cmd_run", "Run agents, each in its own worktree, and watch them."),
    "resume": ("cmd_resume", "Stay with a batch that is under way until it has ended."),
    "runs": ("cmd_runs", "What was run: list, show, log, patch, watch, retry, cancel."),
    "merge": ("cmd_merge", "Which branches of a batch merge, in which order."),
    "top": ("cmd_top", "What the server's batches are doing, live."),
    "demo": ("cmd_demo", "Run scripted agents on three real repositories."),
    "detect": ("cmd_detect", "Say how a repository is built and tested, and why."),
    "plan": ("cmd_plan", "Say what an issue or a specification means for a repository."),
    "diagnose": ("cmd_diagnose", "Explain a failed command; --fix repairs what is safe."),
    "patterns": ("cmd_patterns", "Tools for those who write patterns of failures."),
    "context": ("cmd_intention", "Print the text that an agent is given."),
    "drift": ("cmd_intention", "Judge whether commits are about their goal."),
    "stats": ("cmd_stats", "Sum up one run: phases, tokens, cost, fixes."),
    "usage": ("cmd_usage", "Which sessions of agents reported usage, and by what."),
    "import": ("cmd_import", "Record the usage in files that agents wrote."),
    "compare": ("cmd_compare", "Say whether a change helped: runs with it beside runs without."),
    "power": ("cmd_compare", "Say how many pairs of runs a comparison needs."),
    "serve": ("cmd_serve", "Serve until SIGTERM or Ctrl-C."),
    "worker": ("cmd_worker", "Carry out the runs of a cluster on this host."),
    "migrate": ("cmd_migrate", "Bring the databases to what this version expects."),
    "gc": ("cmd_gc", "Remove what the orchestrator has kept long enough."),
    "health": ("cmd_health", "Ask each service whether it serves."),
    "capabilities": ("cmd_capabilities", "Tell what this host offers: sandbox, limits, agents."),
    "config": ("cmd_config", "List every setting with its value and source."),
    "certs": ("cmd_certs", "Certificates for compose files and tests."),
}
"""Every command, the module whose ``register`` adds it, and the line about it in ``autopack --help``."""


class _Commands(TyperGroup):
    """Imports a command's module when the command is used: all of them together cost more than most of them take."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name=name, callback=None, short_help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            self.add_command(_load(args[0]))
        return super().resolve_command(ctx, args)


def _load(name: str) -> Any:
    part = typer.Typer(callback=_nothing, rich_markup_mode=None, add_completion=False)
    import_module(f"autopack_cli.{COMMANDS[name][0]}").register(part)
    return get_group(part).commands[name]


def _nothing() -> None:
    """The callback of an app that is never called itself."""


app = typer.Typer(
    name="autopack",
    cls=_Commands,
    help="Run coding agents by the dozen: isolated, checked, repaired and measured, without calling a model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

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
    from autopack_client import ClientTls

    from autopack_cli import session

    # --debug is looked for in main(), because an error may come before this is called.
    session.connection.token_file = token_file
    if tls or tls_ca or tls_certificate or tls_key:
        session.connection.tls = ClientTls(tls_ca, tls_certificate, tls_key)


def main() -> None:
    """The entry point: no error reaches a person as a traceback, unless it was asked for."""
    # What is imported stays: looking through it for garbage is a quarter of a short command's time. What runs longer
    # turns the collector on again (autopack_cli.startup).
    gc.disable()
    try:
        app()
    except AutopackError as error:
        if _debug():
            raise
        from autopack_cli.render import print_error

        print_error(error)
        sys.exit(EXIT_USAGE if isinstance(error, InvalidArgument) else EXIT_FAILURE)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it flushes.
        sys.stderr.close()
        sys.exit(EXIT_FAILURE)
    except Exception as error:
        if _debug():
            raise
        from autopack_cli.render import err_console

        err_console().print(f"error: something unexpected went wrong: {type(error).__name__}: {error}", soft_wrap=True)
        err_console().print("  what to do: report it with the output of the same command after `autopack --debug`.")
        sys.exit(EXIT_FAILURE)


def _debug() -> bool:
    return "--debug" in sys.argv[1:]


if __name__ == "__main__":
    main()

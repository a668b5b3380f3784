"""``autopack gc``: what was kept long enough goes."""

from __future__ import annotations

from typing import Annotated

import typer
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from rich.text import Text

from autopack_cli import session as sessions
from autopack_cli.options import Address, Json
from autopack_cli.render import clean, console, enum_word, err_console, local_time, print_json, table
from autopack_cli.session import Needs, session

__all__ = ["register", "size_words"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("gc")(gc)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Remove leftover worktrees, batches that ended long ago with their logs and patches, unused mirrors and caches.

    A server does this by itself once a day. How long things are kept are settings: AUTOPACK_ORCHESTRATOR_KEEP_RESULTS,
    AUTOPACK_ORCHESTRATOR_KEEP_BYTES and AUTOPACK_ORCHESTRATOR_CACHE_BYTES. Branches in your repositories are never
    touched. Exit status: 0, or 1 if something could not be removed.

    \b
    autopack gc --dry-run
    """

    async def work() -> pb.CollectGarbageResponse:
        async with session(address, Needs(("orchestrator",))) as client:
            return await client.orchestrator.CollectGarbage(pb.CollectGarbageRequest(dry_run=dry_run))

    response = sessions.run(work)
    if as_json:
        print_json(response)
    else:
        _print(response, dry_run=dry_run)
    raise typer.Exit(1 if response.problems else 0)


def _print(response: pb.CollectGarbageResponse, *, dry_run: bool) -> None:
    out = console()
    rows = table("what", "name", "size", "last used", "why")
    for item in response.items:
        rows.add_row(
            enum_word(pb.GarbageKind, item.kind, "GARBAGE_KIND_"),
            Text(clean(item.name)),
            size_words(item.size_bytes),
            f"{local_time(item.last_used_time):%Y-%m-%d}",
            Text(clean(item.reason)),
        )
    if response.items:
        out.print(rows)
    if response.item_count > len(response.items):
        out.print(f"and {response.item_count - len(response.items)} smaller ones")
    verb = "would be removed" if dry_run else "removed"
    out.print(
        f"{response.item_count} {verb}, {size_words(response.size_bytes)}; "
        f"results of {size_words(response.kept_bytes)} stay"
    )
    for problem in response.problems:
        err_console().print(Text(f"not removed: {clean(problem)}"), style="yellow", soft_wrap=True)


def size_words(count: int) -> str:
    """``512 B``, ``1.5 MiB``."""
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"

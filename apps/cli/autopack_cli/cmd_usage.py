"""``autopack usage``: which sessions of agents reported usage, and by what."""

from __future__ import annotations

from typing import Annotated

import typer
from autopack_api.telemetry.v1 import agents_pb2 as pb
from autopack_kit.errors import invalid_field
from rich.text import Text

from autopack_cli.options import Address, Json
from autopack_cli.render import clean, console, err_console, local_time, print_json, table
from autopack_cli.session import Needs, run, session
from autopack_cli.usagewords import signal_word, total

__all__ = ["register"]

MAX_PAGE = 1_000


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(
        help="Usage that agents reported, by session: sessions.", no_args_is_help=True, rich_markup_mode=None
    )
    group.callback()(_group)
    group.command("sessions")(sessions)
    app.add_typer(group, name="usage")


def _group() -> None:
    """Usage that agents reported, by session."""


def sessions(
    run_id: Annotated[str, typer.Option("--run", metavar="RUN", help="Only of this run.")] = "",
    unattributed: Annotated[bool, typer.Option("--unattributed", help="Only those that belong to no run.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="Sessions at most.")] = 100,
    page_token: Annotated[str, typer.Option(metavar="TOKEN", help="Go on after an earlier page.")] = "",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """List the sessions that reported usage, newest first: which signal counts, and what the others said.

    An agent may tell of the same calls by several signals; one counts, and a difference between them is a mismatch.

    \b
    autopack usage sessions --run nightly-7k2q9d.fix-login
    autopack usage sessions --unattributed
    """
    if run_id and unattributed:
        raise invalid_field("--unattributed", "cannot be given with --run: its sessions belong to no run")
    request = pb.ListSessionsRequest(run_id=run_id, unattributed=unattributed, page_size=limit, page_token=page_token)

    async def work() -> pb.ListSessionsResponse:
        async with session(address, Needs(("telemetry",))) as client:
            answer: pb.ListSessionsResponse = await client.telemetry.ListSessions(request)
            return answer

    response = run(work)
    if as_json:
        print_json(response)
        return
    if not response.sessions:
        console().print("no sessions")
        return
    rows = table("last", "agent", "session", "run", "counts", "tokens", "others", "")
    for item in response.sessions:
        rows.add_row(*_row(item))
    console().print(rows)
    if response.next_page_token:
        err_console().print(f"more: --page-token {response.next_page_token}", style="dim", soft_wrap=True)


def _row(item: pb.AgentSession) -> list[Text]:
    counted = next((told for told in item.reported if told.signal == item.signal), None)
    others = ", ".join(
        f"{signal_word(told.signal)} {total(told.tokens):,}" for told in item.reported if told.signal != item.signal
    )
    return [
        Text(f"{local_time(item.last_time):%Y-%m-%d %H:%M}"),
        Text(clean(item.agent)),
        Text(clean(item.session_id) or "-"),
        Text(clean(item.run_id) or "none"),
        Text(signal_word(item.signal)),
        Text(f"{total(counted.tokens):,}" if counted is not None else "-"),
        Text(others or "-"),
        Text("mismatch" if item.mismatch else "", style="bold red"),
    ]

"""``autopack top``: what a server's batches are doing, live."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Annotated

import typer
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_client import AsyncClient
from autopack_kit.errors import AutopackError, Unavailable
from google.protobuf.json_format import MessageToDict
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from autopack_cli import session as sessions
from autopack_cli.options import Address, Json
from autopack_cli.progress import SPARE_LINES, STATE_STYLES
from autopack_cli.render import clean, console, elapsed, enum_word, table
from autopack_cli.results import drift_word, state_word
from autopack_cli.session import INTERRUPTED, Needs, session

__all__ = ["Picture", "register", "render"]

EVERY_S = 1.0
"""Between two looks; a person reads no faster."""
TOKENS_EVERY_S = 5.0
"""Between two looks at the tokens, each a call per run."""
MAX_BATCHES = 20
MAX_RUNS = 500
"""Runs at work, and runs that wait, fetched at once: the most that the server gives in a page."""
MAX_TOKENS = 64
"""Runs whose tokens are asked for: more are not read by anybody."""
AT_ONCE = 8
_AT_WORK = (pb.RUN_STATE_PREPARING, pb.RUN_STATE_RUNNING, pb.RUN_STATE_VALIDATING)
_BATCH_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


@dataclass(slots=True)
class Picture:
    """What was seen last.

    Attributes:
        batches: the newest.
        runs: those that have not ended, of all batches.
        more: there are more of them.
        tokens: of runs at work, where telemetry knows.
        notice: why it is not seen now.
    """

    batches: list[pb.Batch] = field(default_factory=list)
    runs: list[pb.Run] = field(default_factory=list)
    more: bool = False
    tokens: dict[str, int] = field(default_factory=dict)
    notice: str = ""
    tokens_at: float = float("-inf")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("top")(top)


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Show the newest batches and the runs that have not ended, until Ctrl-C; one table if the output is no terminal.

    With --json: one object with batches, runs, and tokens by run.

    \b
    autopack top
    """
    out = console()
    live = out.is_terminal and not out.is_dumb_terminal and not once and not as_json

    async def work() -> None:
        async with session(address, Needs(("orchestrator", "telemetry"))) as client:
            picture = Picture()
            await look(client, picture)
            if live:
                await _watch(client, picture, out)
            elif as_json:
                _print_json(picture)
            else:
                out.print(render(picture, time.time(), len(picture.runs)), crop=False)

    if live:  # Ctrl-C is how one leaves, also where it was ignored, as in what a script began in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sessions.run(work)
    except SystemExit as stopped:
        if stopped.code != INTERRUPTED:
            raise
        raise typer.Exit(0) from None


async def look(client: AsyncClient, picture: Picture) -> None:
    """Fetch everything anew."""
    batches = await client.orchestrator.ListBatches(pb.ListBatchesRequest(page_size=MAX_BATCHES))
    # Apart: thousands that wait must not hide those at work.
    pages = [
        await client.orchestrator.ListRuns(pb.ListRunsRequest(states=states, page_size=MAX_RUNS))
        for states in (_AT_WORK, (pb.RUN_STATE_QUEUED,))
    ]
    picture.batches, picture.runs = list(batches.batches), [run for page in pages for run in page.runs]
    picture.more = any(page.next_page_token for page in pages)
    picture.notice = ""
    if time.monotonic() - picture.tokens_at >= TOKENS_EVERY_S:
        picture.tokens = await _tokens(client, picture.runs)
        picture.tokens_at = time.monotonic()


async def _watch(client: AsyncClient, picture: Picture, out: Console) -> None:
    def draw() -> RenderableType:
        return render(picture, time.time(), max(3, out.height - SPARE_LINES - len(picture.batches)))

    with Live(get_renderable=draw, console=out, refresh_per_second=2, screen=True):
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await look(client, picture)
            except Unavailable as error:
                picture.notice = f"The server does not answer: {error.message}"


async def _tokens(client: AsyncClient, runs: list[pb.Run]) -> dict[str, int]:
    found: dict[str, int] = {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(run_id: str) -> None:
        try:
            async with slots:
                summary = await client.telemetry.GetRunSummary(telemetry_pb2.GetRunSummaryRequest(run_id=run_id))
        except AutopackError:
            return  # telemetry is advice: the table says "-"
        if summary.usage_records:
            used = summary.tokens
            found[run_id] = used.input + used.cache_read + used.cache_write + used.output

    async with asyncio.TaskGroup() as group:
        for run in [run for run in runs if run.state != pb.RUN_STATE_QUEUED][:MAX_TOKENS]:
            group.create_task(ask(run.run_id))
    return found


def render(picture: Picture, now: float, room: int) -> RenderableType:
    """The batches, and as many runs as there is room for, those at work first."""
    batches = table("batch", "state", "runs", "age", "waits for")
    batches.columns[0].min_width = max((len(item.batch_id) for item in picture.batches), default=0)
    for batch in picture.batches:
        word = enum_word(pb.BatchState, batch.state, "BATCH_STATE_")
        counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(batch.runs_by_state.items()))
        batches.add_row(
            Text(batch.batch_id),
            Text(word, style=_BATCH_STYLES.get(word, "")),
            Text(counts),
            elapsed(max(0.0, now - batch.create_time.seconds)),
            Text(clean(batch.waiting_reason)),
        )
    ordered = sorted(picture.runs, key=lambda run: run.state == pb.RUN_STATE_QUEUED)
    runs = table("run", "state", "doing", "time", "try", "drift", "tokens")
    runs.columns[0].min_width = max((len(item.run_id) for item in ordered[:room]), default=0)  # ids are copied
    for run in ordered[:room]:
        word = state_word(run)
        runs.add_row(
            Text(run.run_id),
            Text(word, style=STATE_STYLES.get(word, "")),
            Text(clean(run.activity)),
            elapsed(max(0.0, now - run.start_time.seconds)) if run.HasField("start_time") else "",
            str(run.attempt),
            drift_word(run),
            f"{picture.tokens[run.run_id]:,}" if run.run_id in picture.tokens else "-",
        )
    hidden = len(ordered) - min(room, len(ordered))
    count = f"at least {hidden}" if picture.more else str(hidden)
    below = f"and {count} more" if hidden or picture.more else ""
    parts: list[RenderableType] = [batches if picture.batches else Text("no batches")]
    if ordered:
        parts += [Text(""), runs]
    parts += [Text(line, style="yellow") for line in (below, clean(picture.notice)) if line]
    return Group(*parts)


def _print_json(picture: Picture) -> None:
    answer = {
        "batches": [MessageToDict(batch, preserving_proto_field_name=True) for batch in picture.batches],
        "runs": [MessageToDict(run, preserving_proto_field_name=True) for run in picture.runs],
        "tokens": picture.tokens,
    }
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")

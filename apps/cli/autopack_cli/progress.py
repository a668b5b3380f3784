"""What a batch is doing, from its events: one live line per run on a terminal, one line per event elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import AsyncClient, watch_batch
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from autopack_cli.render import clean, elapsed, local_time, table

__all__ = ["STATE_STYLES", "TERMINAL", "Board", "fetch_runs", "follow"]

REFRESH_PER_SECOND = 4
SPARE_LINES = 4
"""Of the terminal, kept free for the summary and the prompt."""
PAGE = 500
"""Runs per call: the most that the server gives."""

TERMINAL = frozenset({"succeeded", "failed", "timed_out", "cancelled", "lost"})
STATE_STYLES = {"succeeded": "green", "failed": "red", "timed_out": "red", "lost": "red", "cancelled": "yellow"}
_ORDER = {"validating": 0, "running": 0, "preparing": 0, "failed": 1, "timed_out": 1, "lost": 1, "cancelled": 1}
_TOLD = frozenset(
    {
        pb.EVENT_KIND_STATE,
        pb.EVENT_KIND_COMMAND,
        pb.EVENT_KIND_DIAGNOSIS,
        pb.EVENT_KIND_MITIGATION,
        pb.EVENT_KIND_SCOPE,
        pb.EVENT_KIND_DRIFT,
        pb.EVENT_KIND_WARNING,
        pb.EVENT_KIND_RESULT,
        pb.EVENT_KIND_CANCEL_REQUESTED,
    }
)
"""Kinds that a person who reads a plain log wants; phases would say the same again."""


@dataclass(slots=True)
class _Line:
    name: str
    state: str = "queued"
    activity: str = ""
    started: float | None = None
    seconds: float | None = None


@dataclass(slots=True)
class Board:
    """The runs of a batch as their events tell them.

    Attributes:
        notice: a line for the person, such as that a cancel was asked for.
    """

    console: Console
    clock: Callable[[], float] = time.time
    notice: str = ""
    _lines: dict[str, _Line] = field(default_factory=dict)

    def add(self, run: pb.Run) -> None:
        """A run as it is now."""
        self._lines.setdefault(run.run_id, _Line(run.name))

    def apply(self, event: pb.Event) -> None:
        """What happened next."""
        if not event.run_id:
            return
        line = self._lines.setdefault(event.run_id, _Line(event.run_id.rpartition(".")[2]))
        if event.kind == pb.EVENT_KIND_STATE:
            self._change(line, event.attributes.get("to", ""), event.time.seconds)
        elif event.kind == pb.EVENT_KIND_PHASE_STARTED:
            line.activity = event.attributes.get("phase", "")
        elif event.kind == pb.EVENT_KIND_DIAGNOSIS:
            line.activity = f"diagnosed: {event.attributes.get('pattern_id', '')}"

    def _change(self, line: _Line, state: str, when: float) -> None:
        line.state = state or line.state
        if line.started is None and state != "queued":
            line.started = when
        if state in TERMINAL:
            line.seconds = max(0.0, when - (line.started or when))
            line.activity = ""

    def counts(self) -> dict[str, int]:
        """Runs by state."""
        result: dict[str, int] = {}
        for line in self._lines.values():
            result[line.state] = result.get(line.state, 0) + 1
        return result

    def render(self) -> RenderableType:
        """The lines that fit on the terminal, those at work first, and a summary."""
        room = max(3, self.console.height - SPARE_LINES)
        lines = list(self._lines.values())
        if len(lines) > room:
            lines = sorted(lines, key=lambda line: _ORDER.get(line.state, 2))[:room]
        rows = table("run", "state", "doing", "time")
        for line in lines:
            rows.add_row(
                Text(clean(line.name)),
                Text(line.state.replace("_", " "), style=STATE_STYLES.get(line.state, "")),
                Text(clean(line.activity), no_wrap=True, overflow="ellipsis"),
                Text(self._time(line)),
            )
        summary = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(self.counts().items()))
        return Group(rows, Text(summary, style="dim"), *([Text(self.notice, style="yellow")] if self.notice else []))

    def _time(self, line: _Line) -> str:
        if line.seconds is not None:
            return elapsed(line.seconds)
        return elapsed(max(0.0, self.clock() - line.started)) if line.started is not None else ""


async def follow(
    client: AsyncClient, batch_ids: Iterable[str], console: Console, board: Board, *, after: int = 0
) -> None:
    """Shows batches until all have ended: live on a terminal, as lines elsewhere."""
    live = console.is_terminal and not console.is_dumb_terminal

    async def watch(batch_id: str) -> None:
        for run in await fetch_runs(client, batch_id):
            board.add(run)
        async for event in watch_batch(client, batch_id, after):
            board.apply(event)
            if not live and event.kind in _TOLD:
                console.print(_told(event), soft_wrap=True)

    display: AbstractContextManager[object] = nullcontext()
    if live:
        display = Live(
            get_renderable=board.render, console=console, refresh_per_second=REFRESH_PER_SECOND, transient=True
        )
    with display:
        async with asyncio.TaskGroup() as group:
            for batch_id in batch_ids:
                group.create_task(watch(batch_id))


async def fetch_runs(client: AsyncClient, batch_id: str) -> list[pb.Run]:
    """All runs of a batch, in its order."""
    runs: list[pb.Run] = []
    token = ""
    while True:
        request = pb.ListRunsRequest(batch_id=batch_id, page_size=PAGE, page_token=token)
        response = await client.orchestrator.ListRuns(request)
        runs += response.runs
        token = response.next_page_token
        if not token:
            return runs


def _told(event: pb.Event) -> Text:
    name = event.run_id.rpartition(".")[2] or "batch"
    message = event.message.removeprefix(f"{name} ")  # it stands at the beginning of the line already
    return Text(f"{local_time(event.time):%H:%M:%S} {clean(name)}: {clean(message)}")

"""Staying with batches until they have ended, and what Ctrl-C and a closed terminal mean meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, Self, TypeVar

from autopack_api.orchestrator.v1 import orchestrator_pb2
from autopack_client import AsyncClient
from autopack_kit.commands import quote
from rich.console import Console

from autopack_cli.progress import Board, fetch_runs, follow
from autopack_cli.render import console, err_console, print_json
from autopack_cli.results import all_succeeded, avoided_tokens, print_problems, results_table
from autopack_cli.session import INTERRUPTED

__all__ = ["Interrupted", "Interrupts", "attend", "create_batch", "run_batches", "show_results"]

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """The person asked for the end."""


class Interrupts:
    """Hears what the person wants, from the moment on that something of theirs could be left behind.

    Attributes:
        count: of Ctrl-C and SIGTERM so far.
        hung_up: the terminal was closed: nobody wanted to cancel anything, but nobody looks any more.
    """

    def __init__(self) -> None:
        self.count = 0
        self.hung_up = False
        self._heard = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._hear, number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    async def wait(self, count: int) -> None:
        """Until there were so many, or the terminal is gone."""
        async with self._heard:
            await self._heard.wait_for(lambda: self.count >= count or self.hung_up)

    def _hear(self, number: int) -> None:
        self.count += number != signal.SIGHUP
        self.hung_up |= number == signal.SIGHUP
        task = asyncio.get_running_loop().create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self._heard:
            self._heard.notify_all()


async def create_batch(
    client: AsyncClient, request: orchestrator_pb2.CreateBatchRequest, interrupts: Interrupts
) -> orchestrator_pb2.CreateBatchResponse:
    """Create a batch. An interrupt waits for the answer, so that it can be cancelled; the second does not.

    Raises:
        Interrupted: whether it was created is not known.
    """

    async def listen() -> None:
        await interrupts.wait(1)
        if not interrupts.hung_up:
            err_console().print(
                "Waiting for the batch, to cancel it. Press Ctrl-C again to leave; `autopack runs list` then shows it.",
                style="yellow",
                soft_wrap=True,
            )
        await interrupts.wait(2)
        raise Interrupted

    async def create() -> orchestrator_pb2.CreateBatchResponse:
        return await client.orchestrator.CreateBatch(request)

    return await _unless(create(), listen())


async def attend(
    client: AsyncClient, batch: orchestrator_pb2.Batch, *, as_json: bool, interrupts: Interrupts | None = None
) -> int:
    """Stay with a batch until it has ended, and show what became of it; the exit status for that."""
    with nullcontext(interrupts) if interrupts else Interrupts() as heard:
        interrupted = await run_batches(client, [batch.batch_id], err_console(), heard)
        if heard.hung_up:
            return INTERRUPTED
        found = await fetch_runs(client, batch.batch_id)
        if as_json:
            print_json(orchestrator_pb2.ListRunsResponse(runs=found))
        else:
            await show_results(client, found, console())
            _say_where(console(), batch, found)
        if interrupted:
            return INTERRUPTED
        return 0 if all_succeeded(found) else 1


async def run_batches(
    client: AsyncClient, batch_ids: list[str], out: Console, interrupts: Interrupts | None = None
) -> bool:
    """Shows batches until they have ended. An interrupt cancels them and waits; the second ends the waiting. A terminal
    that is closed ends it too, and cancels nothing.

    Args:
        interrupts: those that are heard already; default: from now on.

    Returns:
        Whether there was an interrupt.
    """
    board = Board(out)

    async def listen(heard: Interrupts) -> None:
        await heard.wait(1)
        if heard.hung_up:
            raise Interrupted
        board.notice = "Cancelling. Press Ctrl-C again to stop waiting; what runs is then ended a little later."
        if not out.is_terminal:
            out.print(board.notice)
        for batch_id in batch_ids:
            await client.orchestrator.CancelBatch(orchestrator_pb2.CancelBatchRequest(batch_id=batch_id))
        await heard.wait(2)
        raise Interrupted

    with nullcontext(interrupts) if interrupts else Interrupts() as heard:
        try:
            await _unless(follow(client, batch_ids, out, board), listen(heard))
        except Interrupted:
            if not heard.hung_up:
                out.print(f"Not waited for; see its end: autopack resume {' '.join(batch_ids)}", soft_wrap=True)
            return True
        return heard.count > 0


async def _unless(work: Coroutine[Any, Any, T], listener: Coroutine[Any, Any, None]) -> T:
    """What ``work`` gives; what ``listener`` raises ends it."""
    first, second = asyncio.create_task(work), asyncio.create_task(listener)
    try:
        await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            second.result()
        return await first
    finally:
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


async def show_results(client: AsyncClient, runs: list[orchestrator_pb2.Run], out: Console) -> None:
    """The table, and what is to be said about single runs."""
    avoided = await avoided_tokens(client, runs)
    out.print(results_table(runs, avoided))
    print_problems(out, runs)


def _say_where(out: Console, batch: orchestrator_pb2.Batch, runs: list[orchestrator_pb2.Run]) -> None:
    lines = []
    branches = f"autopack/{batch.batch_id}/*"
    if any(run.head_commit for run in runs) and "://" in batch.repository:
        lines.append(f"branches: git ls-remote {quote([batch.repository])} '{branches}'")
    elif any(run.head_commit for run in runs) and batch.repository.startswith("/"):
        lines.append(f"branches: git -C {quote([batch.repository])} branch --list '{branches}'")
    if sum(bool(run.head_commit) for run in runs) > 1:
        lines.append(f"merge:    autopack merge {batch.batch_id}")
    lines += [f"patch:    autopack runs patch {run.run_id}" for run in runs if run.patch_bytes][:1]
    lines += [f"log:      autopack runs log {run.run_id}" for run in runs][:1]
    for line in lines:
        out.print(line, style="dim", soft_wrap=True)

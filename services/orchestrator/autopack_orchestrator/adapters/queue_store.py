"""What concerns the queue as a whole, and those who watch: the part of the store that is about no single run."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from autopack_kit.db import Database

from autopack_orchestrator.adapters import queue, writes
from autopack_orchestrator.adapters.rows import to_micros
from autopack_orchestrator.core.model import EventKind, NewEvent

__all__ = ["QueueStore"]

MAX_TOLD = 200  # waiting batches that are told of a pause; whoever asks for another is told by GetBatch


class QueueStore:
    """The queue in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def throttle(self, agent: str, most: int) -> int:
        """Let fewer runs of an agent whose provider is overloaded be at work; returns how many."""
        return await self._database.write(lambda connection: queue.throttle(connection, agent, most))

    async def tick(self) -> None:
        """What time brings: waits for a retry that are over, and queue timeouts."""
        now = to_micros(datetime.now(UTC))
        due, overdue = await self._database.read(
            lambda connection: (queue.due(connection, now), queue.overdue_batches(connection, now))
        )
        if due:
            await self._database.write(lambda connection: queue.let_in(connection, now))
        for batch_id in overdue:
            await self._database.write(partial(queue.end_overdue, batch_id=batch_id, now=now))
            self._wake(batch_id)

    async def pause(self, owner: str, reason: str, *, tell: bool) -> None:
        """``owner`` starts nothing for ``reason``, or does again if that is empty.

        Args:
            tell: the batches that wait, as an event.
        """
        now = to_micros(datetime.now(UTC))
        await self._database.write(lambda connection: queue.pause(connection, owner, reason, now))
        waiting = await self._database.read(lambda found: queue.waiting_batches(found, MAX_TOLD)) if tell else []
        event = NewEvent(EventKind.WARNING, reason, {"about": "intake"})
        for batch_id in waiting:
            told = partial(writes.add_events, batch_id=batch_id, run_id="", events=[event])
            await self._database.write(told)
            self._wake(batch_id)

    # ---- watching ----

    def watch(self, batch_id: str) -> tuple[asyncio.Event, Callable[[], None]]:
        """An event that is set whenever this process writes events of a batch, and the call that gives it back."""
        changed = asyncio.Event()
        self._watchers[batch_id].add(changed)

        def release() -> None:
            self._watchers[batch_id].discard(changed)
            if not self._watchers[batch_id]:
                del self._watchers[batch_id]

        return changed, release

    def _wake(self, batch_id: str) -> None:
        for changed in self._watchers.get(batch_id, ()):
            changed.set()

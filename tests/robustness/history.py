"""What was seen from outside: events, runs, telemetry, and the agents' own witness."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2 as tm
from autopack_client import AsyncClient, read_log, watch_batch

from tests.robustness.processes import HANG_LIMIT_S

__all__ = ["History", "Sighting", "event_of", "finish", "log_of", "runs_of", "sightings", "taken_up"]


@dataclass(frozen=True)
class History:
    """All that is known of a batch that has ended."""

    batch_id: str
    events: list[pb.Event]
    runs: list[pb.Run]
    phases: dict[str, list[tm.Phase]]
    sightings: list[Sighting]


@dataclass(frozen=True)
class Sighting:
    """One line that an agent wrote; ``at`` in nanoseconds since the epoch."""

    what: str
    run: str
    attempt: int
    pid: int
    at: int


def sightings(witness: Path) -> list[Sighting]:
    """What the agents have written so far."""
    lines = (line.split() for line in witness.read_text().splitlines())
    return [Sighting(what, run, int(attempt), int(pid), int(at)) for what, run, attempt, pid, at in lines]


async def event_of(client: AsyncClient, batch_id: str, kind: pb.EventKind.ValueType, **attributes: str) -> pb.Event:
    """The first event of a kind with these attributes; it is waited for."""
    async with asyncio.timeout(HANG_LIMIT_S):
        async for event in watch_batch(client, batch_id):
            if event.kind == kind and all(event.attributes.get(name) == value for name, value in attributes.items()):
                return event
    raise AssertionError(f"the batch ended without an event {attributes}")


async def taken_up(client: AsyncClient, batch_id: str, *names: str) -> None:
    """Wait until each of these runs was adopted with its agent alive."""
    waiting = {f"{batch_id}.{name}" for name in names}
    async with asyncio.timeout(HANG_LIMIT_S):
        async for event in watch_batch(client, batch_id):
            if event.run_id in waiting and "taken up after a restart: the agent is still at work" in event.message:
                waiting.remove(event.run_id)
                if not waiting:
                    return
    raise AssertionError(f"the batch ended, and these were not taken up: {waiting}")


async def runs_of(client: AsyncClient, batch_id: str) -> list[pb.Run]:
    """The runs of a batch, in its order."""
    return list((await client.orchestrator.ListRuns(pb.ListRunsRequest(batch_id=batch_id, page_size=500))).runs)


async def log_of(client: AsyncClient, run_id: str, attempt: int = 0) -> bytes:
    """The log of an attempt as it is now."""
    return b"".join([piece async for piece in read_log(client, run_id, attempt=attempt)])


async def finish(client: AsyncClient, batch_id: str, witness: Path, limit_s: float = 2 * HANG_LIMIT_S) -> History:
    """Wait until the batch has ended, and collect everything."""
    async with asyncio.timeout(limit_s):
        events = [event async for event in watch_batch(client, batch_id)]
    runs = await runs_of(client, batch_id)
    phases = {}
    for run in runs:
        response = await client.telemetry.ListPhases(tm.ListPhasesRequest(run_id=run.run_id, page_size=5000))
        phases[run.run_id] = list(response.phases)
    return History(batch_id, events, runs, phases, sightings(witness))

"""Several workers on one PostgreSQL: killed, stopped, cut off and restarted, and no run is lost or done beside itself.

Each worker is a process with a directory of its own. What "another host" means here is that nothing is shared but the
database and the object store.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import watch_batch
from sqlalchemy import make_url

from tests.integration.orchestrator.site import STALE_AFTER_S, Site, site
from tests.robustness.history import log_of, sightings
from tests.robustness.processes import HANG_LIMIT_S, marked, until
from tests.robustness.traffic import agent, batch, gated, run, submit
from tests.robustness.validators import attempts_never_overlap

pytestmark = pytest.mark.postgres

LIMIT_S = STALE_AFTER_S + HANG_LIMIT_S
URL = "AUTOPACK_ORCHESTRATOR_DATABASE_URL"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site("cluster-postgres", tmp_path, at_once=4) as made:
        made.start()
        yield made


async def ended(place: Site, batch_id: str) -> list[pb.Run]:
    """The runs of a batch once it has ended; its events have no gaps, and no two attempts of a run were at work."""
    async with asyncio.timeout(2 * LIMIT_S), place.client() as client:
        events = [event async for event in watch_batch(client, batch_id)]
        runs = (await client.orchestrator.ListRuns(pb.ListRunsRequest(batch_id=batch_id))).runs
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    attempts_never_overlap(sightings(place.machine.witness))
    return list(runs)


async def at_work(place: Site, *names: str, attempt: int = 1) -> None:
    wanted = {(name, attempt) for name in names}
    await until(
        lambda: wanted <= {(seen.run, seen.attempt) for seen in sightings(place.machine.witness)},
        f"attempt {attempt} of {', '.join(names)} is at work",
        LIMIT_S,
    )


def processes(place: Site, name: str) -> list[str]:
    """What is alive of the runs of one worker."""
    return list(marked(place.machine.root / name).values())


async def test_runs_of_a_killed_worker_go_on_on_another_one_and_nothing_of_them_is_left(place: Site) -> None:
    machine, names = place.machine, ("one", "two")
    deaf = """setsid sh -c 'trap "" TERM; while :; do sleep 1000; done' & """
    runs = [run(name, deaf + gated(), witness=machine.witness, gate=machine.gate) for name in names]
    async with place.client() as client:
        batch_id = await submit(client, batch(machine.repo, runs))
        await at_work(place, *names)
        await asyncio.to_thread(place.work, "data-2")
        assert not processes(place, "data-2")
        await place.workers["data-1"].kill()
        await at_work(place, *names, attempt=2)
        assert not processes(place, "data-1")
        machine.gate.touch()
        done = await ended(place, batch_id)
        assert b"begins attempt 2" in await log_of(client, done[0].run_id)
    assert [(item.state, item.attempt) for item in done] == [(pb.RUN_STATE_SUCCEEDED, 2)] * 2


async def test_a_worker_that_stands_still_is_ended_with_its_runs_before_others_begin_them(place: Site) -> None:
    machine = place.machine
    async with place.client() as client:
        spec = run("one", gated(), witness=machine.witness, gate=machine.gate)
        batch_id = await submit(client, batch(machine.repo, [spec]))
        await at_work(place, "one")
        await asyncio.to_thread(place.work, "data-2")
        place.workers["data-1"].process.send_signal(signal.SIGSTOP)
        assert await place.workers["data-1"].ended() == -signal.SIGKILL
        await at_work(place, "one", attempt=2)
        assert not processes(place, "data-1")
        machine.gate.touch()
        (done,) = await ended(place, batch_id)
    assert (done.state, done.attempt) == (pb.RUN_STATE_SUCCEEDED, 2)


async def test_a_run_cancelled_after_it_was_admitted_and_before_a_worker_had_it_ends_and_never_begins(
    place: Site,
) -> None:
    machine = place.machine
    async with place.client() as client:
        await ended(place, await submit(client, batch(machine.repo, [run("zero", agent(1), witness=machine.witness)])))
        place.workers["data-1"].process.send_signal(signal.SIGSTOP)
        batch_id = await submit(client, batch(machine.repo, [run("one", agent(1), witness=machine.witness)]))

        async def admitted() -> bool:
            found = (await client.orchestrator.GetRun(pb.GetRunRequest(run_id=f"{batch_id}.one"))).run
            return found.state == pb.RUN_STATE_PREPARING

        await until(admitted, "the run is admitted")
        await client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=f"{batch_id}.one"))
        (done,) = await ended(place, batch_id)
        assert done.state == pb.RUN_STATE_CANCELLED
        await place.workers["data-1"].ended()
        await asyncio.to_thread(place.work, "data-2")
        again = await submit(client, batch(machine.repo, [run("two", agent(1), witness=machine.witness)]))
        (done,) = await ended(place, again)
    assert done.state == pb.RUN_STATE_SUCCEEDED
    assert {seen.run for seen in sightings(machine.witness)} == {"zero", "two"}


@pytest.mark.long
async def test_a_worker_that_is_cut_off_ends_its_runs_by_itself_and_works_again_later(place: Site) -> None:
    machine = place.machine
    async with link(place.settings[URL]) as wire, place.client() as client:
        await place.workers["data-1"].terminate()
        await asyncio.to_thread(place.work, "data-2", **{URL: wire.url})
        spec = run("one", gated(), witness=machine.witness, gate=machine.gate)
        batch_id = await submit(client, batch(machine.repo, [spec]))
        await at_work(place, "one")
        wire.cut()
        await until(lambda: not processes(place, "data-2"), "the worker has ended its run")
        assert place.workers["data-2"].process.poll() is None
        await asyncio.to_thread(place.work, "data-3")
        await at_work(place, "one", attempt=2)
        wire.mend()
        machine.gate.touch()
        (done,) = await ended(place, batch_id)
        assert (done.state, done.attempt) == (pb.RUN_STATE_SUCCEEDED, 2)

        await place.workers["data-3"].terminate()
        again = await submit(client, batch(machine.repo, [run("two", agent(1), witness=machine.witness)]))
        (done,) = await ended(place, again)
        assert (done.state, done.attempt) == (pb.RUN_STATE_SUCCEEDED, 1)


async def test_a_rolling_restart_under_load_loses_nothing(place: Site) -> None:
    machine = place.machine
    runs = [run(f"r{number}", agent(12), witness=machine.witness) for number in range(12)]
    async with place.client() as client:
        batch_id = await submit(client, batch(machine.repo, runs))
    await at_work(place, "r0")
    await asyncio.to_thread(place.work, "data-2")
    assert await place.workers["data-1"].terminate() == 0
    await asyncio.to_thread(place.work, "data-1")
    assert place.server is not None
    assert await place.server.terminate() == 0
    await asyncio.to_thread(place.serve)
    assert await place.workers["data-2"].terminate() == 0
    await asyncio.to_thread(place.work, "data-2")
    done = await ended(place, batch_id)
    assert not [(item.name, item.error) for item in done if item.state != pb.RUN_STATE_SUCCEEDED]
    assert not [words for data in place.directories for words in marked(data).values()]


class Link:
    """The way to a database, which can be cut: nothing comes through any more, and nobody is told."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._whole = asyncio.Event()
        self._whole.set()
        self._pairs: list[asyncio.StreamWriter] = []
        self.url = ""

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        """Connections from before do not survive it, as behind a router that has forgotten them."""
        for writer in self._pairs:
            writer.transport.abort()
        self._whole.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._pairs += [writer, far_writer]
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def link(url: str) -> AsyncIterator[Link]:
    """A link to the server of a database URL."""
    target = make_url(url)
    wire = Link(target.host or "127.0.0.1", target.port or 5432)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire.url = target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    try:
        yield wire
    finally:
        wire.mend()
        server.close()

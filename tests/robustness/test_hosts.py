"""Workers on two hosts, which are network namespaces, with links to a PostgreSQL server; one of them goes down."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_kit.db.testing import POSTGRES_VARIABLE
from sqlalchemy import make_url

from tests.integration.orchestrator.site import site
from tests.robustness.mounts import again_with_own_network
from tests.robustness.postgres import own_postgres
from tests.robustness.processes import until
from tests.robustness.test_cluster import URL, at_work, ended, processes
from tests.robustness.traffic import agent, batch, gated, run, submit

pytestmark = [pytest.mark.long, pytest.mark.postgres]


@dataclass
class Host:
    """A network namespace with one link to this one.

    Attributes:
        holder: a process that keeps it.
        address: of this end of the link, at which the host finds the database.
        link: name of this end.
    """

    holder: subprocess.Popen[bytes]
    address: str
    link: str

    @property
    def words(self) -> tuple[str, ...]:
        """What stands before a command that is to run there."""
        return ("nsenter", f"--net=/proc/{self.holder.pid}/ns/net")

    def set_link(self, state: str) -> None:
        """``up`` or ``down``."""
        ip("link", "set", self.link, state)


def ip(*words: str, within: tuple[str, ...] = ()) -> None:
    subprocess.run([*within, "ip", *words], check=True, timeout=30)


@contextmanager
def make_host(number: int) -> Iterator[Host]:
    """A host in the network 10.77.``number``.0/24."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()  # from here on it has its namespace
        host = Host(holder, f"10.77.{number}.1", f"host{number}")
        ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        ip("address", "add", f"{host.address}/24", "dev", host.link)
        ip("address", "add", f"10.77.{number}.2/24", "dev", "eth0", within=host.words)
        ip("link", "set", "lo", "up", within=host.words)
        ip("link", "set", "eth0", "up", within=host.words)
        host.set_link("up")
        yield host
    finally:
        holder.kill()
        holder.wait()


async def test_a_host_whose_link_goes_down_ends_its_runs_before_the_other_host_begins_them(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not again_with_own_network(request):
        return
    ip("link", "set", "lo", "up")
    with ExitStack() as stack:
        database = stack.enter_context(own_postgres())
        hosts = [stack.enter_context(make_host(number)) for number in (1, 2)]
        database.stop()
        with (database.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/16 trust\n")
        database.addresses = ",".join(["127.0.0.1", *(host.address for host in hosts)])
        database.start()
        monkeypatch.setenv(POSTGRES_VARIABLE, database.url)
        place = stack.enter_context(site("cluster-postgres", tmp_path))
        store = make_url(place.settings[URL])
        urls = [store.set(host=host.address).render_as_string(hide_password=False) for host in hosts]
        place.serve()
        await asyncio.to_thread(place.work, "data-1", host=hosts[0].words, **{URL: urls[0]})
        machine = place.machine
        async with place.client() as client:
            spec = run("one", gated(), witness=machine.witness, gate=machine.gate)
            batch_id = await submit(client, batch(machine.repo, [spec]))
            await at_work(place, "one")
            await asyncio.to_thread(place.work, "data-2", host=hosts[1].words, **{URL: urls[1]})
            hosts[0].set_link("down")
            await until(lambda: not processes(place, "data-1"), "the host that is cut off has ended its run")
            await at_work(place, "one", attempt=2)
            assert processes(place, "data-2")
            assert not processes(place, "data-1")
            hosts[0].set_link("up")
            machine.gate.touch()
            (done,) = await ended(place, batch_id)
            assert (done.state, done.attempt) == (pb.RUN_STATE_SUCCEEDED, 2)

            await place.workers["data-2"].terminate()
            again = await submit(client, batch(machine.repo, [run("two", agent(1), witness=machine.witness)]))
            (done,) = await ended(place, again)
            assert (done.state, done.attempt) == (pb.RUN_STATE_SUCCEEDED, 1)

"""A place where runs are carried out, by either engine: real processes, killed and started again from outside."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from autopack_client import AsyncClient, connect
from autopack_kit.db.testing import fresh_url

from tests.robustness.machine import PROGRAM, Machine, Server
from tests.robustness.processes import end_marked

__all__ = ["KINDS", "STALE_AFTER_S", "Site", "site"]

KINDS = ("local-sqlite", "local-postgres", "cluster-postgres")
FENCE_S = 2
STALE_AFTER_S = 10  # above the fence and the seven seconds that ending a run may take
ANSWERS_LIMIT_S = 60.0


@dataclass
class Site:
    """Servers and workers on one database.

    Attributes:
        kind: engine and database; one of :data:`KINDS`.
        machine: the user's repository, and the directory of everything.
        settings: environment variables of every process.
    """

    kind: str
    machine: Machine
    settings: Mapping[str, str]
    at_once: int
    server: Server | None = None
    workers: dict[str, Server] = field(default_factory=dict)

    @property
    def cluster(self) -> bool:
        """Whether workers carry runs out, or the server itself."""
        return self.kind.startswith("cluster")

    @property
    def directories(self) -> list[Path]:
        """Every data directory."""
        return sorted(self.machine.root.glob("data*"))

    def start(self) -> None:
        """A server, and for a cluster one worker; returns when they answer."""
        self.serve()
        if self.cluster:
            self.work("data-1")

    def serve(self) -> Server:
        """Start the server."""
        address = f"unix:{self.machine.root}/{len(self.machine.servers)}.s"
        words = ["serve", "orchestrator", "--address", address]
        if self.cluster:
            words += ["--engine", "cluster"]
        self.server = self._start(words, address, "data")
        return self.server

    def work(self, name: str, *, host: Sequence[str] = (), **settings: str) -> Server:
        """Start a worker of a cluster with a data directory of its own; ``host`` are words before its command."""
        words = ["worker", "--concurrency", str(self.at_once)]
        self.workers[name] = self._start(words, "ready", name, settings, host)
        return self.workers[name]

    def _start(
        self,
        words: list[str],
        line: str,
        directory: str,
        more: Mapping[str, str] = MappingProxyType({}),
        host: Sequence[str] = (),
    ) -> Server:
        settings = {**self.settings, "AUTOPACK_DATA_DIR": str(self.machine.root / directory), **more}
        with self.machine.log.open("ab") as log:
            process = subprocess.Popen(
                [*host, str(PROGRAM), *words],
                env=self.machine.environment(settings),
                cwd=self.machine.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        started = Server(process, line)
        self.machine.servers.append(started)
        assert process.stdout is not None
        first = process.stdout.readline().decode().strip()
        assert first == line, self.machine.log.read_text()
        return started

    def client(self) -> AsyncClient:
        """A new connection to the server."""
        assert self.server is not None
        return connect(self.server.address)

    async def crash(self) -> None:
        """``kill -9`` whoever carries runs out."""
        for victim in self._carriers():
            await victim.kill()

    async def recover(self) -> None:
        """Somebody else carries runs out, on a cluster another host."""
        await asyncio.to_thread(self.work, "data-2") if self.cluster else await asyncio.to_thread(self.serve)

    def _carriers(self) -> list[Server]:
        assert self.server is not None
        return list(self.workers.values()) if self.cluster else [self.server]

    def close(self) -> None:
        """End everything, wherever it is."""
        for server in self.machine.servers:
            server.process.send_signal(signal.SIGCONT)
        self.machine.close()
        for directory in self.directories:
            end_marked(directory)


@contextmanager
def site(kind: str, root: Path, *, at_once: int = 2, **settings: str) -> Iterator[Site]:
    """A site with nothing started; at the end nothing of it is alive."""
    machine = Machine.make(root)
    with fresh_url(kind.rpartition("-")[2], root, "store") as url:
        fixed = {
            "AUTOPACK_ORCHESTRATOR_DATABASE_URL": url,
            "AUTOPACK_ORCHESTRATOR_MAX_CONCURRENT_RUNS": str(at_once),
            "AUTOPACK_ORCHESTRATOR_FENCE_GRACE": f"{FENCE_S}s",
            "AUTOPACK_ORCHESTRATOR_CLUSTER_FENCE_GRACE": f"{FENCE_S}s",
            "AUTOPACK_ORCHESTRATOR_STALE_AFTER": f"{STALE_AFTER_S}s",
            "AUTOPACK_ORCHESTRATOR_WORKER_DRAIN": "1s",
            "AUTOPACK_ORCHESTRATOR_OBJECT_STORE_URL": f"file://{root}/objects",
            "AUTOPACK_ORCHESTRATOR_SANDBOX": "none",
        }
        place = Site(kind, machine, {**fixed, **settings}, at_once)
        try:
            yield place
        finally:
            place.close()

"""A data directory, a user's repository, and the servers that are started, killed and started again on them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from autopack_client import AsyncClient, connect

from tests.robustness import failpoints
from tests.robustness.processes import HANG_LIMIT_S, end_marked
from tests.robustness.traffic import make_repository

__all__ = ["FENCE_GRACE_S", "PROGRAM", "SHORT_FENCE", "Machine", "Server"]

FENCE_GRACE_S = 5.0
SHORT_FENCE = {"AUTOPACK_ORCHESTRATOR_FENCE_GRACE": f"{FENCE_GRACE_S:g}s"}
# Longer than a restart takes on the most loaded machine, and than what is left is waited for: whatever is gone in the
# end was ended by the server, not by the fence.
LONG_FENCE = "300s"
PROGRAM = Path(sys.executable).with_name("autopack")
_INHERITED = ("PATH", "PYTHONPATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass
class Server:
    """One server process; it answers, unless it was killed."""

    process: subprocess.Popen[bytes]
    address: str

    @property
    def pid(self) -> int:
        return self.process.pid

    async def ready(self) -> None:
        """Wait until it answers."""
        assert self.process.stdout is not None
        async with asyncio.timeout(HANG_LIMIT_S):
            line = await asyncio.to_thread(self.process.stdout.readline)
        assert line.decode().strip() == self.address, f"the server ended with {self.process.poll()}"

    def client(self) -> AsyncClient:
        """A new connection, for ``async with``."""
        return connect(self.address)

    async def ended(self) -> int:
        """Its exit status, once it has ended by itself; negative = the signal that killed it."""
        return await asyncio.to_thread(self.process.wait, HANG_LIMIT_S)

    async def kill(self) -> None:
        """``kill -9``, wherever it is."""
        self.process.kill()
        await self.ended()

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()


@dataclass
class Machine:
    """Where everything of a test lives.

    Attributes:
        data: the servers' data directory.
        repo: the user's repository.
        witness: file to which agents write what they do, outside of any worktree.
        gate: file for which gated agents wait.
    """

    root: Path
    data: Path
    repo: Path
    witness: Path
    gate: Path
    servers: list[Server] = field(default_factory=list)

    @classmethod
    def make(cls, root: Path) -> Machine:
        """A repository and nothing else."""
        machine = cls(root, root / "data", root / "repo", root / "witness", root / "gate")
        machine.witness.touch()
        make_repository(machine.repo)
        return machine

    @property
    def log(self) -> Path:
        """What all servers wrote."""
        return self.root / "server.log"

    def environment(self, settings: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """The environment of the product on this machine."""
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "HOME": str(self.root),
            "AUTOPACK_DATA_DIR": str(self.data),
            "AUTOPACK_LOG_FORMAT": "json",
            "AUTOPACK_ORCHESTRATOR_FENCE_GRACE": LONG_FENCE,
            # The weaker case: in a sandbox the kernel ends what is left, and the witness could not be written.
            "AUTOPACK_ORCHESTRATOR_SANDBOX": "none",
            "AUTOPACK_ORCHESTRATOR_ALLOWED_ROOTS": str(self.root),
            "AUTOPACK_TOOLCHAIN_ALLOWED_ROOTS": str(self.root),
            **settings,
        }

    async def serve(
        self, failpoint: str = "", *, answers: bool = True, only: str = "", settings: Mapping[str, str] | None = None
    ) -> Server:
        """Start a server and wait until it answers.

        Args:
            failpoint: where it dies, ``POINT`` or ``POINT:N``; see :mod:`.failpoints`.
            only: the one service that it serves, instead of all.
            answers: False not to wait.
            settings: environment variables.
        """
        server = self._start(failpoint, only or "--all", settings or {})
        if answers:
            await server.ready()
        return server

    def _start(self, failpoint: str, what: str, settings: Mapping[str, str]) -> Server:
        program = [sys.executable, failpoints.__file__, failpoint] if failpoint else [str(PROGRAM)]
        address = f"unix:{self.root}/{len(self.servers)}.s"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*program, "serve", what, "--address", address],
                env=self.environment(settings),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        server = Server(process, address)
        self.servers.append(server)
        return server

    def close(self) -> None:
        """End everything, and remove what may be large."""
        for server in self.servers:
            server.process.kill()
            server.process.wait()
            if server.process.stdout is not None:
                server.process.stdout.close()
        end_marked(self.data)
        shutil.rmtree(self.data, ignore_errors=True)

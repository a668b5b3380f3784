"""A PostgreSQL server of a test's own, which it may stop and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.robustness.processes import HANG_LIMIT_S

__all__ = ["Postgres", "own_postgres"]


def _programs() -> Path:
    """Where the newest server's programs are; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    known = str(found[-1]) if found else shutil.which("initdb")
    if known is None:
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    return Path(known).parent


@dataclass
class Postgres:
    """One server; its data outlives a restart.

    Attributes:
        addresses: on which it listens from its next start on, ``,`` between them.
    """

    programs: Path
    data: Path
    port: int
    addresses: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://autopack@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        """Start one of its programs; PostgreSQL refuses to run as root."""
        other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        with (self.data.parent / "log").open("ab") as log:
            return subprocess.Popen(
                [*other, str(self.programs / program), *words],
                cwd=self.data,
                env={"PATH": os.environ["PATH"], "HOME": str(self.data), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ("-p", str(self.port), "-c", f"listen_addresses={self.addresses}", "-c", "unix_socket_directories=")
        self.process = self.run("postgres", "-D", str(self.data), *words)
        end = time.monotonic() + HANG_LIMIT_S
        while self.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)).wait() != 0:
            assert self.process.poll() is None, (self.data.parent / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT closes every connection at once; SIGQUIT is a crash."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(HANG_LIMIT_S)
            self.process = None


@contextlib.contextmanager
def own_postgres() -> Iterator[Postgres]:
    """A new server, gone at the end. The test is skipped where PostgreSQL is not installed."""
    programs = _programs()
    # Not below pytest's own directory, which only its owner may enter.
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as probe:
        data = Path(scratch) / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            Path(scratch).chmod(0o711)
            shutil.chown(data, "nobody", "nogroup")
        probe.bind(("127.0.0.1", 0))
        server = Postgres(programs, data, probe.getsockname()[1])
        probe.close()
        made = server.run("initdb", "-D", str(data), "-U", "autopack", "--auth=trust", "--encoding=UTF8", "--no-sync")
        assert made.wait(HANG_LIMIT_S) == 0, (data.parent / "log").read_text()
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)

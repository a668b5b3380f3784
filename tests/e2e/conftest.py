"""The real binary, with a data directory and a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

AUTOPACK = Path(sys.executable).with_name("autopack")
TIMEOUT = 120.0
"""Seconds; only against hanging."""


@dataclass(frozen=True)
class Cli:
    """Runs ``autopack``."""

    home: Path

    @property
    def data(self) -> Path:
        """Its data directory; short, because a socket's path is."""
        return self.home / "data"

    def environment(self, **variables: str) -> dict[str, str]:
        """What the command sees: nothing of the developer's own settings."""
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AUTOPACK_", "GIT_", "NO_COLOR", "COLUMNS"))
        }
        return {**own, "HOME": str(self.home), "AUTOPACK_DATA_DIR": str(self.data), **variables}

    def __call__(
        self,
        *words: str | Path,
        input: bytes = b"",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        done = subprocess.run(
            [AUTOPACK, *words], input=input, cwd=cwd or self.home, env=self.environment(**(env or {})),
            capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def start(
        self, *words: str | Path, env: dict[str, str] | None = None, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Starts it; whoever starts it ends it."""
        return subprocess.Popen(
            [AUTOPACK, *words], cwd=self.home, env=self.environment(**(env or {})), text=True,
            stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=as_from_a_terminal,
        )  # fmt: skip


def as_from_a_terminal() -> None:
    """In the child: whatever runs the tests in the background ignores these, and they would stay ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def new_cli() -> Iterator[Cli]:
    home = Path(tempfile.mkdtemp(prefix="ape-"))
    yield Cli(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def cli() -> Iterator[Cli]:
    """The command with an empty home."""
    with new_cli() as found:
        yield found


@dataclass(frozen=True)
class Serving:
    """A server that runs in its own process."""

    process: subprocess.Popen[str]
    address: str


class Servers:
    """Starts servers and ends them."""

    def __init__(self, cli: Cli) -> None:
        self._cli = cli
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *words: str | Path, env: dict[str, str] | None = None) -> Serving:
        """``autopack serve ...``, once it answers."""
        return self._answers(self._begin(*words, env=env))

    def start_all(self, names: Sequence[str], env: dict[str, str]) -> dict[str, str]:
        """A server for each service, begun at once; their addresses by name."""
        begun = {name: self._begin(name, env=env) for name in names}
        return {name: self._answers(process).address for name, process in begun.items()}

    def _begin(self, *words: str | Path, env: dict[str, str] | None) -> subprocess.Popen[str]:
        process = self._cli.start("serve", *words, env=env)
        self._running.append(process)
        return process

    def _answers(self, process: subprocess.Popen[str]) -> Serving:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            _, errors = process.communicate(timeout=TIMEOUT)
            raise AssertionError(f"the server did not start: {errors}")
        return Serving(process, address)

    def stop(self) -> None:
        """Ends all of them as an orderly shutdown does."""
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.communicate(timeout=TIMEOUT)


@pytest.fixture
def servers(cli: Cli) -> Iterator[Servers]:
    """Servers for one test."""
    found = Servers(cli)
    yield found
    found.stop()


def git(path: Path, *words: str) -> str:
    """What git prints, with nobody's configuration."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    done = subprocess.run(
        ["git", *identity, *words], cwd=path, env=env, capture_output=True, check=True, timeout=TIMEOUT
    )
    return done.stdout.decode("utf-8", "replace").strip()


def new_repository(cli: Cli) -> Path:
    path = cli.home / "repository"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    (path / "notes.txt").write_text("one\n")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "--message", "Begin the notes")
    return path


@pytest.fixture
def repository(cli: Cli) -> Path:
    """A repository that no toolchain knows, so that its runs prepare nothing."""
    return new_repository(cli)


@dataclass(frozen=True)
class Finished:
    """A batch whose runs have ended."""

    cli: Cli
    repository: Path
    batch_id: str


BATCH = """\
name: three
defaults: {validate: ["true"], prepare: none}
runs:
  - {name: one, goal: Write, command: [sh, -c, echo first > notes.txt]}
  - {name: two, goal: Write, command: [sh, -c, echo second > notes.txt]}
  - {name: far, goal: Write, command: [sh, -c, echo far > far.txt]}
"""


@pytest.fixture(scope="module")
def finished() -> Iterator[Finished]:
    """Three finished runs, two of which conflict, for all tests of a module that only look at them."""
    with new_cli() as cli:
        repository = new_repository(cli)
        (repository / "batch.yaml").write_text(BATCH)
        done = cli("run", repository / "batch.yaml", "--json")
        assert done.returncode == 0, done.stderr
        yield Finished(cli, repository, json.loads(done.stdout)["runs"][0]["batch_id"])

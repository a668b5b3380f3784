"""A whole stack in one process for the tests of the orchestrator: real services, real git, real agents."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import autopack_hardening
import autopack_intention
import autopack_orchestrator
import autopack_telemetry
import autopack_toolchain
from autopack_api.common.v1.common_pb2 import Argv, Command
from autopack_api.intention.v1.intention_pb2 import Intention
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.orchestrator.v1.batch_pb2 import PREPARE_NONE, BatchSpec, RunSpec
from autopack_client import AsyncClient, connect, get_patch, read_log, watch_batch
from autopack_intention.settings import IntentionSettings
from autopack_kit.auth import LOCAL_PRINCIPAL, Authenticator, ensure_signing_key
from autopack_kit.bind import Bind
from autopack_kit.identity import Principal
from autopack_kit.kit_settings import KitSettings
from autopack_kit.server import ServerOptions
from autopack_kit.settings import load
from autopack_kit.testing import Running, running
from autopack_orchestrator.core.isolation import SandboxMode
from autopack_orchestrator.settings import OrchestratorSettings
from autopack_telemetry.settings import TelemetrySettings

HANG_S = 60.0
"""Only against hanging."""
ADVISERS = ("toolchain", "hardening", "intention", "telemetry")
GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "A User",
    "GIT_AUTHOR_EMAIL": "user@example.com",
    "GIT_COMMITTER_NAME": "A User",
    "GIT_COMMITTER_EMAIL": "user@example.com",
}


def git(cwd: Path, *words: str, stdin: bytes = b"") -> str:
    """Run git as a user would; returns what it printed."""
    done = subprocess.run(["git", *words], cwd=cwd, env=GIT_ENVIRONMENT, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return os.fsdecode(done.stdout).strip()


def repository(path: Path, files: Mapping[str, str] | None = None, *, subject: str = "Start") -> Path:
    """A repository of a user with one commit of ``files``."""
    path.mkdir(parents=True, exist_ok=True)
    if not (path / ".git").exists():
        git(path, "init", "-q", "-b", "main")
    for name, text in (files or {"src/calc.py": "def add(a, b):\n    return a + b\n", "README.md": "# Calc\n"}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    git(path, "add", "-A")
    git(path, "commit", "-qm", subject)
    return path


def fingerprint(repo: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time of change and content of every file below a repository.

    Without the times of directories, and of objects: a mirror shares them by hard links, and git renews the time of an
    object that it would have written.
    """
    found = {}
    for path in sorted(repo.rglob("*")):
        status = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        content = path.read_bytes() if is_file else b""
        name = str(path.relative_to(repo))
        has_time = is_file and not name.startswith(".git/objects/")
        found[name] = (status.st_mode, status.st_mtime_ns if has_time else 0, content)
    return found


def argv(*words: str, **fields: Any) -> Command:
    """A command from its words."""
    return Command(argv=Argv(words=words), **fields)


def shell(script: str, **fields: Any) -> Command:
    """A command that runs a line of shell."""
    return argv("sh", "-ec", script, **fields)


def run(name: str, script: str = "echo '# more' >> src/calc.py", **fields: Any) -> RunSpec:
    """A run of a scripted agent on :func:`repository`, validated by ``true`` unless it says otherwise."""
    fields.setdefault("intention", Intention(title="Add a subtract function to the calculator"))
    fields.setdefault("prepare", PREPARE_NONE)
    fields.setdefault("validate", [argv("true")])
    if not {"command", "agent", "http", "mock"} & fields.keys():
        fields["command"] = shell(script)
    return RunSpec(name=name, **fields)


@dataclass
class Bench:
    """A server, a client of it, and where it keeps things."""

    target: Running
    client: AsyncClient
    data: Path
    events: dict[str, list[pb.Event]] = field(default_factory=dict)

    async def submit(self, repo: Path, *runs: RunSpec, **fields: Any) -> pb.Batch:
        """Create a batch; returns at once."""
        spec = BatchSpec(path=str(repo), runs=runs, **fields)
        return (await self.client.orchestrator.CreateBatch(pb.CreateBatchRequest(spec=spec))).batch

    async def watch(self, batch_id: str) -> list[pb.Event]:
        """All events of a batch, once it has ended."""
        self.events[batch_id] = [event async for event in watch_batch(self.client, batch_id)]
        return self.events[batch_id]

    async def until(self, batch_id: str, kind: pb.EventKind.ValueType, **attributes: str) -> pb.Event:
        """The first event of a kind with these attributes."""
        async for event in watch_batch(self.client, batch_id):
            if event.kind == kind and attributes.items() <= dict(event.attributes).items():
                return event
        raise AssertionError(f"the batch ended without {pb.EventKind.Name(kind)} {attributes}")

    async def get(self, run_id: str) -> pb.Run:
        """A run as it is now."""
        return (await self.client.orchestrator.GetRun(pb.GetRunRequest(run_id=run_id))).run

    async def finish(self, repo: Path, *runs: RunSpec, **fields: Any) -> list[pb.Run]:
        """Create a batch and wait for its end; its runs in order."""
        batch = await self.submit(repo, *runs, **fields)
        await self.watch(batch.batch_id)
        return [await self.get(f"{batch.batch_id}.{item.name}") for item in runs]

    async def settled(self) -> None:
        """Once the worktrees of ended runs are gone: the server removes them after it has told the end."""
        async with asyncio.timeout(HANG_S):
            while [*(self.data / "orchestrator" / "mirrors").glob("*.trusted/records/*.json")]:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)

    async def log(self, run_id: str, **fields: Any) -> bytes:
        """What the commands of a run printed."""
        return b"".join([piece async for piece in read_log(self.client, run_id, **fields)])

    async def patch(self, run_id: str) -> bytes:
        """The patch of a run."""
        return b"".join([piece async for piece in get_patch(self.client, run_id)])

    def events_of(self, item: pb.Run, kind: pb.EventKind.ValueType) -> list[pb.Event]:
        """The events of one kind about a run whose batch was watched."""
        return [event for event in self.events[item.batch_id] if event.run_id == item.run_id and event.kind == kind]


def options(data: Path, principal: Principal = LOCAL_PRINCIPAL, *, http: bool = False) -> ServerOptions:
    """A server that knows the tokens of runs; with ``http`` it has a port to which agents can send what they use."""
    key = ensure_signing_key(data / "signing.key")
    authenticator = Authenticator(local=principal, signing_key=key)
    bind = Bind.parse("127.0.0.1:0") if http else None
    return ServerOptions(authenticator=authenticator, http_bind=bind)


@asynccontextmanager
async def bench(
    directory: Path,
    *,
    without: Iterable[str] = (),
    principal: Principal = LOCAL_PRINCIPAL,
    http: bool = False,
    **settings: Any,
) -> AsyncIterator[Bench]:
    """A server with all five services, and a client.

    Args:
        directory: repositories are below it, and the data directory ``data``.
        without: services that are down: nothing listens at their address.
        principal: who the client is.
        http: whether agents can send there what they use.
        settings: of the orchestrator; without them runs are in no sandbox: many tests watch from outside what an agent
            does there.
    """
    data = directory / "data"
    data.mkdir(exist_ok=True)
    down = {f"{name}_address": f"unix:{directory}/nobody" for name in without}
    chosen: dict[str, Any] = {
        "allowed_roots": (directory,),
        "fence_grace": timedelta(seconds=5),
        "sandbox": SandboxMode.NONE,
        **down,
        **settings,
    }
    kit = load(KitSettings, {"AUTOPACK_DATA_DIR": str(data)})
    advisers: dict[str, Callable[[], Any]] = {
        "toolchain": autopack_toolchain.create,
        "hardening": autopack_hardening.create,
        "intention": lambda: autopack_intention.create(
            IntentionSettings(database_url=f"sqlite:///{data}/intention.sqlite3")
        ),
        "telemetry": lambda: autopack_telemetry.create(
            TelemetrySettings(database_url=f"sqlite:///{data}/telemetry.sqlite3"), kit
        ),
    }
    services = [advisers[name]() for name in ADVISERS if name not in without]
    orchestrator = autopack_orchestrator.create(OrchestratorSettings(**chosen), kit)
    async with (
        running(*services, orchestrator, options=options(data, principal, http=http)) as target,
        connect(target.address) as client,
    ):
        yield Bench(target, client, data)


def marked(data: Path) -> list[str]:
    """Command lines of the living processes that belong to a run kept below ``data``."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            alive = (process / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if alive and any(entry.startswith(b"AUTOPACK_RUN_DIR=" + os.fsencode(data)) for entry in environment):
            found.append(words)
    return found

"""What the service can be asked: batches and runs, their events, logs and patches."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autopack_kit.bind import runs_address
from autopack_kit.db import Database
from autopack_kit.errors import FailedPrecondition, FieldViolation, invalid_field
from autopack_kit.paging import decode_token, encode_token, page_size

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.agents import known_agents
from autopack_orchestrator.adapters.capabilities import Capabilities, capabilities
from autopack_orchestrator.adapters.expiry import Expiry
from autopack_orchestrator.adapters.host import Host, look, programs
from autopack_orchestrator.adapters.peers import PeerAddresses, Peers
from autopack_orchestrator.adapters.rows import to_micros
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.adapters.uploads import Uploads
from autopack_orchestrator.core.checks import check_batch
from autopack_orchestrator.core.creation import new_batch, new_run
from autopack_orchestrator.core.http_checks import check_http
from autopack_orchestrator.core.model import (
    TERMINAL,
    Batch,
    BatchSpec,
    BatchState,
    Event,
    Run,
    RunState,
)
from autopack_orchestrator.core.overlap import overlap_warnings
from autopack_orchestrator.errors import (
    IdTaken,
    no_log,
    no_patch,
    offset_beyond_end,
    results_removed,
    spec_invalid,
)
from autopack_orchestrator.execution.engines import Role, make_archive, make_engine
from autopack_orchestrator.execution.isolate import check_isolation
from autopack_orchestrator.execution.layout import Layout
from autopack_orchestrator.execution.logs import read_file, tail_file
from autopack_orchestrator.execution.merge import Merges
from autopack_orchestrator.execution.retention import Retention
from autopack_orchestrator.execution.run import Worker
from autopack_orchestrator.execution.sources import Sources, with_mirror
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["Created", "Orchestrator"]

WATCH_S = 0.5  # how soon events that another process wrote are seen
MAX_REQUEST_ID = 128
MAX_PAGE = 500  # runs and batches; as the contract says
ID_DRAWS = 5  # one id in 729 million is taken by chance


@dataclass(frozen=True, slots=True)
class Created:
    """The batch, None if it was only checked, and what is worth knowing about it."""

    batch: Batch | None
    warnings: tuple[str, ...]


class Orchestrator:
    """One orchestrator: its store, its engine, and its directory.

    Args:
        settings: as read.
        root: its directory, made when missing.
        peers: where the other services are; an empty address means this server.
        signing_key: for the tokens inside runs and those for the other services; empty = there are none.
        environment: of this server, of which runs see an allow-listed part.
        carry_out: False to answer only: what is queued or was left behind is for another server.
        secrets: files and directories, besides ``root``, that no command in the sandbox may see.
        role: what it does with runs.
    """

    def __init__(
        self,
        settings: OrchestratorSettings,
        *,
        root: Path,
        peers: PeerAddresses,
        signing_key: bytes,
        environment: Mapping[str, str],
        carry_out: bool = True,
        secrets: Sequence[Path] = (),
        role: Role = Role.LOCAL,
    ) -> None:
        if role is Role.WORKER:
            settings = replace(settings, fence_grace=settings.cluster_fence_grace)
        self._settings = settings
        self._role = role
        self._layout = Layout(root)
        self._addresses = peers
        self._signing_key = signing_key
        self._environment = environment
        self._carry_out = carry_out
        self._secrets = (root, *secrets)
        self._stack = contextlib.AsyncExitStack()
        locks = git.RepositoryLocks()
        self._mirrors = git.Mirrors(self._layout.mirrors, locks)
        self.uploads = Uploads(self._layout.uploads, settings.max_upload_bytes, settings.upload_keep)
        remotes = git.Remotes(self._mirrors, locks, git.Credentials(settings.credentials_dir))
        self._sources = Sources(settings, self._mirrors, remotes, self.uploads)

    async def start(self, address: str, services: Collection[str]) -> None:
        """Open the store and begin to work on what is queued.

        Args:
            address: of this server.
            services: what it serves, for those peers that have no address of their own.

        Raises:
            FailedPrecondition, Unavailable: the directory or the database cannot be used.
        """
        root = self._layout.root
        _make_directories(root, self._layout.mirrors, self._layout.workspaces, self._layout.uploads)
        await asyncio.to_thread(self.uploads.sweep)
        url = self._settings.database_url or f"sqlite:///{root / 'orchestrator.sqlite3'}"
        self._store = await asyncio.to_thread(Store.open, url)
        self._stack.push_async_callback(self._store.close)
        at, here = self._addresses, dict.fromkeys(services, address)
        known = replace(
            at,
            toolchain=at.toolchain or here.get("toolchain", ""),
            hardening=at.hardening or here.get("hardening", ""),
            intention=at.intention or here.get("intention", ""),
            telemetry=at.telemetry or here.get("telemetry", ""),
        )
        self._host = await self._look(address, known)
        peers = Peers(known, self._signing_key)
        self._stack.push_async_callback(peers.close)
        worker = Worker(
            store=self._store,
            peers=peers,
            mirrors=self._mirrors,
            sources=self._sources,
            layout=self._layout,
            settings=self._settings,
            environment=self._environment,
            signing_key=self._signing_key,
            telemetry_address=runs_address(known.telemetry),
            host=self._host,
        )
        self.merges = Merges(self._store, self._mirrors, self._sources)
        self._archive = make_archive(self._role, self._store, self._settings)
        if self._archive is not None:
            self.uploads.shared = self._archive.objects
        self._engine = make_engine(
            self._role, self._store, worker, root, self._settings, database_url=url, archive=self._archive
        )
        self._stack.push_async_callback(self._engine.stop)
        self.retention = Retention(
            Expiry(self._store.database),
            self._layout,
            self._mirrors,
            worker.workspaces,
            self._settings,
            self._archive,
            self.uploads,
        )
        self._stack.push_async_callback(self.retention.stop)
        if self._carry_out:
            self._engine.start()
            self.retention.start()

    async def _look(self, address: str, peers: PeerAddresses) -> Host:
        """What this host offers; the sockets at which the owner needs no token are no business of a run."""
        addresses = (address, peers.toolchain, peers.hardening, peers.intention, peers.telemetry)
        database = self._settings.database_url.partition("sqlite:///")[2]
        return await asyncio.to_thread(
            look,
            mode=self._settings.sandbox,
            home=self._environment.get("HOME", ""),
            secrets=(
                *self._secrets,
                *([Path(database)] if database else ()),
                *([self._settings.credentials_dir] if self._settings.credentials_dir else ()),
            ),
            sockets=tuple(Path(item.removeprefix("unix:")) for item in addresses if item.startswith("unix:")),
            programs=programs(self._environment),
            hidden=self._settings.sandbox_hidden,
            writable=self._settings.sandbox_writable,
        )

    @property
    def database(self) -> Database:
        """Where it keeps everything, once it has started."""
        return self._store.database

    async def get_capabilities(self) -> Capabilities:
        """What this host offers to run commands with."""
        agents = {name: agent.command[0] for name, agent in known_agents().items() if agent.command}
        path = self._environment.get("PATH", os.defpath)
        return await asyncio.to_thread(capabilities, self._host, self._layout.root, agents, path)

    async def stop(self) -> None:
        """Hand runs off and close everything."""
        await self._stack.aclose()

    # ---- batches ----

    async def create_batch(
        self,
        tenant: str,
        spec: BatchSpec,
        *,
        problems: Sequence[FieldViolation] = (),
        request_id: str,
        content: bytes,
        validate_only: bool,
    ) -> Created:
        """Check a batch whole, resolve its commit, and queue its runs.

        Args:
            tenant: whose it is.
            spec: the batch.
            problems: what could not even be read of it; reported together with what is wrong with the rest.
            request_id: makes the call idempotent; empty for not.
            content: what makes two batches the same under one request id.
            validate_only: store nothing.

        Raises:
            InvalidArgument: every bad field.
            FailedPrecondition, NotFound, PermissionDenied: the repository cannot be used.
            AlreadyExists: the request id stands for another batch.
        """
        digest = hashlib.sha256(content).hexdigest()
        violations = _check_request_id(request_id)
        if request_id and not violations and (existing := await self._store.find_request(tenant, request_id, digest)):
            return Created(existing, ())
        agents, passable = frozenset(known_agents()), frozenset(self._settings.passable_env)
        hosts = frozenset(self._settings.remote_hosts)
        found = await asyncio.to_thread(check_batch, spec, agents=agents, passable_env=passable, remote_hosts=hosts)
        found += check_http(spec.runs, frozenset(self._settings.http_hosts))
        violations += [*problems, *found]
        if violations:
            raise spec_invalid(violations)
        for isolation in {run.isolation for run in spec.runs}:
            check_isolation(self._host, isolation)
        located = await self._sources.locate(tenant, spec)
        warnings = (*located.warnings, *await asyncio.to_thread(overlap_warnings, spec.runs))
        if validate_only:
            return Created(None, warnings)
        mirror, base_commit = await self._sources.copy(located)
        spec = with_mirror(spec, mirror)
        stored = await self._store_batch(tenant, spec, located.repository, base_commit, request_id, digest)
        self._engine.wake()
        return Created(stored, warnings)

    async def _store_batch(
        self, tenant: str, spec: BatchSpec, repository: str, base_commit: str, request_id: str, digest: str
    ) -> Batch:
        for draw in range(1, ID_DRAWS + 1):
            batch = new_batch(tenant, spec, repository, base_commit)
            runs = [new_run(batch, run, index) for index, run in enumerate(spec.runs)]
            try:
                return await self._store.create_batch(batch, runs, request_id, digest)
            except IdTaken:
                if draw == ID_DRAWS:
                    raise
        raise AssertionError("the loop returns or raises")

    async def get_batch(self, tenant: str, batch_id: str) -> Batch:
        """One batch."""
        return await self._store.get_batch(tenant, batch_id)

    async def list_batches(self, tenant: str, size: int, token: str) -> tuple[list[Batch], str]:
        """A page of batches and the token of the next."""
        limit = page_size(size, maximum=MAX_PAGE)
        key = decode_token(token, {"tenant": tenant}, int, str)
        after = None if key is None else (key[0], key[1])
        batches = await self._store.list_batches(tenant, after, limit + 1)
        more = len(batches) > limit
        batches = batches[:limit]
        last = batches[-1] if more else None
        next_token = encode_token((to_micros(last.create_time), last.batch_id), {"tenant": tenant}) if last else ""
        return batches, next_token

    async def cancel_batch(self, tenant: str, batch_id: str) -> Batch:
        """Ask for the end of every run of a batch."""
        await self._store.get_batch(tenant, batch_id)
        await self._store.request_cancel(tenant, batch_id=batch_id)
        self._engine.wake()
        return await self._store.get_batch(tenant, batch_id)

    # ---- runs ----

    async def get_run(self, tenant: str, run_id: str) -> Run:
        """One run."""
        return await self._store.get_run(tenant, run_id)

    async def list_runs(
        self, tenant: str, batch_id: str, states: Sequence[RunState], size: int, token: str
    ) -> tuple[list[Run], str]:
        """A page of runs and the token of the next."""
        limit = page_size(size, maximum=MAX_PAGE)
        filters = {"tenant": tenant, "batch": batch_id, "states": sorted(state.value for state in states)}
        key = decode_token(token, filters, int, str, int)
        after = None if key is None else (key[0], key[1], key[2])
        runs, more = await self._store.list_runs(tenant, batch_id=batch_id, states=states, after=after, limit=limit)
        if not more:
            return runs, ""
        last = runs[-1]
        return runs, encode_token((to_micros(last.create_time), last.batch_id, last.position), filters)

    async def cancel_run(self, tenant: str, run_id: str) -> Run:
        """Ask for the end of one run."""
        run = await self._store.get_run(tenant, run_id)
        await self._store.request_cancel(tenant, batch_id=run.batch_id, run_id=run_id)
        self._engine.wake()
        return await self._store.get_run(tenant, run_id)

    async def retry_run(self, tenant: str, run_id: str, request_id: str) -> Run:
        """Queue an ended run again, with those that ended because they need it."""
        if problems := _check_request_id(request_id):
            raise invalid_field(problems[0].field, problems[0].description)
        run = await self._store.retry(tenant, run_id, request_id)
        self._engine.wake()
        return run

    # ---- streams ----

    async def watch_batch(self, tenant: str, batch_id: str, after: int) -> AsyncIterator[Event]:
        """Events after a number, until the batch has ended and all were given out."""
        if after < 0:
            raise invalid_field("after_sequence", f"{after} is negative; use 0 for all events")
        await self._store.get_batch(tenant, batch_id)
        changed, release = self._store.watch(batch_id)
        try:
            while True:
                changed.clear()
                # Asked before the events are read: an end that comes in between is seen in the next round.
                over = (await self._store.get_batch(tenant, batch_id)).state is not BatchState.ACTIVE
                events = await self._store.events_after(batch_id, after)
                for event in events:
                    yield event
                    after = event.sequence
                if not events and over:
                    return
                if not events:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(WATCH_S):
                            await changed.wait()
        finally:
            release()

    async def read_log(
        self, tenant: str, run_id: str, *, attempt: int, offset: int, follow: bool
    ) -> AsyncIterator[tuple[bytes, int]]:
        """Pieces of an attempt's log with their offsets."""
        run = await self._store.get_run(tenant, run_id)
        number = attempt or run.attempt
        if not 1 <= number <= run.attempt:
            raise no_log(run_id, number)
        path = self._layout.log(run.batch_id, run.name, number)

        async def ended() -> bool:
            if not follow:
                return True
            now = await self._store.get_run(tenant, run_id)
            return now.state in TERMINAL or now.attempt > number

        archive = self._archive
        if archive is None and not path.exists() and self._layout.removed_mark(run.batch_id).exists() and await ended():
            raise results_removed(run_id, "log")
        if await ended():
            if archive is not None:
                size = await archive.log_size(run_id, number)
            else:
                size = path.stat().st_size if path.exists() else 0
            if offset > size:
                raise offset_beyond_end(run_id, offset, size)
        pieces = tail_file(path, offset, ended=ended)
        if archive is not None:
            pieces = archive.read_log(run_id, number, offset, ended=ended)
        async for piece in pieces:
            yield piece

    async def read_patch(self, tenant: str, run_id: str) -> AsyncIterator[bytes]:
        """Pieces of a run's patch."""
        run = await self._store.get_run(tenant, run_id)
        path = self._layout.patch(run)
        there = await self._archive.has_patch(run) if self._archive is not None else path.exists()
        if run.result.patch_bytes and not there and self._layout.removed_mark(run.batch_id).exists():
            raise results_removed(run_id, "patch")
        if not run.result.patch_bytes or not there:
            raise no_patch(run_id, run.state)
        async for data in read_file(path) if self._archive is None else self._archive.read_patch(run):
            yield data


def _make_directories(*directories: Path) -> None:
    for directory in directories:
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise FailedPrecondition(
                f"The directory {directory} cannot be made: {error.strerror}.",
                reason="DATA_DIR_UNUSABLE",
                remedy="Make it writable for the user of this service, or set AUTOPACK_DATA_DIR.",
                metadata={"path": str(directory)},
            ) from error


def _check_request_id(request_id: str) -> list[FieldViolation]:
    if len(request_id) > MAX_REQUEST_ID or (request_id and not request_id.isprintable()):
        return [FieldViolation("request_id", f"must have at most {MAX_REQUEST_ID} printable characters")]
    return []

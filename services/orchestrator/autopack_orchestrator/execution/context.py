"""What every phase of a run works with: the run itself, its directories, and the one way to write it down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import structlog
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.host import Host
from autopack_orchestrator.adapters.peers import Peers
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.model import Batch, EventKind, NewEvent, Run, RunError, RunResult, RunState
from autopack_orchestrator.core.records import PhaseRecord
from autopack_orchestrator.core.secrets import hide, run_secrets
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.errors import RunFailed, StoreFailed
from autopack_orchestrator.execution.layout import Layout
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["RunContext", "Stop", "make_event"]

MAX_WARNINGS = 50  # kept with a run; one that has more has one cause, and it is among them
MAX_WARNING = 1000
MAX_SUGGESTIONS = 20

_log = structlog.get_logger("autopack.orchestrator")


class Stop(Enum):
    """Why a run's work is interrupted from outside."""

    CANCEL = "cancel"
    """Cancelled on request: everything it started is ended."""
    HAND_OFF = "hand_off"
    """The server stops: the agent works on under its supervisor until somebody takes it up."""
    RELEASE = "release"
    """The worker stops, and its host may be gone with it: what it had started is ended, and the run is queued again."""
    FENCED = "fenced"
    """This process may hold the run no more: what it had started is ended, and nothing is written."""


@dataclass(slots=True)
class RunContext:
    """One attempt of one run, while it is worked on.

    Attributes:
        stop: why it is interrupted from outside; set before its task is cancelled.
        ending: its end is being written or its branch delivered, which is not interrupted any more.
        keep_branch: the branch stays in the mirror although the run did not succeed: only bringing it home failed.
        only_on_branch: it stays too, as what changed is too much for a patch.
        leave_tree: what changed could be kept in no way, so its worktree stays for the collector, which tries again.
        tree: its worktree, once it exists.
        environment_paths: what preparing added to the worktree, which is no part of the change.
        variables: the environment of everything that it starts.
        keeper: uploads what the attempt leaves for others to read; None where they read it here.
        secrets: of these; kept out of all that is stored.
        phase_id: of the phase that began last.
    """

    run: Run
    batch: Batch
    store: Store
    peers: Peers
    layout: Layout
    settings: OrchestratorSettings
    server_environment: Mapping[str, str]
    host: Host
    stop: Stop | None = None
    ending: bool = False
    keep_branch: bool = False
    only_on_branch: bool = False
    leave_tree: bool = False
    tree: git.Workspace | None = None
    environment_paths: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    keeper: Callable[[], Awaitable[None]] | None = None
    secrets: tuple[str, ...] = ()
    phase_id: str = ""
    _phases: int = 0
    _interrupted: PhaseRecord | None = None
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def result(self) -> RunResult:
        """What is known so far."""
        return self.run.result

    def know_secrets(self, token: str) -> None:
        """Keep what is secret in the variables of the run and of its commands, and its token, out of what is stored."""
        self.secrets = run_secrets(self.run.spec, self.variables, token)

    def add_secrets(self, values: tuple[str, ...]) -> None:
        """Further ones, such as a token that only the agent is given."""
        self.secrets = (*self.secrets, *(value for value in values if value not in self.secrets))

    async def write(
        self,
        *,
        to: RunState | None = None,
        activity: str | None = None,
        events: tuple[NewEvent, ...] = (),
        **result: Any,
    ) -> None:
        """Store a change of state, activity or result together with its events, in one transaction.

        Raises:
            LeaseLost: somebody else holds the run; nothing was written.
            StoreFailed: the store could not be written.
        """
        # One after the other: the agent's watchers write too, and each result is the last one with something changed.
        async with self._writing:
            await self._store_change(to, activity, events, result)

    async def _store_change(
        self, to: RunState | None, activity: str | None, events: tuple[NewEvent, ...], result: dict[str, Any]
    ) -> None:
        changed = replace(self.run.result, **hide(result, self.secrets)) if result else None
        events = hide(events, self.secrets)

        async def update() -> None:
            try:
                self.run = await self.store.update(self.run, to=to, activity=activity, result=changed, events=events)
            except AutopackError as error:
                raise StoreFailed(str(error)) from error

        # The store may have committed already: whoever writes the run's end must know the state it is in.
        await _unbroken(update())

    async def move_base(self, commit: str) -> None:
        """Start from another commit than the batch's.

        Raises:
            LeaseLost, StoreFailed: as :meth:`write`.
        """
        async with self._writing:
            try:
                self.run = await self.store.update(self.run, base_commit=commit)
            except AutopackError as error:
                raise StoreFailed(str(error)) from error

    async def keep(self) -> None:
        """Before the end of the attempt is written: whoever sees the end can read its log and its patch."""
        if self.keeper is not None:
            await self.keeper()

    async def event(self, kind: EventKind, message: str, **attributes: object) -> None:
        """Store one event."""
        await self.write(events=(make_event(kind, message, **attributes),))

    async def warn(self, about: str, message: str) -> None:
        """Say something that the reader of the result should know; the run goes on. Once per message."""
        message = clean(hide(message, self.secrets), MAX_WARNING)
        async with self._writing:
            known = self.result.warnings
            if message in known or len(known) >= MAX_WARNINGS:
                return
            _log.warning("run warning", run_id=self.run.run_id, about=about, message=message)
            event = make_event(EventKind.WARNING, message, about=about)
            await self._store_change(None, None, (event,), {"warnings": (*known, message)})

    @asynccontextmanager
    async def phase(self, kind: str) -> AsyncIterator[PhaseRecord]:
        """A phase: an event at both ends, and a record for telemetry that the body may complete."""
        self._phases += 1
        record = PhaseRecord(
            run_id=self.run.run_id,
            phase_id=f"{self.run.attempt}.{self.run.lease_epoch}.{self._phases}.{kind}",
            kind=kind,
            attempt=self.run.attempt,
            scope_size=len(self.run.spec.intention.scope),
        )
        self.phase_id, warnings = record.phase_id, len(self.result.warnings)
        await self.write(activity=kind, events=(make_event(EventKind.PHASE_STARTED, f"{kind} started", phase=kind),))
        started = time.monotonic()
        try:
            yield record
        except asyncio.CancelledError:
            # Whether it is over, or goes on elsewhere, is for the one to say who ends the run.
            record.outcome = "cancelled"
            self._interrupted = record
            raise
        except StoreFailed:
            record.outcome = "cancelled"  # another write would only wait for the store once more
            raise
        except BaseException:
            record.outcome = record.outcome or "failed"
            raise
        else:
            record.outcome = record.outcome or "succeeded"
        finally:
            record.seconds = time.monotonic() - started
            record.warnings = len(self.result.warnings) - warnings
            if record.outcome != "cancelled":
                await _unbroken(self._phase_ended(record))  # else its event would be there and its record not

    async def end_interrupted_phase(self) -> None:
        """The end of the phase in which the run was cancelled."""
        record, self._interrupted = self._interrupted, None
        if record is not None:
            await self._phase_ended(record)

    async def _phase_ended(self, record: PhaseRecord) -> None:
        await self.event(
            EventKind.PHASE_FINISHED,
            f"{record.kind} {record.outcome} after {record.seconds:.1f} s",
            phase=record.kind,
            outcome=record.outcome,
            seconds=f"{record.seconds:.3f}",
        )
        try:
            await self.peers.record_phase(record)
        except AutopackError as error:
            await self.warn("telemetry", f"Telemetry could not be written: {error.message}")

    def fail(self, reason: str, message: str, *suggestions: str, state: RunState = RunState.FAILED) -> RunFailed:
        """The exception that ends the run with this error."""
        return RunFailed(
            state,
            RunError(reason, clean(message), tuple(clean(text) for text in suggestions[:MAX_SUGGESTIONS] if text)),
        )

    @property
    def worktree(self) -> git.Workspace:
        """The worktree, for git; only after it was made."""
        assert self.tree is not None
        return self.tree

    @property
    def workspace(self) -> Path:
        """The directory of the worktree."""
        return self.worktree.path

    @contextmanager
    def at(self, tree: git.Workspace) -> Iterator[None]:
        """Work in another worktree for a moment; a run does one thing at a time."""
        own, variables = self.tree, self.variables
        self.tree, self.variables = tree, {**variables, "AUTOPACK_WORKSPACE": str(tree.path)}
        try:
            yield
        finally:
            self.tree, self.variables = own, variables

    @property
    def directory(self) -> Path:
        """Where this attempt keeps what it produces."""
        return self.layout.attempt(self.run)


async def _unbroken(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` to its end even if we are cancelled meanwhile; only then is that raised."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if (error := task.exception()) is not None:
            _log.warning("interrupted, and it had failed", error=str(error))
        raise


def make_event(kind: EventKind, message: str, **attributes: object) -> NewEvent:
    """A new event; attributes become text that every database and every client can hold."""
    return NewEvent(kind, clean(message), {name: clean(str(value)) for name, value in attributes.items()})

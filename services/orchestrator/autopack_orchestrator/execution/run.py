"""One run from its claim to its end: prepare, agent, validate, deliver; and what happens when that goes wrong."""

from __future__ import annotations

import asyncio
import functools
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import structlog
from autopack_kit.auth import mint_run_token
from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters import git, supervisor
from autopack_orchestrator.adapters.host import Host
from autopack_orchestrator.adapters.peers import Peers
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.adapters.supervisor import Handle, Outcome, Reason
from autopack_orchestrator.core.codec import dumps, loads
from autopack_orchestrator.core.judge import Usage
from autopack_orchestrator.core.model import TERMINAL, EventKind, HttpExecutor, OnDrift, Run, RunError, RunState
from autopack_orchestrator.core.plan import StepPlan
from autopack_orchestrator.core.retry import Again, attempts, excused_again
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.errors import LeaseLost, RunFailed, StoreFailed
from autopack_orchestrator.execution import agent as agents
from autopack_orchestrator.execution.attempts import (
    WORKSPACE_GONE,
    check_batch_budget,
    check_wall_time,
    next_attempt,
    no_fault_of_the_run,
    queue_again,
    refused,
    start_from_needed,
    workspace_is_gone,
)
from autopack_orchestrator.execution.base import BaseCommits
from autopack_orchestrator.execution.capture import (
    commit_result,
    environment_paths,
    keep_patch,
    keep_work,
    restore_captured,
)
from autopack_orchestrator.execution.commands import execute, shown
from autopack_orchestrator.execution.context import RunContext, Stop, make_event
from autopack_orchestrator.execution.drift import DriftWatch, Profiles
from autopack_orchestrator.execution.heal import Healer
from autopack_orchestrator.execution.isolate import clean_up
from autopack_orchestrator.execution.layout import Layout
from autopack_orchestrator.execution.prepare import detect, make_virtualenvs, plan, run_variables, should_install
from autopack_orchestrator.execution.reporting import hand_in, recall, record_run
from autopack_orchestrator.execution.sources import Sources
from autopack_orchestrator.execution.validate import Validation
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["Worker"]

CANCELLED = RunError("CANCELLED", "The run was cancelled on request.")
TOKEN_SECONDS = 25 * 3600.0  # the longest agent, and an hour for what comes after it
FALLBACK_CONTEXT_BYTES = 2048

_log = structlog.get_logger("autopack.orchestrator")


class _Lost(Exception):
    """The process of an attempt is gone, and with it the attempt; ``excused`` before its agent began."""

    def __init__(self, why: str, *, excused: bool = False) -> None:
        super().__init__(why)
        self.excused = excused


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What was found out before the agent began, kept on disk for whoever takes the run up."""

    plan: StepPlan
    environment_paths: tuple[str, ...]


@dataclass(slots=True)
class Worker:
    """Carries out runs; holds what they share."""

    store: Store
    peers: Peers
    mirrors: git.Mirrors
    sources: Sources
    layout: Layout
    settings: OrchestratorSettings
    environment: Mapping[str, str]
    signing_key: bytes
    telemetry_address: str
    host: Host
    profiles: Profiles = field(default_factory=Profiles)
    workspaces: git.Workspaces = field(init=False)
    base_commits: BaseCommits = field(init=False)

    def __post_init__(self) -> None:
        self.workspaces = git.Workspaces(self.layout.workspaces, git.RepositoryLocks())
        self.base_commits = BaseCommits(self.workspaces, self.sources)

    async def context(self, run: Run) -> RunContext:
        """What a run is worked on with."""
        return RunContext(
            run=run,
            batch=await self.store.get_batch(run.tenant, run.batch_id),
            store=self.store,
            peers=self.peers.of(run.tenant),
            layout=self.layout,
            settings=self.settings,
            server_environment=self.environment,
            host=self.host,
        )

    async def carry_out(self, ctx: RunContext, *, adopted: bool) -> None:
        """Carry a claimed or adopted run out to its end, whatever that is. Raises nothing that somebody must handle."""
        try:
            async with no_fault_of_the_run(ctx):
                await self._attempt(ctx, adopted=adopted)
        except LeaseLost as lost:
            await refused(ctx, lost)
        except StoreFailed as failure:
            # Nothing is lost: the run keeps its lease, its agent works on, and the engine takes it up again.
            _log.error("a run could not be stored", run_id=ctx.run.run_id, error=str(failure))
        except asyncio.CancelledError:
            await self._interrupted(ctx)
        except _Lost as lost:
            await self.lose(ctx, str(lost), excused=lost.excused)
        except RunFailed as failed:
            await self._end(ctx, failed.state, failed.error)
        except AutopackError as error:
            remedy = (clean(error.remedy),) if error.remedy else ()
            await self._end(ctx, RunState.FAILED, RunError(error.reason, clean(error.message), remedy))
        except Exception as error:
            if workspace_is_gone(ctx):
                _log.warning("a worktree was deleted under its run", run_id=ctx.run.run_id, error=str(error))
                await self._end(ctx, RunState.FAILED, WORKSPACE_GONE)
                return
            correlation = uuid.uuid4().hex
            _log.exception("a run failed unexpectedly", run_id=ctx.run.run_id, correlation_id=correlation)
            message = f"Something unexpected happened; the orchestrator's log has it under {correlation}."
            await self._end(ctx, RunState.FAILED, RunError("INTERNAL", message, ("Please report it.",)))

    async def _attempt(self, ctx: RunContext, *, adopted: bool) -> None:
        handle: Handle | Outcome | None = None
        if adopted:
            prepared, handle = await self._take_up(ctx)
        else:
            await check_batch_budget(ctx, functools.partial(self._batch_usage, ctx))
            await record_run(ctx)
            prepared = await self._prepare(ctx)
        if ctx.run.state is not RunState.VALIDATING:
            await self._work(ctx, handle)
            await ctx.write(to=RunState.VALIDATING)
        await self._validate(ctx, prepared)
        await self._deliver(ctx)

    # ---- before the agent ----

    async def _prepare(self, ctx: RunContext) -> _Prepared:
        async with ctx.phase("prepare"):
            mirror = await self.sources.mirror_of(ctx.run, ctx.batch.repository, ctx.batch.base_commit)
            fetch = functools.partial(self.sources.mirror_of, ctx.run, ctx.batch.repository)
            await start_from_needed(ctx, mirror, fetch, git.OURS)
            at = (ctx.run.branch, self.layout.workspace(ctx.run), self.layout.workspace_id(ctx.run))
            made = await self.sources.worktree(self.workspaces, mirror, ctx.run, ctx.batch.repository, at)
            ctx.tree, warnings = made
            for warning in warnings:
                await ctx.warn("checkout", warning)
            await self._variables(ctx)
            detection = await detect(ctx)
            steps = await plan(ctx, detection)
            await make_virtualenvs(ctx, detection.projects if detection else ())
        if should_install(ctx):
            until = time.monotonic() + ctx.run.spec.prepare_timeout.total_seconds()
            for command in steps.install:
                await self._install(ctx, command, until)
        ctx.environment_paths = await environment_paths(ctx)
        prepared = _Prepared(steps, ctx.environment_paths)
        await asyncio.to_thread((ctx.directory / "prepared.json").write_text, dumps(prepared))
        return prepared

    async def _install(self, ctx: RunContext, command: Command, until: float) -> None:
        async with ctx.phase("install"):
            own = command.timeout or ctx.run.spec.step_timeout
            left = timedelta(seconds=max(until - time.monotonic(), 0))
            finished = await execute(ctx, "install", replace(command, timeout=min(own, left)), timeout_s=0)
            if finished.outcome.reason is Reason.TIMEOUT and left < own:
                raise ctx.fail(
                    "PREPARE_TIMEOUT",
                    f"The dependencies could not be installed in {ctx.run.spec.prepare_timeout}: "
                    f"{shown(command)} {finished.words()}.",
                    "Give it more time with `prepare_timeout`, or fewer `install` steps.",
                    state=RunState.TIMED_OUT,
                )
            if not finished.ok:
                raise ctx.fail(
                    "PREPARE_FAILED",
                    f"The dependencies could not be installed: {shown(command)} {finished.words()}.",
                    f"See `autopack runs log {ctx.run.run_id}`; give other `install` steps, or `prepare: none`.",
                )

    async def _variables(self, ctx: RunContext) -> None:
        """The run's environment; also the context, which is part of it."""
        intention = ctx.run.spec.intention
        try:
            context = await ctx.peers.build_context(intention)
            text, digest = context.text, context.source_sha256
        except AutopackError as error:
            await ctx.warn(
                "intention", f"The context could not be built; the agent gets the bare goal: {error.message}"
            )
            bare = f"{intention.title}\n{intention.description}".encode()[:FALLBACK_CONTEXT_BYTES]
            text, digest = bare.decode("utf-8", "ignore"), ""
        token = ""
        if self.signing_key:
            expires = time.time() + TOKEN_SECONDS
            token = mint_run_token(self.signing_key, ctx.run.run_id, ctx.run.tenant, expires)
        ctx.variables = await run_variables(
            ctx, context=text, token=token, telemetry_address=self.telemetry_address, identity=git.OURS
        )
        ctx.know_secrets(token)
        if digest and ctx.result.intention_sha256 not in ("", digest):
            await ctx.warn("intention", "The goal is another one than the one that this run began with.")
        if digest != ctx.result.intention_sha256:
            await ctx.write(intention_sha256=digest)

    # ---- the agent ----

    async def _work(self, ctx: RunContext, found: Handle | Outcome | None) -> None:
        if ctx.run.state is RunState.PREPARING:
            await ctx.write(to=RunState.RUNNING)
        async with ctx.phase("agent") as record:
            record.context_bytes = len(ctx.variables["AUTOPACK_CONTEXT"].encode())
            record.context_source = "intention" if ctx.result.intention_sha256 else "goal"
            profile = await self.profiles.get(ctx, ctx.worktree.mirror)
            watch = DriftWatch(self.profiles, profile, ctx.result.drift_tree or ctx.run.base_commit)
            if ctx.run.spec.mock is not None:
                outcome = await agents.run_mock(ctx, ctx.run.spec.mock)
                await agents.report_agent(ctx, outcome)
            else:
                outcome = await self._agent(ctx, found, watch)
            if outcome.reason in (Reason.FENCED, Reason.LOST):
                raise _Lost("The agent was ended because nobody watched over it any more.")
            verdict = await watch.look(ctx, final=True)
            record.drift_verdict = verdict or None
            record.drift_z = ctx.result.drift_z[-1] if ctx.result.drift_z else None
            await agents.check_overload(ctx, outcome)
            if outcome.reason is Reason.TIMEOUT:
                await check_wall_time(ctx)
            agents.check_agent(ctx, outcome)
            if verdict == "drift" and ctx.run.spec.on_drift is OnDrift.STOP:
                raise ctx.fail(
                    "DRIFT",
                    "What the agent did is about something else than the goal.",
                    "Read its patch; make the goal clearer, or warn only (on_drift: warn).",
                )

    async def _agent(self, ctx: RunContext, found: Handle | Outcome | None, watch: DriftWatch) -> Outcome:
        if isinstance(found, Outcome):
            await agents.report_agent(ctx, found)
            return found
        if ctx.run.spec.http is not None:
            return await self._remote(ctx, ctx.run.spec.http, watch)
        if found is None:
            starts = await self.store.started(ctx.run.batch_id)
            found = await agents.start_agent(ctx, min(starts.values(), default=ctx.batch.create_time))
        return await agents.attend(ctx, found, watch, functools.partial(self._batch_usage, ctx))

    async def _remote(self, ctx: RunContext, http: HttpExecutor, watch: DriftWatch) -> Outcome:
        """An agent elsewhere, whose changes are then in the worktree. One that was begun before is only asked."""
        # Imported here: an HTTP client is a twentieth of every start, and few batches have an agent behind HTTP.
        from autopack_orchestrator.execution.remote import open_remote, take_result

        starts = await self.store.started(ctx.run.batch_id)
        seconds = agents.time_left(ctx, None, min(starts.values(), default=ctx.batch.create_time))
        remote = await open_remote(ctx, http, seconds)
        outcome = await agents.attend(ctx, remote, watch, functools.partial(self._batch_usage, ctx))
        await take_result(ctx, remote, outcome)
        return outcome

    async def _batch_usage(self, ctx: RunContext) -> Usage:
        """What all runs of the batch have used so far."""
        total = Usage()
        for run_id in await self.store.started(ctx.run.batch_id):
            total += await ctx.peers.usage(run_id)
        return total

    # ---- after the agent ----

    async def _validate(self, ctx: RunContext, prepared: _Prepared) -> None:
        healer = Healer(await detect(ctx))
        base = functools.partial(self.base_commits.passes, plan=prepared.plan)
        await Validation(prepared.plan.validate, healer, base).run(ctx)

    async def _deliver(self, ctx: RunContext) -> None:
        """Commit exactly the tree that was validated, keep its patch, and bring the branch to the user."""
        ctx.ending = True  # a branch that was delivered belongs to a run that succeeded
        async with ctx.phase("deliver"):
            tree = ctx.result.tree_id
            commit = await commit_result(ctx, tree)
            size = await keep_patch(ctx, tree)
            await self._publish(ctx)
        words, branch = f"{ctx.run.branch} is at {commit[:12]}", ctx.run.branch
        result = make_event(EventKind.RESULT, words, branch=branch, commit=commit, patch_bytes=size)
        await self._finish(ctx, RunState.SUCCEEDED, head_commit=commit, patch_bytes=size, events=(result,))

    async def _publish(self, ctx: RunContext) -> None:
        try:
            await self.sources.publish(ctx.worktree.mirror, ctx.run, ctx.batch.repository)
        except AutopackError:
            ctx.keep_branch = True  # the work is done: whoever reads the error can still fetch it
            raise

    async def _end(self, ctx: RunContext, state: RunState, error: RunError, again: Again | None = None) -> None:
        """End an attempt that did not succeed: nothing of it stays alive, and what it had changed stays as a patch.

        Args:
            again: queue the next attempt, whatever the batch's policy says; default: ask the policy.
        """
        ctx.ending = True
        if ctx.run.state in TERMINAL:  # it was interrupted while its end was being written
            await self._remove(ctx, keep_branch=ctx.run.state is RunState.SUCCEEDED)
            return
        try:
            kept = await self._harvest(ctx)
            await ctx.end_interrupted_phase()
            again = again or next_attempt(ctx, RunFailed(state, error))
            if again is None:
                await self._finish(ctx, state, error=error, **kept)
            else:
                await self._queue_again(ctx, error, again)
        except LeaseLost as lost:
            await refused(ctx, lost)
        except (AutopackError, StoreFailed) as failure:
            _log.error("a run's end could not be stored", run_id=ctx.run.run_id, error=str(failure))

    async def _queue_again(self, ctx: RunContext, error: RunError, again: Again) -> None:
        """Queue the next attempt, and remove what this one worked in."""
        await ctx.keep()
        await queue_again(ctx, error, again)
        if ctx.tree is not None:
            await self._remove(ctx, keep_branch=await git.branch_tip(ctx.tree) not in (None, ctx.tree.base))

    async def _harvest(self, ctx: RunContext) -> dict[str, Any]:
        """End everything that is alive, and keep what was changed; returns what to store of it."""
        await supervisor.end_all(ctx.directory)
        if ctx.run.state is RunState.RUNNING:
            await hand_in(ctx)  # an agent that was interrupted has used something too
        return await keep_work(ctx)

    async def _finish(self, ctx: RunContext, state: RunState, **result: Any) -> None:
        await ctx.keep()
        await record_run(ctx, state)
        await ctx.write(to=state, **result)
        await self._remove(ctx, keep_branch=state is RunState.SUCCEEDED or ctx.keep_branch)

    async def _remove(self, ctx: RunContext, *, keep_branch: bool) -> None:
        await clean_up(ctx)
        if ctx.tree is None or ctx.leave_tree:
            return
        try:
            await self.workspaces.remove(ctx.tree, delete_branch=not (keep_branch or ctx.only_on_branch))
        except (AutopackError, OSError) as error:  # the collector tries again when the engine next starts
            _log.warning("a worktree could not be removed", run_id=ctx.run.run_id, error=str(error))

    # ---- attempts whose process is gone ----

    async def _take_up(self, ctx: RunContext) -> tuple[_Prepared, Handle | Outcome | None]:
        """Continue an attempt where it was left, if there is anything to continue."""
        found = {tree.run_id: tree for mirror in self.mirrors.all() for tree in self.workspaces.existing(mirror)}
        ctx.tree = found.get(self.layout.workspace_id(ctx.run))
        file = ctx.directory / "prepared.json"
        if ctx.run.state is RunState.PREPARING or ctx.tree is None or not ctx.tree.ready or not file.exists():
            preparing = ctx.run.state is RunState.PREPARING
            raise _Lost("The orchestrator ended while the run was being prepared.", excused=preparing)
        prepared = loads(await asyncio.to_thread(file.read_text), _Prepared)
        ctx.environment_paths = prepared.environment_paths
        await self._variables(ctx)
        await recall(ctx)
        agent = None
        if ctx.run.state is RunState.RUNNING and ctx.run.spec.http is not None:
            await supervisor.end_all(ctx.directory)
        elif ctx.run.state is RunState.RUNNING and ctx.run.spec.mock is None:
            agent = await agents.find_agent(ctx)
            if agent is None:
                raise _Lost("The orchestrator ended, and the agent with it.")
        else:
            await supervisor.end_all(ctx.directory)
            await restore_captured(ctx)
        what = "the agent is still at work" if isinstance(agent, Handle) else "going on where it was left"
        await ctx.event(EventKind.STATE, f"taken up after a restart: {what}", attempt=ctx.run.attempt)
        return prepared, agent

    async def _interrupted(self, ctx: RunContext) -> None:
        match ctx.stop:
            case Stop.CANCEL:
                await self._end(ctx, RunState.CANCELLED, CANCELLED)
            case Stop.RELEASE:
                await self.lose(ctx, "Its worker was shut down.", excused=True)
            case Stop.FENCED:  # whatever it would write is refused, or must be
                await supervisor.end_all(ctx.directory)
                await self._remove(ctx, keep_branch=False)

    async def lose(self, ctx: RunContext, why: str, *, excused: bool = False) -> None:
        """Queue the next attempt of a run whose process is gone, or end it.

        Args:
            excused: the attempt does not count against ``max_attempts``.
        """
        ctx.ending = True
        if ctx.run.cancel_requested:
            await self._end(ctx, RunState.CANCELLED, CANCELLED)
            return
        most = attempts(ctx.run, ctx.batch.retry)
        none_left = f" No attempt is left of {most}." if ctx.run.counted >= most and not excused else ""
        error = RunError("LOST", f"{why}{none_left}", (f"Run it again: `autopack runs retry {ctx.run.run_id}`.",))
        await self._end(ctx, RunState.LOST, error, excused_again(ctx.run) if excused else None)

    def leftovers(self, held: Sequence[Run]) -> frozenset[str]:
        """The worktrees that exist and belong to none of the runs that are worked on. Blocks."""
        keep = {self.layout.workspace_id(run) for run in held}
        trees = (tree for mirror in self.mirrors.all() for tree in self.workspaces.existing(mirror))
        return frozenset(tree.run_id for tree in trees if tree.run_id not in keep)

    async def collect_garbage(self, leftovers: Collection[str]) -> None:
        """Remove these worktrees; unfinished work in them is kept as a patch."""
        for mirror in self.mirrors.all():
            # No await between this list and the collector's own: what is made meanwhile is in neither.
            keep = {tree.run_id for tree in self.workspaces.existing(mirror)} - set(leftovers)
            report = await self.workspaces.gc(mirror, keep, self.layout.root / "harvested", min_age_s=0)
            for name, error in report.failed.items():
                _log.warning("a worktree could not be removed", worktree=name, error=error)

"""Around an attempt: whether it may begin, what it begins from, and whether another one follows it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import structlog
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters import git
from autopack_orchestrator.core import retry
from autopack_orchestrator.core.judge import Usage, over_budget, over_wall_time
from autopack_orchestrator.core.model import EventKind, RunError, RunState
from autopack_orchestrator.core.names import branch
from autopack_orchestrator.core.secrets import hide
from autopack_orchestrator.errors import LeaseLost, RunFailed, StoreFailed
from autopack_orchestrator.execution.context import RunContext, make_event

__all__ = [
    "WORKSPACE_GONE",
    "check_batch_budget",
    "check_wall_time",
    "next_attempt",
    "no_fault_of_the_run",
    "queue_again",
    "refused",
    "start_from_needed",
    "workspace_is_gone",
]

WORKSPACE_GONE = RunError(
    "WORKSPACE_GONE",
    "The directory of the run, or git's data of it, was deleted during the run; what was changed in it is lost.",
    ("Retry the run; see its log for a command of the agent or of a step that deletes it.",),
)

DATABASE = "DATABASE_"  # begins the reasons of errors of the store's database
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
LARGER = "Create another batch with a larger budget."

_log = structlog.get_logger("autopack.orchestrator")


@contextlib.asynccontextmanager
async def no_fault_of_the_run(ctx: RunContext) -> AsyncIterator[None]:
    """What says nothing about the run does not fail it: a database that cannot be asked, and, once it is interrupted,
    whatever follows from that, such as a half made worktree that cannot be removed.

    Raises:
        StoreFailed, CancelledError: instead of these.
        RunFailed: ``DISK_FULL``, instead of what the full disk refused.
    """
    try:
        yield
    except (LeaseLost, StoreFailed):
        raise
    except Exception as error:
        if isinstance(error, AutopackError) and error.reason.startswith(DATABASE):
            raise StoreFailed(str(error)) from error
        if ctx.stop is None or ctx.ending:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise ctx.fail(
                    "DISK_FULL",
                    f"There was no room on the disk below the data directory: {error.strerror}.",
                    f"Free some, then `autopack runs retry {ctx.run.run_id}`.",
                ) from error
            raise
        _log.warning("interrupted, and it had failed", run_id=ctx.run.run_id, error=str(error))
        raise asyncio.CancelledError from error


async def check_batch_budget(ctx: RunContext, usage: Callable[[], Awaitable[Usage]]) -> None:
    """A batch whose budget is used up starts nothing any more.

    Raises:
        RunFailed: BUDGET.
    """
    over, state = await _batch_wall_time(ctx), RunState.TIMED_OUT
    if over is None and ctx.batch.budget.needs_telemetry:
        try:
            over, state = over_budget(ctx.batch.budget, await usage()), RunState.FAILED
        except AutopackError as error:
            await ctx.warn("telemetry", f"The budget of the batch could not be checked: {error.message}")
    if over is not None:
        message = f"The budget of the batch is used up: {over}. The run did not begin."
        raise ctx.fail("BUDGET", message, LARGER, state=state)


async def check_wall_time(ctx: RunContext) -> None:
    """An agent whose time was over because of a budget of wall time has used that up.

    Raises:
        RunFailed: BUDGET.
    """
    begun, budget = ctx.run.start_time, ctx.run.spec.budget
    over = None if begun is None else over_wall_time(budget, datetime.now(UTC) - begun)
    whose = "run" if over else "batch"
    over = over or await _batch_wall_time(ctx)
    if over is not None:
        message = f"The budget of the {whose} is used up: {over}. The agent was ended."
        raise ctx.fail("BUDGET", message, LARGER, state=RunState.TIMED_OUT)


async def _batch_wall_time(ctx: RunContext) -> str | None:
    if ctx.batch.budget.max_wall_time is None:
        return None
    started = await ctx.store.started(ctx.run.batch_id)
    now = datetime.now(UTC)
    return over_wall_time(ctx.batch.budget, now - min(started.values(), default=now))


async def start_from_needed(
    ctx: RunContext, mirror: git.Mirror, fetch: Callable[[str], Awaitable[object]], identity: git.Identity
) -> None:
    """A run that needs others starts from their commits, merged if there are several.

    Args:
        fetch: brings a commit into the mirror if it is not there.

    Raises:
        FailedPrecondition: DEPENDENCY_CONFLICT.
    """
    names = ctx.run.spec.needs
    if not names:
        return
    heads = await ctx.store.heads(ctx.run.batch_id, names)
    commits = [heads[name] for name in names]
    for commit in commits:
        await fetch(commit)
    message = f"Merge {', '.join(names)} for {ctx.run.name}"
    await ctx.move_base(await git.join_commits(mirror, commits, message, identity))


def workspace_is_gone(ctx: RunContext) -> bool:
    """Whether the worktree was deleted under its run, by an agent or somebody else of the same user: then whatever was
    asked of the directory fails in its own way."""
    tree = ctx.tree
    return tree is not None and not all(path.is_dir() for path in (tree.path, tree.git_dir) if path is not None)


def next_attempt(ctx: RunContext, failed: RunFailed) -> retry.Again | None:
    """What the batch's policy says of another attempt after one that failed so."""
    # A branch that only could not be brought home is work that is done.
    if failed.state is RunState.CANCELLED or ctx.run.cancel_requested or ctx.keep_branch:
        return None
    return retry.again(ctx.run, ctx.batch.retry, failed.state, failed.error, random.random)


async def queue_again(ctx: RunContext, error: RunError, again: retry.Again) -> None:
    """Queue the next attempt; what was known of this one stays in its events, its log and its patch.

    Raises:
        LeaseLost, AutopackError: it could not be stored.
    """
    run, number = ctx.run, ctx.run.attempt + 1
    words = error.message
    if error.reason == retry.OVERLOADED and run.spec.agent is not None:
        at_once = await ctx.store.throttle(run.spec.agent.name, ctx.settings.max_concurrent_runs)
        words += f" At most {at_once} of {run.spec.agent.name} are at work for now."
    wait = f" in {again.wait.total_seconds():.0f} s" if again.wait else ""
    event = make_event(
        EventKind.WARNING,
        f"{hide(words, ctx.secrets)} It is queued again, for attempt {number}{wait}.",
        about="retry",
        reason=error.reason,
        attempt=run.attempt,
        counts=str(again.counts).lower(),
        seconds=f"{again.wait.total_seconds():.1f}",
    )
    name = branch(run.batch_id, run.name, number, await ctx.store.names(run.batch_id))
    ctx.run = await ctx.store.requeue(run, number, name, event, wait=again.wait, counts=again.counts)


async def refused(ctx: RunContext, lost: LeaseLost) -> None:
    """What an attempt found out after somebody else had taken its run is not stored; that it came is."""
    _log.warning("lease lost", run_id=ctx.run.run_id, error=str(lost))
    words = f"a late result of attempt {ctx.run.attempt} was refused: the run is not its any more"
    event = make_event(EventKind.WARNING, words, about="late", attempt=ctx.run.attempt, epoch=ctx.run.lease_epoch)
    try:
        await ctx.store.note(ctx.run, event)
    except AutopackError as error:
        _log.warning("a late result could not be noted", run_id=ctx.run.run_id, error=str(error))

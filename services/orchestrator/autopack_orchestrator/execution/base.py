"""Does a step that fails in a run fail on the base commit too? Asked once per batch and step, when one fails."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError, FailedPrecondition

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.supervisor import Reason
from autopack_orchestrator.core.codec import dumps
from autopack_orchestrator.core.plan import StepPlan
from autopack_orchestrator.errors import RunFailed
from autopack_orchestrator.execution.commands import execute, shown
from autopack_orchestrator.execution.context import RunContext
from autopack_orchestrator.execution.prepare import detect, make_virtualenvs
from autopack_orchestrator.execution.sources import Sources

__all__ = ["BaseCommits"]

MAX_BATCHES = 256  # remembered; what is forgotten is found out again


@dataclass(slots=True)
class _Batch:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    passed: dict[str, bool] = field(default_factory=dict)


@dataclass(slots=True)
class BaseCommits:
    """What passes on the base commits of the batches that are being worked on.

    The base commit is always prepared, whatever the run says: a step that only lacks an installed dependency there
    would otherwise excuse every failure.
    """

    workspaces: git.Workspaces
    sources: Sources
    _batches: OrderedDict[str, _Batch] = field(default_factory=OrderedDict)

    async def passes(self, ctx: RunContext, command: Command, plan: StepPlan) -> bool:
        """Whether ``command`` passes on the base commit, properly prepared. If that cannot be found out, it counts as
        passing: then the failure is the run's own."""
        batch = self._batches.setdefault(ctx.run.batch_id, _Batch())
        if len(self._batches) > MAX_BATCHES:
            self._batches.popitem(last=False)
        key = f"{ctx.run.base_commit} {dumps(command)}"  # a run that needs others has a base of its own
        async with batch.lock:
            if key not in batch.passed:
                try:
                    batch.passed[key] = await self._try(ctx, command, plan)
                except (AutopackError, RunFailed) as error:
                    await ctx.warn("base", f"The base commit could not be validated: {error}")
                    return True
            return batch.passed[key]

    async def _try(self, ctx: RunContext, command: Command, plan: StepPlan) -> bool:
        # With the epoch: whoever takes the run up must not wait until what a killed orchestrator left is removed.
        name = f"{ctx.layout.workspace_id(ctx.run)}.base.{ctx.run.lease_epoch}"
        at = (f"autopack-base/{name}", ctx.layout.workspaces / name, name)
        mirror = ctx.worktree.mirror
        tree, _ = await self.sources.worktree(self.workspaces, mirror, ctx.run, ctx.batch.repository, at)
        try:
            with ctx.at(tree):
                return await self._validate(ctx, command, plan)
        finally:
            await self.workspaces.remove(tree, delete_branch=True)

    async def _validate(self, ctx: RunContext, command: Command, plan: StepPlan) -> bool:
        detection = await detect(ctx)
        await make_virtualenvs(ctx, detection.projects if detection else ())
        timeout = ctx.run.spec.step_timeout.total_seconds()
        for install in plan.install:
            finished = await execute(ctx, "base-install", install, timeout_s=timeout)
            if not finished.ok:
                raise FailedPrecondition(
                    f"{shown(install)} {finished.words()} there.",
                    reason="BASE_NOT_PREPARED",
                    remedy="See the log.",
                )
        finished = await execute(ctx, "base-validate", command, timeout_s=timeout)
        if finished.outcome.reason in (Reason.LOST, Reason.FENCED, Reason.CANCELLED):
            raise FailedPrecondition(
                f"{shown(command)} {finished.words()} there.", reason="BASE_STEP_LOST", remedy="Run it again."
            )
        return finished.ok

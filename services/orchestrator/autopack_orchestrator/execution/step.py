"""One validation step while it is worked on: run, diagnosed, mitigated and run again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from autopack_client.mitigate import Applier
from autopack_client.proof import Ended, Proof
from autopack_client.proving import Attempt
from autopack_kit.commands import Command

from autopack_orchestrator import convert_peers as convert
from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.supervisor import Reason
from autopack_orchestrator.core.records import PhaseRecord
from autopack_orchestrator.execution.capture import added_paths
from autopack_orchestrator.execution.commands import Finished, execute, shown
from autopack_orchestrator.execution.context import RunContext
from autopack_orchestrator.execution.heal import Healer, ended_of

__all__ = ["StepBench"]


@dataclass(slots=True)
class StepBench:
    """What mitigations of one step are proven on.

    Attributes:
        name: of its executions.
        record: of the phase of the step.
        tree: the worktree as it was last captured, and later as a fix left it.
        tries: times that the step ran.
        last: its last run.
        changed_files: something that was done about it, and stays, changed files that git does not ignore.
    """

    ctx: RunContext
    healer: Healer
    name: str
    record: PhaseRecord
    tree: str
    tries: int = 0
    last: Finished | None = None
    changed_files: bool = False
    _before: str = ""
    _left: tuple[str, ...] = ()
    _is_pending: bool = False

    async def run(self, command: Command) -> Ended:
        """Run the step once more."""
        if self._before:
            await self._compare()
        timeout = self.ctx.run.spec.step_timeout.total_seconds()
        self.last = finished = await execute(self.ctx, self.name, command, timeout_s=timeout)
        self.tries += 1
        if finished.outcome.reason in (Reason.LOST, Reason.FENCED, Reason.CANCELLED):
            # A step whose supervisor is gone says nothing about the change.
            raise self.ctx.fail("STEP_LOST", f"{shown(command)} {finished.words()}.", "Run it again.")
        if not finished.ok:
            self.record.errors = (self.record.errors or 0) + 1
        return await asyncio.to_thread(ended_of, self.ctx, finished)

    async def diagnose(self, ended: Ended) -> Sequence[convert.Diagnosis]:
        """As :meth:`Healer.diagnose`."""
        return await self.healer.diagnose(self.ctx, ended, self.record)

    async def applier(self, diagnosis: convert.Diagnosis, command: Command) -> Applier | None:
        """As :meth:`Healer.applier`."""
        found = await self.healer.applier(self.ctx, diagnosis, command)
        if found is not None:
            await self.before_change()
        return found

    async def attempted(self, attempt: Attempt) -> None:
        """Remember whether the mitigation stays, and report it."""
        if attempt.proof in (Proof.FIXED, Proof.PROGRESSED):
            self._keep()
        self._before, self._is_pending = "", False
        await self.healer.report(self.ctx, attempt, self.record)

    async def before_change(self) -> None:
        """Something is about to be done about the failure."""
        self._before = await self._now()

    async def after_change(self) -> None:
        """It was done, and stays."""
        await self._compare()
        self._keep()

    async def _compare(self) -> None:
        """Whether files have changed since, not counting what the step itself left lying about before."""
        before, self._before = self._before, ""
        now = await self._now()
        self._is_pending = now != before
        if self._is_pending:
            self._left = await added_paths(self.ctx, self.tree, before)
            self.tree = now

    def _keep(self) -> None:
        if self._is_pending:
            self.changed_files = True
            # What the steps themselves left lying about (reports, coverage) is no part of the next capture.
            self.ctx.environment_paths += self._left
        self._is_pending = False

    async def _now(self) -> str:
        return await git.worktree_tree(self.ctx.worktree, self.ctx.environment_paths)

"""The validation steps: run, and where one fails, diagnosed, mitigated and run again.

A failure counts as fixed only when the same step then passed. After anything that changed a tracked file, everything is
captured, checked and validated again, so that the tree that is committed is the tree that passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.supervisor import Reason
from autopack_orchestrator.core.model import EventKind, StepOutcome, StepResult
from autopack_orchestrator.core.records import PhaseRecord
from autopack_orchestrator.execution.capture import Captured, added_paths, capture
from autopack_orchestrator.execution.commands import Finished, execute, read_tail, shown
from autopack_orchestrator.execution.context import RunContext, make_event
from autopack_orchestrator.execution.heal import Healer, Remedy

__all__ = ["BaseOutcome", "Validation"]

MAX_ROUNDS = 5  # a formatter and a code generator that undo each other would go on for ever

BaseOutcome = Callable[[RunContext, Command], Awaitable[bool]]
"""Whether a step passes on the base commit."""


@dataclass(slots=True)
class Validation:
    """One run's validation.

    Attributes:
        commands: the steps, in order.
        healer: diagnoses and mitigates.
        passes_on_base: asked only about steps that fail here.
    """

    commands: tuple[Command, ...]
    healer: Healer
    passes_on_base: BaseOutcome
    _adjusted: dict[int, Command] = field(default_factory=dict)
    _healed_files: bool = False

    async def run(self, ctx: RunContext) -> Captured:
        """Capture and validate until nothing changes any more; returns what passed.

        Raises:
            RunFailed: a step failed, and nothing helped.
        """
        for _ in range(MAX_ROUNDS):
            captured = await capture(ctx)
            if not captured.changes:
                raise _no_changes(ctx)
            if await self._round(ctx, captured.tree):
                return captured
        raise ctx.fail(
            "VALIDATION_UNSTABLE",
            f"Fixing the validation changed files {MAX_ROUNDS} times in a row.",
            "See the log: two steps seem to undo each other's changes.",
        )

    async def _round(self, ctx: RunContext, tree: str) -> bool:
        """Every step once; False as soon as a fix changed files, so that all must run again."""
        results: list[StepResult] = []
        self._healed_files = False
        for index, command in enumerate(self.commands):
            async with ctx.phase(f"validate {index + 1}/{len(self.commands)}") as record:
                result = await self._step(ctx, index, command, tree, record)
                record.outcome = "failed" if result.outcome is StepOutcome.FAILED else "succeeded"
            results.append(result)
            await ctx.write(steps=tuple(results))
            if result.outcome is StepOutcome.FAILED:
                await self._skip_rest(ctx, results)
                raise self._failed(ctx, result)
            if self._healed_files:
                await ctx.event(EventKind.MITIGATION, "the fix changed files: everything is validated again")
                return False
        return True

    async def _step(self, ctx: RunContext, index: int, command: Command, tree: str, record: PhaseRecord) -> StepResult:
        current = self._adjusted.get(index, command)
        name = f"validate-{index + 1}"
        timeout = ctx.run.spec.step_timeout.total_seconds()
        tries, remedy = 0, None
        while True:
            finished = await execute(ctx, name, current, timeout_s=timeout)
            tries += 1
            result = _result(command, finished, tries)
            if finished.ok:
                if remedy is not None:
                    self._adjusted[index] = current
                    await self._fixed(ctx, remedy, record)
                    return replace(result, outcome=StepOutcome.FIXED, pattern_id=remedy.pattern_id)
                return result
            _end_if_lost(ctx, finished)
            record.errors = tries
            output = await asyncio.to_thread(read_tail, ctx, finished)
            before = await git.worktree_tree(ctx.worktree, ctx.environment_paths)
            next_remedy = await self.healer.heal(ctx, finished, current, output, record)
            if await git.worktree_tree(ctx.worktree, ctx.environment_paths) != before:
                self._healed_files = True
                # What the steps themselves left lying about (reports, coverage) is no part of the next capture.
                ctx.environment_paths += await added_paths(ctx, tree, before)
            if next_remedy is None:
                return await self._unhealed(ctx, command, current, result)
            remedy, current = next_remedy, next_remedy.rerun

    async def _fixed(self, ctx: RunContext, remedy: Remedy, record: PhaseRecord) -> None:
        """The same step passed: only now the failure counts as fixed, and the doctor as not needed."""
        mitigations = list(ctx.result.mitigations)
        if remedy.is_mitigation:
            mitigations[-1] = replace(mitigations[-1], fixed=True)
            record.mitigated, record.doctor_skipped = True, True
            try:
                record.avoided = await ctx.peers.estimate(ctx.run.run_id)
            except AutopackError as error:
                await ctx.warn("telemetry", f"What the fix avoided could not be estimated: {error.message}")
        await ctx.write(
            mitigations=tuple(mitigations),
            events=(
                make_event(
                    EventKind.MITIGATION,
                    f"{remedy.pattern_id}: fixed, the same step passed",
                    pattern_id=remedy.pattern_id,
                    outcome="fixed",
                ),
            ),
        )

    async def _unhealed(self, ctx: RunContext, command: Command, current: Command, result: StepResult) -> StepResult:
        result = replace(result, pattern_id=self.healer.last_pattern)
        if await self.passes_on_base(ctx, command):
            return result
        message = f"{shown(current)} fails on the base commit too"
        await ctx.event(EventKind.COMMAND, message, name="base", command=shown(current), outcome="failed")
        if ctx.run.spec.fail_on_pre_existing:
            return result
        return replace(result, outcome=StepOutcome.PRE_EXISTING)

    async def _skip_rest(self, ctx: RunContext, results: list[StepResult]) -> None:
        rest = [StepResult(command, StepOutcome.SKIPPED, tries=0) for command in self.commands[len(results) :]]
        await ctx.write(steps=(*results, *rest))

    def _failed(self, ctx: RunContext, result: StepResult) -> Exception:
        why = f" ({self.healer.last_title})" if self.healer.last_title else ""
        code = f"exit code {result.exit_code}" if result.exit_code is not None else "no exit code"
        run_id = ctx.run.run_id
        return ctx.fail(
            "VALIDATION_FAILED",
            f"{shown(result.command)} failed with {code}{why}.",
            *self.healer.suggestions,
            f"See `autopack runs log {run_id}`, and what the agent changed: `autopack runs patch {run_id}`.",
        )


def _result(command: Command, finished: Finished, tries: int) -> StepResult:
    return StepResult(
        command=command,
        outcome=StepOutcome.PASSED if finished.ok else StepOutcome.FAILED,
        exit_code=finished.outcome.exit_code,
        seconds=finished.outcome.duration_s,
        tries=tries,
    )


def _end_if_lost(ctx: RunContext, finished: Finished) -> None:
    """A step whose supervisor is gone says nothing about the change."""
    if finished.outcome.reason in (Reason.LOST, Reason.FENCED, Reason.CANCELLED):
        raise ctx.fail("STEP_LOST", f"{shown(finished.command)} {finished.words()}.", "Run it again.")


def _no_changes(ctx: RunContext) -> Exception:
    if ctx.result.reverted_paths:
        return ctx.fail(
            "NO_CHANGES",
            "The agent changed nothing inside its scope; what it changed outside was reverted.",
            "Widen the scope, or make the goal clearer.",
        )
    return ctx.fail("NO_CHANGES", "The agent changed nothing.", "Read its log, and make the goal clearer.")

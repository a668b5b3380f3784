"""The validation steps: run, and where one fails, diagnosed, mitigated and run again.

A failure counts as fixed only when the same step then passed. After anything that changed a tracked file, everything is
captured, checked and validated again, so that the tree that is committed is the tree that passed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError

from autopack_orchestrator.core.model import EventKind, StepOutcome, StepResult
from autopack_orchestrator.core.records import PhaseRecord
from autopack_orchestrator.execution.capture import Captured, capture
from autopack_orchestrator.execution.commands import shown
from autopack_orchestrator.execution.context import RunContext
from autopack_orchestrator.execution.heal import Healer
from autopack_orchestrator.execution.step import StepBench

__all__ = ["BaseOutcome", "Validation"]

DOCTOR = "doctor"
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
        bench = StepBench(ctx, self.healer, f"validate-{index + 1}", record, tree)
        ended = await bench.run(self._adjusted.get(index, command))
        healed_by = ""
        while not ended.ok:
            ended = await self.healer.heal(ctx, bench, ended)
            if ended.ok:
                healed_by = self.healer.fixed_by
                await self._mitigated(ctx, record)
                break
            await bench.before_change()
            helped = await self.healer.call_doctor(ctx, ended, record)
            await bench.after_change()
            if not helped:
                break
            healed_by = DOCTOR
            ended = await bench.run(ended.command)
        self._healed_files |= bench.changed_files
        result = _result(command, bench)
        if not ended.ok:
            return await self._unhealed(ctx, command, ended.command, result)
        if not healed_by:
            return result
        self._adjusted[index] = ended.command
        if healed_by == DOCTOR:
            message = f"{DOCTOR}: fixed, the same step passed"
            await ctx.event(EventKind.MITIGATION, message, pattern_id=DOCTOR, outcome="fixed")
        return replace(result, outcome=StepOutcome.FIXED, pattern_id=healed_by)

    async def _mitigated(self, ctx: RunContext, record: PhaseRecord) -> None:
        """The same step passed after a mitigation: only now the doctor counts as not needed."""
        record.mitigated, record.doctor_skipped = True, True
        try:
            record.avoided = await ctx.peers.estimate(ctx.run.run_id)
        except AutopackError as error:
            await ctx.warn("telemetry", f"What the fix avoided could not be estimated: {error.message}")

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


def _result(command: Command, bench: StepBench) -> StepResult:
    finished = bench.last
    assert finished is not None  # a step has run
    return StepResult(
        command=command,
        outcome=StepOutcome.PASSED if finished.ok else StepOutcome.FAILED,
        exit_code=finished.outcome.exit_code,
        seconds=finished.outcome.duration_s,
        tries=bench.tries,
    )


def _no_changes(ctx: RunContext) -> Exception:
    if ctx.result.reverted_paths:
        return ctx.fail(
            "NO_CHANGES",
            "The agent changed nothing inside its scope; what it changed outside was reverted.",
            "Widen the scope, or make the goal clearer.",
        )
    return ctx.fail("NO_CHANGES", "The agent changed nothing.", "Read its log, and make the goal clearer.")

"""A failed command made to work: hardening's automatic mitigation first, then the doctor, as far as the run allows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autopack_client.facts import project_facts, workspace_paths
from autopack_client.mitigate import Applier, Outcome, Ran, State
from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError
from autopack_kit.redaction import redact

from autopack_orchestrator import convert_peers as convert
from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.peers import Detection
from autopack_orchestrator.adapters.supervisor import Reason
from autopack_orchestrator.core.model import EventKind, MitigationResult
from autopack_orchestrator.core.records import PhaseRecord
from autopack_orchestrator.core.secrets import hide
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.execution.commands import Finished, execute, log_path
from autopack_orchestrator.execution.context import RunContext, make_event
from autopack_orchestrator.execution.reporting import as_doctor

__all__ = ["Healer", "Remedy"]

MAX_EXCERPT = 400
MAX_MITIGATIONS = 20  # per run; each costs a run of the failed step
MAX_CHANGED_PATHS = 100
NOT_FOUND = 127  # what a shell exits with when there is no such program (POSIX)
NO_EXIT_CODE = 1  # for a runner's caller, who wants a number: it did not succeed


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something was done about a failure: what to run now, and what did it."""

    rerun: Command
    pattern_id: str
    is_mitigation: bool


@dataclass(slots=True)
class Healer:
    """The mitigations and doctor calls of one run: the same actions at most once, the doctor as often as it may.

    Attributes:
        detection: the projects of the worktree as the agent left it; None if they are not known, and then nothing is
            installed. What of them the base commit declares, and so may be installed, is asked of git.
        suggestions: the advice of the last diagnosis.
        last_pattern, last_title: what the last diagnosis named; empty for nothing.
    """

    detection: Detection | None
    suggestions: tuple[str, ...] = ()
    last_pattern: str = ""
    last_title: str = ""
    _used: set[tuple[str, tuple[bytes, ...]]] = field(default_factory=set)

    async def heal(
        self, ctx: RunContext, finished: Finished, command: Command, output: bytes, record: PhaseRecord
    ) -> Remedy | None:
        """Do something about a failure, or return None. Whether it helped, only running the command again can tell."""
        self.suggestions, self.last_pattern, self.last_title = (), "", ""
        response = None if ctx.run.spec.no_mitigation else await self._diagnose(ctx, finished, command, output, record)
        if response is not None:
            for diagnosis in response.diagnoses:
                remedy = await self._mitigate(ctx, diagnosis, command)
                if remedy is not None:
                    return remedy
        return await self._call_doctor(ctx, command, output, record)

    async def _diagnose(
        self, ctx: RunContext, finished: Finished, command: Command, output: bytes, record: PhaseRecord
    ) -> convert.DiagnoseResponse | None:
        missing = finished.outcome.reason is Reason.SPAWN_FAILED
        if missing:  # nobody was there to print it, and a pattern knows it by what a shell prints
            output = f"sh: 1: {command.argv[0] if command.argv else 'script'}: not found\n".encode()
        try:
            failure = convert.Failure(
                command=command,
                exit_code=NOT_FOUND if missing else finished.outcome.exit_code,
                signal=finished.outcome.signal,
                timed_out=finished.outcome.reason is Reason.TIMEOUT,
                output=output,
                facts=await asyncio.to_thread(self._facts, ctx),
                paths=await asyncio.to_thread(workspace_paths, ctx.workspace),
                scope=ctx.run.spec.intention.scope,
            )
            response = await ctx.peers.diagnose(failure)
        except (AutopackError, OSError) as error:
            await ctx.warn("hardening", f"A failure could not be diagnosed: {error}")
            return None
        record.hardening_triggered = True
        await self._remember(ctx, response, record)
        return response

    async def _remember(self, ctx: RunContext, response: convert.DiagnoseResponse, record: PhaseRecord) -> None:
        for number, diagnosis in enumerate(response.diagnoses):
            advice = [f"{one.text} {one.risk}".strip() for one in diagnosis.mitigation.suggestions]
            self.suggestions += tuple(advice)
            excerpt = diagnosis.excerpt[:MAX_EXCERPT].decode("utf-8", "replace").strip()
            if number == 0:
                self.last_pattern, self.last_title = diagnosis.pattern_id, diagnosis.title
                record.pattern_id = diagnosis.pattern_id
            await ctx.event(
                EventKind.DIAGNOSIS,
                f"{diagnosis.pattern_id}: {excerpt or diagnosis.title}",
                pattern_id=diagnosis.pattern_id,
                excerpt=excerpt,
                automatic=str(diagnosis.mitigation.automatic).lower(),
                suggestions=" | ".join(advice),
            )
        if not response.diagnoses:
            await ctx.event(EventKind.DIAGNOSIS, "no known pattern explains this failure", pattern_id="")

    async def _mitigate(self, ctx: RunContext, diagnosis: convert.Diagnosis, command: Command) -> Remedy | None:
        mitigation, pattern = diagnosis.mitigation, diagnosis.pattern_id
        # The same pattern may need other actions in another project; the same actions do not help a second time.
        key = (pattern, tuple(action.SerializeToString(deterministic=True) for action in mitigation.actions))
        if key in self._used or len(self._used) >= MAX_MITIGATIONS or not mitigation.automatic or not key[1]:
            return None
        self._used.add(key)
        try:
            outcome = await self._apply(ctx, mitigation, command)
        except (AutopackError, OSError) as error:
            await ctx.warn("hardening", f"A mitigation could not be applied: {error}")
            return None
        await self._report(ctx, diagnosis, outcome)
        if outcome.state is not State.APPLIED:
            return None
        return Remedy(outcome.rerun, pattern, is_mitigation=True)

    async def _apply(self, ctx: RunContext, mitigation: convert.Mitigation, command: Command) -> Outcome:
        head = await git.branch_tip(ctx.worktree) or ctx.worktree.base
        trusted = await git.open_view(ctx.worktree, head)
        applier = Applier(
            ctx.workspace,
            _Runner(ctx),
            facts=await asyncio.to_thread(self._facts, ctx),
            base_commit=ctx.run.base_commit,
            scope=ctx.run.spec.intention.scope,
            git_dir=trusted,
        )
        return await applier.apply(mitigation, command)

    async def _report(self, ctx: RunContext, diagnosis: convert.Diagnosis, outcome: Outcome) -> None:
        actions = tuple(clean(convert.action_words(action)) for action in diagnosis.mitigation.actions)
        why = f": {'; '.join(outcome.reasons)}" if outcome.reasons else ""
        applied = outcome.state is State.APPLIED
        changed = tuple(map(clean, outcome.changed[:MAX_CHANGED_PATHS]))
        result = MitigationResult(diagnosis.pattern_id, actions, changed_paths=changed)
        await ctx.write(
            mitigations=(*ctx.result.mitigations, result) if applied else ctx.result.mitigations,
            events=(
                make_event(
                    EventKind.MITIGATION,
                    f"{diagnosis.pattern_id}: {', '.join(actions)} {outcome.state.value}{why}",
                    pattern_id=diagnosis.pattern_id,
                    actions=" | ".join(actions),
                    outcome=outcome.state.value,
                    reasons=" | ".join(outcome.reasons),
                ),
            ),
        )

    async def _call_doctor(
        self, ctx: RunContext, command: Command, output: bytes, record: PhaseRecord
    ) -> Remedy | None:
        doctor = ctx.run.spec.doctor
        if doctor is None or ctx.result.doctor_calls >= doctor.max_calls:
            return None
        calls = ctx.result.doctor_calls + 1
        file = ctx.directory / f"diagnosis-{calls}.json"
        await asyncio.to_thread(self._write_diagnosis, ctx, file, command, output)
        await ctx.write(doctor_calls=calls)
        record.doctor_called = True
        told = {
            "AUTOPACK_DIAGNOSIS_FILE": str(file),
            # What it reports to telemetry is then the cost of a doctor, of this phase.
            "AUTOPACK_USAGE_ROLE": "doctor",
            "AUTOPACK_PHASE_ID": record.phase_id,
        }
        call = await as_doctor(ctx, doctor.command)
        call = replace(call, env={**call.env, **told})
        finished = await execute(ctx, "doctor", call, timeout_s=ctx.run.spec.timeout.total_seconds())
        return Remedy(command, "doctor", is_mitigation=False) if finished.ok else None

    def _write_diagnosis(self, ctx: RunContext, file: Path, command: Command, output: bytes) -> None:
        """What the doctor is given: it goes to a model, so nothing secret is in it."""
        # Redacted before it is cut: of a secret that was cut in two, the rest would not be recognised.
        tail = redact(output.decode("utf-8", "replace")).encode()[-DOCTOR_OUTPUT:].decode("utf-8", "ignore")
        content = {
            "run_id": ctx.run.run_id,
            "goal": ctx.run.spec.intention.title,
            "context": ctx.variables["AUTOPACK_CONTEXT"],
            "command": redact(command.line()),
            "cwd": command.cwd,
            "pattern_id": self.last_pattern,
            "title": self.last_title,
            "suggestions": list(map(redact, self.suggestions)),
            "output": tail,
            "output_truncated": len(output) > DOCTOR_OUTPUT,
        }
        file.write_text(json.dumps(hide(content, ctx.secrets), indent=2) + "\n")
        file.chmod(0o600)

    def _facts(self, ctx: RunContext) -> Sequence[convert.ProjectFacts]:
        if self.detection is None:
            return ()
        facts = project_facts(
            self.detection.response, ctx.workspace, ctx.run.base_commit, git_dir=ctx.worktree.mirror.trusted
        )
        return convert.with_own_install(facts, ctx.run.spec.install)


DOCTOR_OUTPUT = 64 << 10  # what a model can use; the whole is in the log


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs the applier's commands as everything else of the run: supervised, in the run's environment."""

    ctx: RunContext

    async def run(self, command: Command, cwd: Path) -> Ran:
        finished = await execute(
            self.ctx, "mitigation", command, timeout_s=self.ctx.run.spec.step_timeout.total_seconds()
        )
        outcome = finished.outcome
        code = NO_EXIT_CODE if outcome.exit_code is None else outcome.exit_code
        return Ran(command, code, log_path(self.ctx), timed_out=outcome.reason is Reason.TIMEOUT)

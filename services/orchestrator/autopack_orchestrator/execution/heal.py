"""A failed command made to work: hardening's mitigations first, then the doctor, as far as the run allows."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from autopack_client.facts import project_facts, workspace_paths
from autopack_client.mitigate import Applier, Ran
from autopack_client.mitigate_run import NOT_EXECUTABLE, complaint
from autopack_client.proof import Ended, Proof
from autopack_client.proving import Attempt, Bench, Chain
from autopack_client.runtimes import installed_runtimes
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
from autopack_orchestrator.execution.commands import Finished, environment_at, execute, log_path, log_text, read_output
from autopack_orchestrator.execution.context import RunContext, make_event
from autopack_orchestrator.execution.reporting import as_doctor

__all__ = ["Healer", "ended_of"]

MAX_EXCERPT = 400
MAX_CHANGED_PATHS = 100
MAX_SHOWN_DIFF = 64 << 10  # bytes in the log; the patch of the run has all that stays
MAX_EVENT_DIFF = 4 << 10
MAX_KIND = 64  # what telemetry takes
MAX_PHASE_ID = 128
NO_EXIT_CODE = 1  # for a runner's caller, who wants a number: it did not succeed
DOCTOR_OUTPUT = 64 << 10  # what a model can use; the whole is in the log


@dataclass(slots=True)
class Healer:
    """The mitigations and doctor calls of one run: each pattern at most once, the doctor as often as it may.

    Attributes:
        detection: the projects of the worktree as the agent left it; None if they are not known, and then nothing is
            installed. What of them the base commit declares, and so may be installed, is asked of git.
        suggestions: the advice of the last diagnosis.
        last_pattern, last_title: what the last diagnosis named; empty for nothing.
        fixed_by: the pattern of the last mitigation that was proven to fix something.
    """

    detection: Detection | None
    suggestions: tuple[str, ...] = ()
    last_pattern: str = ""
    last_title: str = ""
    fixed_by: str = ""
    _chain: Chain | None = None
    _runtimes: Sequence[convert.InstalledRuntime] | None = None

    async def heal(self, ctx: RunContext, bench: Bench, failed: Ended) -> Ended:
        """Act upon a failure as far as that leads; returns the run that passed, or the last failure."""
        self.suggestions, self.last_pattern, self.last_title, self.fixed_by = (), "", "", ""
        if ctx.run.spec.no_mitigation:
            return failed
        failed = replace(failed, diagnoses=tuple(await bench.diagnose(failed)))
        if self._chain is None:
            self._chain = Chain(bench)
        self._chain.bench = bench
        return await self._chain.work_off(failed)

    async def diagnose(self, ctx: RunContext, ended: Ended, record: PhaseRecord) -> Sequence[convert.Diagnosis]:
        """Why a command failed; nothing, with a warning, if that cannot be found out."""
        try:
            failure = convert.Failure(
                ended=ended,
                facts=await asyncio.to_thread(self._facts, ctx),
                paths=await asyncio.to_thread(workspace_paths, ctx.workspace),
                scope=ctx.run.spec.intention.scope,
                runtimes=await self._installed(ctx),
            )
            response = await ctx.peers.diagnose(failure)
        except (AutopackError, OSError) as error:
            await ctx.warn("hardening", f"A failure could not be diagnosed: {error}")
            return ()
        record.hardening_triggered = True
        await self._remember(ctx, response, record)
        return tuple(response.diagnoses)

    async def _remember(self, ctx: RunContext, response: convert.DiagnoseResponse, record: PhaseRecord) -> None:
        self.suggestions, self.last_pattern, self.last_title = (), "", ""
        for number, diagnosis in enumerate(response.diagnoses):
            mitigation = diagnosis.mitigation
            advice = [f"{one.text} {one.risk}".strip() for one in mitigation.suggestions]
            if mitigation.actions and not mitigation.automatic and not _agreed(ctx, diagnosis.pattern_id):
                words = "; ".join(map(convert.action_words, mitigation.actions))
                agree = f"mitigate: {{yes_to: [{diagnosis.pattern_id}]}}"
                advice.append(
                    f"With consent ({agree}) this would be tried: {words}. {mitigation.consent_reason}".strip()
                )
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
                automatic=str(mitigation.automatic).lower(),
                suggestions=" | ".join(advice),
            )
        if not response.diagnoses:
            await ctx.event(EventKind.DIAGNOSIS, "no known pattern explains this failure", pattern_id="")

    async def applier(self, ctx: RunContext, diagnosis: convert.Diagnosis, command: Command) -> Applier | None:
        """What applies a mitigation; None if it needs a consent that the run does not give."""
        agreed = _agreed(ctx, diagnosis.pattern_id)
        if not diagnosis.mitigation.automatic and not agreed:
            return None
        head = await git.branch_tip(ctx.worktree) or ctx.worktree.base
        return Applier(
            ctx.workspace,
            _Runner(ctx),
            facts=await asyncio.to_thread(self._facts, ctx),
            base_commit=ctx.run.base_commit,
            scope=ctx.run.spec.intention.scope,
            consent=agreed,
            git_dir=await git.open_view(ctx.worktree, head),
            runtimes=await self._installed(ctx),
            search_path=environment_at(ctx, command.cwd).get("PATH", ""),
        )

    async def report(self, ctx: RunContext, attempt: Attempt, record: PhaseRecord) -> None:
        """Keep what became of a mitigation: in the run, as an event, as a part of the phase, and for the statistics."""
        pattern, outcome, proof = attempt.diagnosis.pattern_id, attempt.outcome, attempt.proof
        if outcome is None:
            await ctx.warn("hardening", f"A mitigation could not be applied: {attempt.problem}")
            return
        actions = tuple(clean(convert.action_words(action)) for action in attempt.diagnosis.mitigation.actions)
        words = outcome.state.value if proof is None else proof.value
        why = f": {'; '.join(outcome.reasons)}" if outcome.reasons else ""
        changed = tuple(map(clean, outcome.changed[:MAX_CHANGED_PATHS]))
        result = MitigationResult(pattern, actions, proof is Proof.FIXED, changed, words)
        event = make_event(
            EventKind.MITIGATION,
            f"{pattern}: {', '.join(actions)} - {_WORDS.get(words, words)}{why}",
            pattern_id=pattern,
            actions=" | ".join(actions),
            outcome=words,
            reasons=" | ".join(outcome.reasons),
            changed=" | ".join(changed),
            diff=outcome.diff[:MAX_EVENT_DIFF].decode("utf-8", "replace"),
        )
        kept = () if proof is None else (result,)
        await ctx.write(mitigations=(*ctx.result.mitigations, *kept), events=(event,))
        if outcome.diff:
            text = outcome.diff[:MAX_SHOWN_DIFF].decode("utf-8", "replace")
            await asyncio.to_thread(log_text, ctx, f"[autopack] {pattern} changed:\n{text}")
        if proof is not None:
            self.fixed_by = pattern if proof is Proof.FIXED else ""
            await self._record(ctx, pattern, proof, record)

    async def _record(self, ctx: RunContext, pattern: str, proof: Proof, record: PhaseRecord) -> None:
        name = f"{ctx.run.run_id}:{ctx.run.attempt}.{ctx.run.lease_epoch}:{pattern}"
        part = PhaseRecord(
            run_id=ctx.run.run_id,
            phase_id=f"{record.phase_id}.{pattern}"[:MAX_PHASE_ID],
            kind=f"mitigate {pattern}"[:MAX_KIND],
            attempt=ctx.run.attempt,
            outcome="succeeded" if proof in (Proof.FIXED, Proof.PROGRESSED) else "failed",
            is_part=True,
        )
        try:
            await ctx.peers.record_phase(part)
        except AutopackError as error:
            await ctx.warn("telemetry", f"Telemetry could not be written: {error.message}")
        try:
            await ctx.peers.record_outcome(name, pattern, proof.value, ctx.run.run_id)
        except AutopackError as error:
            await ctx.warn("hardening", f"What became of a mitigation could not be recorded: {error.message}")

    async def call_doctor(self, ctx: RunContext, failed: Ended, record: PhaseRecord) -> bool:
        """Ask the doctor, if there is one that may be asked again; whether it says that it helped."""
        doctor = ctx.run.spec.doctor
        if doctor is None or ctx.result.doctor_calls >= doctor.max_calls:
            return False
        calls = ctx.result.doctor_calls + 1
        file = ctx.directory / f"diagnosis-{calls}.json"
        await asyncio.to_thread(self._write_diagnosis, ctx, file, failed.command, failed.output)
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
        return (await execute(ctx, "doctor", call, timeout_s=ctx.run.spec.timeout.total_seconds())).ok

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

    async def _installed(self, ctx: RunContext) -> Sequence[convert.InstalledRuntime]:
        if self._runtimes is None:
            self._runtimes = await asyncio.to_thread(installed_runtimes, dict(ctx.variables), ctx.workspace)
        return self._runtimes


_WORDS = {
    "fixed": "fixed, the same step passed",
    "progressed": "progressed, the same step failed for another reason",
    "unchanged": "unchanged, the same step failed as before; undone",
    "worse": "worse, the same step got less far; undone",
}


def ended_of(ctx: RunContext, finished: Finished) -> Ended:
    """How a step ended, with what it printed. Blocking."""
    outcome = finished.outcome
    if outcome.reason is Reason.SPAWN_FAILED:
        # Nobody was there to print why; patterns know what a shell prints of a program.
        told = re.fullmatch(r"(?s)program (.*): ([^:]*)", outcome.error)
        place = ctx.workspace / finished.command.cwd
        code, text = complaint(told[1], place, told[2]) if told is not None else (outcome.exit_code, outcome.error)
        return Ended(
            command=finished.command,
            exit_code=code,
            started=code == NOT_EXECUTABLE,
            output=text.encode("utf-8", "replace"),
        )
    output, head, first_line = read_output(ctx, finished)
    return Ended(
        command=finished.command,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        timed_out=outcome.reason is Reason.TIMEOUT,
        output=output,
        head=head,
        first_line=first_line,
    )


def _agreed(ctx: RunContext, pattern_id: str) -> bool:
    return any(fnmatchcase(pattern_id, glob) for glob in ctx.run.spec.mitigate_yes_to)


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

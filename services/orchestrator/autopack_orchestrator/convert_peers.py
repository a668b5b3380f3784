"""Requests to the other services and their answers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote

from autopack_api.common.v1.common_pb2 import TokenUsage, WorkspaceSnapshot
from autopack_api.hardening.v1.hardening_pb2 import (
    Action,
    DiagnoseRequest,
    DiagnoseResponse,
    Diagnosis,
    InstalledRuntime,
    ProjectFacts,
)
from autopack_api.hardening.v1.patterns_pb2 import MitigationOutcome, RecordOutcomeRequest
from autopack_api.intention.v1 import intention_pb2
from autopack_api.intention.v1.intention_pb2 import BuildContextRequest, CheckDriftRequest, PutProfileRequest
from autopack_api.telemetry.v1 import agents_pb2, telemetry_pb2
from autopack_api.telemetry.v1.telemetry_pb2 import (
    EstimateAvoidedTokensRequest,
    GetRunSummaryRequest,
    Phase,
    RecordPhasesRequest,
    RecordRunsRequest,
)
from autopack_api.toolchain.v1.toolchain_pb2 import (
    DetectRequest,
    DetectResponse,
    GetSnapshotSpecRequest,
)
from autopack_api.toolchain.v1.toolchain_pb2 import GetSnapshotSpecResponse as SnapshotSpec
from autopack_api.toolchain.v1.toolchain_pb2 import (
    StepKind as WireStepKind,
)
from autopack_client.evidence import Evidence
from autopack_client.profile import Profile
from autopack_client.proof import Ended, ending
from autopack_kit.commands import Command
from autopack_kit.convert import command_from_proto, command_to_proto, duration_to_proto

from autopack_orchestrator.core.model import Intention, StepKind
from autopack_orchestrator.core.plan import DetectedProject, DetectedStep
from autopack_orchestrator.core.records import Estimate, PhaseRecord, Reporting, RunRecord

__all__ = [
    "DetectResponse",
    "DiagnoseResponse",
    "Diagnosis",
    "Failure",
    "InstalledRuntime",
    "ProjectFacts",
    "SnapshotSpec",
    "action_words",
    "agent_environment_request",
    "context_request",
    "detect_request",
    "diagnose_request",
    "drift_request",
    "estimate",
    "estimate_request",
    "finite",
    "import_request",
    "outcome_request",
    "phase_request",
    "profile_request",
    "projects",
    "reporting",
    "run_request",
    "snapshot_spec_request",
    "summary_request",
    "total_tokens",
    "verdict_name",
    "with_own_install",
]


_BEARER = re.compile(r"Bearer ([^,\s]+)")


def snapshot_spec_request() -> GetSnapshotSpecRequest:
    """Which files a snapshot should carry."""
    return GetSnapshotSpecRequest()


def detect_request(files: WorkspaceSnapshot) -> DetectRequest:
    """The projects of a snapshot."""
    return DetectRequest(snapshot=files)


def projects(response: DetectResponse) -> tuple[DetectedProject, ...]:
    """What the toolchain service found, as far as runs need it. Kinds of steps of a later version are left out."""
    known = {kind.name: kind for kind in StepKind}
    found = []
    for project in response.projects:
        steps = []
        for step in project.steps:
            kind = known.get(WireStepKind.Name(step.kind).removeprefix("STEP_KIND_"))
            if kind is not None:
                steps.append(DetectedStep(kind, command_from_proto(step.command), step.confidence))
        found.append(
            DetectedProject(project.workdir or ".", project.ecosystem, project.package_manager.name, tuple(steps))
        )
    return tuple(found)


def intention_to_proto(intention: Intention) -> intention_pb2.Intention:
    """The same intention on the wire."""
    return intention_pb2.Intention(
        title=intention.title,
        description=intention.description,
        constraints=intention.constraints,
        acceptance=intention.acceptance,
        scope=intention.scope,
        non_goals=intention.non_goals,
        non_goal_globs=intention.non_goal_globs,
        notes=intention.notes,
    )


def context_request(intention: Intention) -> BuildContextRequest:
    """The context of an intention, within the default budget."""
    return BuildContextRequest(intention=intention_to_proto(intention))


def profile_request(profile: Profile) -> PutProfileRequest:
    """Storing a profile."""
    return PutProfileRequest(profile=profile.to_proto())


def drift_request(
    intention: Intention,
    profile_id: str,
    evidence: Evidence,
    note: str,
    earlier_z: Sequence[float],
    final: bool,
) -> CheckDriftRequest:
    """Judging one step. Scope is the orchestrator's own, exact check, so that drift is judged by meaning alone."""
    goal = intention_to_proto(intention)
    del goal.scope[:], goal.non_goal_globs[:]
    return CheckDriftRequest(
        intention=goal, profile_id=profile_id, evidence=evidence.to_proto(), note=note, earlier_z=earlier_z, final=final
    )


def verdict_name(value: intention_pb2.Verdict.ValueType) -> str:
    """``on_goal``, ``watch``, ``drift``, ``insufficient_evidence`` or ``scope_violation``."""
    return intention_pb2.Verdict.Name(value).removeprefix("VERDICT_").lower()


def advisory_name(value: intention_pb2.Advisory.ValueType) -> str:
    """``claim_mismatch``, ``goal_too_short``, ``off_goal_files``, ..."""
    return intention_pb2.Advisory.Name(value).removeprefix("ADVISORY_").lower()


def finite(value: float) -> float | None:
    """``value``, or None for NaN and infinities, which no database and no JSON keeps."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed command and what is known of its workspace."""

    ended: Ended
    facts: Sequence[ProjectFacts]
    paths: Sequence[str]
    scope: Sequence[str]
    runtimes: Sequence[InstalledRuntime]


def diagnose_request(failure: Failure) -> DiagnoseRequest:
    """Why did this command fail?"""
    request = DiagnoseRequest(
        command=command_to_proto(failure.ended.command),
        projects=failure.facts,
        paths=failure.paths,
        scope=failure.scope,
        runtimes=failure.runtimes,
    )
    ending(request, failure.ended)
    return request


def outcome_request(outcome_id: str, pattern_id: str, outcome: str, run_id: str) -> RecordOutcomeRequest:
    """Recording what became of a failure: ``fixed``, ``progressed``, ``unchanged`` or ``worse``."""
    value = MitigationOutcome.Value(f"MITIGATION_OUTCOME_{outcome.upper()}")
    return RecordOutcomeRequest(outcome_id=outcome_id, pattern_id=pattern_id, outcome=value, run_id=run_id)


def with_own_install(facts: Sequence[ProjectFacts], install: Sequence[Command]) -> Sequence[ProjectFacts]:
    """The facts with the run's own install commands, which then are the only ones a mitigation may run there."""
    for project in facts:
        own = [command_to_proto(command) for command in install if command.cwd == (project.workdir or ".")]
        if own:
            del project.install[:]
            project.install.extend(own)
    return facts


def action_words(action: Action) -> str:
    """An action in a few words."""
    match action.WhichOneof("kind"):
        case "install_declared":
            install = action.install_declared
            lines = " && ".join(command_from_proto(command).line() for command in install.commands)
            return f"install {', '.join(install.distributions)} as {install.declared_in} declares ({lines})"
        case "change_cwd":
            return f"run in {action.change_cwd.cwd}"
        case "set_env":
            return f"run with {', '.join(f'{name}={value}' for name, value in sorted(action.set_env.env.items()))}"
        case "restore_out_of_scope":
            return f"restore {', '.join(action.restore_out_of_scope.paths)}"
        case "run_command" | "run_formatter" | "regenerate_lockfile" | "edit_command" as kind:
            return f"{kind.replace('_', ' ')}: {command_from_proto(getattr(action, kind).command).line()}"
        case "switch_runtime":
            return f"use {action.switch_runtime.name} {action.switch_runtime.version}"
        case "remove_stale_lock":
            return f"remove {action.remove_stale_lock.path}"
        case "retry_with_backoff":
            return "run again after a pause"
        case _:
            return "an action that this version does not know"


def phase_request(record: PhaseRecord) -> RecordPhasesRequest:
    """Recording one phase; what is not known stays absent."""
    phase = Phase(
        run_id=record.run_id,
        phase_id=record.phase_id,
        kind=record.kind[:64],
        attempt=record.attempt,
        outcome=telemetry_pb2.PhaseOutcome.Value(f"PHASE_OUTCOME_{record.outcome.upper() or 'UNSPECIFIED'}"),
        hardening_triggered=record.hardening_triggered,
        pattern_id=record.pattern_id,
        mitigated=record.mitigated,
        doctor_called=record.doctor_called,
        doctor_skipped=record.doctor_skipped,
        context_bytes=record.context_bytes,
        drift_z=record.drift_z,
        drift_verdict=record.drift_verdict,
        retries=record.retries,
        errors=record.errors,
        context_source=record.context_source,
        scope_size=record.scope_size,
        warnings=record.warnings,
    )
    if not record.is_part:
        phase.duration.CopyFrom(duration_to_proto(timedelta(seconds=record.seconds)))
    if record.start_time is not None:
        phase.start_time.FromDatetime(record.start_time)
    if record.avoided is not None:
        phase.avoided.tokens = record.avoided.tokens
        phase.avoided.n = record.avoided.n
        phase.avoided.source = telemetry_pb2.EstimateSource.Value(f"ESTIMATE_SOURCE_{record.avoided.source.upper()}")
    return RecordPhasesRequest(phases=[phase])


def run_request(record: RunRecord) -> RecordRunsRequest:
    """Recording what is known of a run; what is not known stays absent."""
    run = telemetry_pb2.RunRecord(
        run_id=record.run_id,
        task=record.task[:256],
        batch_id=record.batch_id,
        base_commit=record.base_commit,
        spec_hash=record.spec_hash,
        agent=record.agent,
        agent_version=record.agent_version,
        outcome=telemetry_pb2.PhaseOutcome.Value(f"PHASE_OUTCOME_{record.outcome.upper() or 'UNSPECIFIED'}"),
        retries=record.attempt - 1,
        token_limit=record.token_limit,
        time_limit=duration_to_proto(record.time_limit),
    )
    if record.start_time is not None:
        run.start_time.FromDatetime(record.start_time)
    if record.duration is not None:
        run.duration.CopyFrom(duration_to_proto(record.duration))
    return RecordRunsRequest(runs=[run])


def agent_environment_request(run_id: str, phase_id: str, agent: str) -> agents_pb2.GetAgentEnvironmentRequest:
    """What makes an agent report."""
    return agents_pb2.GetAgentEnvironmentRequest(run_id=run_id, phase_id=phase_id, agent=agent)


def reporting(agent: str, response: agents_pb2.GetAgentEnvironmentResponse) -> Reporting:
    """What makes ``agent`` report."""
    found = {match[1] for value in response.env.values() for match in _BEARER.finditer(unquote(value))}
    return Reporting(
        agent=agent,
        env=dict(response.env),
        arguments=tuple(response.arguments),
        file_format=response.usage_file_format,
        file_pattern=response.usage_file_pattern,
        secrets=tuple(sorted(found)),
        sends=any(signal != agents_pb2.USAGE_SIGNAL_FILE for signal in response.signals),
    )


def import_request(run_id: str, phase_id: str, file_format: int, content: bytes) -> agents_pb2.ImportUsageRequest:
    """Handing in a file of an agent."""
    known = agents_pb2.UsageFileFormat.ValueType(file_format)
    return agents_pb2.ImportUsageRequest(run_id=run_id, phase_id=phase_id, format=known, content=content)


def summary_request(run_id: str) -> GetRunSummaryRequest:
    """The sums of a run."""
    return GetRunSummaryRequest(run_id=run_id)


def estimate_request(run_id: str) -> EstimateAvoidedTokensRequest:
    """What a doctor call of this run would cost."""
    return EstimateAvoidedTokensRequest(run_id=run_id)


def estimate(value: telemetry_pb2.Estimate) -> Estimate:
    """The estimate; its source is ``run_local``, ``global`` or ``fallback``."""
    source = telemetry_pb2.EstimateSource.Name(value.source).removeprefix("ESTIMATE_SOURCE_").lower()
    return Estimate(value.tokens, value.n, source)


def total_tokens(usage: TokenUsage) -> int:
    """Tokens of all kinds; reasoning is part of the output."""
    return usage.input + usage.cache_read + usage.cache_write + usage.output

"""Requests and responses of the orchestrator, to and from its own values. Bad fields are named, all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import Enum
from typing import TypeVar

from autopack_api.intention.v1 import intention_pb2
from autopack_api.orchestrator.v1 import batch_pb2, orchestrator_pb2
from autopack_api.orchestrator.v1.orchestrator_pb2 import BatchState as WireBatchState
from autopack_api.orchestrator.v1.orchestrator_pb2 import EventKind as WireEventKind
from autopack_api.orchestrator.v1.orchestrator_pb2 import RunState as WireRunState
from autopack_api.orchestrator.v1.orchestrator_pb2 import StepOutcome as WireStepOutcome
from autopack_api.toolchain.v1.toolchain_pb2 import StepKind as WireStepKind
from autopack_kit.commands import Command
from autopack_kit.convert import (
    command_from_proto,
    command_to_proto,
    duration_from_proto,
    duration_to_proto,
    timestamp_to_proto,
)
from autopack_kit.errors import FieldViolation, InvalidArgument, invalid_field

from autopack_orchestrator.convert_isolation import isolation_from_proto, limits_from_proto
from autopack_orchestrator.core.checks import MAX_RUNS, MAX_STEPS
from autopack_orchestrator.core.isolation import Isolation
from autopack_orchestrator.core.model import (
    AgentPreset,
    Batch,
    BatchSpec,
    Budget,
    Doctor,
    Event,
    HttpExecutor,
    Intention,
    MockExecutor,
    OnDrift,
    OnScopeViolation,
    Prepare,
    RetryOn,
    RetryPolicy,
    Run,
    RunSpec,
    RunState,
    StepKind,
    StepResult,
)
from autopack_orchestrator.core.needs import MAX_NEEDS
from autopack_orchestrator.core.sources import (
    MAX_COPIED_GLOBS,
    MAX_SPARSE_PATHS,
    Checkout,
    Publish,
    RemoteSource,
    Workplace,
)

__all__ = [
    "batch_spec_from_proto",
    "batch_to_proto",
    "event_to_proto",
    "run_states_from_proto",
    "run_to_proto",
    "spec_hash_input",
]

E = TypeVar("E", bound=Enum)
T = TypeVar("T")


class _Reader:
    """Reads fields and collects what is wrong with them, so that the caller hears of everything at once."""

    def __init__(self) -> None:
        self.violations: list[FieldViolation] = []

    def read(self, default: T, function: Callable[..., T], *arguments: object) -> T:
        """The converted value, or ``default`` with the violation noted."""
        try:
            return function(*arguments)
        except InvalidArgument as error:
            self.violations += error.violations or (FieldViolation("", error.message),)
            return default


_ANY = Command.of("true")


def batch_spec_from_proto(message: batch_pb2.BatchSpec) -> tuple[BatchSpec, list[FieldViolation]]:
    """The batch with its defaults filled in, and what could not be read of it; :mod:`.core.checks` judges the rest.

    One run and one step more than allowed are read, so that the check sees that there are too many.
    """
    reader = _Reader()
    default = BatchSpec(path="", runs=())
    isolation = reader.read(Isolation(), isolation_from_proto, message.isolation, "isolation")
    runs = tuple(
        _run(reader, run, f"runs[{index}]", isolation) for index, run in enumerate(message.runs[: MAX_RUNS + 1])
    )
    spec = BatchSpec(
        path=message.path,
        runs=runs,
        name=message.name or default.name,
        ref=message.ref or default.ref,
        max_concurrent_runs=message.max_concurrent_runs or default.max_concurrent_runs,
        budget=_budget(reader, message.budget, "budget"),
        priority=message.priority,
        retry=_retry(reader, message.retry),
        queue_timeout=_duration(reader, message, "queue_timeout", "", None),
        workplace=_workplace(reader, message),
    )
    return spec, reader.violations


def _workplace(reader: _Reader, message: batch_pb2.BatchSpec) -> Workplace:
    checkout, source = message.checkout, message.WhichOneof("source")
    publish = reader.read(None, _enum, Publish, batch_pb2.Publish, message.publish, "publish")
    return Workplace(
        remote=RemoteSource(message.remote.url, message.remote.credential) if source == "remote" else None,
        upload_id=message.upload_id,
        publish=publish or (Publish.LOCAL if source in (None, "path") else Publish.NONE),
        checkout=Checkout(
            sparse_paths=tuple(checkout.sparse_paths[: MAX_SPARSE_PATHS + 1]),
            submodules=checkout.submodules,
            lfs=checkout.lfs,
            copy_untracked=tuple(checkout.copy_untracked[: MAX_COPIED_GLOBS + 1]),
            worktreeinclude=checkout.worktreeinclude,
        ),
    )


def spec_hash_input(message: batch_pb2.BatchSpec) -> bytes:
    """What makes two batches the same under one request id."""
    return message.SerializeToString(deterministic=True)


def _run(reader: _Reader, message: batch_pb2.RunSpec, field: str, isolation: Isolation) -> RunSpec:
    default = RunSpec(name="", intention=Intention(title=""))
    kinds = [
        kind
        for index, value in enumerate(message.validate_kinds[:MAX_STEPS])
        if (kind := reader.read(None, _enum, StepKind, WireStepKind, value, f"{field}.validate_kinds[{index}]"))
    ]
    executor = message.WhichOneof("executor")
    return RunSpec(
        name=message.name,
        intention=_intention(message.intention),
        command=reader.read(_ANY, command_from_proto, message.command, f"{field}.command")
        if executor == "command"
        else None,
        agent=AgentPreset(message.agent.name, tuple(message.agent.arguments)) if executor == "agent" else None,
        mock=_mock(reader, message.mock, f"{field}.mock") if executor == "mock" else None,
        http=_http(reader, message.http, f"{field}.http") if executor == "http" else None,
        prepare=reader.read(None, _enum, Prepare, batch_pb2.Prepare, message.prepare, f"{field}.prepare")
        or default.prepare,
        install=_commands(reader, message.install, f"{field}.install"),
        validate=_commands(reader, message.validate, f"{field}.validate"),
        validate_kinds=tuple(kinds) or default.validate_kinds,
        fail_on_pre_existing=message.fail_on_pre_existing,
        no_mitigation=message.no_mitigation,
        mitigate_yes_to=tuple(message.mitigate_yes_to),
        on_scope_violation=reader.read(
            None,
            _enum,
            OnScopeViolation,
            batch_pb2.OnScopeViolation,
            message.on_scope_violation,
            f"{field}.on_scope_violation",
        )
        or default.on_scope_violation,
        on_drift=reader.read(None, _enum, OnDrift, batch_pb2.OnDrift, message.on_drift, f"{field}.on_drift")
        or default.on_drift,
        drift_interval=_duration(reader, message, "drift_interval", field, default.drift_interval),
        timeout=_duration(reader, message, "timeout", field, default.timeout),
        step_timeout=_duration(reader, message, "step_timeout", field, default.step_timeout),
        budget=_budget(reader, message.budget, f"{field}.budget"),
        doctor=Doctor(
            reader.read(_ANY, command_from_proto, message.doctor.command, f"{field}.doctor.command"),
            message.doctor.max_calls or 1,
        )
        if message.HasField("doctor")
        else None,
        max_attempts=message.max_attempts or default.max_attempts,
        pass_env=tuple(message.pass_env),
        limits=reader.read(default.limits, limits_from_proto, message.limits, f"{field}.limits"),
        idle_timeout=_duration(reader, message, "idle_timeout", field, None),
        prepare_timeout=_duration(reader, message, "prepare_timeout", field, default.prepare_timeout),
        isolation=isolation,
        needs=tuple(message.needs[: MAX_NEEDS + 1]),
    )


def _retry(reader: _Reader, message: batch_pb2.RetryPolicy) -> RetryPolicy:
    default = RetryPolicy()
    on = [
        kind
        for index, value in enumerate(message.on[:MAX_STEPS])
        if (kind := reader.read(None, _enum, RetryOn, batch_pb2.RetryOn, value, f"retry.on[{index}]"))
    ]
    first = _duration(reader, message, "initial_backoff", "retry", default.initial_backoff)
    return RetryPolicy(
        max_attempts=message.max_attempts or default.max_attempts,
        on=tuple(on) or default.on,
        initial_backoff=first,
        max_backoff=_duration(reader, message, "max_backoff", "retry", max(first, default.max_backoff)),
    )


def _intention(message: intention_pb2.Intention) -> Intention:
    return Intention(
        title=message.title,
        description=message.description,
        constraints=tuple(message.constraints),
        acceptance=tuple(message.acceptance),
        scope=tuple(message.scope),
        non_goals=tuple(message.non_goals),
        non_goal_globs=tuple(message.non_goal_globs),
        notes=tuple(message.notes),
    )


def _mock(reader: _Reader, message: batch_pb2.MockExecutor, field: str) -> MockExecutor:
    duration = _duration(reader, message, "duration", field, timedelta(0))
    return MockExecutor(message.seed, message.failure_rate, duration)


def _http(reader: _Reader, message: batch_pb2.HttpExecutor, field: str) -> HttpExecutor:
    default = HttpExecutor(url="")
    return HttpExecutor(
        url=message.url,
        headers=dict(message.headers),
        poll_interval=_duration(reader, message, "poll_interval", field, default.poll_interval),
        max_poll_interval=_duration(reader, message, "max_poll_interval", field, default.max_poll_interval),
        request_timeout=_duration(reader, message, "request_timeout", field, default.request_timeout),
    )


def _budget(reader: _Reader, message: batch_pb2.Budget, field: str) -> Budget:
    return Budget(
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        max_cost_microusd=message.max_cost_microusd if message.HasField("max_cost_microusd") else None,
        max_wall_time=_duration(reader, message, "max_wall_time", field, None),
    )


def _duration(reader: _Reader, message: object, name: str, field: str, default: T) -> timedelta | T:
    if not message.HasField(name):  # type: ignore[attr-defined]  # every message of batch.proto has it
        return default
    fallback: timedelta | T = default
    return reader.read(fallback, duration_from_proto, getattr(message, name), f"{field}.{name}" if field else name)


def _commands(reader: _Reader, messages: Sequence[object], field: str) -> tuple[Command, ...]:
    return tuple(
        reader.read(_ANY, command_from_proto, message, f"{field}[{index}]")
        for index, message in enumerate(messages[: MAX_STEPS + 1])
    )


def _enum(own: type[E], wire: object, value: int, field: str) -> E | None:
    """The own value of a wire enum; None for UNSPECIFIED.

    Raises:
        InvalidArgument: a number that this version does not know.
    """
    names = {member.name: member for member in own}
    known = {number: name for name, number in wire.items()}  # type: ignore[attr-defined]  # a protobuf enum
    name = known.get(value)
    if name is None:
        raise invalid_field(field, f"{value} is not known; use one of {', '.join(sorted(known.values()))}")
    if name.endswith("_UNSPECIFIED"):
        return None
    # The longest: FAILED is the end of AGENT_FAILED too.
    return names[max((own_name for own_name in names if name.endswith("_" + own_name)), key=len)]


def run_states_from_proto(values: Sequence[int]) -> list[RunState]:
    """The states to list.

    Raises:
        InvalidArgument: an unknown one.
    """
    found = [_enum(RunState, WireRunState, value, f"states[{index}]") for index, value in enumerate(values)]
    return [state for state in found if state is not None]


def batch_to_proto(batch: Batch) -> orchestrator_pb2.Batch:
    """A batch."""
    message = orchestrator_pb2.Batch(
        batch_id=batch.batch_id,
        name=batch.name,
        repository=batch.repository,
        base_commit=batch.base_commit,
        state=WireBatchState.Value(f"BATCH_STATE_{batch.state.name}"),
        runs_by_state=batch.runs_by_state,
        run_count=sum(batch.runs_by_state.values()),
        create_time=timestamp_to_proto(batch.create_time),
        last_sequence=batch.last_sequence,
        waiting_reason=batch.waiting_reason,
    )
    if batch.end_time is not None:
        message.end_time.CopyFrom(timestamp_to_proto(batch.end_time))
    return message


def run_to_proto(run: Run) -> orchestrator_pb2.Run:
    """A run."""
    result = run.result
    message = orchestrator_pb2.Run(
        run_id=run.run_id,
        batch_id=run.batch_id,
        name=run.name,
        state=WireRunState.Value(f"RUN_STATE_{run.state.name}"),
        activity=run.activity,
        attempt=run.attempt,
        branch=run.branch,
        base_commit=run.base_commit,
        head_commit=result.head_commit,
        tree_id=result.tree_id,
        create_time=timestamp_to_proto(run.create_time),
        changes=[
            orchestrator_pb2.FileChange(status=change.status, path=change.path, old_path=change.old_path)
            for change in result.changes
        ],
        reverted_paths=result.reverted_paths,
        steps=[_step_to_proto(step) for step in result.steps],
        mitigations=[
            orchestrator_pb2.MitigationResult(
                pattern_id=item.pattern_id,
                actions=item.actions,
                fixed=item.fixed,
                changed_paths=item.changed_paths,
                outcome=orchestrator_pb2.MitigationOutcome.Value(
                    f"MITIGATION_OUTCOME_{item.outcome.upper() or 'UNSPECIFIED'}"
                ),
            )
            for item in result.mitigations
        ],
        doctor_calls=result.doctor_calls,
        drift_verdict=intention_pb2.Verdict.Value(f"VERDICT_{result.drift_verdict.upper() or 'UNSPECIFIED'}"),
        drift_z=result.drift_z,
        intention_sha256=result.intention_sha256,
        patch_bytes=result.patch_bytes,
        agent_exit_code=result.agent_exit_code,
        warnings=result.warnings,
        cancel_requested=run.cancel_requested,
    )
    if result.error is not None:
        error = result.error
        message.error.CopyFrom(
            orchestrator_pb2.RunError(reason=error.reason, message=error.message, suggestions=error.suggestions)
        )
    if run.start_time is not None:
        message.start_time.CopyFrom(timestamp_to_proto(run.start_time))
    if run.end_time is not None:
        message.end_time.CopyFrom(timestamp_to_proto(run.end_time))
    if run.not_before is not None:
        message.not_before.CopyFrom(timestamp_to_proto(run.not_before))
    return message


def _step_to_proto(step: StepResult) -> orchestrator_pb2.StepResult:
    return orchestrator_pb2.StepResult(
        command=command_to_proto(step.command),
        outcome=WireStepOutcome.Value(f"STEP_OUTCOME_{step.outcome.name}"),
        exit_code=step.exit_code,
        duration=duration_to_proto(timedelta(seconds=step.seconds)),
        tries=step.tries,
        pattern_id=step.pattern_id,
    )


def event_to_proto(event: Event) -> orchestrator_pb2.Event:
    """An event."""
    return orchestrator_pb2.Event(
        sequence=event.sequence,
        batch_id=event.batch_id,
        run_id=event.run_id,
        time=timestamp_to_proto(event.time),
        kind=WireEventKind.Value(f"EVENT_KIND_{event.kind.name}"),
        message=event.message,
        attributes=event.attributes,
    )

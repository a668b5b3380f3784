"""From the domain to the wire: diagnoses with their actions, and patterns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_kit.convert import command_to_proto, duration_to_proto

from autopack_hardening.core.actions import (
    Action,
    ChangeCwd,
    DeclaredAtBase,
    DirectoryExists,
    EditCommand,
    FileExists,
    InstallDeclared,
    PathAbsent,
    Precondition,
    RegenerateLockfile,
    RemoveStaleLock,
    RestoreOutOfScope,
    RetryWithBackoff,
    RunCommand,
    RunFormatter,
    SetEnv,
    SwitchRuntime,
)
from autopack_hardening.core.model import Diagnosis, DiagnosisResult, Mitigation, Suggestion
from autopack_hardening.core.patterns import Pattern

__all__ = ["pattern_to_proto", "result_to_response"]


def result_to_response(result: DiagnosisResult, warnings: Sequence[str] = ()) -> pb.DiagnoseResponse:
    """The answer of ``Diagnose``."""
    return pb.DiagnoseResponse(
        outcome=pb.DiagnoseResponse.Outcome.Value(f"OUTCOME_{result.outcome.value}"),
        diagnoses=[_diagnosis(diagnosis) for diagnosis in result.diagnoses],
        warnings=warnings,
    )


def _diagnosis(diagnosis: Diagnosis) -> pb.Diagnosis:
    return pb.Diagnosis(
        pattern_id=diagnosis.pattern_id,
        title=diagnosis.title,
        priority=diagnosis.priority,
        confidence=diagnosis.confidence,
        excerpt=diagnosis.excerpt,
        line=diagnosis.line,
        captures=diagnosis.captures,
        mitigation=_mitigation(diagnosis.mitigation),
        aliases=diagnosis.aliases,
    )


def _mitigation(mitigation: Mitigation) -> pb.Mitigation:
    return pb.Mitigation(
        actions=[_action(action) for action in mitigation.actions],
        suggestions=_suggestions(mitigation.suggestions),
        risk=pb.Risk.Value(f"RISK_{mitigation.risk.value}"),
        automatic=mitigation.automatic,
        consent_reason=mitigation.consent_reason,
        verify=mitigation.verify,
        approval=pb.Approval.Value(f"APPROVAL_{mitigation.approval.value}"),
    )


def _action(action: Action) -> pb.Action:
    found = _kind(action)
    found.preconditions.extend(map(_precondition, action.preconditions))
    return found


def _kind(action: Action) -> pb.Action:
    match action.kind:
        case InstallDeclared(commands, distributions, declared_in):
            install = pb.InstallDeclared(
                commands=[command_to_proto(command) for command in commands],
                distributions=distributions,
                declared_in=declared_in,
            )
            return pb.Action(install_declared=install)
        case ChangeCwd(cwd):
            return pb.Action(change_cwd=pb.ChangeCwd(cwd=cwd))
        case SetEnv(env):
            return pb.Action(set_env=pb.SetEnv(env=env))
        case RestoreOutOfScope(paths):
            return pb.Action(restore_out_of_scope=pb.RestoreOutOfScope(paths=paths))
        case RunCommand(command):
            return pb.Action(run_command=pb.RunCommand(command=command_to_proto(command)))
        case RunFormatter(command, paths):
            return pb.Action(run_formatter=pb.RunFormatter(command=command_to_proto(command), paths=paths))
        case RegenerateLockfile(command, files):
            lock = pb.RegenerateLockfile(command=command_to_proto(command), files=files)
            return pb.Action(regenerate_lockfile=lock)
        case SwitchRuntime(name, version, directory):
            return pb.Action(switch_runtime=pb.SwitchRuntime(name=name, version=version, directory=directory))
        case RemoveStaleLock(path, min_age_s):
            age = duration_to_proto(timedelta(seconds=min_age_s))
            return pb.Action(remove_stale_lock=pb.RemoveStaleLock(path=path, min_age=age))
        case RetryWithBackoff(attempts, initial_s, max_s):
            retry = pb.RetryWithBackoff(
                attempts=attempts,
                initial=duration_to_proto(timedelta(seconds=initial_s)),
                longest=duration_to_proto(timedelta(seconds=max_s)),
            )
            return pb.Action(retry_with_backoff=retry)
        case EditCommand(command):
            return pb.Action(edit_command=pb.EditCommand(command=command_to_proto(command)))


def _precondition(precondition: Precondition) -> pb.Precondition:
    match precondition:
        case FileExists(path):
            return pb.Precondition(file_exists=path)
        case DirectoryExists(path):
            return pb.Precondition(directory_exists=path)
        case PathAbsent(path):
            return pb.Precondition(path_absent=path)
        case DeclaredAtBase(name, path):
            return pb.Precondition(declared_at_base=pb.DeclaredIn(name=name, path=path))


def pattern_to_proto(pattern: Pattern) -> pb.Pattern:
    """A pattern as ``ListPatterns`` shows it."""
    return pb.Pattern(
        pattern_id=pattern.id,
        title=pattern.title,
        description=pattern.description,
        priority=pattern.priority,
        any=[expression.regex for expression in pattern.any],
        none=pattern.none,
        risk=pb.Risk.Value(f"RISK_{pattern.risk.value}"),
        examples=[sample.output for sample in pattern.examples],
        near_misses=[sample.output for sample in pattern.near_misses],
        family=pattern.family,
        tier=pattern.tier,
        aliases=pattern.aliases,
        all=pattern.all,
        commands=pattern.commands,
        exit_codes=pattern.exit_codes,
        usual_exit_codes=pattern.usual_exit_codes,
        wraps=pattern.wraps,
        actions=[step.action for step in pattern.steps],
        approval=pb.Approval.Value(f"APPROVAL_{pattern.approval.value}"),
        suggestions=_suggestions(pattern.suggestions),
        otherwise=_suggestions(pattern.otherwise),
        verify=pattern.verify,
        is_custom=pattern.is_custom,
    )


def _suggestions(suggestions: Sequence[Suggestion]) -> list[pb.Suggestion]:
    return [pb.Suggestion(text=one.text, risk=one.risk) for one in suggestions]

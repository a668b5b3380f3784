"""Between the wire and the domain: checks of requests that name every bad field, and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_kit.convert import command_from_proto, command_to_proto, relative_path
from autopack_kit.errors import FieldViolation, InvalidArgument, invalid_fields
from autopack_kit.globs import MalformedGlob, check_globs

from autopack_hardening.core.model import (
    Action,
    ChangeCwd,
    DeclaredAtBase,
    DeclaredDependency,
    Diagnosis,
    DiagnosisResult,
    DirectoryExists,
    Ending,
    Failure,
    FileExists,
    InstallDeclared,
    Mitigation,
    PathAbsent,
    Precondition,
    ProjectFacts,
    RestoreOutOfScope,
    SetEnv,
)
from autopack_hardening.core.patterns import Pattern
from autopack_hardening.errors import output_too_large

__all__ = ["failure_from_request", "pattern_to_proto", "result_to_response"]

T = TypeVar("T")

MAX_OUTPUT_BYTES = 1 << 20
"""Bytes of output; the contract's limit. The cause of a failure stands near its end."""
MAX_PATHS = 50_000
"""Paths of the workspace, as many as a snapshot has."""
MAX_PATH_LENGTH = 4096
"""Characters of a path; PATH_MAX of Linux, which counts bytes and so allows no more."""
MAX_PROJECTS = 500
"""Projects; the largest repository of the labelled ones has under 100."""
MAX_DEPENDENCIES = 20_000
"""Declarations of one project; the lock files of large front ends list some thousands."""
MAX_INSTALL = 20
"""Install commands of one project."""
MAX_GLOBS = 200
"""Globs of a scope."""
MAX_NAME_BYTES = 256
"""Bytes of a name; npm allows 214, others fewer."""
MAX_VIOLATIONS = 20
"""Bad fields reported; a broken client repeats itself."""


def failure_from_request(request: pb.DiagnoseRequest) -> Failure:
    """The failure of a request.

    Raises:
        InvalidArgument: naming every bad field.
        ResourceExhausted: the output is over 1 MiB.
    """
    if len(request.output) > MAX_OUTPUT_BYTES:
        raise output_too_large(len(request.output), MAX_OUTPUT_BYTES)
    checks = _Checks()
    command = checks.attempt(lambda: command_from_proto(request.command)) if request.HasField("command") else None
    ending = _ending(request, checks)
    checks.count("projects", request.projects, MAX_PROJECTS)
    checks.count("paths", request.paths, MAX_PATHS)
    checks.count("out_of_scope_paths", request.out_of_scope_paths, MAX_PATHS)
    projects = tuple(
        _project(project, f"projects[{i}]", checks) for i, project in enumerate(request.projects[:MAX_PROJECTS])
    )
    paths = checks.paths("paths", request.paths[:MAX_PATHS])
    outside = checks.paths("out_of_scope_paths", request.out_of_scope_paths[:MAX_PATHS])
    _check_scope(request.scope, checks)
    checks.raise_if_bad()
    return Failure(
        command=command,
        ending=ending or Ending(exit_code=1),
        output=request.output,
        projects=projects,
        paths=paths,
        scope=tuple(request.scope),
        out_of_scope_paths=outside,
    )


class _Checks:
    """Collects what is wrong with a request, so that a caller sees all of it at once."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        if len(self._violations) < MAX_VIOLATIONS:
            self._violations.append(FieldViolation(field, description))

    def attempt(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except InvalidArgument as error:
            for violation in error.violations:
                self.add(violation.field, violation.description)
            return None

    def count(self, field: str, items: Sequence[object], limit: int) -> None:
        if len(items) > limit:
            self.add(field, f"has {len(items)} items; at most {limit} are allowed")

    def name(self, field: str, text: str) -> str:
        if not text or len(text.encode()) > MAX_NAME_BYTES or not text.isprintable():
            self.add(field, f"must have 1 to {MAX_NAME_BYTES} printable bytes")
        return text

    def paths(self, field: str, paths: Iterable[str]) -> tuple[str, ...]:
        """Relative paths. A plain test that costs little, because there may be 50,000 of them."""
        found = tuple(paths)
        for index, path in enumerate(found):
            self.path(f"{field}[{index}]", path)
        return found

    def path(self, field: str, path: str) -> None:
        if not path or path.startswith("/") or "\0" in path or (".." in path and ".." in path.split("/")):
            self.add(field, f"{path[:200]!r} must be relative and without '..'")
        elif len(path) > MAX_PATH_LENGTH:
            self.add(field, f"must have at most {MAX_PATH_LENGTH} characters")

    def raise_if_bad(self) -> None:
        if self._violations:
            raise invalid_fields(self._violations)


def _ending(request: pb.DiagnoseRequest, checks: _Checks) -> Ending | None:
    match request.WhichOneof("ending"):
        case "exit_code":
            return Ending(exit_code=request.exit_code)
        case "signal" if request.signal > 0:
            return Ending(signal=request.signal)
        case "signal":
            checks.add("signal", "must be the number of a signal, 1 or more")
        case "timed_out" if request.timed_out:
            return Ending(timed_out=True)
        case _:
            checks.add("ending", "is missing: set exit_code, signal, or timed_out to true")
    return None


def _project(project: pb.ProjectFacts, field: str, checks: _Checks) -> ProjectFacts:
    workdir = checks.attempt(lambda: relative_path(project.workdir or ".", f"{field}.workdir"))
    checks.count(f"{field}.install", project.install, MAX_INSTALL)
    checks.count(f"{field}.dependencies", project.dependencies, MAX_DEPENDENCIES)
    install = [
        checks.attempt(partial(command_from_proto, command, f"{field}.install[{i}]"))
        for i, command in enumerate(project.install[:MAX_INSTALL])
    ]
    return ProjectFacts(
        workdir=workdir or ".",
        ecosystem=checks.name(f"{field}.ecosystem", project.ecosystem),
        package_manager=project.package_manager,
        install=tuple(command for command in install if command is not None),
        dependencies=tuple(
            _dependency(dependency, f"{field}.dependencies[{i}]", checks)
            for i, dependency in enumerate(project.dependencies[:MAX_DEPENDENCIES])
        ),
    )


def _dependency(dependency: pb.DeclaredDependency, field: str, checks: _Checks) -> DeclaredDependency:
    checks.name(f"{field}.name", dependency.name)
    checks.path(f"{field}.path", dependency.path)
    return DeclaredDependency(dependency.name, dependency.path, dependency.declared_at_base)


def _check_scope(scope: Sequence[str], checks: _Checks) -> None:
    checks.count("scope", scope, MAX_GLOBS)
    try:
        check_globs(scope[:MAX_GLOBS])
    except MalformedGlob as error:
        checks.add(f"scope[{error.index}]", str(error))


def result_to_response(result: DiagnosisResult) -> pb.DiagnoseResponse:
    """The answer of ``Diagnose``."""
    return pb.DiagnoseResponse(
        outcome=pb.DiagnoseResponse.Outcome.Value(f"OUTCOME_{result.outcome.value}"),
        diagnoses=[_diagnosis(diagnosis) for diagnosis in result.diagnoses],
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
    )


def _mitigation(mitigation: Mitigation) -> pb.Mitigation:
    return pb.Mitigation(
        actions=[_action(action) for action in mitigation.actions],
        suggestions=[pb.Suggestion(text=one.text, risk=one.risk) for one in mitigation.suggestions],
        risk=pb.Risk.Value(f"RISK_{mitigation.risk.value}"),
        automatic=mitigation.automatic,
        consent_reason=mitigation.consent_reason,
        verify=mitigation.verify,
    )


def _action(action: Action) -> pb.Action:
    preconditions = [_precondition(one) for one in action.preconditions]
    match action.kind:
        case InstallDeclared(commands, distributions, declared_in):
            install = pb.InstallDeclared(
                commands=[command_to_proto(command) for command in commands],
                distributions=distributions,
                declared_in=declared_in,
            )
            return pb.Action(install_declared=install, preconditions=preconditions)
        case ChangeCwd(cwd):
            return pb.Action(change_cwd=pb.ChangeCwd(cwd=cwd), preconditions=preconditions)
        case SetEnv(env):
            return pb.Action(set_env=pb.SetEnv(env=env), preconditions=preconditions)
        case RestoreOutOfScope(paths):
            return pb.Action(restore_out_of_scope=pb.RestoreOutOfScope(paths=paths), preconditions=preconditions)


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
    )

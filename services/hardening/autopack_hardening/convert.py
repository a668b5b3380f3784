"""From the wire to the domain: checks of requests that name every bad field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_kit.convert import command_from_proto, relative_path
from autopack_kit.errors import FieldViolation, InvalidArgument, invalid_fields
from autopack_kit.globs import MalformedGlob, check_globs

from autopack_hardening.core.model import DeclaredDependency, Ending, Failure, ProjectFacts, Runtime
from autopack_hardening.errors import output_too_large

__all__ = ["failure_from_request"]

T = TypeVar("T")

MAX_OUTPUT_BYTES = 1 << 20
"""Bytes of output; the contract's limit. The cause of a failure stands near its end."""
MAX_HEAD_BYTES = 8 << 10
"""Bytes of the beginning; the contract's limit. It holds what was run, and with which versions."""
MAX_RUNTIMES = 100
"""Installed runtimes; version managers keep some dozens."""
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
    if len(request.head) > MAX_HEAD_BYTES:
        checks.add("head", f"has {len(request.head)} bytes; at most {MAX_HEAD_BYTES} are read")
    checks.count("projects", request.projects, MAX_PROJECTS)
    checks.count("paths", request.paths, MAX_PATHS)
    checks.count("out_of_scope_paths", request.out_of_scope_paths, MAX_PATHS)
    projects = tuple(
        _project(project, f"projects[{i}]", checks) for i, project in enumerate(request.projects[:MAX_PROJECTS])
    )
    paths = checks.paths("paths", request.paths[:MAX_PATHS])
    outside = checks.paths("out_of_scope_paths", request.out_of_scope_paths[:MAX_PATHS])
    _check_scope(request.scope, checks)
    runtimes = _runtimes(request.runtimes, checks)
    checks.raise_if_bad()
    return Failure(
        command=command,
        ending=ending or Ending(exit_code=1),
        output=request.output,
        projects=projects,
        paths=paths,
        scope=tuple(request.scope),
        out_of_scope_paths=outside,
        head=request.head,
        first_line=request.first_line,
        runtimes=runtimes,
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


def _runtimes(runtimes: Sequence[pb.InstalledRuntime], checks: _Checks) -> tuple[Runtime, ...]:
    checks.count("runtimes", runtimes, MAX_RUNTIMES)
    found = []
    for index, one in enumerate(runtimes[:MAX_RUNTIMES]):
        checks.name(f"runtimes[{index}].name", one.name)
        checks.name(f"runtimes[{index}].version", one.version)
        parts = one.directory.split("/")
        if not one.directory.startswith("/") or ".." in parts or "\0" in one.directory or ":" in one.directory:
            checks.add(f"runtimes[{index}].directory", "must be absolute, without '..' and ':'")
        found.append(Runtime(one.name, one.version, one.directory))
    return tuple(found)

"""Messages of ``autopack.toolchain.v1`` to and from the domain, with the checks of requests."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from autopack_api.common.v1 import common_pb2
from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_kit.convert import command_to_proto
from autopack_kit.errors import FieldViolation, InvalidArgument, invalid_field

from .adapters.snapshot import SnapshotFile, SnapshotTree
from .core.model import Detection, DetectionWarning, Evidence, PackageManager, Project, Step, StepKind, WorkspaceInfo
from .core.registry import Registry
from .core.tree import MAX_CONTENT_BYTES, MAX_DEPTH

__all__ = [
    "detection_to_proto",
    "evidence_to_proto",
    "path_or_snapshot",
    "snapshot_spec_to_proto",
    "source_from_proto",
    "step_to_proto",
    "warning_to_proto",
]

MAX_SNAPSHOT_FILES = 50_000
"""Files of a snapshot; the largest of 66 surveyed repositories has 27,674."""

MAX_SNAPSHOT_BYTES = 8 << 20
"""Bytes of content that a client should send at most: half of a request, so that 50,000 paths fit beside it."""

MAX_PATH_BYTES = 4096
"""Bytes of a path, as in POSIX's PATH_MAX on Linux."""

MAX_TRACKED_DIRECTORIES = 1_000
"""Directories that are both ignored and tracked; a repository has a handful."""

MAX_VIOLATIONS = 20
"""Bad fields that one error names; a client that gets one path wrong usually gets all of them wrong."""

_KINDS = {
    StepKind.INSTALL: toolchain_pb2.STEP_KIND_INSTALL,
    StepKind.BUILD: toolchain_pb2.STEP_KIND_BUILD,
    StepKind.TEST: toolchain_pb2.STEP_KIND_TEST,
    StepKind.LINT: toolchain_pb2.STEP_KIND_LINT,
    StepKind.TYPECHECK: toolchain_pb2.STEP_KIND_TYPECHECK,
    StepKind.FORMAT: toolchain_pb2.STEP_KIND_FORMAT,
    StepKind.RUN: toolchain_pb2.STEP_KIND_RUN,
}


def source_from_proto(request: toolchain_pb2.DetectRequest, max_depth: int = MAX_DEPTH) -> str | SnapshotTree:
    """The path or the snapshot of a request.

    Args:
        request: the message.
        max_depth: levels of directories of a snapshot that are looked at.

    Raises:
        InvalidArgument: neither is set, or fields of it are wrong; each is named.
    """
    if request.probe_tools and request.WhichOneof("source") == "snapshot":
        raise invalid_field("probe_tools", "is only for a path: the steps of a snapshot run elsewhere; leave it out")
    return path_or_snapshot(request, max_depth)


def path_or_snapshot(
    request: toolchain_pb2.DetectRequest | toolchain_pb2.NormalizePlanRequest, max_depth: int
) -> str | SnapshotTree:
    """What the field ``source`` of a request names.

    Raises:
        InvalidArgument: it is not set, or fields of it are wrong; each is named.
    """
    match request.WhichOneof("source"):
        case "path":
            if not request.path.startswith("/") or "\0" in request.path or len(request.path.encode()) > MAX_PATH_BYTES:
                raise invalid_field("path", f"must be an absolute path of at most {MAX_PATH_BYTES} bytes without NUL")
            return request.path
        case "snapshot":
            return _snapshot(request.snapshot, max_depth)
        case _:
            raise invalid_field("source", "is not set; give a path of the service's own disk, or a snapshot")


def _snapshot(message: common_pb2.WorkspaceSnapshot, max_depth: int) -> SnapshotTree:
    if len(message.files) > MAX_SNAPSHOT_FILES:
        raise invalid_field(
            "snapshot.files",
            f"has {len(message.files):,} entries; at most {MAX_SNAPSHOT_FILES:,} are allowed. Leave out the "
            "directories that GetSnapshotSpec names, and set truncated if files are missing",
        )
    if len(message.tracked_directories) > MAX_TRACKED_DIRECTORIES:
        raise invalid_field(
            "snapshot.tracked_directories",
            f"has {len(message.tracked_directories):,} entries; at most {MAX_TRACKED_DIRECTORIES:,} are allowed. Name "
            "the topmost directory only of nested ones",
        )
    violations: list[FieldViolation] = []
    seen: set[str] = set()
    for index, file in enumerate(message.files):
        for field, description in _wrong(file, seen):
            violations.append(FieldViolation(f"snapshot.files[{index}].{field}", description))
        seen.add(file.path)
        if len(violations) >= MAX_VIOLATIONS:
            break
    if violations:
        first = violations[0]
        raise InvalidArgument(
            f"{first.field}: {first.description}",
            reason="INVALID_SNAPSHOT",
            remedy="Send paths relative to the root of the source, as `git ls-files -z` prints them.",
            metadata={"field": first.field},
            violations=violations,
        )
    files = (
        SnapshotFile(f.path, f.size, f.mode or 0o100644, f.content if f.HasField("content") else None)
        for f in message.files
    )
    tracked = message.tracked_directories
    return SnapshotTree(files, truncated=message.truncated, tracked=tracked, max_depth=max_depth)


def _wrong(file: common_pb2.SnapshotFile, seen: set[str]) -> Iterator[tuple[str, str]]:
    parts = file.path.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in file.path:
        yield "path", f"{file.path[:200]!r} must be relative and normalised: no empty part, no '.', no '..', no NUL"
    elif len(file.path.encode()) > MAX_PATH_BYTES:
        yield "path", f"must have at most {MAX_PATH_BYTES} bytes"
    elif file.path in seen:
        yield "path", f"{file.path[:200]!r} is there twice"
    if len(file.content) > MAX_CONTENT_BYTES:
        yield "content", f"must have at most {MAX_CONTENT_BYTES:,} bytes; send larger files without content"


def detection_to_proto(detection: Detection, installed: Collection[str] | None = None) -> toolchain_pb2.DetectResponse:
    """The whole answer; with ``installed``, those of the tools that are there, it tells which are missing."""
    return toolchain_pb2.DetectResponse(
        projects=[_project(project, installed) for project in detection.projects],
        warnings=[warning_to_proto(warning) for warning in detection.warnings],
    )


def warning_to_proto(warning: DetectionWarning) -> toolchain_pb2.Warning:
    """One warning."""
    return toolchain_pb2.Warning(reason=warning.reason, message=warning.message, paths=warning.paths)


def snapshot_spec_to_proto(registry: Registry, max_depth: int) -> toolchain_pb2.GetSnapshotSpecResponse:
    """What a snapshot should contain."""
    rules = registry.prune_rules
    return toolchain_pb2.GetSnapshotSpecResponse(
        content_patterns=registry.content_patterns,
        pruned_directories=sorted(rules.never),
        max_files=MAX_SNAPSHOT_FILES,
        max_content_bytes=MAX_CONTENT_BYTES,
        max_total_bytes=MAX_SNAPSHOT_BYTES,
        generic_directories=sorted(rules.generic),
        generic_marks=sorted(rules.marks),
        boundary_files=sorted(rules.boundaries),
        max_depth=max_depth,
    )


def _project(project: Project, installed: Collection[str] | None) -> toolchain_pb2.Project:
    return toolchain_pb2.Project(
        workdir=project.workdir,
        ecosystem=project.ecosystem,
        confidence=project.confidence,
        package_manager=_manager(project.package_manager),
        runtime_versions=[
            toolchain_pb2.RuntimeVersion(name=r.name, constraint=r.constraint, source=evidence_to_proto(r.source))
            for r in project.runtime_versions
        ],
        steps=[step_to_proto(step, installed) for step in project.steps],
        evidence=[evidence_to_proto(item) for item in project.evidence],
        workspace=_workspace(project.workspace) if project.workspace else None,
    )


def _workspace(workspace: WorkspaceInfo) -> toolchain_pb2.Workspace:
    return toolchain_pb2.Workspace(
        tool=workspace.tool,
        root=workspace.root,
        members=workspace.members,
        evidence=evidence_to_proto(workspace.evidence),
    )


def _manager(manager: PackageManager) -> toolchain_pb2.PackageManager:
    return toolchain_pb2.PackageManager(
        name=manager.name,
        version=manager.version,
        confidence=manager.confidence,
        alternatives=[_manager(other) for other in manager.alternatives],
        evidence=[evidence_to_proto(item) for item in manager.evidence],
    )


def step_to_proto(step: Step, installed: Collection[str] | None = None) -> toolchain_pb2.Step:
    """One step; with ``installed`` it tells whether its tool is there."""
    state = toolchain_pb2.TOOL_STATE_UNSPECIFIED
    if installed is not None and step.tool:
        is_there = step.tool in installed
        state = toolchain_pb2.TOOL_STATE_FOUND if is_there else toolchain_pb2.TOOL_STATE_MISSING
    return toolchain_pb2.Step(
        kind=_KINDS[step.kind],
        command=command_to_proto(step.command),
        confidence=step.confidence,
        evidence=[evidence_to_proto(item) for item in step.evidence],
        tool=step.tool,
        tool_state=state,
    )


def evidence_to_proto(item: Evidence) -> common_pb2.Evidence:
    """One observation."""
    return common_pb2.Evidence(path=item.path, line=item.line, signal=item.signal, weight=item.weight)

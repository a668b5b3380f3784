"""Errors of the toolchain service, each with a fixed reason."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_kit.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound, PermissionDenied

__all__ = [
    "DependencyCycle",
    "NoDeliverable",
    "NoValidation",
    "PathNotAllowed",
    "PhaseWithoutDeliverable",
    "PlanTooLong",
    "SourceNotADirectory",
    "SourceNotFound",
    "SourceNotReadable",
    "TooManyPhases",
    "UnknownPhase",
]


class SourceNotFound(NotFound):
    """The path of a source does not exist."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The path {path!r} does not exist.",
            reason="SOURCE_NOT_FOUND",
            remedy="Check the spelling; the path is one of the machine on which the service runs.",
            metadata={"path": path},
        )


class SourceNotADirectory(InvalidArgument):
    """The path of a source is a file or something else."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The path {path!r} is not a directory.",
            reason="SOURCE_NOT_A_DIRECTORY",
            remedy="Name the directory that holds the project.",
            metadata={"path": path},
        )


class SourceNotReadable(FailedPrecondition):
    """The directory cannot be opened."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The directory {path!r} cannot be read.",
            reason="SOURCE_NOT_READABLE",
            remedy="Give the service's user permission to read it.",
            metadata={"path": path},
        )


class PathNotAllowed(PermissionDenied):
    """The path lies outside the roots that this service may read."""

    def __init__(self, path: str, roots: Sequence[str]) -> None:
        listed = ", ".join(roots) if roots else "none"
        super().__init__(
            f"The path {path!r} is not under an allowed root (allowed: {listed}).",
            reason="PATH_NOT_ALLOWED",
            remedy="Start the server with `autopack serve --allow-root DIR` or AUTOPACK_TOOLCHAIN_ALLOWED_ROOTS, or "
            "send a snapshot instead of a path (`autopack detect --snapshot`).",
            metadata={"path": path},
        )


class PlanTooLong(InvalidArgument):
    """The text of a plan has too many bytes or lines."""

    def __init__(self, amount: int, limit: int, unit: str) -> None:
        super().__init__(
            f"The plan has {amount:,} {unit}; at most {limit:,} are read.",
            reason="PLAN_TOO_LONG",
            remedy="Split it into several plans, or leave out logs and other attachments.",
            metadata={"field": "text", unit: str(amount), "limit": str(limit)},
            violations=[FieldViolation("text", f"has {amount:,} {unit}; at most {limit:,} are read")],
        )


class NoDeliverable(InvalidArgument):
    """A plan asks for nothing."""

    def __init__(self) -> None:
        super().__init__(
            "The plan names nothing to be done: no task, no request, no defect was found in its text.",
            reason="NO_DELIVERABLE",
            remedy="Write what is to be done as a sentence or a list item that begins with a verb, for example "
            '"- Add a retry with backoff to src/http/client.py", and what is wrong as a title, for example '
            '"Login fails with 500".',
            metadata={"field": "text"},
            violations=[FieldViolation("text", "names nothing to be done")],
        )


class PhaseWithoutDeliverable(InvalidArgument):
    """A phase of a plan asks for nothing."""

    def __init__(self, phase: str, line: int) -> None:
        super().__init__(
            f"Line {line}: phase {phase!r} names nothing to be done.",
            reason="PHASE_WITHOUT_DELIVERABLE",
            remedy='Write below it what is to be done, for example "- Add the table `orders`", or delete the phase.',
            metadata={"phase": phase, "line": str(line)},
            violations=[FieldViolation("text", f"line {line}: phase {phase!r} names nothing to be done")],
        )


class UnknownPhase(InvalidArgument):
    """A phase depends on something that is no phase."""

    def __init__(self, phase: str, name: str, line: int) -> None:
        super().__init__(
            f"Line {line}: phase {phase!r} depends on {name!r}, which is no phase of this plan, or not only one.",
            reason="UNKNOWN_PHASE",
            remedy='Name a phase by its number or its title, for example "(depends on Phase 1)", or write "none".',
            metadata={"phase": phase, "name": name, "line": str(line)},
            violations=[FieldViolation("text", f"line {line}: {name!r} is no phase")],
        )


class DependencyCycle(InvalidArgument):
    """Phases depend on each other in a circle."""

    def __init__(self, cycle: Sequence[str]) -> None:
        named = " -> ".join(cycle)
        super().__init__(
            f"The phases depend on each other in a circle: {named}.",
            reason="DEPENDENCY_CYCLE",
            remedy="Delete one of these dependencies.",
            metadata={"cycle": named},
            violations=[FieldViolation("text", f"dependencies in a circle: {named}")],
        )


class TooManyPhases(InvalidArgument):
    """A plan has more phases than are taken."""

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(
            f"The plan has {count:,} phases; at most {limit} are taken.",
            reason="TOO_MANY_PHASES",
            remedy="Split it into several plans.",
            metadata={"phases": str(count), "limit": str(limit)},
            violations=[FieldViolation("text", f"has {count:,} phases; at most {limit} are taken")],
        )


class NoValidation(FailedPrecondition):
    """Nothing in the repository can tell whether a change is right."""

    def __init__(self) -> None:
        super().__init__(
            "The repository has nothing that could validate a change: no test, lint, type check or build was detected.",
            reason="NO_VALIDATION",
            remedy="Add a test and say how it is run (a manifest with a test runner, a package script, a make target "
            "`test`, a step in the repository's CI); `autopack detect` shows what is found.",
        )

"""Errors of the toolchain service, each with a fixed reason."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_kit.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied

__all__ = ["PathNotAllowed", "SourceNotADirectory", "SourceNotFound", "SourceNotReadable"]


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

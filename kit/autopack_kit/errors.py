"""Errors that carry their own remedy.

Every error a user can meet is an :class:`AutopackError`: a sentence that says what was wrong, a stable ``reason`` for
programs (UPPER_SNAKE, AIP-193), a ``remedy`` that says what to do, and metadata with everything dynamic in the
sentence. The subclass chooses the gRPC status; :mod:`autopack_kit.interceptors` does the mapping, so no servicer
catches anything.

This module is pure: ``core/`` packages may import it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AutopackError",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "invalid_field",
    "invalid_fields",
]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One bad field of a request.

    Attributes:
        field: path of the field as the caller wrote it, for example ``runs[2].name``.
        description: what is wrong with it and what would be right.
    """

    field: str
    description: str


class AutopackError(Exception):
    """Base of all errors that are meant to be read by a user.

    Args:
        message: what was wrong, in one sentence.
        reason: stable UPPER_SNAKE identifier, at most 63 characters; what programs compare.
        remedy: what to do about it, in one sentence; empty only where nothing can be done.
        metadata: every dynamic part of the message, as strings.
        violations: the bad fields, for errors about the request itself.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        remedy: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.remedy = remedy
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class InvalidArgument(AutopackError):
    """The request is wrong whatever the state of the system."""


class OutOfRange(AutopackError):
    """A position in a stream or list that does not exist."""


class NotFound(AutopackError):
    """The named thing does not exist, or not for this tenant."""


class AlreadyExists(AutopackError):
    """The thing to create exists with other content."""


class FailedPrecondition(AutopackError):
    """The system is not in the state this request needs."""


class PermissionDenied(AutopackError):
    """The caller is known but may not do this."""


class Unauthenticated(AutopackError):
    """The caller did not prove who it is."""


class ResourceExhausted(AutopackError):
    """A limit is reached: size, count, queue or quota."""


class Unavailable(AutopackError):
    """A service or resource cannot be reached now; trying again may help."""


class Aborted(AutopackError):
    """A concurrent change won; read again and retry."""


class DeadlineExceeded(AutopackError):
    """The work did not end within its time."""


class Internal(AutopackError):
    """A fault of ours; the correlation id finds it in the log."""


def invalid_field(field: str, description: str, *, reason: str = "INVALID_FIELD") -> InvalidArgument:
    """An :class:`InvalidArgument` about one field.

    >>> str(invalid_field("runs[0].name", "must not be empty; give each run a name"))
    'runs[0].name: must not be empty; give each run a name'
    """
    return InvalidArgument(
        f"{field}: {description}",
        reason=reason,
        metadata={"field": field},
        violations=[FieldViolation(field, description)],
    )


def invalid_fields(violations: Sequence[FieldViolation]) -> InvalidArgument:
    """An :class:`InvalidArgument` about every bad field of a request at once; there must be one at least."""
    return InvalidArgument(
        " ".join(f"{violation.field} {violation.description}." for violation in violations),
        reason="INVALID_FIELD",
        remedy="Correct the fields named and send the request again.",
        metadata={"field": violations[0].field},
        violations=violations,
    )

"""What can go wrong in the telemetry service, with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from autopack_kit.errors import (
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)

__all__ = [
    "agent_not_known",
    "no_otlp_endpoint",
    "prices_refused",
    "prices_unreadable",
    "run_not_found",
    "session_not_of_run",
    "session_of_another_run",
]


def agent_not_known(name: str, known: Sequence[str]) -> NotFound:
    """``AGENT_NOT_KNOWN``: nothing is known about how it is made to report."""
    return NotFound(
        f"There is no agent {name[:40]!r}.",
        reason="AGENT_NOT_KNOWN",
        remedy=f"Use one of {', '.join(known)}; 'generic' is any program with an OpenTelemetry SDK.",
        metadata={"agent": name[:40], "known": ",".join(known)},
    )


def no_otlp_endpoint(protocol: str) -> FailedPrecondition:
    """``OTLP_ENDPOINT_UNKNOWN``: agents know no UNIX sockets, and an address of all addresses cannot be dialled."""
    names = {"http": "OTLP over HTTP", "grpc": "OTLP over gRPC"}
    return FailedPrecondition(
        f"This server has no address at which an agent could reach it by {names[protocol]}.",
        reason="OTLP_ENDPOINT_UNKNOWN",
        remedy="Give it an HTTP port (AUTOPACK_HTTP_ADDRESS=127.0.0.1:4318); where it listens on all addresses or "
        "stands behind a proxy, say where agents reach it (AUTOPACK_TELEMETRY_OTLP_ENDPOINT).",
        metadata={"protocol": protocol},
    )


def prices_refused(file: str, field: str, problem: str) -> InvalidArgument:
    """``PRICES_INVALID``: a price that is not understood is not guessed."""
    return InvalidArgument(
        f"{file}: {field} {problem}.",
        reason="PRICES_INVALID",
        remedy="Correct the file that AUTOPACK_TELEMETRY_PRICES_FILE names.",
        metadata={"file": file, "field": field},
        violations=[FieldViolation(field, problem)],
    )


def prices_unreadable(file: str, problem: str) -> FailedPrecondition:
    """``PRICES_UNREADABLE``: without its file a service would derive other costs than it was told to."""
    return FailedPrecondition(
        f"The prices in {file} cannot be read: {problem}.",
        reason="PRICES_UNREADABLE",
        remedy="Correct or unset AUTOPACK_TELEMETRY_PRICES_FILE.",
        metadata={"file": file},
    )


def run_not_found(run_id: str) -> NotFound:
    """``RUN_NOT_FOUND``: nothing was recorded for it under this tenant."""
    return NotFound(
        f"Nothing was recorded for run {run_id!r}.",
        reason="RUN_NOT_FOUND",
        remedy="Check the id, and that telemetry was on (AUTOPACK_TELEMETRY_ENABLED) when the run took place.",
        metadata={"run_id": run_id},
    )


def session_of_another_run(agent: str, session_id: str, run_id: str) -> AlreadyExists:
    """``SESSION_OF_ANOTHER_RUN``: what it tells belongs there, and moving it would change that run's sums."""
    return AlreadyExists(
        f"Session {session_id!r} of {agent!r} belongs to run {run_id!r}.",
        reason="SESSION_OF_ANOTHER_RUN",
        remedy="Give each run a session of its own.",
        metadata={"agent": agent, "session_id": session_id, "run_id": run_id},
    )


def session_not_of_run(agent: str, session_id: str, run_id: str) -> PermissionDenied:
    """``SESSION_NOT_OF_RUN``: an agent that knows a session's name could make its run pay, or shine, for another's."""
    return PermissionDenied(
        f"Session {session_id!r} of {agent!r} has told of usage outside run {run_id!r}, "
        "and the token of a run may not take it from there.",
        reason="SESSION_NOT_OF_RUN",
        remedy="Register it with a token that is not bound to a run, or before it tells of anything.",
        metadata={"agent": agent, "session_id": session_id, "run_id": run_id},
    )

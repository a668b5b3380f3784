"""Runs and sessions: messages to records with their checks, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autopack_api.telemetry.v1 import agents_pb2, telemetry_pb2
from autopack_kit import paging
from autopack_kit.errors import InvalidArgument, invalid_field

from autopack_telemetry.convert_values import (
    OUTCOME_NUMBERS,
    OUTCOMES,
    duration_message,
    duration_of,
    inside,
    known,
    time_of,
    timestamp_message,
    tokens_message,
)
from autopack_telemetry.core.checks import check_batch, check_run, check_run_id, check_session
from autopack_telemetry.core.model import RunRecord, Session, Signal

__all__ = ["SessionsQuery", "check_registration", "run_message", "runs_of", "session_page", "sessions_query"]

MAX_RUNS = 1_000
DEFAULT_PAGE = 100
MAX_PAGE = 1_000
"""Sessions of a page: each has up to five signals and under 2 KB."""

_SIGNALS = {signal: getattr(agents_pb2, f"USAGE_SIGNAL_{signal.name}") for signal in Signal}


def runs_of(request: telemetry_pb2.RecordRunsRequest, now: int) -> list[RunRecord]:
    """The runs of a request, checked.

    Raises:
        InvalidArgument: naming the field, such as ``runs[3].base_commit``.
    """
    check_batch(request.runs, MAX_RUNS, "runs")
    runs = []
    for index, message in enumerate(request.runs):
        try:
            run = _run(message)
            check_run(run, now)
        except InvalidArgument as error:
            raise inside(f"runs[{index}]", error) from error
        runs.append(run)
    return runs


def check_registration(request: agents_pb2.RegisterSessionRequest) -> None:
    """A session that can be registered.

    Raises:
        InvalidArgument: naming the field.
    """
    check_session(request.agent, request.session_id, request.run_id, request.phase_id)


@dataclass(frozen=True, slots=True)
class SessionsQuery:
    """A page of sessions that is asked for.

    Attributes:
        run_id: of this run; None for any, also none.
        unattributed: only those of no run.
        before: key below which the page begins; None for the first page.
        size: sessions at most.
    """

    run_id: str | None
    unattributed: bool
    before: int | None
    size: int

    def page(self, sessions: list[Session]) -> agents_pb2.ListSessionsResponse:
        """The answer from one session more than the page has, if there are so many."""
        shown = sessions[: self.size]
        more = len(sessions) > self.size
        token = paging.encode_token((shown[-1].key,), _filters(self.run_id or "", self.unattributed)) if more else ""
        return session_page(shown, token)


def sessions_query(request: agents_pb2.ListSessionsRequest) -> SessionsQuery:
    """What is asked for, checked.

    Raises:
        InvalidArgument: naming the field.
    """
    if request.run_id:
        check_run_id(request.run_id)
        if request.unattributed:
            raise invalid_field("unattributed", "has no meaning with run_id; leave one of them out")
    key = paging.decode_token(request.page_token, _filters(request.run_id, request.unattributed), int)
    return SessionsQuery(
        run_id=request.run_id or None,
        unattributed=request.unattributed,
        before=key[0] if key else None,
        size=paging.page_size(request.page_size, default=DEFAULT_PAGE, maximum=MAX_PAGE),
    )


def session_page(sessions: Iterable[Session], token: str) -> agents_pb2.ListSessionsResponse:
    """A page."""
    return agents_pb2.ListSessionsResponse(sessions=map(_session_message, sessions), next_page_token=token)


def run_message(run: RunRecord) -> telemetry_pb2.RunRecord:
    """What is known of a run."""
    message = telemetry_pb2.RunRecord(
        run_id=run.run_id,
        task=run.task,
        batch_id=run.batch_id,
        base_commit=run.base_commit,
        spec_hash=run.spec_hash,
        agent=run.agent,
        agent_version=run.agent_version,
        models=run.models,
        outcome=OUTCOME_NUMBERS[run.outcome],
        retries=run.retries,
        token_limit=run.token_limit,
    )
    if run.started_at is not None:
        message.start_time.CopyFrom(timestamp_message(run.started_at))
    if run.duration is not None:
        message.duration.CopyFrom(duration_message(run.duration))
    if run.time_limit is not None:
        message.time_limit.CopyFrom(duration_message(run.time_limit))
    return message


def _run(message: telemetry_pb2.RunRecord) -> RunRecord:
    return RunRecord(
        run_id=message.run_id,
        task=message.task,
        batch_id=message.batch_id,
        base_commit=message.base_commit,
        spec_hash=message.spec_hash,
        agent=message.agent,
        agent_version=message.agent_version,
        models=dict(message.models),
        started_at=time_of(message.start_time, "start_time") if message.HasField("start_time") else None,
        duration=duration_of(message.duration, "duration") if message.HasField("duration") else None,
        outcome=known(OUTCOMES, message.outcome, "outcome"),
        retries=message.retries if message.HasField("retries") else None,
        token_limit=message.token_limit if message.HasField("token_limit") else None,
        time_limit=duration_of(message.time_limit, "time_limit") if message.HasField("time_limit") else None,
    )


def _session_message(session: Session) -> agents_pb2.AgentSession:
    return agents_pb2.AgentSession(
        agent=session.agent,
        session_id=session.session_id,
        run_id=session.run_id,
        signal=_SIGNALS[session.signal],
        reported=[
            agents_pb2.SignalUsage(
                signal=_SIGNALS[total.signal], records=total.records, tokens=tokens_message(total.tokens)
            )
            for total in session.reported
        ],
        mismatch=session.mismatch,
        first_time=timestamp_message(session.first_time),
        last_time=timestamp_message(session.last_time),
    )


def _filters(run_id: str, unattributed: bool) -> dict[str, object]:
    return {"run_id": run_id, "unattributed": unattributed}

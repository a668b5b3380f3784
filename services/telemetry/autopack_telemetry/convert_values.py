"""Values that several messages have, both ways."""

from __future__ import annotations

from typing import TypeVar

from autopack_api.common.v1 import common_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from autopack_kit.errors import InvalidArgument, invalid_field
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from autopack_telemetry.core.model import PhaseOutcome, Tokens

__all__ = [
    "OUTCOMES",
    "OUTCOME_NUMBERS",
    "duration_message",
    "duration_of",
    "inside",
    "known",
    "time_of",
    "timestamp_message",
    "tokens_message",
]

T = TypeVar("T")

OUTCOMES = {getattr(pb, f"PHASE_OUTCOME_{outcome.name}"): outcome for outcome in PhaseOutcome}
OUTCOME_NUMBERS = {outcome: number for number, outcome in OUTCOMES.items()}

_MICRO = 1_000_000


def known(values: dict[int, T], number: int, field: str) -> T:
    """The value of an enum's number.

    Raises:
        InvalidArgument: it is none of them.
    """
    value = values.get(number)
    if value is None:
        raise invalid_field(field, f"{number} is not one of its values")
    return value


def inside(item: str, error: InvalidArgument) -> InvalidArgument:
    """The error of a field of ``item`` with its whole path; not built for the many items that are right."""
    violation = error.violations[0]
    return invalid_field(f"{item}.{violation.field}", violation.description)


def time_of(message: Timestamp, field: str) -> int:
    """Microseconds since 1970.

    Raises:
        InvalidArgument: its nanos are none.
    """
    if not 0 <= message.nanos < 1000 * _MICRO:
        raise invalid_field(field, "has nanos out of range")
    return message.seconds * _MICRO + message.nanos // 1000


def duration_of(message: Duration, field: str) -> int:
    """Microseconds.

    Raises:
        InvalidArgument: its nanos are none.
    """
    if not 0 <= message.nanos < 1000 * _MICRO:
        raise invalid_field(field, "must be positive, with nanos in range")
    return message.seconds * _MICRO + message.nanos // 1000


def timestamp_message(time: int) -> Timestamp:
    """Of microseconds since 1970."""
    return Timestamp(seconds=time // _MICRO, nanos=time % _MICRO * 1000)


def duration_message(duration: int) -> Duration:
    """Of microseconds."""
    return Duration(seconds=duration // _MICRO, nanos=duration % _MICRO * 1000)


def tokens_message(tokens: Tokens) -> common_pb2.TokenUsage:
    """Tokens by kind."""
    return common_pb2.TokenUsage(
        input=tokens.input,
        cache_read=tokens.cache_read,
        cache_write=tokens.cache_write,
        output=tokens.output,
        reasoning=tokens.reasoning,
    )

"""``autopack.common.v1`` messages and protobuf's own types, to and from the kit's; with the checks of requests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from types import MappingProxyType

from autopack_api.common.v1 import common_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from autopack_kit.commands import MAX_SCRIPT_BYTES, MAX_WORD_BYTES, MAX_WORDS, Command, Script
from autopack_kit.errors import invalid_field

__all__ = [
    "command_from_proto",
    "command_to_proto",
    "duration_from_proto",
    "duration_to_proto",
    "relative_path",
    "timestamp_from_proto",
    "timestamp_to_proto",
]

MAX_ENV = 256
"""Variables added to an environment."""
MAX_PATH_BYTES = 4096
"""Bytes of a path, Linux's PATH_MAX."""
NANOS = 10**9
"""Nanoseconds of a second."""


def command_to_proto(command: Command) -> common_pb2.Command:
    """The command as a message."""
    message = common_pb2.Command(cwd=command.cwd, env=dict(command.env))
    if command.script is not None:
        message.script.CopyFrom(common_pb2.Script(interpreter=command.script.interpreter, text=command.script.text))
    else:
        message.argv.words.extend(command.argv)
    if command.timeout is not None:
        message.timeout.CopyFrom(duration_to_proto(command.timeout))
    return message


def command_from_proto(message: common_pb2.Command, field: str = "command") -> Command:
    """The command of a request.

    Args:
        message: the message.
        field: its path in the request, for errors.

    Raises:
        InvalidArgument: neither argv nor script, a limit exceeded, a NUL, or a cwd that leaves the workspace.
    """
    timeout = duration_from_proto(message.timeout, f"{field}.timeout") if message.HasField("timeout") else None
    if timeout is not None and timeout <= timedelta(0):
        raise invalid_field(f"{field}.timeout", "must be longer than 0; leave it out for the default")
    cwd = relative_path(message.cwd or ".", f"{field}.cwd")
    env = _env(message, f"{field}.env")
    match message.WhichOneof("program"):
        case "argv":
            words = _words(message.argv.words, f"{field}.argv.words")
            return Command(argv=words, cwd=cwd, env=env, timeout=timeout)
        case "script":
            interpreter = _words(message.script.interpreter, f"{field}.script.interpreter")
            text = message.script.text
            if not text or len(text.encode()) > MAX_SCRIPT_BYTES or "\0" in text:
                raise invalid_field(f"{field}.script.text", f"must have 1 to {MAX_SCRIPT_BYTES} bytes and no NUL")
            return Command(script=Script(interpreter, text), cwd=cwd, env=env, timeout=timeout)
        case _:
            raise invalid_field(field, "has neither argv nor script; set exactly one")


def relative_path(text: str, field: str) -> str:
    """A path inside the workspace, normalised, ``"."`` for its root.

    Raises:
        InvalidArgument: it is empty, absolute, too long, or has ``..``, a backslash or a NUL.
    """
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text or "\0" in text:
        raise invalid_field(field, f"{text[:200]!r} must be a relative path with '/' and without '..'")
    if len(text.encode()) > MAX_PATH_BYTES:
        raise invalid_field(field, f"must have at most {MAX_PATH_BYTES} bytes")
    return str(path)


def duration_to_proto(value: timedelta) -> Duration:
    """The duration, to the microsecond."""
    message = Duration()
    message.FromTimedelta(value)
    return message


def duration_from_proto(message: Duration, field: str = "duration") -> timedelta:
    """The duration of a request.

    Raises:
        InvalidArgument: it is outside of protobuf's range of 10,000 years, or its parts differ in sign.
    """
    if abs(message.nanos) >= NANOS or message.seconds * message.nanos < 0:
        raise invalid_field(field, "is not a valid duration: its nanos are out of range or of another sign")
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise invalid_field(field, "is not a valid duration") from error


def timestamp_to_proto(value: datetime) -> Timestamp:
    """The instant; a naive datetime is a mistake of ours, because it would be read as UTC whatever it meant.

    Raises:
        ValueError: ``value`` has no time zone.
    """
    if value.tzinfo is None:
        raise ValueError("a timestamp needs a time zone")
    message = Timestamp()
    message.FromDatetime(value)
    return message


def timestamp_from_proto(message: Timestamp, field: str = "timestamp") -> datetime:
    """The instant of a request, in UTC, to the microsecond.

    Raises:
        InvalidArgument: it is outside of the years 1 to 9999.
    """
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise invalid_field(field, "is not a valid timestamp") from error


def _words(words: Iterable[str], field: str) -> tuple[str, ...]:
    values = tuple(words)
    if not values or not values[0]:
        raise invalid_field(field, "needs at least a program")
    if len(values) > MAX_WORDS:
        raise invalid_field(field, f"has {len(values)} words; at most {MAX_WORDS} are allowed")
    for index, word in enumerate(values):
        if "\0" in word or len(word.encode()) > MAX_WORD_BYTES:
            raise invalid_field(f"{field}[{index}]", f"must have at most {MAX_WORD_BYTES} bytes and no NUL")
    return values


def _env(message: common_pb2.Command, field: str) -> MappingProxyType[str, str]:
    if len(message.env) > MAX_ENV:
        raise invalid_field(field, f"has {len(message.env)} variables; at most {MAX_ENV} are allowed")
    for name, value in message.env.items():
        if not name or "=" in name or "\0" in name:
            raise invalid_field(
                field, f"{name[:64]!r} is not a variable name: it must be non-empty, without '=' and NUL"
            )
        if "\0" in value or len(value.encode()) > MAX_WORD_BYTES:
            raise invalid_field(f"{field}[{name[:64]}]", f"must have at most {MAX_WORD_BYTES} bytes and no NUL")
    return MappingProxyType(dict(message.env))

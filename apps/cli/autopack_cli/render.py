"""What commands print: tables and sentences for people, protobuf JSON for programs, one block for an error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from autopack_api.common.v1 import common_pb2
from autopack_kit.commands import quote
from autopack_kit.errors import AutopackError
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "clean",
    "clean_name",
    "command_line",
    "console",
    "elapsed",
    "enum_word",
    "err_console",
    "local_time",
    "print_error",
    "print_json",
    "print_messages",
    "seconds_of",
    "table",
]

UNFOLDED = 240
"""Columns when the output is no terminal: a table that is folded at 80 cannot be searched."""

_WHOLE = frozenset(
    {"state", "files", "time", "created", "setting", "from", "service", "health", "step", "sure", "tool"}
)
"""Columns of short words and of names that are copied: on a narrow terminal the others are folded."""

_REMEDIES = {
    "RPC_UNAVAILABLE": "Check --address, that a server runs there, and whether it wants TLS (`autopack --tls-ca ...`).",
    "RPC_UNIMPLEMENTED": "The server at this address does not run that service; give the address of one that does.",
}
"""For errors that come from gRPC itself and bring no remedy of their own."""


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else UNFOLDED
    # rich honours NO_COLOR and TERM=dumb by itself.
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False, width=width)


def console() -> Console:
    """For results."""
    return _console(stderr=False)


def err_console() -> Console:
    """For progress and errors."""
    return _console(stderr=True)


def print_json(message: Message) -> None:
    """One message as protobuf JSON with the names of the proto file."""
    sys.stdout.write(MessageToJson(message, preserving_proto_field_name=True) + "\n")


def print_messages(messages: Sequence[Message | None]) -> None:
    """One message as itself, several as a list, in which ``null`` stands for an answer that there is not."""
    if len(messages) == 1 and messages[0] is not None:
        print_json(messages[0])
        return
    rows = [message and MessageToDict(message, preserving_proto_field_name=True) for message in messages]
    sys.stdout.write(json.dumps(rows, indent=2) + "\n")


def print_error(error: AutopackError) -> None:
    """One block: what is wrong, which fields, what to do."""
    out = err_console()
    out.print(Text.assemble(("error: ", "bold red"), clean(error.message)), soft_wrap=True)
    for item in error.violations:
        if item.description not in error.message:
            out.print(Text(f"  {clean(item.field)}: {clean(item.description)}"), soft_wrap=True)
    remedy = error.remedy or _REMEDIES.get(error.reason, "")
    if remedy:
        out.print(Text.assemble(("  what to do: ", "bold"), clean(remedy)), soft_wrap=True)
    out.print(Text(f"  reason: {error.reason}", style="dim"), soft_wrap=True)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's style."""
    result = Table(
        title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", show_header=any(columns)
    )
    for column in columns:
        result.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    return result


def clean(text: str) -> str:
    """Text from outside without what would steer a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text.replace("\t", "    "))


def clean_name(name: str) -> str:
    """As :func:`clean`, on one line: a file's name must not look like more of the output."""
    return clean(name).replace("\n", "\ufffd")


def command_line(command: common_pb2.Command, here: str = ".") -> str:
    """A command as a person would type it, with its directory unless that is ``here``."""
    if command.WhichOneof("program") == "script":
        return f"{quote(command.script.interpreter)} <script>"
    line = quote(command.argv.words)
    return line if (command.cwd or ".") == here else f"{line}  (in {command.cwd})"


def elapsed(seconds: float) -> str:
    """``8s``, ``1m05s``, ``2h07m``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def local_time(timestamp: Timestamp) -> datetime:
    """A moment as the clock on the person's wall shows it."""
    return timestamp.ToDatetime(tzinfo=UTC).astimezone()


def seconds_of(duration: Duration) -> float:
    """Seconds of a protobuf duration."""
    return duration.seconds + duration.nanos / 1e9


def enum_word(enum: Any, number: int, prefix: str) -> str:
    """``RUN_STATE_TIMED_OUT`` as ``timed out``; an unknown number as itself, for a server newer than this command."""
    try:
        name: str = enum.Name(number)
    except ValueError:
        return str(number)
    return name.removeprefix(prefix).lower().replace("_", " ")

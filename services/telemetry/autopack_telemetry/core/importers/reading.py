"""A file's bytes to usage: which format it is, and what that format's importer finds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from autopack_kit.errors import InvalidArgument, invalid_field

from autopack_telemetry.core.checks import check_usage
from autopack_telemetry.core.importers import aider, claude, codex, gemini, mini, openhands
from autopack_telemetry.core.importers.found import MAX_WARNINGS, Entry, Format, Found

__all__ = ["MAX_BYTES", "MAX_ENTRIES", "MAX_RECORDS", "import_usage"]

MAX_BYTES = 60 << 20
"""A day's log of an agent has a few; the message that carries it may have 64 MiB."""
MAX_ENTRIES = 500_000
"""Lines of a file, each of which is held in memory at once; 60 MiB of an agent's lines are far fewer."""
MAX_RECORDS = 100_000
"""Calls of one file: more than an agent makes in a month."""
_BOM = b"\xef\xbb\xbf"
_START = re.compile(rb"\s*[{\[]")


class _Importer(NamedTuple):
    matches: Callable[[dict[str, Any]], bool]
    read: Callable[[Sequence[Entry], str, str, int], Found]


_IMPORTERS: Mapping[Format, _Importer] = {
    # The order decides where a line could be of several: those that name more come first.
    Format.MINI_SWE_AGENT: _Importer(mini.matches, mini.read),
    Format.OPENHANDS: _Importer(openhands.matches, openhands.read),
    Format.AIDER: _Importer(aider.matches, aider.read),
    Format.CODEX: _Importer(codex.matches, codex.read),
    Format.CLAUDE: _Importer(claude.matches, claude.read),
    Format.GEMINI: _Importer(gemini.matches, gemini.read),
}


def import_usage(
    content: bytes, run_id: str, phase_id: str, now: int, wanted: Format | None = None
) -> tuple[Format, Found]:
    """The usage in a file.

    Args:
        content: the file; at most :data:`MAX_BYTES`.
        run_id: whose usage it is.
        phase_id: of the run; may be empty.
        now: microseconds since 1970, the time of entries that name none.
        wanted: its format; None to tell it from the content.

    Raises:
        InvalidArgument: the content is empty or too large, ``FORMAT_UNKNOWN`` if it is of no known format, or
            ``FORMAT_MISMATCH`` if it is not of the ``wanted`` one.
    """
    if not content or content.isspace():
        raise invalid_field("content", "is empty; hand in the file that the agent wrote")
    if len(content) > MAX_BYTES:
        raise invalid_field("content", f"has {len(content)} bytes; at most {MAX_BYTES} are read, so split it by lines")
    entries, broken = _entries(content)
    chosen = _format(entries) if wanted is None else wanted
    importer = None if chosen is None else _IMPORTERS[chosen]
    own = [] if importer is None else [entry for entry in entries if importer.matches(entry.value)]
    if chosen is None or importer is None or not own:
        raise _not_of(wanted, entries, broken)
    found = importer.read(own, run_id, phase_id, now)
    for sentence in broken:
        found.warn(sentence)
    if not found.records and not found.warnings:
        found.warn("the file tells of no call")
    if len(found.records) > MAX_RECORDS:
        raise invalid_field("content", f"tells of {len(found.records)} calls; at most {MAX_RECORDS} are read at once")
    _keep_what_can_be_true(found, now)
    return chosen, found


def _keep_what_can_be_true(found: Found, now: int) -> None:
    """Leaves out what could not be recorded, such as a call of next year."""
    kept = []
    for record in found.records:
        try:
            check_usage(record, now)
        except InvalidArgument as error:
            found.warn(f"{record.usage_id}: {error.message}")
        else:
            kept.append(record)
    found.records = kept


def _format(entries: Sequence[Entry]) -> Format | None:
    """The format of the first entry that is of any."""
    for entry in entries:
        for name, importer in _IMPORTERS.items():
            if importer.matches(entry.value):
                return name
    return None


def _entries(content: bytes) -> tuple[list[Entry], list[str]]:
    """The JSON objects of a file, whether it is one, a list or lines, and what could not be read."""
    content = content.removeprefix(_BOM)
    whole = _whole(content)
    if whole is not None:
        return whole, []
    entries, broken = list[Entry](), list[str]()
    for number, line in enumerate(BytesIO(content), 1):
        if line.isspace():
            continue
        value = _load(line)
        if isinstance(value, dict):
            if len(entries) >= MAX_ENTRIES:
                raise invalid_field("content", f"has more than {MAX_ENTRIES} entries; split it by lines")
            entries.append(Entry(f"line {number}", value))
        elif len(broken) < MAX_WARNINGS:
            broken.append(f"line {number}: is no JSON object")
    return entries, broken


def _whole(content: bytes) -> list[Entry] | None:
    """A file that is one JSON value, of one line or of many."""
    if _START.match(content) is None:
        return None
    value = _load(content)
    if isinstance(value, dict):
        return [Entry("the file", value)]
    if isinstance(value, list):
        return [Entry(f"entry {number}", item) for number, item in enumerate(value, 1) if isinstance(item, dict)]
    return None


def _load(data: bytes) -> Any:
    """The value; None for what is no JSON, also NaN, numbers of thousands of digits and nesting without end."""
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _not_of(wanted: Format | None, entries: Sequence[Entry], broken: Sequence[str]) -> InvalidArgument:
    known = ", ".join(item.value for item in Format)
    more = "at least " if len(broken) == MAX_WARNINGS else ""
    kinds = f"{len(entries)} JSON objects and {more}{len(broken)} other lines"
    if wanted is None:
        return invalid_field(
            "content",
            f"is of no known format ({known}); it has {kinds}. Check that it is what the agent wrote",
            reason="FORMAT_UNKNOWN",
        )
    return invalid_field(
        "content",
        f"has nothing of the format {wanted.value} in its {kinds}; without a format it is told from the content",
        reason="FORMAT_MISMATCH",
    )

"""aider: ``--analytics-log FILE``, one JSON object a line, of which ``message_send`` carries tokens.

A message is one turn of the chat; the calls that write messages of commits are told nowhere. ``prompt_tokens`` includes
what the provider read from its cache, and no part is told, so all of it is input; the cost knows better. The log goes
on from process to process and has no ids: an entry's is made from its user, time and counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autopack_telemetry.core.importers.found import (
    Entry,
    Found,
    count,
    digest,
    mapping,
    microseconds,
    microusd,
    split_model,
)
from autopack_telemetry.core.model import Signal, Tokens, UsageRecord

__all__ = ["matches", "read"]

_REDACTED = "REDACTED"  # stands for a model that aider does not know


def matches(entry: dict[str, Any]) -> bool:
    """Whether a line is one of this log."""
    return isinstance(entry.get("event"), str) and isinstance(entry.get("properties"), dict) and "user_id" in entry


def read(entries: Sequence[Entry], run_id: str, phase_id: str, now: int) -> Found:
    """The usage of every ``message_send``."""
    found, seen, session = Found(), Counter[str](), ""
    for entry in entries:
        value = entry.value
        if value.get("event") == "launched":
            session = digest("aider", value.get("user_id"), value.get("time"))
        if value.get("event") != "message_send":
            continue
        try:
            record = _record(value, run_id, phase_id, session, now)
        except ValueError as error:
            found.warn(f"{entry.place}: {error}")
            continue
        seen[record.usage_id] += 1  # two messages of one second that cost nothing look alike
        number = seen[record.usage_id]
        found.records.append(record if number == 1 else replace(record, usage_id=f"{record.usage_id}:{number}"))
    return found


def _record(value: dict[str, Any], run_id: str, phase_id: str, session: str, now: int) -> UsageRecord:
    told = mapping(value, "properties")
    tokens = Tokens(
        input=count(told.get("prompt_tokens"), "prompt_tokens"),
        output=count(told.get("completion_tokens"), "completion_tokens"),
    )
    provider, model = split_model(told.get("main_model"))
    time = microseconds(value.get("time"))
    return UsageRecord(
        run_id=run_id,
        usage_id="aider:" + digest(value.get("user_id"), value.get("time"), told),
        time=now if time is None else time,
        tokens=tokens,
        phase_id=phase_id,
        agent="aider",
        provider=provider,
        model="" if model == _REDACTED else model,
        reported_cost_microusd=microusd(told.get("cost"), tokens),
        session_id=session,
        signal=Signal.FILE,
    )

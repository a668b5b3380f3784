"""Gemini CLI: ``gemini -p ... --output-format json``, one object, or ``stream-json``, one event a line.

Both tell the tokens of one process by model: after ``--resume`` the count begins anew, under the same session id. So a
record's id is made from the session and from all that was counted. ``prompt`` includes what was read from a cache;
``candidates`` excludes the thoughts, which are output too. The stream names neither the thoughts nor the prompts of
tools: what its total has above input and output is counted as thoughts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autopack_telemetry.core.importers.found import (
    MAX_TEXT,
    Entry,
    Found,
    count,
    digest,
    mapping,
    text,
    timestamp,
    tokens_of,
)
from autopack_telemetry.core.model import Signal, Tokens, UsageRecord

__all__ = ["matches", "read"]

_STREAM = frozenset({"message", "tool_use", "tool_result", "error"})


def matches(entry: dict[str, Any]) -> bool:
    """Whether this is the object, or a line of the stream."""
    if isinstance(mapping(entry, "stats").get("models"), dict):
        return True
    kind = text(entry.get("type"))
    if kind == "init":
        return "session_id" in entry and "model" in entry
    if kind == "result":
        return "stats" in entry
    return kind in _STREAM and "timestamp" in entry and "uuid" not in entry


def read(entries: Sequence[Entry], run_id: str, phase_id: str, now: int) -> Found:
    """One record per process and model."""
    found, session = Found(), ""
    for entry in entries:
        session = text(entry.value.get("session_id"), MAX_TEXT) or session
        stats = mapping(entry.value, "stats")
        for model, told in mapping(stats, "models").items():
            try:
                tokens = _tokens(mapping(told))
            except ValueError as error:
                found.warn(f"{entry.place}: {text(model) or 'a model'}: {error}")
                continue
            if tokens.total == 0:
                continue
            time = timestamp(entry.value.get("timestamp"))
            found.records.append(
                UsageRecord(
                    run_id=run_id,
                    usage_id="gemini:" + digest(session, model, stats, entry.value.get("timestamp")),
                    time=now if time is None else time,
                    tokens=tokens,
                    phase_id=phase_id,
                    agent="gemini",
                    provider="google",
                    model=text(model),
                    session_id=session,
                    signal=Signal.FILE,
                )
            )
    if not any("stats" in entry.value for entry in entries):
        found.warn("the process did not come to its end: its usage is told by the last event, which is missing")
    return found


def _tokens(told: dict[str, Any]) -> Tokens:
    if "total_tokens" in told:
        return _of_stream(told)
    tokens = mapping(told, "tokens")
    if not tokens:
        raise ValueError("tells no tokens")
    thoughts = count(tokens.get("thoughts"), "thoughts")
    # The prompts of tools are input beside the prompt.
    return tokens_of(
        inclusive=count(tokens.get("prompt"), "prompt") + count(tokens.get("tool"), "tool"),
        cache_read=count(tokens.get("cached"), "cached"),
        cache_write=0,
        output=count(tokens.get("candidates"), "candidates") + thoughts,
        reasoning=thoughts,
        what="prompt",
    )


def _of_stream(told: dict[str, Any]) -> Tokens:
    given = count(told.get("input_tokens"), "input_tokens")
    answered = count(told.get("output_tokens"), "output_tokens")
    thoughts = max(count(told.get("total_tokens"), "total_tokens") - given - answered, 0)
    return tokens_of(
        inclusive=given,
        cache_read=count(told.get("cached"), "cached"),
        cache_write=0,
        output=answered + thoughts,
        reasoning=thoughts,
        what="input_tokens",
    )

"""Codex CLI: ``codex exec --json``, one event a line.

``turn.completed`` carries the tokens of its *thread* since the thread began, also of turns before it and of processes
before a ``codex exec resume``: the last one is the sum of all, and adding them up would count the first turn over and
over. So a thread is one cumulative record. Its input includes what was read from and written to a cache. The events
name neither the model nor a cost nor a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autopack_telemetry.core.importers.found import MAX_TEXT, Entry, Found, count, digest, mapping, text, tokens_of
from autopack_telemetry.core.model import Signal, Tokens, UsageRecord

__all__ = ["matches", "read"]

_TYPES = frozenset({
    "thread.started", "turn.started", "turn.completed", "turn.failed", "item.started", "item.updated", "item.completed",
})  # fmt: skip


def matches(entry: dict[str, Any]) -> bool:
    """Whether a line is one of these events."""
    return text(entry.get("type")) in _TYPES


def read(entries: Sequence[Entry], run_id: str, phase_id: str, now: int) -> Found:
    """One record per thread."""
    found, threads = Found(), dict[str, Tokens]()
    thread = ""
    for entry in entries:
        kind = entry.value.get("type")
        if kind == "thread.started":
            thread = text(entry.value.get("thread_id"), MAX_TEXT)
        elif kind == "turn.completed":
            try:
                tokens = _tokens(mapping(entry.value, "usage"))
            except ValueError as error:
                found.warn(f"{entry.place}: {error}")
                continue
            before = threads.get(thread)
            if before is None or tokens.total >= before.total:
                threads[thread] = tokens
        elif kind == "turn.failed":
            found.warn(f"{entry.place}: the turn failed; Codex does not tell what such a turn used")
    for name, tokens in threads.items():
        # Without its first line a file still has one id for as long as it begins alike.
        session = name or digest("codex", entries[0].value)
        found.records.append(
            UsageRecord(
                run_id=run_id,
                usage_id=f"codex:{session}",
                time=now,
                tokens=tokens,
                phase_id=phase_id,
                agent="codex",
                session_id=session,
                signal=Signal.FILE,
                cumulative=True,
            )
        )
    return found


def _tokens(usage: dict[str, Any]) -> Tokens:
    if "input_tokens" not in usage:
        raise ValueError("turn.completed tells no usage")
    return tokens_of(
        inclusive=count(usage.get("input_tokens"), "input_tokens"),
        cache_read=count(usage.get("cached_input_tokens"), "cached_input_tokens"),
        cache_write=count(usage.get("cache_write_input_tokens"), "cache_write_input_tokens"),
        output=count(usage.get("output_tokens"), "output_tokens"),
        reasoning=count(usage.get("reasoning_output_tokens"), "reasoning_output_tokens"),
        what="input_tokens",
    )

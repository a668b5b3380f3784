"""Claude Code: ``claude -p --output-format json``, one object or (with ``--verbose``) a list, or ``stream-json``.

The ``result`` at the end tells the tokens and the cost by model in ``modelUsage``, of the whole *session*: after
``--resume`` those of the processes before are in it, while ``usage`` beside it tells of the last process alone. So a
session is one cumulative record per model. Its kinds of tokens are disjoint.

Lines before it carry the usage with which a response began: its input is right, its output is a place holder, and
the lines of one response repeat it. They count only where there is no result, because the process was ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autopack_telemetry.core.importers.found import (
    MAX_ID,
    MAX_TEXT,
    Entry,
    Found,
    count,
    digest,
    mapping,
    microusd,
    text,
    timestamp,
)
from autopack_telemetry.core.model import Signal, Tokens, UsageRecord

__all__ = ["matches", "read"]

_RESULT = "result"
_WITH_SESSION = frozenset({"system", "assistant", "user", "stream_event", "rate_limit_event"})


def matches(entry: dict[str, Any]) -> bool:
    """Whether this is the result, or a line of the stream."""
    if entry.get("type") == _RESULT:
        return "total_cost_usd" in entry or "modelUsage" in entry or "num_turns" in entry
    return text(entry.get("type")) in _WITH_SESSION and ("session_id" in entry or "sessionId" in entry)


def read(entries: Sequence[Entry], run_id: str, phase_id: str, now: int) -> Found:
    """One record per session and model, or, where a session has no result, per response."""
    found = Found()
    base = UsageRecord(
        run_id=run_id, usage_id="", time=now, phase_id=phase_id, agent="claude", provider="anthropic",
        signal=Signal.FILE,
    )  # fmt: skip
    ended = set[str]()
    for entry in entries:
        if entry.value.get("type") == _RESULT:
            session = text(entry.value.get("session_id"), MAX_TEXT)
            ended.add(session)
            _result(found, entry, base, session)
    _responses(found, entries, base, ended)
    found.records = _largest(found.records)
    return found


def _result(found: Found, entry: Entry, base: UsageRecord, session: str) -> None:
    value = entry.value
    by_model = mapping(value, "modelUsage")
    for model, told in by_model.items():
        told = mapping(told)
        try:
            tokens = Tokens(
                input=count(told.get("inputTokens"), "inputTokens"),
                cache_read=count(told.get("cacheReadInputTokens"), "cacheReadInputTokens"),
                cache_write=count(told.get("cacheCreationInputTokens"), "cacheCreationInputTokens"),
                output=(output := count(told.get("outputTokens"), "outputTokens")),
                reasoning=min(count(told.get("thinkingTokens"), "thinkingTokens"), output),
            )
        except ValueError as error:
            found.warn(f"{entry.place}: {text(model) or 'a model'}: {error}")
            continue
        if tokens.total:
            identity = f"{session or digest(value)}:{text(model)}"
            found.records.append(_with(base, "claude:" + identity, session, text(model), tokens, told.get("costUSD")))
    if not by_model:
        _older_result(found, entry, base, session)


def _older_result(found: Found, entry: Entry, base: UsageRecord, session: str) -> None:
    """Without models: of the process alone, and not cumulative."""
    value = entry.value
    try:
        tokens = _usage(mapping(value, "usage"))
    except ValueError as error:
        found.warn(f"{entry.place}: {error}")
        return
    if tokens.total == 0:
        found.warn(f"{entry.place}: the result tells no usage")
        return
    identity = text(value.get("uuid")) or digest(value)
    record = _with(base, f"claude:{identity}", session, "", tokens, value.get("total_cost_usd"))
    found.records.append(replace(record, cumulative=False))


def _responses(found: Found, entries: Sequence[Entry], base: UsageRecord, ended: set[str]) -> None:
    """Responses of sessions that came to no result."""
    by_id = dict[str, UsageRecord]()
    for entry in entries:
        value, message = entry.value, mapping(entry.value, "message")
        session = text(value.get("session_id") or value.get("sessionId"), MAX_TEXT)
        if value.get("type") != "assistant" or session in ended or "usage" not in message:
            continue
        response = text(message.get("id"), MAX_ID - 16)
        try:
            tokens = _usage(mapping(message, "usage"))
        except ValueError as error:
            found.warn(f"{entry.place}: {error}")
            continue
        identity = response or digest(value)
        record = _with(base, f"claude:{identity}", session, text(message.get("model")), tokens, None)
        time = timestamp(value.get("timestamp"))
        record = replace(record, cumulative=False, response_id=response, time=base.time if time is None else time)
        before = by_id.get(identity)
        if before is None or tokens.total > before.tokens.total:
            by_id[identity] = record
    if by_id:
        found.warn("a session has no result: its output is a lower bound, as lines tell only where responses began")
    found.records += by_id.values()


def _usage(usage: dict[str, Any]) -> Tokens:
    """Anthropic's own counts."""
    return Tokens(
        input=count(usage.get("input_tokens"), "input_tokens"),
        cache_read=count(usage.get("cache_read_input_tokens"), "cache_read_input_tokens"),
        cache_write=count(usage.get("cache_creation_input_tokens"), "cache_creation_input_tokens"),
        output=count(usage.get("output_tokens"), "output_tokens"),
    )


def _with(base: UsageRecord, usage_id: str, session: str, model: str, tokens: Tokens, cost: Any) -> UsageRecord:
    return replace(
        base,
        usage_id=usage_id,
        session_id=session,
        model=model,
        tokens=tokens,
        reported_cost_microusd=microusd(cost, tokens),
        cumulative=True,
    )


def _largest(records: Sequence[UsageRecord]) -> list[UsageRecord]:
    """Each id once, as it was last: a stream with several results counts on from one to the next."""
    found = dict[str, UsageRecord]()
    for record in records:
        before = found.get(record.usage_id)
        if before is None or record.tokens.total >= before.tokens.total:
            found[record.usage_id] = record
    return list(found.values())

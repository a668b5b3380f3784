"""mini-swe-agent: a trajectory, one JSON object whose messages hold the responses of the model.

The usage is LiteLLM's, which counts what was read from and written to a cache as part of the input, of chat
completions or of the Responses API. The file is rewritten after every step, so the same responses come again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autopack_telemetry.core.importers.found import (
    MAX_ID,
    Entry,
    Found,
    count,
    digest,
    mapping,
    microseconds,
    microusd,
    sequence,
    split_model,
    text,
    tokens_of,
)
from autopack_telemetry.core.model import Signal, Tokens, UsageRecord

__all__ = ["matches", "read"]


def matches(entry: dict[str, Any]) -> bool:
    """Whether a whole file is a trajectory."""
    return isinstance(entry.get("messages"), list) and (
        "trajectory_format" in entry or "model_stats" in mapping(entry, "info")
    )


def read(entries: Sequence[Entry], run_id: str, phase_id: str, now: int) -> Found:
    """The usage of every message that holds a response."""
    found = Found()
    for entry in entries:
        _read_one(found, entry, run_id, phase_id, now)
    return found


def _read_one(found: Found, entry: Entry, run_id: str, phase_id: str, now: int) -> None:
    answers = [
        (index, extra)
        for index, message in enumerate(sequence(entry.value.get("messages")))
        if (extra := mapping(message, "extra")) and mapping(extra, "response", "usage")
    ]
    if not answers:
        found.warn(f"{entry.place}: no message holds the usage of a response")
        return
    first = answers[0][1]
    session = digest("mini-swe-agent", mapping(first, "response").get("id"), first.get("timestamp"))
    for index, extra in answers:
        try:
            found.records.append(_record(extra, index, session, run_id, phase_id, now))
        except ValueError as error:
            found.warn(f"messages[{index}]: {error}")
    calls = mapping(entry.value, "info", "model_stats").get("api_calls")
    if isinstance(calls, int) and calls > len(answers):
        found.warn(f"model_stats counts {calls} calls, of which {len(answers)} told their usage")


def _record(extra: dict[str, Any], index: int, session: str, run_id: str, phase_id: str, now: int) -> UsageRecord:
    response = mapping(extra, "response")
    tokens = _tokens(mapping(response, "usage"))
    response_id = text(response.get("id"), MAX_ID - 8)
    provider, model = split_model(response.get("model"))
    time = microseconds(extra.get("timestamp"))
    return UsageRecord(
        run_id=run_id,
        usage_id=f"mini:{response_id}" if response_id else f"mini:{session}:{index}",
        time=now if time is None else time,
        tokens=tokens,
        phase_id=phase_id,
        agent="mini-swe-agent",
        provider=provider,
        model=model,
        reported_cost_microusd=microusd(extra.get("cost"), tokens),
        session_id=session,
        response_id=response_id,
        signal=Signal.FILE,
    )


def _tokens(usage: dict[str, Any]) -> Tokens:
    completions = "prompt_tokens" in usage
    names = ("prompt_tokens", "completion_tokens") if completions else ("input_tokens", "output_tokens")
    of_input = mapping(usage, f"{names[0]}_details")
    of_output = mapping(usage, f"{names[1]}_details")
    read = of_input.get("cached_tokens")
    written = of_input.get("cache_creation_tokens")
    return tokens_of(
        inclusive=count(usage.get(names[0]), names[0]),
        # LiteLLM writes Anthropic's counts beside the details, too.
        cache_read=count(usage.get("cache_read_input_tokens") if read is None else read, "cached_tokens"),
        cache_write=count(
            usage.get("cache_creation_input_tokens") if written is None else written, "cache_creation_tokens"
        ),
        output=count(usage.get(names[1]), names[1]),
        reasoning=count(of_output.get("reasoning_tokens"), "reasoning_tokens"),
        what=names[0],
    )

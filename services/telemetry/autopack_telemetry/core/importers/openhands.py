"""OpenHands: ``base_state.json`` of a conversation, which counts every response by what it was for.

The usage is LiteLLM's: what was read from and written to a cache is part of the input. The file is rewritten after
every step, so the same responses come again. Times are those of the costs; a model without a known price has none.
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
from autopack_telemetry.core.model import Signal, UsageRecord

__all__ = ["matches", "read"]


def matches(entry: dict[str, Any]) -> bool:
    """Whether a whole file is the state of a conversation."""
    return bool(mapping(entry, "stats", "usage_to_metrics"))


def read(entries: Sequence[Entry], run_id: str, phase_id: str, now: int) -> Found:
    """The usage of every response."""
    found = Found()
    for entry in entries:
        session = text(entry.value.get("id"), MAX_ID) or digest("openhands", entry.value.get("stats"))
        for use, metrics in mapping(entry.value, "stats", "usage_to_metrics").items():
            costs = sequence(mapping(metrics).get("costs"))
            usages = sequence(mapping(metrics).get("token_usages"))
            # A response without a price has no cost; only where each has one do they belong together.
            paired = costs if len(costs) == len(usages) else [None] * len(usages)
            for index, (usage, cost) in enumerate(zip(usages, paired, strict=True)):
                try:
                    where = (run_id, phase_id, f"{session}:{text(use)}:{index}", session)
                    found.records.append(_record(mapping(usage), mapping(cost), where, now))
                except ValueError as error:
                    found.warn(f"{text(use)}.token_usages[{index}]: {error}")
    return found


def _record(usage: dict[str, Any], cost: dict[str, Any], where: tuple[str, str, str, str], now: int) -> UsageRecord:
    run_id, phase_id, place, session = where
    tokens = tokens_of(
        inclusive=count(usage.get("prompt_tokens"), "prompt_tokens"),
        cache_read=count(usage.get("cache_read_tokens"), "cache_read_tokens"),
        cache_write=count(usage.get("cache_write_tokens"), "cache_write_tokens"),
        output=count(usage.get("completion_tokens"), "completion_tokens"),
        reasoning=count(usage.get("reasoning_tokens"), "reasoning_tokens"),
        what="prompt_tokens",
    )
    provider, model = split_model(usage.get("model"))
    response_id = text(usage.get("response_id"), MAX_ID - 16)
    time = microseconds(cost.get("timestamp"))
    return UsageRecord(
        run_id=run_id,
        usage_id=f"openhands:{response_id}" if response_id else f"openhands:{digest(place)}",
        time=now if time is None else time,
        tokens=tokens,
        phase_id=phase_id,
        agent="openhands",
        provider=provider,
        model=model,
        reported_cost_microusd=microusd(cost.get("cost"), tokens),
        session_id=session,
        response_id=response_id,
        signal=Signal.FILE,
    )

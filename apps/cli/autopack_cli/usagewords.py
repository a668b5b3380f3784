"""Tokens and costs in words."""

from __future__ import annotations

from autopack_api.common.v1 import common_pb2
from autopack_api.telemetry.v1 import agents_pb2, telemetry_pb2

from autopack_cli.render import clean, enum_word

__all__ = ["cost_rows", "dollars", "kinds", "signal_word", "total"]

MICRO = 1_000_000


def total(tokens: common_pb2.TokenUsage) -> int:
    """What was processed; reasoning is a part of the output."""
    return tokens.input + tokens.cache_read + tokens.cache_write + tokens.output


def kinds(tokens: common_pb2.TokenUsage) -> str:
    """``input 203, cache read 4,030, output 110 (reasoning 21)``: the kinds that there are."""
    named = (
        ("input", tokens.input),
        ("cache read", tokens.cache_read),
        ("cache write", tokens.cache_write),
        ("output", tokens.output),
    )
    words = ", ".join(f"{name} {count:,}" for name, count in named if count)
    return f"{words} (reasoning {tokens.reasoning:,})" if tokens.reasoning else words


def dollars(microusd: int) -> str:
    """``$0.1178``."""
    return f"${microusd / MICRO:,.4f}"


def cost_rows(summary: telemetry_pb2.GetRunSummaryResponse) -> list[tuple[str, str]]:
    """What was said and what was worked out, apart: only the first comes from whoever sends the bill."""
    rows = [("cost", dollars(summary.cost_microusd))]
    reported = summary.reported_cost_microusd
    if summary.cost_microusd:
        lists = ", ".join(clean(name) for name in summary.price_lists)
        rows += [
            ("of this, reported by agents", dollars(reported)),
            (
                "of this, from tokens and prices",
                dollars(summary.cost_microusd - reported) + (f" ({lists})" if lists else ""),
            ),
        ]
    if summary.records_without_cost:
        rows.append(("calls whose cost is not known", str(summary.records_without_cost)))
    return rows


def signal_word(number: int) -> str:
    """``log`` for ``USAGE_SIGNAL_LOG``."""
    return enum_word(agents_pb2.UsageSignal, number, "USAGE_SIGNAL_")

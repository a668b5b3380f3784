"""``autopack stats``: what a run cost, and what it did not."""

from __future__ import annotations

from typing import Annotated

import typer
from autopack_api.common.v1 import common_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from rich.text import Text

from autopack_cli.options import Address, Json
from autopack_cli.render import clean, console, elapsed, enum_word, print_json, seconds_of, table
from autopack_cli.session import Needs, run, session

__all__ = ["describe_estimate", "register"]

MICRO = 1_000_000
_SOURCES = {
    pb.ESTIMATE_SOURCE_RUN_LOCAL: "median of this run's own doctor calls",
    pb.ESTIMATE_SOURCE_GLOBAL: "median of the last doctor calls",
    pb.ESTIMATE_SOURCE_FALLBACK: "a constant: fewer than 3 doctor calls were seen",
}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("stats")(stats)


def stats(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `autopack runs list` shows it.")],
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Sum up one run: phases, tokens, cost, fixes, and doctor calls that were not needed.

    \b
    autopack stats nightly-7k2q9d.fix-login
    """

    async def work() -> tuple[pb.GetRunSummaryResponse, pb.Estimate]:
        async with session(address, Needs(("telemetry",))) as client:
            summary = await client.telemetry.GetRunSummary(pb.GetRunSummaryRequest(run_id=run_id))
            found = await client.telemetry.EstimateAvoidedTokens(pb.EstimateAvoidedTokensRequest(run_id=run_id))
            return summary, found.estimate

    summary, estimate = run(work)
    if as_json:
        print_json(summary)
        return
    out = console()
    rows = table("", "")
    for name, value in _rows(summary):
        rows.add_row(Text(name), Text(value))
    rows.add_row(Text("a doctor call here would take"), Text(describe_estimate(estimate)))
    out.print(clean(summary.run_id), style="bold")
    out.print(rows)


def describe_estimate(estimate: pb.Estimate) -> str:
    """``12,000 tokens (n = 0, a constant: ...)``."""
    return f"{estimate.tokens:,} tokens (n = {estimate.n}, {_SOURCES.get(estimate.source, 'unknown source')})"


def _rows(summary: pb.GetRunSummaryResponse) -> list[tuple[str, str]]:
    outcomes = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in sorted(summary.phases_by_outcome.items())
    )
    cost = f"${summary.cost_microusd / MICRO:.4f}"
    if summary.records_without_cost:
        cost += f" and {summary.records_without_cost} calls whose cost is not known"
    patterns = ", ".join(f"{clean(name)} ({count})" for name, count in sorted(summary.patterns.items()))
    rows = [
        ("phases", f"{summary.phases} ({outcomes})" if outcomes else str(summary.phases)),
        ("time of all phases", elapsed(seconds_of(summary.duration))),
        ("model calls", str(summary.usage_records)),
        ("tokens", _tokens(summary.tokens)),
        ("of these, by the doctor", _tokens(summary.doctor_tokens)),
        ("cost", cost),
        ("failures diagnosed", f"{summary.hardening_triggered}" + (f": {patterns}" if patterns else "")),
        ("of these, fixed", str(summary.mitigated)),
        ("doctor calls made", str(summary.doctor_calls)),
        ("doctor calls not needed", str(summary.doctor_skipped)),
    ]
    for item in summary.avoided:
        source = enum_word(pb.EstimateSource, item.source, "ESTIMATE_SOURCE_")
        rows.append(("tokens avoided (estimate)", f"{item.tokens:,} (n = {item.total_n}, {source})"))
    return rows


def _tokens(usage: common_pb2.TokenUsage) -> str:
    total = usage.input + usage.cache_read + usage.cache_write + usage.output
    return f"{total:,}" + (f" (output {usage.output:,})" if total else "")

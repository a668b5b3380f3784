"""``autopack stats``: what a run cost, and what it did not."""

from __future__ import annotations

from typing import Annotated

import typer
from autopack_api.common.v1 import common_pb2
from autopack_api.telemetry.v1 import telemetry_pb2 as pb
from rich.table import Table
from rich.text import Text

from autopack_cli.options import Address, Json
from autopack_cli.render import clean, console, elapsed, enum_word, err_console, print_json, seconds_of, table
from autopack_cli.session import Needs, run, session
from autopack_cli.usagewords import cost_rows, kinds, total

__all__ = ["describe_estimate", "register"]

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
    out.print(clean(summary.run_id), style="bold")
    out.print(_table(_rows(summary)))
    out.print()
    out.print("avoided (estimates, not measured; sources are never added up)", style="bold")
    out.print(_table([*_avoided(summary), ("a doctor call here would take", describe_estimate(estimate))]))
    for sentence in summary.warnings:
        err_console().print(Text(f"warning: {clean(sentence)}"), soft_wrap=True)


def _table(pairs: list[tuple[str, str]]) -> Table:
    rows = table("", "")
    for name, value in pairs:
        rows.add_row(Text(name), Text(value))
    return rows


def describe_estimate(estimate: pb.Estimate) -> str:
    """``12,000 tokens (n = 0, a constant: ...)``, with the interval of the median where there is one."""
    words = f"{estimate.tokens:,} tokens"
    if estimate.HasField("confidence_level"):
        words += f", {estimate.low:,} to {estimate.high:,} with {estimate.confidence_level:.1%} confidence"
    return f"{words} (n = {estimate.n}, {_SOURCES.get(estimate.source, 'unknown source')})"


def _rows(summary: pb.GetRunSummaryResponse) -> list[tuple[str, str]]:
    outcomes = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in sorted(summary.phases_by_outcome.items())
    )
    patterns = ", ".join(f"{clean(name)} ({count})" for name, count in sorted(summary.patterns.items()))
    return [
        *(_run_rows(summary.run) if summary.HasField("run") else ()),
        ("phases", f"{summary.phases} ({outcomes})" if outcomes else str(summary.phases)),
        ("time of all phases", elapsed(seconds_of(summary.duration))),
        ("model calls", str(summary.usage_records)),
        ("tokens", _tokens(summary.tokens)),
        ("of these, by the doctor", _tokens(summary.doctor_tokens)),
        *cost_rows(summary),
        ("failures diagnosed", f"{summary.hardening_triggered}" + (f": {patterns}" if patterns else "")),
        ("of these, fixed", str(summary.mitigated)),
        ("doctor calls made", str(summary.doctor_calls)),
    ]


def _run_rows(record: pb.RunRecord) -> list[tuple[str, str]]:
    """What is known of the run as a whole."""
    models = ", ".join(f"{clean(role)} {clean(name)}" for role, name in sorted(record.models.items()))
    agent = " ".join(filter(None, (clean(record.agent), clean(record.agent_version))))
    outcome = enum_word(pb.PhaseOutcome, record.outcome, "PHASE_OUTCOME_") if record.outcome else ""
    if outcome and record.HasField("duration"):
        outcome += f" after {elapsed(seconds_of(record.duration))}"
    if record.retries:
        outcome += f", tried again {record.retries} times"
    named = (
        ("task", clean(record.task)),
        ("agent", agent + (f" ({models})" if agent and models else models)),
        ("commit", clean(record.base_commit)[:12]),
        ("outcome", outcome),
    )
    return [(name, value) for name, value in named if value]


def _avoided(summary: pb.GetRunSummaryResponse) -> list[tuple[str, str]]:
    rows = [("doctor calls not needed", str(summary.doctor_skipped))]
    for item in summary.avoided:
        source = enum_word(pb.EstimateSource, item.source, "ESTIMATE_SOURCE_")
        calls = "call" if item.count == 1 else "calls"
        rows.append(
            (f"avoided, {source}", f"about {item.tokens:,} tokens in {item.count} {calls} (n = {item.total_n})")
        )
    return rows


def _tokens(usage: common_pb2.TokenUsage) -> str:
    found = total(usage)
    return f"{found:,} ({kinds(usage)})" if found else "0"

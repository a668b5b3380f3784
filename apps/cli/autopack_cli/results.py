"""What became of runs: the table, why those failed that did, and where everything is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from autopack_api.intention.v1 import intention_pb2
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_client import AsyncClient, AutopackError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autopack_cli.progress import STATE_STYLES
from autopack_cli.render import clean, clean_name, enum_word, table

__all__ = [
    "all_succeeded",
    "avoided_tokens",
    "drift_word",
    "print_problems",
    "results_table",
    "state_word",
    "steps_words",
]

MAX_SUMMARIES_AT_ONCE = 8
SHOWN_PATHS = 5
_OUTCOMES = (
    (pb.STEP_OUTCOME_PASSED, "passed"),
    (pb.STEP_OUTCOME_FIXED, "fixed"),
    (pb.STEP_OUTCOME_FAILED, "failed"),
    (pb.STEP_OUTCOME_PRE_EXISTING, "failing before"),
    (pb.STEP_OUTCOME_SKIPPED, "skipped"),
)


def state_word(run: pb.Run) -> str:
    """``succeeded``, ``timed_out``, ..."""
    return enum_word(pb.RunState, run.state, "RUN_STATE_").replace(" ", "_")


def drift_word(run: pb.Run) -> str:
    """The verdict on drift; ``unclear`` where there was too little to judge."""
    if run.drift_verdict == intention_pb2.VERDICT_UNSPECIFIED:
        return "-"
    word = enum_word(intention_pb2.Verdict, run.drift_verdict, "VERDICT_")
    return "unclear" if word == "insufficient evidence" else word


def steps_words(run: pb.Run) -> str:
    """``2 passed, 1 fixed``."""
    counts = {number: sum(step.outcome == number for step in run.steps) for number, _ in _OUTCOMES}
    return ", ".join(f"{counts[number]} {word}" for number, word in _OUTCOMES if counts[number]) or "-"


def all_succeeded(runs: Sequence[pb.Run]) -> bool:
    """Whether there is nothing to look after."""
    return all(run.state == pb.RUN_STATE_SUCCEEDED for run in runs)


async def avoided_tokens(client: AsyncClient, runs: Sequence[pb.Run]) -> dict[str, telemetry_pb2.AvoidedTokens]:
    """Estimates by run, for the runs in which something was fixed. Empty where telemetry does not answer."""
    found: dict[str, telemetry_pb2.AvoidedTokens] = {}
    slots = asyncio.Semaphore(MAX_SUMMARIES_AT_ONCE)

    async def ask(run_id: str) -> None:
        request = telemetry_pb2.GetRunSummaryRequest(run_id=run_id)
        try:
            async with slots:
                summary = await client.telemetry.GetRunSummary(request)
        except AutopackError:
            return  # telemetry is advice: the table says "-"
        if summary.avoided:
            found[run_id] = summary.avoided[0]

    async with asyncio.TaskGroup() as group:
        for run in runs:
            if any(item.fixed for item in run.mitigations):
                group.create_task(ask(run.run_id))
    return found


def results_table(runs: Sequence[pb.Run], avoided: Mapping[str, telemetry_pb2.AvoidedTokens]) -> Table:
    """One row per run."""
    rows = table("run", "state", "branch", "files", "steps", "drift", "tokens avoided")
    for run in runs:
        state = state_word(run)
        estimate = avoided.get(run.run_id)
        rows.add_row(
            Text(clean(run.name), no_wrap=True),
            Text(state.replace("_", " "), style=STATE_STYLES.get(state, "")),
            Text(run.branch if run.head_commit else "-"),
            Text(str(len(run.changes))),
            Text(steps_words(run)),
            Text(drift_word(run)),
            Text(f"~{estimate.tokens:,}" if estimate else "-"),
        )
    return rows


def print_problems(out: Console, runs: Sequence[pb.Run]) -> None:
    """Why runs failed and what to do; warnings and reverted files of all."""
    for run in runs:
        error = run.error if run.HasField("error") else None
        reverted = list(run.reverted_paths)
        if error is None and not reverted and not run.warnings:
            continue
        out.print(
            Text.assemble((clean(run.name), "bold"), f": {clean(error.message) if error else 'note'}"), soft_wrap=True
        )
        if error is not None:
            for suggestion in error.suggestions:
                out.print(Text(f"  what to do: {clean(suggestion)}"), soft_wrap=True)
            out.print(Text(f"  reason: {error.reason}", style="dim"), soft_wrap=True)
        if reverted:
            shown = ", ".join(clean_name(path) for path in reverted[:SHOWN_PATHS])
            more = f" and {len(reverted) - SHOWN_PATHS} more" if len(reverted) > SHOWN_PATHS else ""
            out.print(Text(f"  reverted, outside the scope: {shown}{more}", style="yellow"), soft_wrap=True)
        for warning in run.warnings:
            out.print(Text(f"  warning: {clean(warning)}", style="yellow"), soft_wrap=True)

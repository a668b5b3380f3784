"""``autopack runs``: what was run, what it printed, what it changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_client import AsyncClient, get_patch, read_log
from autopack_kit.errors import invalid_field
from rich.text import Text

from autopack_cli import session as sessions
from autopack_cli.attend import run_batches, show_results
from autopack_cli.options import Address, Json
from autopack_cli.progress import STATE_STYLES, TERMINAL, fetch_runs
from autopack_cli.render import (
    clean,
    clean_name,
    command_line,
    console,
    elapsed,
    enum_word,
    err_console,
    local_time,
    print_json,
    seconds_of,
    table,
)
from autopack_cli.results import all_succeeded, drift_word, print_problems, state_word, steps_words
from autopack_cli.session import INTERRUPTED, Needs, running_address, session

__all__ = ["register"]

MAX_PAGE = 500
TAIL_BYTES = 64 << 10
OTHER_COLUMNS = 70
"""Of a list of runs, without ids and branches: room to read them in."""
POLL_SECONDS = 0.2
"""Between looks at a cancel that this command itself carries out."""

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Its id: <batch>.<name>.")]
_STATES = {name.removeprefix("RUN_STATE_").lower(): number for name, number in pb.RunState.items() if number}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(
        help="What was run: list, show, log, patch, watch, retry, cancel.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("list")(list_runs)
    for command in (show, log, patch, watch, retry, cancel):
        group.command(command.__name__)(command)
    app.add_typer(group, name="runs")


def list_runs(
    batch: Annotated[str, typer.Option(metavar="BATCH", help="Only of this batch.")] = "",
    state: Annotated[list[str] | None, typer.Option(metavar="STATE", help="Only in this state; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="Runs at most.")] = 50,
    page_token: Annotated[str, typer.Option(metavar="TOKEN", help="Go on after an earlier page.")] = "",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """List runs, newest batch first.

    \b
    autopack runs list --state failed --state timed_out
    """
    unknown = next((word for word in state or () if word not in _STATES), None)
    if unknown is not None:
        raise invalid_field("--state", f"{unknown[:40]!r} is no state; use one of {', '.join(_STATES)}")
    request = pb.ListRunsRequest(batch_id=batch, page_size=limit, page_token=page_token)
    request.states.extend(pb.RunState.ValueType(_STATES[word]) for word in state or ())

    async def work() -> pb.ListRunsResponse:
        async with session(address, READ) as client:
            return await client.orchestrator.ListRuns(request)

    response = sessions.run(work)
    if as_json:
        print_json(response)
        return
    _print_list(response.runs)
    if response.next_page_token:
        err_console().print(f"more: --page-token {response.next_page_token}", style="dim", soft_wrap=True)


def _print_list(runs: Sequence[pb.Run]) -> None:
    """One row per run; its id stays in one piece, because it is copied, so on a narrow terminal its branch (which says
    the same) is left out."""
    out = console()
    longest = max((len(item.run_id) for item in runs), default=0)
    with_branch = 2 * longest + OTHER_COLUMNS <= out.width
    names = ("run", "state", "doing", *(("branch",) if with_branch else ()), "files", "drift", "created")
    rows = table(*names)
    rows.columns[0].min_width = longest
    for item in runs:
        word = state_word(item)
        rows.add_row(
            Text(item.run_id),
            Text(word.replace("_", " "), style=STATE_STYLES.get(word, "")),
            Text(clean(item.activity)),
            *((Text(item.branch if item.head_commit else "-"),) if with_branch else ()),
            Text(str(len(item.changes))),
            Text(drift_word(item)),
            Text(f"{local_time(item.create_time):%Y-%m-%d %H:%M}"),
        )
    out.print(rows if runs else "no runs", crop=False)


def show(run_id: RunId, address: Address = None, as_json: Json = False) -> None:
    """Show one run in full.

    \b
    autopack runs show nightly-7k2q9d.fix-login
    """

    async def work() -> pb.GetRunResponse:
        async with session(address, READ) as client:
            return await client.orchestrator.GetRun(pb.GetRunRequest(run_id=run_id))

    response = sessions.run(work)
    if as_json:
        print_json(response)
    else:
        _print(response.run)


def log(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the attempt has ended.")] = False,
    attempt: Annotated[int, typer.Option(min=0, help="The attempt; 0 = the latest.")] = 0,
    offset: Annotated[int, typer.Option(help="Start at this byte; negative = so many before the end.")] = 0,
    tail: Annotated[bool, typer.Option("--tail", help="The last 64 KiB.")] = False,
    address: Address = None,
) -> None:
    """Print what a run's commands printed, byte for byte.

    \b
    autopack runs log -f nightly-7k2q9d.fix-login
    """
    start = -TAIL_BYTES if tail else offset

    async def work() -> None:
        async with session(address, READ) as client:
            await _write(read_log(client, run_id, attempt=attempt, offset=start, follow=follow))

    sessions.run(work)


def patch(run_id: RunId, address: Address = None) -> None:
    """Print a run's patch, for `git apply --binary`.

    \b
    autopack runs patch nightly-7k2q9d.fix-login | git apply --binary --check
    """

    async def work() -> None:
        async with session(address, READ) as client:
            await _write(get_patch(client, run_id))

    sessions.run(work)


def watch(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="Its id.")],
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Show a batch until it has ended, as `run` does. Ctrl-C cancels it.

    \b
    autopack runs watch nightly-7k2q9d
    """

    async def work() -> int:
        async with session(address, Needs(carry_out=True)) as client:
            interrupted = await run_batches(client, [batch], err_console())
            found = await fetch_runs(client, batch)
            if as_json:
                print_json(pb.ListRunsResponse(runs=found))
            else:
                await show_results(client, found, console())
            return INTERRUPTED if interrupted else int(not all_succeeded(found))

    raise typer.Exit(sessions.run(work))


def retry(
    run_id: RunId,
    request_id: Annotated[str, typer.Option(metavar="ID", help="Sent again, it is still one retry.")] = "",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Queue a run that ended without success again. Returns at once if a server runs, else when its batch has ended.

    \b
    autopack runs retry nightly-7k2q9d.fix-login
    """
    own = address is None and running_address() is None
    request = pb.RetryRunRequest(run_id=run_id, request_id=request_id)

    async def work() -> tuple[pb.Run, int]:
        async with session(address, Needs(carry_out=True)) as client:
            run = (await client.orchestrator.RetryRun(request)).run
            if not own:
                return run, 0
            interrupted = await run_batches(client, [run.batch_id], err_console())
            run = (await client.orchestrator.GetRun(pb.GetRunRequest(run_id=run_id))).run
            return run, INTERRUPTED if interrupted else int(not all_succeeded([run]))

    run, code = sessions.run(work)
    if as_json:
        print_json(pb.RetryRunResponse(run=run))
    else:
        console().print(f"{run.run_id}: {state_word(run).replace('_', ' ')}, attempt {run.attempt}")
        print_problems(console(), [run])
    raise typer.Exit(code)


def cancel(
    target: Annotated[str, typer.Argument(metavar="RUN|BATCH", help="Id of a run, or of a batch.")],
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Cancel a run or a whole batch. Returns at once if a server runs, else when everything of it has ended.

    \b
    autopack runs cancel nightly-7k2q9d
    """
    own = address is None and running_address() is None

    async def work() -> pb.CancelRunResponse | pb.CancelBatchResponse:
        async with session(address, Needs(carry_out=True)) as client:
            response = await _cancel(client, target)
            while own and not _ended(response):
                await asyncio.sleep(POLL_SECONDS)
                response = await _cancel(client, target)
            return response

    response = sessions.run(work)
    if as_json:
        print_json(response)
    elif isinstance(response, pb.CancelRunResponse):
        word = state_word(response.run).replace("_", " ")
        console().print(f"{response.run.run_id}: {word}" + ("" if _ended(response) else ", cancelling"))
    else:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(response.batch.runs_by_state.items()))
        console().print(f"{response.batch.batch_id}: {counts}" + ("" if _ended(response) else ", cancelling the rest"))


READ = Needs(("orchestrator",))
"""Commands that only look."""


async def _cancel(client: AsyncClient, target: str) -> pb.CancelRunResponse | pb.CancelBatchResponse:
    if "." in target:  # a batch's id has none
        return await client.orchestrator.CancelRun(pb.CancelRunRequest(run_id=target))
    return await client.orchestrator.CancelBatch(pb.CancelBatchRequest(batch_id=target))


def _ended(response: pb.CancelRunResponse | pb.CancelBatchResponse) -> bool:
    if isinstance(response, pb.CancelRunResponse):
        return state_word(response.run) in TERMINAL
    return response.batch.state != pb.BATCH_STATE_ACTIVE


async def _write(pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _print(run: pb.Run) -> None:
    out = console()
    state = state_word(run)
    out.print(Text.assemble((run.run_id, "bold"), "  ", (state.replace("_", " "), STATE_STYLES.get(state, ""))))
    rows = table("", "")
    for name, value in (
        ("doing", clean(run.activity)),
        ("attempt", str(run.attempt)),
        ("branch", run.branch if run.head_commit else ""),
        ("base", run.base_commit),
        ("commit", run.head_commit),
        ("drift", drift_word(run) + (f"  (z {', '.join(f'{z:.2f}' for z in run.drift_z)})" if run.drift_z else "")),
        ("steps", steps_words(run)),
        ("doctor calls", str(run.doctor_calls) if run.doctor_calls else ""),
        ("patch", f"{run.patch_bytes:,} bytes" if run.patch_bytes else ""),
    ):
        if value:
            rows.add_row(name, Text(value))
    out.print(rows)
    for change in run.changes:
        out.print(Text(f"  {change.status} {clean_name(change.path)}"), soft_wrap=True)
    for step in run.steps:
        outcome = enum_word(pb.StepOutcome, step.outcome, "STEP_OUTCOME_")
        pattern = f"  {step.pattern_id}" if step.pattern_id else ""
        took = elapsed(seconds_of(step.duration))
        tries = f", {step.tries} tries" if step.tries > 1 else ""
        out.print(
            Text(f"  {outcome}: {clean(command_line(step.command))}  {took}{tries}{pattern}"),
            soft_wrap=True,
        )
    for item in run.mitigations:
        proven = enum_word(pb.MitigationOutcome, item.outcome, "MITIGATION_OUTCOME_")
        proven = proven if item.outcome else "fixed" if item.fixed else "did not help"
        out.print(Text(f"  {item.pattern_id}: {clean('; '.join(item.actions))} - {proven}"), soft_wrap=True)
    print_problems(out, [run])

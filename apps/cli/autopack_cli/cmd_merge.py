"""``autopack merge``: which finished branches of a batch merge, and in which order."""

from __future__ import annotations

from typing import Annotated

import typer
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from rich.text import Text

from autopack_cli import session as sessions
from autopack_cli.options import Address, Json
from autopack_cli.render import clean, clean_name, command_line, console, print_json, table
from autopack_cli.session import Needs, session

__all__ = ["register"]

SHOWN_CONFLICTS = 5


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("merge")(merge)


def merge(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="Its id.")],
    into: Annotated[str, typer.Option(metavar="REF", help="What they are merged into. Default: the base commit.")] = "",
    write: Annotated[
        str, typer.Option("--write", metavar="BRANCH", help="Merge what is clean into this new branch.")
    ] = "",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Try out how the finished branches of a batch merge. Nothing is changed unless --write names a branch to make; no
    other branch, and no checkout, ever is.

    Exit status: 0 all merge, 1 one does not, 2 bad input.

    \b
    autopack merge nightly-7k2q9d --into main
    autopack merge nightly-7k2q9d --into main --write nightly
    """

    async def work() -> tuple[pb.PreviewMergeResponse, pb.MergeBatchResponse | None]:
        async with session(address, Needs(("orchestrator",))) as client:
            if write:
                made = await client.orchestrator.MergeBatch(
                    pb.MergeBatchRequest(batch_id=batch, into=into, branch=write)
                )
                return made.merge, made
            return await client.orchestrator.PreviewMerge(pb.PreviewMergeRequest(batch_id=batch, into=into)), None

    preview, made = sessions.run(work)
    if as_json:
        print_json(made or preview)
    else:
        _print(preview)
        if made is not None:
            console().print(f"{made.branch} is at {made.commit[:12]}", soft_wrap=True)
        elif preview.commands:
            console().print("by hand:", style="dim")
            for command in preview.commands:
                console().print(Text(f"  {command_line(command)}"), soft_wrap=True)
    raise typer.Exit(0 if all(step.clean for step in preview.order) else 1)


def _print(preview: pb.PreviewMergeResponse) -> None:
    out = console()
    rows = table("step", "run", "merges")
    rows.columns[1].min_width = max((len(step.run_id) for step in preview.order), default=0)  # ids are copied
    for number, step in enumerate(preview.order, start=1):
        rows.add_row(
            str(number) if step.clean else "-",
            Text(step.run_id),
            Text("clean", style="green") if step.clean else Text(_why(step), style="red"),
        )
    out.print(rows if preview.order else "no finished branches", crop=False)
    if preview.unfinished_run_ids:
        out.print(f"without a finished branch: {', '.join(preview.unfinished_run_ids)}", style="dim", soft_wrap=True)


def _why(step: pb.MergeStep) -> str:
    if not step.conflicts:
        return clean(step.problem)
    shown = [clean_name(item.path) + _with(item) for item in step.conflicts[:SHOWN_CONFLICTS]]
    more = len(step.conflicts) - len(shown)
    return f"conflicts: {', '.join(shown)}" + (f" and {more} more" if more else "")


def _with(conflict: pb.MergeConflict) -> str:
    names = [run_id.rpartition(".")[2] for run_id in conflict.run_ids]
    if conflict.with_into:
        names.append("what it is merged into")
    return f" (with {', '.join(names)})" if names else ""

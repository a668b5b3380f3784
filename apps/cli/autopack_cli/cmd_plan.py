"""``autopack plan``: what does an issue, a ticket or a specification mean for this repository?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from autopack_api.common.v1 import common_pb2
from autopack_api.toolchain.v1 import toolchain_pb2 as pb
from autopack_client import AsyncClient
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autopack_cli.options import Address, Json, Repository
from autopack_cli.render import clean, command_line, console, elapsed, enum_word, print_json, seconds_of, table
from autopack_cli.session import Needs, run, session
from autopack_cli.sources import snapshot_of

__all__ = ["register"]

MAX_READ = 1 << 20
"""Bytes of a plan that are read: more than the service takes, so that its own error tells how long the plan is."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("plan")(plan)


def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Markdown or plain text; - for standard input.")],
    repo: Repository = Path("."),
    by_snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Send the files: for a server that does not share this disk.")
    ] = False,
    why: Annotated[bool, typer.Option("--why", help="Show each choice that was made, with its reason.")] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Turn a text into phases that can be run: what is to be done, where, how it is checked, within which budget.

    Nothing is run and nothing is written.

    \b
    autopack plan issue.md
    autopack plan spec.md --repo ~/src/shop --why
    echo "Fix the rounding in cart.py, without touching the API" | autopack plan - --json
    """
    text = _read(file)
    root = repo.expanduser().absolute()

    async def work() -> pb.NormalizePlanResponse:
        async with session(address, Needs(("toolchain",), [root])) as client:
            return await _ask(client, text, root, by_snapshot)

    response = run(work)
    if as_json:
        print_json(response)
    else:
        _print(console(), response, why)


async def _ask(client: AsyncClient, text: str, root: Path, by_snapshot: bool) -> pb.NormalizePlanResponse:
    if by_snapshot:
        files = await snapshot_of(client, root)
        return await client.toolchain.NormalizePlan(pb.NormalizePlanRequest(text=text, snapshot=files))
    return await client.toolchain.NormalizePlan(pb.NormalizePlanRequest(text=text, path=str(root)))


def _read(file: Path) -> str:
    """The text of the plan."""
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(MAX_READ)
        else:
            with open(os.open(file.expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
                data = opened.read(MAX_READ)
    except OSError as error:
        raise FailedPrecondition(
            f"{file} cannot be read: {error.strerror or error}.",
            reason="PLAN_UNREADABLE",
            remedy="Name a readable file, or - to read standard input.",
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidArgument(
            f"{file} is not UTF-8 in line {line}.",
            reason="PLAN_NOT_UTF8",
            remedy="Save it as UTF-8; a document of a word processor has to be exported as text.",
        ) from error


def _print(out: Console, response: pb.NormalizePlanResponse, why: bool) -> None:
    title = Text.assemble((_line(response.plan.title), "bold"), f"  {response.confidence:.2f}")
    out.print(title, soft_wrap=True)
    for phase in response.plan.phases:
        _phase(out, phase, several=len(response.plan.phases) > 1)
    if len(response.plan.phases) > 1:
        out.print(f"budget of all: {_budget(response.plan.budget)}")
    for warning in response.warnings:
        out.print(f"warning: {clean(warning.message)}", style="yellow", soft_wrap=True)
    if why:
        out.print(_decisions(response.decisions))


def _phase(out: Console, phase: pb.PlanPhase, *, several: bool) -> None:
    kind = enum_word(pb.PlanCategory, phase.category.category, "PLAN_CATEGORY_") if phase.HasField("category") else "?"
    sure = f"{phase.category.confidence:.2f}" if phase.HasField("category") else ""
    if several:
        after = f", after {', '.join(phase.depends_on)}" if phase.depends_on else ""
        head = Text.assemble((phase.phase_id, "bold"), f"  {kind} {sure}{after}")
    else:
        head = Text(f"{kind} {sure}".strip())
    out.print(head, soft_wrap=True)
    rows = table("", "", "", "sure", "because")
    rows.show_header = False
    _deliverables(rows, phase.deliverables)
    _globs(rows, "+", phase.scope.include)
    _globs(rows, "!", phase.scope.exclude)
    for name, items in (("done when", phase.acceptance), ("must hold", phase.constraints), ("not", phase.non_goals)):
        _words(rows, name, items)
    for file in phase.read_only_context:
        _row(rows, "read", file.path, None, file.reason.lower().replace("_", " "))
    for step in phase.validation_steps:
        kind = enum_word(pb.StepKind, step.kind, "STEP_KIND_")
        _row(rows, kind, command_line(step.command), step.confidence, _place(step.evidence))
    for path in phase.preflight.files_to_create:
        _row(rows, "create", path, None, "")
    _row(rows, "budget", _budget(phase.budget), None, "")
    out.print(rows)


def _deliverables(rows: Table, items: Iterable[pb.Deliverable]) -> None:
    for item in items:
        _row(rows, "do", item.text, item.confidence, _place(item.evidence))
        for detail in item.details:
            _row(rows, "", f"- {detail}", None, "")


def _globs(rows: Table, mark: str, globs: Iterable[pb.ScopeGlob]) -> None:
    for glob in globs:
        created = "  (new)" if glob.kind == pb.SCOPE_KIND_NEW_FILE else ""
        _row(rows, mark, f"{glob.glob}{created}", glob.confidence, _place(glob.evidence))


def _words(rows: Table, name: str, items: Iterable[str]) -> None:
    for item in items:
        _row(rows, name, item, None, "")


def _row(rows: Table, name: str, text: str, confidence: float | None, because: str) -> None:
    sure = "" if confidence is None else f"{confidence:.2f}"
    rows.add_row("  ", name, _line(text), sure, _line(because))


def _place(evidence: Sequence[common_pb2.Evidence]) -> str:
    """Where the first piece of evidence stands: a line of the plan, or a file of the repository."""
    if not evidence:
        return ""
    first = evidence[0]
    if first.path:
        return f"{first.path}:{first.line}" if first.line else first.path
    return f"line {first.line} {first.signal}" if first.line else first.signal


def _budget(budget: pb.PlanBudget) -> str:
    """``200,000 tokens, $2.00, 20m00s``, with what of it is a default."""
    size = enum_word(pb.PlanSize, budget.size, "PLAN_SIZE_")
    amounts = (
        ("max_tokens", f"{budget.max_tokens:,} tokens"),
        ("max_cost_microusd", f"${budget.max_cost_microusd / 1e6:,.2f}"),
        ("max_wall_time", elapsed(seconds_of(budget.max_wall_time))),
    )
    words = [f"{text} (default)" if name in budget.defaulted else text for name, text in amounts]
    return f"{', '.join(words)}; {size}"


def _decisions(decisions: Iterable[pb.Decision]) -> Table:
    rows = table("part", "phase", "of", "chosen", "because", "where")
    for item in decisions:
        part = enum_word(pb.PlanPart, item.part, "PLAN_PART_")
        chosen = _line(item.choice) or "-"
        rows.add_row(part, item.phase_id, _line(item.subject), chosen, item.reason, _line(_place(item.evidence)))
    return rows


def _line(text: str) -> str:
    """One line, without what would steer a terminal."""
    return " ".join(clean(text).split())

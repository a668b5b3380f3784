"""``autopack detect``: what is this repository?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from autopack_api.common.v1 import common_pb2
from autopack_api.toolchain.v1 import toolchain_pb2 as pb
from autopack_client import AsyncClient
from autopack_kit.commands import quote
from autopack_kit.errors import AutopackError, Unauthenticated, Unavailable

from autopack_cli.options import Address, Json
from autopack_cli.render import clean, command_line, console, enum_word, print_error, print_messages, table
from autopack_cli.session import Needs, run, session
from autopack_cli.sources import snapshot_of

__all__ = ["register"]

NAMED_MEMBERS = 5
"""Members of a workspace that are named; ``--json`` has all."""

SCRIPT_COLUMNS = 60
"""Characters of a script's first line that are shown; ``--json`` has all of it."""

_TOOL_WORDS = {pb.TOOL_STATE_FOUND: "installed", pb.TOOL_STATE_MISSING: "not installed"}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("detect")(detect)


def detect(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Directories.")],
    by_snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Send the files: for a server that does not share this disk.")
    ] = False,
    tools: Annotated[
        bool, typer.Option("--tools", help="Say which tools are not installed where the server runs.")
    ] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Say how repositories are installed, built, tested and linted, with confidence and evidence.

    \b
    autopack detect .
    autopack detect ~/src/shop ~/src/api --json
    """
    if tools and by_snapshot:
        raise typer.BadParameter(
            "with --snapshot the steps run elsewhere, where nobody can look.", param_hint="--tools"
        )
    roots = [path.expanduser().absolute() for path in paths]

    async def work() -> list[pb.DetectResponse | None]:
        async with session(address, Needs(("toolchain",), roots)) as client:
            return [await _answer(client, root, roots, by_snapshot, tools) for root in roots]

    responses = run(work)
    if as_json:
        print_messages(responses)
    else:
        for root, response in zip(roots, responses, strict=True):
            if response is not None:
                _print(root, response, tools)
    if None in responses:
        raise typer.Exit(1)


async def _answer(
    client: AsyncClient, root: Path, roots: Sequence[Path], by_snapshot: bool, tools: bool
) -> pb.DetectResponse | None:
    """The answer for one of several directories; None, with the error printed, if only this one has none."""
    try:
        return await _ask(client, root, by_snapshot, tools)
    except (Unavailable, Unauthenticated):  # it would be the same for the others
        raise
    except AutopackError as error:
        if len(roots) == 1:
            raise
        print_error(error)
        return None


async def _ask(client: AsyncClient, root: Path, by_snapshot: bool, tools: bool) -> pb.DetectResponse:
    if not by_snapshot:
        return await client.toolchain.Detect(pb.DetectRequest(path=str(root), probe_tools=tools))
    files = await snapshot_of(client, root)
    return await client.toolchain.Detect(pb.DetectRequest(snapshot=files))


def _print(root: Path, response: pb.DetectResponse, tools: bool) -> None:
    out = console()
    out.print(_line(str(root)), style="bold")
    if not response.projects:
        out.print("  nothing recognised")
    for project in response.projects:
        out.print(f"  {_heading(project)}")
        if project.HasField("workspace"):
            out.print(f"    {_workspace(project)}")
        if not project.steps:
            continue
        rows = table("", "step", "command", *(["tool"] if tools else []), "sure", "because")
        for step in project.steps:
            kind = enum_word(pb.StepKind, step.kind, "STEP_KIND_")
            tool = [f"{_line(step.tool)} {_TOOL_WORDS.get(step.tool_state, '')}".strip()] if tools else []
            rows.add_row(
                "   ", kind, _command(step.command, project.workdir), *tool, f"{step.confidence:.2f}", _because(step)
            )
        out.print(rows)
    for warning in response.warnings:
        out.print(f"  warning: {_line(warning.message)}", style="yellow")


def _heading(project: pb.Project) -> str:
    manager = project.package_manager
    named = f", {manager.name}" if manager.name != project.ecosystem else ""
    version = f" {manager.version}" if manager.version else ""
    return _line(f"{project.workdir}  {project.ecosystem}{named}{version}  {project.confidence:.2f}")


def _workspace(project: pb.Project) -> str:
    workspace = project.workspace
    if workspace.root != project.workdir:
        return _line(f"member of the {workspace.tool} workspace in {workspace.root}")
    named = ", ".join(workspace.members[:NAMED_MEMBERS])
    more = f" and {len(workspace.members) - NAMED_MEMBERS:,} more" if len(workspace.members) > NAMED_MEMBERS else ""
    return _line(f"{workspace.tool} workspace of {len(workspace.members):,}: {named}{more}")


def _command(command: common_pb2.Command, workdir: str) -> str:
    """An argv as a person would type it; of a script the first line, marked as one."""
    if command.WhichOneof("program") != "script":
        return _line(command_line(command, workdir))
    lines = [line.strip() for line in command.script.text.splitlines() if line.strip()] or [""]
    first = lines[0] if len(lines[0]) <= SCRIPT_COLUMNS else f"{lines[0][:SCRIPT_COLUMNS]}..."
    size = f", {len(lines)} lines" if len(lines) > 1 else ""
    place = "" if (command.cwd or ".") == workdir else f", in {command.cwd}"
    return _line(f"{first}  (script for {quote(command.script.interpreter)}{size}{place})")


def _because(step: pb.Step) -> str:
    if not step.evidence:
        return ""
    evidence = step.evidence[0]
    place = f"{evidence.path}:{evidence.line}" if evidence.line else evidence.path
    return _line(f"{place} {evidence.signal if evidence.signal != evidence.path else ''}".strip())


def _line(text: str) -> str:
    """Text from outside as one line: the names of files may hold line ends."""
    return clean(text.replace("\n", "\ufffd"))

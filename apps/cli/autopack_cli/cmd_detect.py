"""``autopack detect``: what is this repository?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from autopack_api.toolchain.v1 import toolchain_pb2 as pb
from autopack_client import AsyncClient
from autopack_client.snapshots import snapshot
from autopack_kit.errors import NotFound

from autopack_cli.options import Address, Json
from autopack_cli.render import clean, command_line, console, enum_word, print_messages, table
from autopack_cli.session import Needs, run, session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("detect", short_help="Say how a repository is built and tested, and why.")(detect)


def detect(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Directories.")],
    by_snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Send the files: for a server that does not share this disk.")
    ] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Say how repositories are installed, built, tested and linted, with confidence and evidence.

    \b
    autopack detect .
    autopack detect ~/src/shop ~/src/api --json
    """
    roots = [path.expanduser().absolute() for path in paths]

    async def work() -> list[pb.DetectResponse]:
        async with session(address, Needs(("toolchain",), roots)) as client:
            return [await _ask(client, root, by_snapshot) for root in roots]

    responses = run(work)
    if as_json:
        print_messages(responses)
        return
    for root, response in zip(roots, responses, strict=True):
        _print(root, response)


async def _ask(client: AsyncClient, root: Path, by_snapshot: bool) -> pb.DetectResponse:
    if not by_snapshot:
        return await client.toolchain.Detect(pb.DetectRequest(path=str(root)))
    spec = await client.toolchain.GetSnapshotSpec(pb.GetSnapshotSpecRequest())
    try:
        files = await asyncio.to_thread(snapshot, root, spec)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"There is no directory {str(root)!r}.", reason="SOURCE_NOT_FOUND", remedy="Check the path."
        ) from error
    return await client.toolchain.Detect(pb.DetectRequest(snapshot=files))


def _print(root: Path, response: pb.DetectResponse) -> None:
    out = console()
    out.print(str(root), style="bold")
    if not response.projects:
        out.print("  nothing recognised")
    for project in response.projects:
        manager = project.package_manager
        version = f" {manager.version}" if manager.version else ""
        named = f", {clean(manager.name)}" if manager.name != project.ecosystem else ""
        out.print(
            f"  {clean(project.workdir)}  {clean(project.ecosystem)}{named}{clean(version)}  {project.confidence:.2f}"
        )
        rows = table("", "step", "command", "sure", "because")
        for step in project.steps:
            evidence = step.evidence[0] if step.evidence else None
            place = (
                f"{evidence.path}:{evidence.line}"
                if evidence and evidence.line
                else (evidence.path if evidence else "")
            )
            signal = evidence.signal if evidence and evidence.signal != evidence.path else ""
            because = f"{place} {signal}".strip()
            kind = enum_word(pb.StepKind, step.kind, "STEP_KIND_")
            rows.add_row(
                "   ",
                kind,
                clean(command_line(step.command, project.workdir)),
                f"{step.confidence:.2f}",
                clean(because),
            )
        if project.steps:
            out.print(rows)
    for warning in response.warnings:
        out.print(f"  warning: {clean(warning.message)}", style="yellow")

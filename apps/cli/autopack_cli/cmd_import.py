"""``autopack import``: record the usage in files that agents wrote."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated

import typer
from autopack_api.telemetry.v1 import agents_pb2 as pb
from autopack_client import AsyncClient
from autopack_kit.errors import AutopackError, InvalidArgument, NotFound, invalid_field
from rich.text import Text

from autopack_cli.options import Address, Json
from autopack_cli.render import clean, console, enum_word, err_console, print_error, print_messages, table
from autopack_cli.session import Needs, run, session
from autopack_cli.usagewords import kinds, total

__all__ = ["register"]

MAX_BYTES = 60 << 20
"""What the service takes at once."""
STDIN = "-"
_PREFIX = "USAGE_FILE_FORMAT_"


class FileFormat(Enum):
    """The formats by their names in the contract."""

    AIDER = "aider-analytics"
    CLAUDE = "claude-result"
    CODEX = "codex-exec"
    GEMINI = "gemini-result"
    MINI = "mini-swe-agent"
    OPENHANDS = "openhands-state"

    @property
    def number(self) -> pb.UsageFileFormat.ValueType:
        """Of the contract."""
        return pb.UsageFileFormat.Value(_PREFIX + self.value.upper().replace("-", "_"))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("import")(import_files)


def import_files(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files that agents wrote; - is standard input.")
    ],
    run_id: Annotated[str, typer.Option("--run", metavar="RUN", help="The run whose usage this is.")],
    phase: Annotated[str, typer.Option(metavar="PHASE", help="The phase of the run.")] = "",
    format_: Annotated[
        FileFormat | None, typer.Option("--format", help="Default: told from the content.", show_choices=True)
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Record the usage in files that agents wrote. A file that is imported again counts once.

    Reads aider --analytics-log, codex exec --json, claude -p --output-format json or stream-json, gemini -p
    --output-format json or stream-json, the trajectories of mini-swe-agent, and base_state.json of OpenHands.

    \b
    autopack import aider.jsonl --run nightly-7k2q9d.fix-login
    codex exec --json "..." | autopack import - --run nightly-7k2q9d.fix-login --phase agent
    """

    async def work() -> list[pb.ImportUsageResponse | None]:
        async with session(address, Needs(("telemetry",))) as client:
            return [await _one(client, name, run_id, phase, format_) for name in files]

    if files.count(STDIN) > 1:
        raise invalid_field("FILE", "names standard input more than once")
    answers = run(work)
    if as_json:
        print_messages(answers)
    else:
        _print(files, answers)
    if None in answers:
        raise typer.Exit(1)


async def _one(
    client: AsyncClient, name: str, run_id: str, phase: str, format_: FileFormat | None
) -> pb.ImportUsageResponse | None:
    """The answer about one file; None, with its error printed, if it could not be imported."""
    request = pb.ImportUsageRequest(run_id=run_id, phase_id=phase)
    if format_ is not None:
        request.format = format_.number
    try:
        request.content = _content(name)
        answer: pb.ImportUsageResponse = await client.telemetry.ImportUsage(request)
    except (NotFound, InvalidArgument) as error:
        print_error(_about(name, error))
        return None
    return answer


def _content(name: str) -> bytes:
    try:
        if name == STDIN:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(name, "rb") as file:
                content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotFound(
            f"It cannot be read: {error.strerror or error}.",
            reason="FILE_NOT_READABLE",
            remedy="Check the path and its permissions.",
            metadata={"file": name},
        ) from error
    if len(content) > MAX_BYTES:
        raise invalid_field("FILE", f"has more than {MAX_BYTES >> 20} MiB; split it by lines")
    return content


def _about(name: str, error: AutopackError) -> AutopackError:
    shown = "standard input" if name == STDIN else name
    return type(error)(
        f"{shown}: {error.message}",
        reason=error.reason,
        remedy=error.remedy,
        metadata=error.metadata,
        violations=error.violations,
    )


def _print(files: list[str], answers: list[pb.ImportUsageResponse | None]) -> None:
    rows = table("file", "format", "new", "known before", "tokens", "")
    for name, answer in zip(files, answers, strict=True):
        if answer is None:
            continue
        rows.add_row(
            Text(clean(name)),
            Text(enum_word(pb.UsageFileFormat, answer.format, _PREFIX).replace(" ", "-")),
            Text(str(answer.recorded)),
            Text(str(answer.duplicates)),
            Text(f"{total(answer.tokens):,}"),
            Text(kinds(answer.tokens)),
        )
    if rows.row_count:
        console().print(rows)
    for name, answer in zip(files, answers, strict=True):
        for sentence in answer.warnings if answer is not None else ():
            err_console().print(Text(f"warning: {clean(name)}: {clean(sentence)}"), soft_wrap=True)

"""``autopack run``: a batch from its file or from options, shown until it has ended."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from autopack_api.orchestrator.v1 import batch_pb2, orchestrator_pb2
from autopack_client import AsyncClient
from autopack_client.evidence import run_git
from autopack_client.uploads import upload_for
from autopack_kit.errors import AutopackError, invalid_field

from autopack_cli import session as sessions
from autopack_cli.attend import Interrupted, Interrupts, attend, create_batch
from autopack_cli.batchfile import BatchFile, load
from autopack_cli.batchvalues import parse_line, split_goal
from autopack_cli.goals import add_to, fill_goals, parse, read_text
from autopack_cli.isolation import NetworkOption, SandboxOption, set_isolation
from autopack_cli.options import Address, Json, Scope
from autopack_cli.refusals import refuse
from autopack_cli.render import clean, err_console
from autopack_cli.session import INTERRUPTED, Needs, session
from autopack_cli.yamlnodes import Problem

__all__ = ["register"]

MAX_RUNS = 1000
MAX_GIT_PATH = 8192
_FIELDS = {
    "SOURCE_MISSING": "path",
    "SOURCE_OUTSIDE_ROOTS": "path",
    "SOURCE_FOREIGN_OWNER": "path",
    "NOT_A_REPOSITORY": "path",
    "EMPTY_REPOSITORY": "path",
    "REF_NOT_FOUND": "ref",
    "COMMIT_NOT_FOUND": "ref",
    "REMOTE_DENIED": "remote",
    "REMOTE_HOST_KEY": "remote",
    "REMOTE_NOT_FOUND": "remote",
    "REMOTE_REDIRECTS": "remote",
    "REMOTE_UNREACHABLE": "remote",
    "CREDENTIAL_NOT_FOUND": "remote.credential",
    "CREDENTIAL_HOST": "remote.credential",
}
"""Refusals of a batch that name no field, and the field that they are about."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("run")(run)


def run(
    batch: Annotated[Path | None, typer.Argument(metavar="BATCH.yaml", help="A batch file.")] = None,
    repo: Annotated[Path | None, typer.Option(metavar="DIR", help="Instead of a file: the repository.")] = None,
    goal: Annotated[str | None, typer.Option(metavar="TEXT", help="What is to be done.")] = None,
    goal_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Or a Markdown file that says it, with its limits.")
    ] = None,
    command: Annotated[str | None, typer.Option(metavar="LINE", help="What does it; no shell runs it.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Or a known agent: claude, codex, ...")] = None,
    runs: Annotated[int, typer.Option(min=1, max=MAX_RUNS, help="So many runs of the same goal.")] = 1,
    name: Annotated[str, typer.Option(help="Name of the batch and its runs.")] = "run",
    ref: Annotated[str, typer.Option(help="What to start from.")] = "HEAD",
    scope: Scope = None,
    validate: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="Validation instead of the detected one; repeatable.")
    ] = None,
    at_once: Annotated[int, typer.Option("--max-concurrent-runs", "-j", min=0, help="Runs at once; 0 = default.")] = 0,
    sandbox: Annotated[
        SandboxOption | None, typer.Option(help="Whether commands run in one; see `autopack capabilities`.")
    ] = None,
    network: Annotated[NetworkOption | None, typer.Option(help="Whether commands reach the network.")] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="Send the repository to the server, which need not share a disk.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check the batch; start nothing.")] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Run agents, each in its own worktree, and collect branches, patches and logs.

    Exit status: 0 all runs succeeded, 1 some did not, 2 bad input, 130 interrupted. Ctrl-C once cancels the batch and
    waits until nothing runs; twice stops waiting. A terminal that is closed cancels nothing: `autopack resume` goes on.

    \b
    autopack run batch.yaml
    autopack run --repo . --agent claude --goal "Fix the flaky login test" --runs 4
    autopack run --repo . --agent claude --goal-file issue.md
    autopack run batch.yaml --upload --address build.example.com:7443
    """
    file = None
    if batch is not None:
        if repo or goal or goal_file or command or agent or validate or scope:
            raise invalid_field("BATCH.yaml", "give a file or options such as --goal, not both")
        file = load(batch)
        spec, text = file.spec, None
    else:
        if (goal is None) == (goal_file is None):
            problem = "is missing: give a batch file, or say what is to be done, here or in a file by --goal-file"
            raise invalid_field("--goal", problem if goal is None else "give --goal or --goal-file, not both")
        text = read_text(goal_file, "--goal-file") if goal_file is not None else None
        spec = _spec_of_options(
            repo=repo, goal=goal, command=command, agent=agent, count=runs, name=name, scope=scope, validate=validate
        )
        spec.ref = ref
    if at_once:
        spec.max_concurrent_runs = at_once
    set_isolation(spec, sandbox, network)
    if file is not None and file.problems and not spec.runs:
        refuse(file, file.problems)
    named = (str(goal_file), text) if text is not None else None
    if upload and spec.WhichOneof("source") != "path":
        raise invalid_field("--upload", "needs a repository on this machine (repo), and the batch file has a source")
    status = sessions.run(lambda: _run(spec, file, named, address, upload=upload, check=check, as_json=as_json))
    raise typer.Exit(status)


async def _run(
    spec: batch_pb2.BatchSpec,
    file: BatchFile | None,
    goal: tuple[str, str] | None,
    address: str | None,
    *,
    upload: bool,
    check: bool,
    as_json: bool,
) -> int:
    roots = [Path(spec.path), *await _git_directory(Path(spec.path))] if spec.path else []
    async with session(address, Needs(roots=roots, carry_out=not check)) as client:
        if upload:
            await upload_for(client, spec)
        if file is not None:
            file = replace(file, problems=[*file.problems, *await fill_goals(client, file)])
            if file.problems:
                refuse(file, [*file.problems, *await _server_problems(client, file)])
        if goal is not None:
            await _set_goal(client, spec, *goal)
        request = orchestrator_pb2.CreateBatchRequest(spec=spec, request_id=uuid.uuid4().hex, validate_only=check)
        with Interrupts() as interrupts:
            try:
                response = await create_batch(client, request, interrupts)
            except Interrupted:
                return INTERRUPTED
            except AutopackError as error:
                problems = _located(file, error) if file is not None else []
                if file is None or not problems:
                    raise
                refuse(file, problems)
            for warning in response.warnings:
                err_console().print(f"warning: {clean(warning)}", style="yellow", soft_wrap=True)
            if check:
                err_console().print(f"The batch is valid: {len(spec.runs)} run{'s' * (len(spec.runs) != 1)}.")
                return 0
            return await attend(client, response.batch, as_json=as_json, interrupts=interrupts)


async def _set_goal(client: AsyncClient, spec: batch_pb2.BatchSpec, name: str, text: str) -> None:
    """The intention of a file for each run; what options say comes on top."""
    found = await parse(client, text, "", "--goal-file", name, title_option="--goal-file")
    for run in spec.runs:
        scope = list(run.intention.scope)
        run.intention.CopyFrom(found)
        add_to(run.intention, {"scope": scope})


async def _git_directory(path: Path) -> list[Path]:
    """Where a linked worktree has its repository: who names the worktree means both."""
    with suppress(AutopackError, OSError):
        arguments = ("rev-parse", "--path-format=absolute", "--git-common-dir")
        found = await run_git(path, arguments, max_bytes=MAX_GIT_PATH)
        return [Path(os.fsdecode(found).rstrip("\n"))]
    return []


async def _server_problems(client: AsyncClient, file: BatchFile) -> list[Problem]:
    """What the server says of the rest of a file that is wrong already, so that all is told at once."""
    request = orchestrator_pb2.CreateBatchRequest(spec=file.spec, validate_only=True)
    try:
        await client.orchestrator.CreateBatch(request)
    except AutopackError as error:
        known = {problem.place for problem in file.problems}
        if not error.violations and _FIELDS.get(error.reason) not in file.places:
            return []  # it has no line of its own; once the file's problems are mended it is told
        return [problem for problem in _located(file, error) if problem.place not in known]
    return []


def _located(file: BatchFile, error: AutopackError) -> list[Problem]:
    """What the server refuses, where it stands in the file."""
    # That a run has exactly one executor is checked in the file; one whose form is wrong is none to the server.
    found = [item for item in error.violations if not item.field.endswith(".executor")]
    problems = [Problem(file.place_of(item.field), f"{item.field}: {item.description}") for item in found]
    if not error.violations and error.reason in _FIELDS:
        place = file.place_of(_FIELDS[error.reason])
        problems.append(Problem(place, f"{error.message} {error.remedy}".strip()))
    return problems


def _spec_of_options(
    *,
    repo: Path | None,
    goal: str | None,
    command: str | None,
    agent: str | None,
    count: int,
    name: str,
    scope: list[str] | None,
    validate: list[str] | None,
) -> batch_pb2.BatchSpec:
    if (command is None) == (agent is None):
        raise invalid_field("--command", "give exactly one of --command and --agent")
    title, description = split_goal(goal or "")
    spec = batch_pb2.BatchSpec(name=name, path=str((repo or Path()).expanduser().resolve()))
    for number in range(1, count + 1):
        item = spec.runs.add(name=name if count == 1 else f"{name}-{number}")
        item.intention.title, item.intention.description = title, description
        item.intention.scope.extend(scope or ())
        if agent is not None:
            item.agent.name = agent
        else:
            item.command.argv.words.extend(_words("--command", command or ""))
        for line in validate or ():
            item.validate.add().argv.words.extend(_words("--validate", line))
    return spec


def _words(option: str, line: str) -> list[str]:
    try:
        return parse_line(line)
    except ValueError as error:
        raise invalid_field(option, str(error)) from error

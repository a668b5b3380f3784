"""``autopack diagnose``: why did this command fail, and what is the safe fix?"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any

import typer
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_client import AsyncClient, AutopackError
from autopack_client.evidence import run_git
from autopack_client.facts import project_facts, workspace_paths
from autopack_client.mitigate import LocalRunner, State
from autopack_client.proof import Ended
from autopack_client.proving import Chain
from autopack_client.runtimes import installed_runtimes
from autopack_kit.commands import Command
from autopack_kit.errors import NotFound, invalid_field
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand

from autopack_cli.batchvalues import parse_line
from autopack_cli.fixing import Consent, Facts, Fixing, alone, can_ask, describe_action, exit_status
from autopack_cli.options import Address, Json, Scope
from autopack_cli.outputs import Output, ended_of, read_log, read_stream
from autopack_cli.render import clean, console, enum_word, err_console, print_json
from autopack_cli.session import Needs, run_to_end, session

__all__ = ["register"]

MAX_REVISION = 4096
WRAPPED = "autopack.wrapped"
"""Where the words behind ``--`` are kept while the others are read."""
_OUTCOMES = {
    "no match": "No known pattern explains this failure.",
    "succeeded": "The command succeeded, so there is nothing to explain; --exit-code says otherwise.",
    "no output": "There is no output to read; pipe in what the command printed, or name its log.",
}


class _Wrapping(TyperCommand):
    """Everything behind ``--`` is a command, and none of its words an option of ours."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[WRAPPED] = args[at + 1 :]
            args = args[:at]
        return list(super().parse_args(ctx, args))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("diagnose", cls=_Wrapping)(diagnose)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line says.

    Attributes:
        repo: the workspace, if it was named.
        scope: files that may change.
    """

    repo: Path | None
    scope: Sequence[str]
    fix: bool
    consent: Consent
    address: str | None
    as_json: bool
    timeout: float | None


def diagnose(
    ctx: typer.Context,
    log: Annotated[
        Path | None, typer.Argument(metavar="LOG", help="File with the output; default, or -: standard input.")
    ] = None,
    command: Annotated[
        str, typer.Option(metavar="LINE", help="The command that failed; without it there is only advice.")
    ] = "",
    exit_code: Annotated[int, typer.Option(metavar="N", help="Its exit code.")] = 1,
    cwd: Annotated[str, typer.Option(metavar="DIR", help="Where it ran, relative to --repo.")] = ".",
    repo: Annotated[
        Path | None,
        typer.Option("--repo", metavar="DIR", help="The workspace. Default: here; of `--`: the repository."),
    ] = None,
    scope: Scope = None,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the fix and run the command again, after asking.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask about automatic fixes.")] = False,
    yes_to: Annotated[
        list[str] | None,
        typer.Option("--yes-to", metavar="ID", help="With --fix: agree to this pattern, or glob; repeatable."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="For each run of the command. Default: no end.")
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Explain a failed command, from its output or by running it. Nothing is changed without --fix.

    With --fix a fix counts only if the same command then passes: fixed, progressed (another failure came to light,
    which is worked on as well), unchanged or worse (both undone). Files that you modified are not touched.

    Behind -- the command runs with your environment and no input; what it prints, on either stream, comes out on
    standard output, with --json on standard error.

    Exit status: 0 explained, 1 not; 2 wrong usage; 130 after Ctrl-C, which undoes what was not proven. With --fix:
    that of the last run of the command. Of -- COMMAND: always the command's own; 127 no such program, 124 its time
    was over, 128 + N signal N.

    \b
    pytest 2>&1 | autopack diagnose
    autopack diagnose build.log --command "npm test" --fix
    autopack diagnose -- npm test
    autopack diagnose --fix --yes --yes-to "uv.*" -- uv sync --locked
    """
    consent = Consent(yes, tuple(yes_to or ()), can_ask())
    asked = _Asked(repo, tuple(scope or ()), fix, consent, address, as_json, timeout)
    if (yes or yes_to) and not fix:
        raise invalid_field("--yes" if yes else "--yes-to", "agrees to a fix; add --fix")
    words: list[str] | None = ctx.meta.get(WRAPPED)
    log = None if log == Path("-") else log
    if words is not None:
        _check_wrapped(words, log, command)
        _check_consent(asked, asks=can_ask())
        raise typer.Exit(run_to_end(partial(_wrap, words, cwd, asked)))
    failed = _command(command, cwd)
    if fix and failed is None:
        raise invalid_field("--fix", "needs --command: a failure is fixed only if the same command then passes")
    _check_consent(asked, asks=can_ask() and log is not None)
    if log is None and can_ask():
        err_console().print("Paste what the command printed, then press Ctrl-D.", style="dim")
    output = read_stream(sys.stdin.buffer) if log is None else read_log(log)
    raise typer.Exit(run_to_end(partial(_explain, output, failed, exit_code, asked)))


def _check_wrapped(words: list[str], log: Path | None, command: str) -> None:
    if not words:
        raise invalid_field("--", "is followed by no command")
    if log is not None or command:
        raise invalid_field("LOG" if log is not None else "--command", "does not go with a command behind --")


def _check_consent(asked: _Asked, *, asks: bool) -> None:
    if asked.fix and not asks and not asked.consent.yes and not asked.consent.yes_to:
        raise invalid_field("--fix", "asks on the terminal; give the log as a file, or add --yes or --yes-to")


async def _explain(output: Output, failed: Command | None, exit_code: int, asked: _Asked) -> int:
    """From an output that is there."""
    workspace = _workspace(asked.repo or Path())
    shown = failed or Command.of("unknown")
    ended = Ended(shown, exit_code, output=output.tail, head=output.head, first_line=output.first_line)
    environment = _environment(workspace, shown.cwd)
    async with session(asked.address, Needs(("toolchain", "hardening"), [workspace])) as client:
        facts = await _facts(client, workspace, asked.scope, environment)
        response = await client.hardening.Diagnose(facts.request(ended, failed))
        if asked.as_json and not asked.fix:
            print_json(response)
        else:
            _print(console() if not asked.as_json else err_console(), response)
        if not asked.fix or failed is None:
            return int(not response.diagnoses)
        if not response.diagnoses:
            return _result(asked, ended, response, [], 1)
        with alone(workspace), _Logs() as logs:
            fixing = _fixing(client, facts, asked, logs, environment, environment, None)
            last = await Chain(fixing).work_off(replace(ended, diagnoses=tuple(response.diagnoses)))
            logs.is_read = not last.ok
        return _result(asked, last, response, fixing.attempts, exit_status(last) or int(not last.ok))


async def _wrap(words: list[str], cwd: str, asked: _Asked) -> int:
    """Runs the command; a server is started, and the workspace looked at, only if it fails."""
    workspace, place = await _place(asked.repo, cwd)
    command = Command.of(*words, cwd=place)
    environment = dict(os.environ)
    echo = sys.stderr.buffer if asked.as_json else sys.stdout.buffer
    with _Logs() as logs:
        runner = LocalRunner(logs.path, env=environment, timeout=asked.timeout, echo=echo)
        first = await asyncio.to_thread(ended_of, await runner.run(command, workspace / place))
        if first.ok:
            return _result(asked, first, None, [], 0)
        if not first.started:
            err_console().print(Text(first.output.decode("utf-8", "replace").strip()), soft_wrap=True)
        try:
            async with session(asked.address, Needs(("toolchain", "hardening"), [workspace])) as client:
                facts = await _facts(client, workspace, asked.scope, environment)
                response = await client.hardening.Diagnose(facts.request(first, command))
                _print(err_console(), response, wrapped=True)
                if not asked.fix or not response.diagnoses:
                    _offer(response, words, asked)
                    return _result(asked, first, response, [], exit_status(first))
                installing = _installing(environment, _virtualenv_of(words[0], workspace / place))
                fixing = _fixing(client, facts, asked, logs, environment, installing, echo)
                with alone(workspace):
                    last = await Chain(fixing).work_off(replace(first, diagnoses=tuple(response.diagnoses)))
                logs.is_read = any(attempt["outcome"] == State.FAILED.value for attempt in fixing.attempts)
                return _result(asked, last, response, fixing.attempts, exit_status(last))
        except AutopackError as error:  # whoever wrapped the command gets the command's own exit status
            what = "fixed" if error.reason == "FIX_IN_PROGRESS" else "diagnosed"
            err_console().print(Text(f"warning: it was not {what}: {clean(error.message)}", "yellow"))
            return exit_status(first)


def _offer(response: pb.DiagnoseResponse, words: Sequence[str], asked: _Asked) -> None:
    if not asked.fix and any(one.mitigation.actions for one in response.diagnoses):
        line = clean(Command.of(*words).line())
        err_console().print(Text(f"autopack diagnose --fix -- {line} applies it, and proves it", "dim"), soft_wrap=True)


def _fixing(
    client: AsyncClient,
    facts: Facts,
    asked: _Asked,
    logs: _Logs,
    environment: Mapping[str, str],
    installing: Mapping[str, str],
    echo: Any,
) -> Fixing:
    out = err_console()
    return Fixing(
        client,
        facts,
        LocalRunner(logs.path, env=environment, timeout=asked.timeout, echo=echo),
        LocalRunner(logs.path, env=installing),
        environment.get("PATH", os.defpath),
        asked.consent,
        partial(_print, out),
    )


def _result(
    asked: _Asked, last: Ended, response: pb.DiagnoseResponse | None, attempts: Sequence[Mapping[str, Any]], status: int
) -> int:
    """Prints everything as JSON, if that was asked for; the exit status."""
    if asked.as_json:
        outcomes = [one["outcome"] for one in attempts]
        found = {
            "command": last.command.line(),
            "cwd": last.command.cwd,
            "exit_code": exit_status(last),
            "outcome": "fixed" if last.ok and attempts else "passed" if last.ok else (outcomes or ["failed"])[-1],
            "diagnosis": None if response is None else MessageToDict(response, preserving_proto_field_name=True),
            "attempts": list(attempts),
        }
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return status


class _Logs:
    """A directory for outputs, which stays if somebody will read them."""

    def __init__(self) -> None:
        self.path = Path(mkdtemp(prefix="autopack-fix-"))
        self.is_read = False

    def __enter__(self) -> _Logs:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_read or not any(self.path.iterdir()):
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            err_console().print(f"outputs are in {self.path}", style="dim", soft_wrap=True)


def _workspace(repo: Path, option: str = "--repo") -> Path:
    with suppress(FileNotFoundError):  # where this runs was removed meanwhile
        workspace = repo.expanduser().resolve()
        if workspace.is_dir():
            return workspace
    raise NotFound(f"There is no directory {str(repo)!r}.", reason="REPO_NOT_FOUND", remedy=f"Check {option}.")


async def _place(repo: Path | None, cwd: str) -> tuple[Path, str]:
    """The workspace, and where in it the command runs: here, unless something else was said."""
    if repo is not None:
        workspace = _workspace(repo)
        _workspace(workspace / cwd, "--cwd")
        return workspace, cwd
    here = _workspace(Path(cwd), "--cwd")
    top = here
    with suppress(AutopackError):
        found = await run_git(here, ("rev-parse", "--show-toplevel"), max_bytes=MAX_REVISION)
        top = Path(os.fsdecode(found.rstrip(b"\n"))).resolve()
    workspace = top if here.is_relative_to(top) else here
    return _workspace(workspace), here.relative_to(workspace).as_posix()


async def _facts(client: AsyncClient, workspace: Path, scope: Sequence[str], environment: Mapping[str, str]) -> Facts:
    """What is known of the workspace. Without it a diagnosis has fewer fixes and still has its reasons."""
    base = await _base(workspace)
    projects: list[pb.ProjectFacts] = []
    try:
        detected = await client.toolchain.Detect(toolchain_pb2.DetectRequest(path=str(workspace)))
        projects = await asyncio.to_thread(project_facts, detected, workspace, base)
    except AutopackError as error:
        err_console().print(f"warning: the workspace was not looked at: {clean(error.message)}", style="yellow")
    paths = await asyncio.to_thread(workspace_paths, workspace)
    runtimes = await asyncio.to_thread(installed_runtimes, environment, workspace)
    return Facts(workspace, base, projects, paths, runtimes, scope)


def _command(line: str, cwd: str) -> Command | None:
    """The command that failed, as far as it is known: without it there is advice, but no fix."""
    try:
        return Command(argv=tuple(parse_line(line)), cwd=cwd) if line else None
    except ValueError as error:
        raise invalid_field("--command", str(error)) from error


async def _base(workspace: Path) -> str | None:
    """The commit that is trusted; None outside of git or before the first commit."""
    with suppress(AutopackError):
        arguments = ("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        found = await run_git(workspace, arguments, max_bytes=MAX_REVISION)
        return found.decode("ascii", "replace").strip() or None
    return None


def _print(out: Console, response: pb.DiagnoseResponse, *, wrapped: bool = False) -> None:
    if not response.diagnoses:
        words = enum_word(pb.DiagnoseResponse.Outcome, response.outcome, "OUTCOME_")
        if wrapped and words == "no output":
            out.print("The command printed nothing, so there is nothing to explain.", style="bold")
            return
        out.print(_OUTCOMES.get(words, words), style="bold")
    for diagnosis in response.diagnoses:
        _print_diagnosis(out, diagnosis)


def _print_diagnosis(out: Console, diagnosis: pb.Diagnosis) -> None:
    out.print(
        Text.assemble((clean(diagnosis.title), "bold"), f"  ({diagnosis.pattern_id}, {diagnosis.confidence:.2f})")
    )
    if diagnosis.line:
        out.print(
            Text(f"  line {diagnosis.line}: {clean(diagnosis.excerpt.decode('utf-8', 'replace'))}"), soft_wrap=True
        )
    mitigation = diagnosis.mitigation
    for action in mitigation.actions:
        out.print(Text(f"  fix: {clean(describe_action(action))}"), soft_wrap=True)
    if mitigation.actions:
        risk = enum_word(pb.Risk, mitigation.risk, "RISK_")
        consent = "automatic" if mitigation.automatic else f"needs consent: {clean(mitigation.consent_reason)}"
        out.print(Text(f"  risk {risk}, {consent}", style="dim"), soft_wrap=True)
    for suggestion in mitigation.suggestions:
        risk = f" Risk: {clean(suggestion.risk)}" if suggestion.risk else ""
        out.print(Text(f"  suggestion: {clean(suggestion.text)}{risk}"), soft_wrap=True)


def _environment(workspace: Path, cwd: str) -> Mapping[str, str]:
    """The person's own, with the workspace's virtual environment first."""
    places = (place / ".venv" for place in (workspace / cwd, workspace))
    return _installing(os.environ, next((one for one in places if (one / "bin" / "python").exists()), None))


def _virtualenv_of(program: str, cwd: Path) -> Path | None:
    """The virtual environment that a program, given by its path, belongs to."""
    place = Path(os.path.abspath(cwd / program)).parent.parent if "/" in program else None  # links are not followed
    return place if place is not None and (place / "pyvenv.cfg").is_file() else None


def _installing(environment: Mapping[str, str], virtualenv: Path | None) -> Mapping[str, str]:
    """What installs run with: the virtual environment comes first, and pip refuses to install into anything else."""
    result = {**environment, "PIP_REQUIRE_VIRTUALENV": "1"}
    if virtualenv is not None:
        result["VIRTUAL_ENV"] = str(virtualenv)
        result["PATH"] = f"{virtualenv / 'bin'}{os.pathsep}{result.get('PATH', os.defpath)}"
    return result

"""``autopack diagnose``: why did this command fail, and what is the safe fix?"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_client import AsyncClient, AutopackError
from autopack_client.evidence import run_git
from autopack_client.facts import project_facts, workspace_paths
from autopack_client.mitigate import Applier, LocalRunner, Outcome, State
from autopack_kit.commands import Command
from autopack_kit.convert import command_to_proto
from autopack_kit.errors import FailedPrecondition, NotFound, invalid_field
from rich.console import Console
from rich.text import Text

from autopack_cli.batchvalues import parse_line
from autopack_cli.options import Address, Json, Scope
from autopack_cli.render import clean, command_line, console, enum_word, err_console, print_json
from autopack_cli.session import Needs, run, session

__all__ = ["register"]

MAX_OUTPUT = 1 << 20
"""Bytes of the end of a log that are sent: what Diagnose takes."""
CHUNK = 64 << 10
MAX_REVISION = 100
SHOWN_DIFF_LINES = 200
_OUTCOMES = {
    "no match": "No known pattern explains this failure.",
    "succeeded": "The command succeeded, so there is nothing to explain; --exit-code says otherwise.",
    "no output": "There is no output to read; pipe in what the command printed, or name its log.",
}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("diagnose")(diagnose)


def diagnose(
    log: Annotated[
        Path | None, typer.Argument(metavar="LOG", help="File with the output; default: standard input.")
    ] = None,
    command: Annotated[
        str, typer.Option(metavar="LINE", help="The command that failed; without it there is only advice.")
    ] = "",
    exit_code: Annotated[int, typer.Option(metavar="N", help="Its exit code.")] = 1,
    cwd: Annotated[str, typer.Option(metavar="DIR", help="Where it ran, relative to --repo.")] = ".",
    repo: Annotated[Path, typer.Option("--repo", metavar="DIR", help="The workspace; facts about it are used.")] = Path(
        "."
    ),
    scope: Scope = None,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the fix and run the command again, after asking.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask about automatic fixes.")] = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Explain a failed command. Nothing is changed without --fix. Exit status: 0 explained (with --fix: fixed), 1 not.

    \b
    pytest 2>&1 | autopack diagnose
    pytest 2>&1 | autopack diagnose --command pytest --exit-code 1
    autopack diagnose build.log --command "npm test" --fix
    """
    failed = _command(command, cwd)
    if fix and failed is None:
        raise invalid_field("--fix", "needs --command: a failure is fixed only if the same command then passes")
    if fix and log is None and not yes and not sys.stdin.isatty():
        raise invalid_field("--fix", "asks on the terminal; give the log as a file, or add --yes")
    output = _read(log)
    workspace = repo.expanduser().resolve()
    if not workspace.is_dir():
        raise NotFound(f"There is no directory {str(repo)!r}.", reason="REPO_NOT_FOUND", remedy="Check --repo.")

    async def work() -> bool:
        async with session(address, Needs(("toolchain", "hardening"), [workspace])) as client:
            base = await _base(workspace)
            facts = await _facts(client, workspace, base)
            request = pb.DiagnoseRequest(
                command=None if failed is None else command_to_proto(failed),
                exit_code=exit_code,
                output=output,
                projects=facts,
                paths=await asyncio.to_thread(workspace_paths, workspace),
                scope=scope,
            )
            response = await client.hardening.Diagnose(request)
            if as_json:
                print_json(response)
            else:
                _print(console(), response)
            matched = bool(response.diagnoses)
            if not fix or failed is None or not matched:
                return matched
            return await _fix(response.diagnoses[0], failed, workspace, facts, base, list(scope or ()), yes=yes)

    raise typer.Exit(int(not run(work)))


def _command(line: str, cwd: str) -> Command | None:
    """The command that failed, as far as it is known: without it there is advice, but no fix."""
    try:
        return Command(argv=tuple(parse_line(line)), cwd=cwd) if line else None
    except ValueError as error:
        raise invalid_field("--command", str(error)) from error


def _read(log: Path | None) -> bytes:
    """The last MiB of the log."""
    if log is None:
        kept: deque[bytes] = deque()
        size = 0
        while chunk := sys.stdin.buffer.read(CHUNK):
            kept.append(chunk)
            size += len(chunk)
            while size - len(kept[0]) >= MAX_OUTPUT:
                size -= len(kept.popleft())
        return b"".join(kept)[-MAX_OUTPUT:]
    try:
        with open(os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_OUTPUT))
            return file.read(MAX_OUTPUT)
    except OSError as error:
        raise FailedPrecondition(
            f"{log} cannot be read: {error.strerror or error}.",
            reason="LOG_UNREADABLE",
            remedy="Name a readable file, or pipe the output into this command.",
        ) from error


async def _base(workspace: Path) -> str | None:
    """The commit that is trusted; None outside of git or before the first commit."""
    with suppress(AutopackError):
        arguments = ("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        found = await run_git(workspace, arguments, max_bytes=MAX_REVISION)
        return found.decode("ascii", "replace").strip() or None
    return None


async def _facts(client: AsyncClient, workspace: Path, base: str | None) -> list[pb.ProjectFacts]:
    """What is known of the workspace. Without it a diagnosis has fewer fixes and still has its reasons."""
    try:
        detected = await client.toolchain.Detect(toolchain_pb2.DetectRequest(path=str(workspace)))
        return await asyncio.to_thread(project_facts, detected, workspace, base)
    except AutopackError as error:
        err_console().print(f"warning: the workspace was not looked at: {clean(error.message)}", style="yellow")
        return []


def _print(out: Console, response: pb.DiagnoseResponse) -> None:
    if not response.diagnoses:
        words = enum_word(pb.DiagnoseResponse.Outcome, response.outcome, "OUTCOME_")
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


def describe_action(action: pb.Action) -> str:
    """An action in a few words."""
    match action.WhichOneof("kind"):
        case "install_declared":
            install = action.install_declared
            return f"{' && '.join(command_line(item) for item in install.commands)} (declared in {install.declared_in})"
        case "change_cwd":
            return f"run it in {action.change_cwd.cwd}"
        case "set_env":
            return "run it with " + " ".join(f"{name}={value}" for name, value in sorted(action.set_env.env.items()))
        case "restore_out_of_scope":
            return f"restore {', '.join(action.restore_out_of_scope.paths)}"
        case "run_command" | "run_formatter" | "regenerate_lockfile":
            return command_line(getattr(action, action.WhichOneof("kind") or "").command)
        case "edit_command":
            return f"run instead: {command_line(action.edit_command.command)}"
        case "switch_runtime":
            return f"run it with {action.switch_runtime.name} {action.switch_runtime.version}"
        case "remove_stale_lock":
            return f"remove {action.remove_stale_lock.path}, if nobody holds it"
        case "retry_with_backoff":
            return "run it again after a pause"
        case _:
            return "an action that this version does not know"


async def _fix(
    diagnosis: pb.Diagnosis,
    failed: Command,
    workspace: Path,
    facts: list[pb.ProjectFacts],
    base: str | None,
    scope: list[str],
    *,
    yes: bool,
) -> bool:
    out = err_console()
    mitigation = diagnosis.mitigation
    if not mitigation.actions:
        out.print("There is only advice, nothing to apply.")
        return False
    if not (yes and mitigation.automatic) and not typer.confirm("Apply this and run the command again?", err=True):
        return False
    logs = Path(mkdtemp(prefix="autopack-fix-"))
    fixed = False
    try:
        runner = LocalRunner(logs, env=_environment(workspace, failed.cwd))
        applier = Applier(
            workspace,
            runner,
            facts=facts,
            base_commit=base,
            scope=scope,
            consent=not yes or mitigation.automatic,
            interactive=True,
        )
        fixed = await _apply(applier, runner, mitigation, failed, workspace)
    finally:
        # After a failure the outputs are what the person reads next.
        if fixed or not any(logs.iterdir()):
            shutil.rmtree(logs)
    return fixed


async def _apply(
    applier: Applier, runner: LocalRunner, mitigation: pb.Mitigation, failed: Command, workspace: Path
) -> bool:
    """Applies the fix and runs the command again; whether it passes."""
    out = err_console()
    outcome = await applier.apply(mitigation, failed)
    _print_outcome(out, outcome)
    if outcome.state is not State.APPLIED:
        return False
    line = clean(outcome.rerun.line())
    ran = await runner.run(outcome.rerun, workspace / outcome.rerun.cwd)
    if ran.exit_code == 0 and not ran.timed_out:
        out.print(f"fixed: {line} passes", style="green", soft_wrap=True)
        return True
    await applier.undo(outcome)
    how = "took too long" if ran.timed_out else f"exits {ran.exit_code}"
    out.print(
        f"not fixed: {line} {how}; changed files were restored; its output is in {ran.output}",
        style="red",
        soft_wrap=True,
    )
    return False


def _print_outcome(out: Console, outcome: Outcome) -> None:
    for reason in outcome.reasons:
        out.print(Text(f"{outcome.state.value}: {clean(reason)}"), soft_wrap=True)
    lines = outcome.diff.decode("utf-8", "replace").splitlines()
    for line in lines[:SHOWN_DIFF_LINES]:
        out.print(Text(clean(line), style="green" if line.startswith("+") else "red" if line.startswith("-") else ""))
    if len(lines) > SHOWN_DIFF_LINES:
        out.print(f"... and {len(lines) - SHOWN_DIFF_LINES} more lines", style="dim")


def _environment(workspace: Path, cwd: str) -> Mapping[str, str]:
    """The person's own, with the workspace's virtual environment first; pip refuses to install into anything else."""
    result = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "1"}
    for place in (workspace / cwd, workspace):
        if (place / ".venv" / "bin" / "python").exists():
            result["VIRTUAL_ENV"] = str(place / ".venv")
            result["PATH"] = f"{place / '.venv' / 'bin'}{os.pathsep}{result.get('PATH', os.defpath)}"
            break
    return result

"""``autopack diagnose --fix``: what is agreed to, applied in a person's own checkout, and proven."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import typer
from autopack_api.hardening.v1 import hardening_pb2 as pb
from autopack_api.hardening.v1 import patterns_pb2
from autopack_client import AsyncClient, AutopackError
from autopack_client.mitigate import Applier, LocalRunner, State
from autopack_client.mitigate_git import Git
from autopack_client.proof import Ended, Proof, ending
from autopack_client.proving import Attempt
from autopack_kit.commands import Command
from autopack_kit.convert import command_to_proto
from autopack_kit.errors import FailedPrecondition
from rich.console import Console
from rich.text import Text

from autopack_cli.outputs import ended_of
from autopack_cli.render import clean, command_line, err_console

__all__ = ["Consent", "Facts", "Fixing", "alone", "can_ask", "describe_action", "exit_status", "how"]

SHOWN_DIFF_LINES = 200
SHOWN_OUTPUT_LINES = 8
SHOWN_OUTPUT_BYTES = 8 << 10
MAX_DIFF_BYTES = 256 << 10
TIMED_OUT, NOT_FOUND, OF_SIGNAL = 124, 127, 128
"""What shells and ``timeout`` exit with."""


@contextmanager
def alone(workspace: Path) -> Iterator[None]:
    """Nobody else fixes anything in the directory meanwhile: each would take for its own, and undo, what both change.

    Raises:
        FailedPrecondition: ``FIX_IN_PROGRESS``.
    """
    descriptor = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FailedPrecondition(
                f"Another autopack diagnose --fix is at work in {workspace}.",
                reason="FIX_IN_PROGRESS",
                remedy="Wait until it has ended, and try again; nothing was changed.",
                metadata={"path": str(workspace)},
            ) from error
        except OSError:  # NFS and some others lock no directory (flock(2)); better to fix without than not at all
            pass
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the workspace."""

    workspace: Path
    base: str | None
    projects: Sequence[pb.ProjectFacts]
    paths: Sequence[str]
    runtimes: Sequence[pb.InstalledRuntime]
    scope: Sequence[str]

    def request(self, ended: Ended, command: Command | None) -> pb.DiagnoseRequest:
        """Why did it fail?"""
        request = pb.DiagnoseRequest(
            command=None if command is None else command_to_proto(command),
            projects=self.projects,
            paths=self.paths,
            runtimes=self.runtimes,
            scope=self.scope,
        )
        ending(request, ended)
        return request


@dataclass(frozen=True, slots=True)
class Consent:
    """What the person agreed to beforehand.

    Attributes:
        yes: everything that is automatic.
        yes_to: globs of patterns whose fixes may be applied although they need consent.
        can_ask: there is a terminal.
    """

    yes: bool
    yes_to: Sequence[str]
    can_ask: bool

    def covers(self, diagnosis: pb.Diagnosis) -> bool:
        """Without asking."""
        named = any(fnmatchcase(diagnosis.pattern_id, glob) for glob in self.yes_to)
        return named or (self.yes and diagnosis.mitigation.automatic)


@dataclass(slots=True)
class Fixing:
    """The bench on which fixes are proven, in a person's checkout.

    Attributes:
        runner: runs the command, as the person would.
        installer: runs what a fix runs; pip then refuses to install outside of a virtual environment.
        explain: called with each further failure that came to light.
        attempts: what was tried, for ``--json``.
    """

    client: AsyncClient
    facts: Facts
    runner: LocalRunner
    installer: LocalRunner
    search_path: str
    consent: Consent
    explain: Any
    attempts: list[dict[str, Any]] = field(default_factory=list)

    async def run(self, command: Command) -> Ended:
        """Run the command again."""
        ran = await self.runner.run(command, self.facts.workspace / command.cwd)
        return await asyncio.to_thread(ended_of, ran)

    async def diagnose(self, ended: Ended) -> Sequence[pb.Diagnosis]:
        """Why it fails now."""
        try:
            response = await self.client.hardening.Diagnose(self.facts.request(ended, ended.command))
        except AutopackError as error:
            err_console().print(f"warning: it could not be diagnosed: {clean(error.message)}", style="yellow")
            return ()
        self.explain(response)
        return tuple(response.diagnoses)

    async def applier(self, diagnosis: pb.Diagnosis, command: Command) -> Applier | None:
        """Ask, unless it was agreed to."""
        if not self.consent.covers(diagnosis) and not await self._ask(diagnosis):
            return None
        return Applier(
            self.facts.workspace,
            self.installer,
            facts=self.facts.projects,
            base_commit=self.facts.base,
            scope=self.facts.scope,
            # Automatic is what the service calls so; whoever was asked, or named the pattern, agreed to more.
            consent=not (self.consent.yes and diagnosis.mitigation.automatic) or self._named(diagnosis),
            interactive=True,
            runtimes=self.facts.runtimes,
            search_path=command.env.get("PATH", self.search_path),
        )

    def _named(self, diagnosis: pb.Diagnosis) -> bool:
        return replace(self.consent, yes=False).covers(diagnosis)

    async def _ask(self, diagnosis: pb.Diagnosis) -> bool:
        out, pattern = err_console(), clean(diagnosis.pattern_id)
        if not self.consent.can_ask:
            option = "--yes" if diagnosis.mitigation.automatic else f"--yes-to {pattern}"
            out.print(f"not applied: {pattern} was not agreed to; {option} does", style="yellow", soft_wrap=True)
            return False
        await asyncio.to_thread(self._show_declarations, out, diagnosis)
        words = "; ".join(describe_action(action) for action in diagnosis.mitigation.actions)
        return await _confirmed(f"{clean(words)}\nApply this and run the command again?")

    def _show_declarations(self, out: Console, diagnosis: pb.Diagnosis) -> None:
        """What was declared since the last commit, and would be installed."""
        files = [action.install_declared.declared_in for action in diagnosis.mitigation.actions]
        if self.facts.base and any(files):
            git = Git(self.facts.workspace, trusted=True)
            print_diff(out, git.diff(self.facts.base, [one for one in files if one], MAX_DIFF_BYTES))

    async def attempted(self, attempt: Attempt) -> None:
        """Say what came of it, and let the service count it."""
        self.attempts.append(_as_json(attempt))
        _print_attempt(err_console(), attempt)
        if attempt.proof is None:
            return
        value = patterns_pb2.MitigationOutcome.Value(f"MITIGATION_OUTCOME_{attempt.proof.name}")
        record = patterns_pb2.RecordOutcomeRequest(
            outcome_id=f"diagnose:{uuid.uuid4()}", pattern_id=attempt.diagnosis.pattern_id, outcome=value
        )
        with suppress(AutopackError):  # a statistic less; nobody who fixes something wants to read of it
            await self.client.hardening.RecordOutcome(record)


async def _confirmed(question: str) -> bool:
    """Like ``typer.confirm``, and Ctrl-C and SIGTERM are heard while nobody has answered."""
    loop = asyncio.get_running_loop()
    while True:
        typer.echo(f"{question} [y/N]: ", err=True, nl=False)
        answered = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), answered.set)
        try:
            await answered.wait()  # a terminal has something to read once a whole line is there
        finally:
            loop.remove_reader(sys.stdin.fileno())
        line = sys.stdin.readline()
        if not line:
            raise typer.Abort
        if line.strip().lower() in ("", "n", "no", "y", "yes"):
            return line.strip().lower().startswith("y")


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
            return f"run it again after a pause, at most {action.retry_with_backoff.attempts} times"
        case _:
            return "an action that this version does not know"


def exit_status(ended: Ended) -> int:
    """What a shell would exit with."""
    if ended.timed_out:
        return TIMED_OUT
    if ended.signal is not None:
        return OF_SIGNAL + ended.signal
    return NOT_FOUND if not ended.started else (ended.exit_code or 0)


def how(ended: Ended) -> str:
    """How a failure ended, for a person."""
    if not ended.started:
        return "could not be started"
    if ended.timed_out:
        return "took too long"
    return f"was ended by signal {ended.signal}" if ended.signal is not None else f"exits {ended.exit_code}"


def print_diff(out: Console, diff: bytes) -> None:
    """A difference, cut to what is read."""
    lines = diff.decode("utf-8", "replace").splitlines()
    for line in lines[:SHOWN_DIFF_LINES]:
        out.print(Text(clean(line), style="green" if line.startswith("+") else "red" if line.startswith("-") else ""))
    if len(lines) > SHOWN_DIFF_LINES:
        out.print(f"... and {len(lines) - SHOWN_DIFF_LINES} more lines", style="dim")


def _print_attempt(out: Console, attempt: Attempt) -> None:
    if attempt.outcome is None:
        out.print(Text(f"failed: {clean(attempt.problem)}"), soft_wrap=True)
        return
    for reason in attempt.outcome.reasons:
        out.print(Text(f"{attempt.outcome.state.value}: {clean(reason)}"), soft_wrap=True)
    if attempt.outcome.state is State.FAILED and attempt.outcome.ran:
        for line in _last_lines(attempt.outcome.ran[-1].output):
            out.print(Text(f"  | {clean(line)}", style="dim"), soft_wrap=True)
    print_diff(out, attempt.outcome.diff)
    if attempt.after is None or attempt.proof is None:
        return
    line = clean(attempt.outcome.rerun.line())
    if attempt.proof is Proof.FIXED:
        out.print(Text(f"fixed: {line} passes", style="green"), soft_wrap=True)
        return
    out.print(Text(f"not fixed ({attempt.proof.value}): {line} {how(attempt.after)}{_SAY[attempt.proof]}", "red"))


def _last_lines(path: Path) -> list[str]:
    """What a command said last; nothing if that cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - SHOWN_OUTPUT_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()][-SHOWN_OUTPUT_LINES:]


_SAY = {
    Proof.PROGRESSED: ", now for another reason; what was changed stays",
    Proof.UNCHANGED: " as before; changed files were restored",
    Proof.WORSE: ", and got less far than before; changed files were restored",
}


def _as_json(attempt: Attempt) -> dict[str, Any]:
    outcome, after = attempt.outcome, attempt.after
    result = "failed" if outcome is None else outcome.state.value
    return {
        "pattern_id": attempt.diagnosis.pattern_id,
        "actions": [describe_action(action) for action in attempt.diagnosis.mitigation.actions],
        "outcome": result if attempt.proof is None else attempt.proof.value,
        "reasons": [attempt.problem] if outcome is None else list(outcome.reasons),
        "changed": [] if outcome is None else list(outcome.changed),
        "created": [] if outcome is None else list(outcome.created),
        "diff": "" if outcome is None else outcome.diff.decode("utf-8", "replace"),
        "command": None if outcome is None else outcome.rerun.line(),
        "exit_code": None if after is None else exit_status(after),
    }


def can_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty()

"""What a run uses becomes known: its agent is made to report, and what it says in a file is handed in.

Nothing of this ends a run: what cannot be told is a warning, or the budget that nobody can watch.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath

from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters.agent_versions import installed_version
from autopack_orchestrator.adapters.agents import known_agents
from autopack_orchestrator.core.agents import GENERIC
from autopack_orchestrator.core.codec import dumps, loads
from autopack_orchestrator.core.isolation import Network
from autopack_orchestrator.core.model import RunState
from autopack_orchestrator.core.records import Reporting, run_record
from autopack_orchestrator.execution.context import RunContext
from autopack_orchestrator.execution.isolate import sandboxed
from autopack_orchestrator.execution.logs import open_plain

__all__ = ["REPORTING", "as_doctor", "hand_in", "made_to_report", "prepare_reporting", "recall", "record_run"]

REPORTING = "reporting.json"
"""What an attempt's agent was told, for whoever takes it up; it holds a token."""
USAGE_FILE = "{usage_file}"
USAGE_NAME = "autopack-usage"
MAX_USAGE_FILES = 100
MAX_USAGE_BYTES = 60 << 20  # what ImportUsage takes
NO_ENDPOINT = "OTLP_ENDPOINT_UNKNOWN"
_SANDBOX_TMP = PurePath("/tmp")  # noqa: S108  # the run's own
_NODE = "NODE_EXTRA_CA_CERTS"  # adds to what Node's programs trust already
_RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"


@dataclass(frozen=True, slots=True)
class _Told:
    """What the agent of an attempt was told, and of which phase it is."""

    phase_id: str
    file_format: int
    file_pattern: str
    secrets: tuple[str, ...]


async def prepare_reporting(ctx: RunContext, command: Command) -> Reporting:
    """What makes the run's agent report; kept for :func:`hand_in` and :func:`recall`."""
    preset = ctx.run.spec.agent
    reporting = await _ask(ctx, preset.name if preset is not None else _agent_of(command))
    if preset is None:  # words are its author's
        reporting = replace(reporting, arguments=())
        if not any(USAGE_FILE in value for value in reporting.env.values()):
            reporting = replace(reporting, file_format=0)
    ctx.add_secrets(reporting.secrets)
    told = _Told(ctx.phase_id, reporting.file_format, reporting.file_pattern, reporting.secrets)
    await asyncio.to_thread(_write, ctx.directory / REPORTING, dumps(told))
    if reporting.file_format:
        place = await _usage_file(ctx)
        words = tuple(word.replace(USAGE_FILE, str(place)) for word in reporting.arguments)
        env = {name: value.replace(USAGE_FILE, str(place)) for name, value in reporting.env.items()}
        reporting = replace(reporting, arguments=words, env=env)
    return reporting


def made_to_report(command: Command, reporting: Reporting) -> Command:
    """The command with these variables; those that it names itself stay as they are."""
    return replace(command, env={**reporting.env, **command.env})


async def as_doctor(ctx: RunContext, command: Command) -> Command:
    """A doctor's command, made to report: what it uses is the cost of a doctor, of this phase."""
    reporting = await _ask(ctx, _agent_of(command))
    ctx.add_secrets(reporting.secrets)
    env = dict(reporting.env)
    if _RESOURCE in env:
        env[_RESOURCE] += ",autopack.role=doctor"
    return made_to_report(command, replace(reporting, env=env))


async def recall(ctx: RunContext) -> None:
    """What the agent that is taken up was told stays secret."""
    told = await asyncio.to_thread(_read, ctx.directory / REPORTING)
    if told is not None:
        ctx.add_secrets(told.secrets)


async def hand_in(ctx: RunContext) -> None:
    """Record the usage that the agent left in a file, if it was told to write one."""
    told = await asyncio.to_thread(_read, ctx.directory / REPORTING)
    if told is None or not told.file_format:
        return
    warnings: tuple[str, ...] = ()
    try:
        paths = await asyncio.to_thread(_usage_files, ctx.directory / "tmp" / USAGE_NAME, told.file_pattern)
        for path in paths:
            content = await asyncio.to_thread(_content, path)
            warnings += await ctx.peers.import_usage(ctx.run.run_id, told.phase_id, told.file_format, content)
    except FileNotFoundError:
        warnings = ("the agent wrote none",)
    except AutopackError as error:
        warnings = (error.message,)
    except OSError as error:
        warnings = (str(error),)
    for warning in warnings[:3]:
        await ctx.warn("telemetry", f"The agent's own file about its usage: {warning}")


async def record_run(ctx: RunContext, state: RunState | None = None) -> None:
    """Tell telemetry about the run as a whole; at its end with the state in which it ends."""
    version, preset = "", ctx.run.spec.agent
    if preset is not None and (command := known_agents()[preset.name].command):
        version = await asyncio.to_thread(installed_version, command[0], ctx.server_environment.get("PATH", ""))
    try:
        await ctx.peers.record_run(run_record(ctx.run, version, state, datetime.now(UTC) if state else None))
    except AutopackError as error:
        await ctx.warn("telemetry", f"Telemetry could not be written: {error.message}")


async def _ask(ctx: RunContext, agent: str) -> Reporting:
    try:
        reporting = await ctx.peers.reporting(ctx.run.run_id, ctx.phase_id, agent)
    except AutopackError as error:
        # A server without such a port is as its operator wants it, and a command may have its own ways to tell.
        if error.reason != NO_ENDPOINT or ctx.run.spec.agent is not None:
            await ctx.warn("telemetry", f"What the agent uses will not be known: {error.message}")
        return Reporting(agent)
    if reporting.sends and ctx.run.spec.isolation.network is Network.OFF:
        return Reporting(agent)  # it would only wait for an answer
    return await asyncio.to_thread(_trusting, ctx, reporting)


def _trusting(ctx: RunContext, reporting: Reporting) -> Reporting:
    """So that programs know the authority of the other services, if it is one of our own. Blocks."""
    authority = ctx.settings.peer_ca_file
    if authority is None or not any("https://" in text for text in (*reporting.env.values(), *reporting.arguments)):
        return reporting
    copy = ctx.directory / "peer-ca.pem"  # where commands in the sandbox can read it
    try:
        known = Path(ctx.variables[_NODE]).read_text() if _NODE in ctx.variables else ""
        _write(copy, f"{authority.read_text()}\n{known}")
    except OSError:
        return reporting
    named = {_NODE: str(copy), "OTEL_EXPORTER_OTLP_CERTIFICATE": str(copy)}
    return replace(reporting, env={**named, **reporting.env})


def _agent_of(command: Command) -> str:
    """Which known agent a command starts: then it is made to report as that one, else as any program."""
    program = PurePath(command.argv[0]).name if command.argv else ""
    programs = {agent.command[0]: name for name, agent in known_agents().items() if agent.command}
    return programs.get(program, GENERIC)


async def _usage_file(ctx: RunContext) -> PurePath:
    """Where the agent writes, as it sees it: the run's own directory for temporary files."""
    place = ctx.directory / "tmp"
    await asyncio.to_thread(place.mkdir, mode=0o700, parents=True, exist_ok=True)
    return (_SANDBOX_TMP if await sandboxed(ctx) else place) / USAGE_NAME


def _usage_files(path: Path, pattern: str) -> list[Path]:
    """The file, or those of a directory that match; nothing that lies behind a link."""
    if not pattern:
        return [path]
    found = [] if path.is_symlink() else sorted(path.glob(pattern))[:MAX_USAGE_FILES]
    plain = [file for file in found if not file.parent.is_symlink()]
    if not plain:
        raise FileNotFoundError(path)
    return plain


def _content(path: Path) -> bytes:
    with open_plain(path) as file:
        return file.read(MAX_USAGE_BYTES + 1)


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _read(path: Path) -> _Told | None:
    try:
        return loads(path.read_text(), _Told)
    except (OSError, ValueError):
        return None

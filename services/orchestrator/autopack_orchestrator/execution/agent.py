"""The agent at work: started or found again, watched for drift and budget, ended when it must be."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError

from autopack_orchestrator.adapters import supervisor
from autopack_orchestrator.adapters.agents import known_agents
from autopack_orchestrator.adapters.supervisor import Handle, Outcome, Reason
from autopack_orchestrator.core.agents import overloaded
from autopack_orchestrator.core.judge import Usage, over_budget
from autopack_orchestrator.core.model import EventKind, MockExecutor, OnDrift, RunState
from autopack_orchestrator.core.retry import OVERLOADED
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.execution.capture import has_changes
from autopack_orchestrator.execution.commands import (
    AtWork,
    Finished,
    finish_or_leave,
    launch,
    log_header,
    read_tail,
)
from autopack_orchestrator.execution.context import RunContext, make_event
from autopack_orchestrator.execution.drift import DriftWatch
from autopack_orchestrator.execution.reporting import hand_in, made_to_report, prepare_reporting

__all__ = ["agent_command", "attend", "start_agent"]

AGENT = "agent"
BUDGET_INTERVAL_S = 5.0  # a model answers in seconds: closer looks see nothing new

MIN_AGENT_S = 1.0  # a budget of wall time that is used up ends the agent at once, as any timeout

PLACEHOLDER = re.compile(r"\{(?:context|goal|context_file)\}")

BatchUsage = Callable[[], Awaitable[Usage]]


def agent_command(ctx: RunContext, more: Sequence[str] = ()) -> Command:
    """The command of the run's agent, with its placeholders filled in; words stay words.

    Args:
        ctx: the run.
        more: words behind those of the preset, before those of the batch, which so have the last say.
    """
    spec = ctx.run.spec
    if spec.agent is not None:
        preset = known_agents()[spec.agent.name]
        command = Command(argv=(*preset.command, *more, *spec.agent.arguments), env=preset.env)
    elif spec.command is not None:
        command = spec.command
    else:
        raise ctx.fail("NO_AGENT", "The run names neither a command nor an agent.")
    if command.script is not None:
        return command
    values = {
        "{context}": ctx.variables["AUTOPACK_CONTEXT"],
        "{goal}": spec.intention.title,
        "{context_file}": ctx.variables["AUTOPACK_CONTEXT_FILE"],
    }
    # In one pass: what a context says is not searched for placeholders again.
    words = tuple(PLACEHOLDER.sub(lambda match: values[match[0]], word) for word in command.argv)
    return replace(command, argv=words)


async def start_agent(ctx: RunContext, batch_start: datetime) -> Handle:
    """Start the agent under its supervisor, made to report what it uses.

    Args:
        ctx: the run.
        batch_start: when the first run of the batch began.
    """
    reporting = await prepare_reporting(ctx, agent_command(ctx))
    command = made_to_report(agent_command(ctx, reporting.arguments), reporting)
    await asyncio.to_thread(log_header, ctx, AGENT, command)
    seconds = time_left(ctx, command, batch_start)
    idle = ctx.run.spec.idle_timeout.total_seconds() if ctx.run.spec.idle_timeout is not None else 0.0
    return await launch(ctx, AGENT, replace(command, timeout=None), timeout_s=seconds, idle_timeout_s=idle)


def time_left(ctx: RunContext, command: Command | None, batch_start: datetime) -> float:
    """Seconds that the agent may take: the shortest of its own timeout, the run's, and what is left of wall times."""
    limits = [ctx.run.spec.timeout]
    if command is not None and command.timeout is not None:
        limits.append(command.timeout)
    for budget, start in ((ctx.run.spec.budget, ctx.run.start_time), (ctx.batch.budget, batch_start)):
        if budget.max_wall_time is not None and start is not None:
            limits.append(budget.max_wall_time - (datetime.now(UTC) - start))
    return max(MIN_AGENT_S, min(limits).total_seconds())


async def find_agent(ctx: RunContext) -> Handle | Outcome | None:
    """The agent of an attempt that was begun by a process that is gone: alive, ended, or never heard of again."""
    executions = ctx.directory / "exec"
    found = sorted(executions.glob(f"*-{AGENT}"), key=lambda path: int(path.name.partition("-")[0]))
    if not found:
        return None
    match await supervisor.attach(found[-1]):
        case Handle() as handle:
            return handle
        case supervisor.Finished(outcome):
            return outcome
        case _:
            return None


@dataclass(slots=True)
class _Ending:
    """Why the agent was ended from here."""

    reason: str = ""
    message: str = ""

    def because(self, reason: str, message: str) -> None:
        """The first reason counts."""
        if not self.reason:
            self.reason, self.message = reason, message


async def attend(ctx: RunContext, handle: AtWork, watch: DriftWatch, batch_usage: BatchUsage) -> Outcome:
    """Wait for the agent while its drift and its budget are watched; report how it ended.

    Raises:
        RunFailed: it drifted or used up its budget, and was ended for it.
    """
    ending = _Ending()
    watchers = [asyncio.create_task(_watch_drift(ctx, handle, watch, ending))]
    if ctx.run.spec.budget.needs_telemetry or ctx.batch.budget.needs_telemetry:
        watchers.append(asyncio.create_task(_watch_budget(ctx, handle, batch_usage, ending)))
    try:
        outcome = await finish_or_leave(ctx, handle)
    finally:
        for watcher in watchers:
            watcher.cancel()
        results = await asyncio.gather(*watchers, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    await report_agent(ctx, outcome)
    if ending.reason:
        raise ctx.fail(ending.reason, ending.message, "Split the goal, or change the limit that ended the run.")
    return outcome


async def report_agent(ctx: RunContext, outcome: Outcome) -> None:
    """The agent's end as an event, its exit code in the result, and the file about its usage to telemetry."""
    await hand_in(ctx)
    words = Finished(Command.of(AGENT), outcome, 0).words()
    leftover = f"; {outcome.leftover} processes that it left behind were ended" if outcome.leftover else ""
    await ctx.write(
        agent_exit_code=outcome.exit_code,
        events=(
            make_event(
                EventKind.COMMAND,
                f"the agent {words}{leftover}",
                name=AGENT,
                outcome=outcome.reason.value.lower(),
                exit_code="" if outcome.exit_code is None else outcome.exit_code,
                seconds=f"{outcome.duration_s:.3f}",
                leftover=outcome.leftover,
                output_bytes=outcome.output_bytes,
                limits=",".join(outcome.limits),
            ),
        ),
    )


async def check_overload(ctx: RunContext, outcome: Outcome) -> None:
    """End the attempt if the agent ended because its provider takes no more requests now.

    Some agents end with 0 even then: for these it counts only if nothing was changed.

    Raises:
        RunFailed: OVERLOADED.
    """
    agent = ctx.run.spec.agent
    if agent is None or outcome.reason is not Reason.EXITED:
        return
    tail = await asyncio.to_thread(read_tail, ctx, Finished(Command.of(AGENT), outcome, 0))
    if not overloaded(known_agents()[agent.name], tail, outcome.exit_code):
        return
    if outcome.exit_code == 0 and await has_changes(ctx):
        return
    message = f"The provider of {agent.name} is overloaded: it takes no more requests now."
    await ctx.event(EventKind.WARNING, message, about="overloaded", agent=agent.name)
    raise ctx.fail(OVERLOADED, message, "Run fewer of these agents at once, or try again later.")


def check_agent(ctx: RunContext, outcome: Outcome) -> None:
    """End the run if its agent did not end well.

    Raises:
        RunFailed: timeout, a failing exit code, or a command that could not be started.
    """
    words = Finished(Command.of(AGENT), outcome, 0).words()
    match outcome.reason:
        case Reason.EXITED if outcome.exit_code == 0:
            return
        case Reason.TIMEOUT:
            raise ctx.fail(
                "TIMEOUT",
                f"The agent {words}, with everything it had started.",
                "Give it more time with `timeout`, or a smaller goal. What it had changed is in the patch.",
                state=RunState.TIMED_OUT,
            )
        case Reason.IDLE:
            raise ctx.fail(
                "IDLE",
                f"The agent {words}, with everything it had started.",
                "Allow a longer silence with `idle_timeout`. What it had changed is in the patch.",
                state=RunState.TIMED_OUT,
            )
        case Reason.EXITED if outcome.limits:
            raise ctx.fail(
                "LIMIT_EXCEEDED",
                f"The agent {words}.",
                "Raise `limits.max_memory_bytes` or `limits.max_processes`, or give it a smaller task.",
            )
        case Reason.SPAWN_FAILED:
            raise ctx.fail(
                "AGENT_NOT_STARTED",
                f"The agent {words}.",
                "Check that the program is installed and on the PATH of the orchestrator.",
            )
        case _:
            why = f": {clean(outcome.error)}" if outcome.error and outcome.reason is Reason.EXITED else ""
            raise ctx.fail("AGENT_FAILED", f"The agent {words}{why}.", f"See `autopack runs log {ctx.run.run_id}`.")


async def run_mock(ctx: RunContext, mock: MockExecutor) -> Outcome:
    """The imitation: waits, then writes one file, or fails; which is a matter of its seed and the run's name."""
    seconds = min(mock.duration, ctx.run.spec.timeout).total_seconds()
    await asyncio.sleep(seconds)
    if mock.duration > ctx.run.spec.timeout:
        return Outcome(Reason.TIMEOUT, duration_s=seconds)
    chance = random.Random(f"{mock.seed}:{ctx.run.name}:{ctx.run.attempt}")  # noqa: S311  an imitation, not a secret
    if chance.random() < mock.failure_rate:
        return Outcome(Reason.EXITED, exit_code=1, duration_s=seconds)
    path = ctx.workspace / f"mock-{ctx.run.name}.txt"
    await asyncio.to_thread(path.write_text, f"{ctx.run.spec.intention.title}\n{chance.random()}\n")
    return Outcome(Reason.EXITED, exit_code=0, duration_s=seconds)


async def _watch_drift(ctx: RunContext, handle: AtWork, watch: DriftWatch, ending: _Ending) -> None:
    while True:
        await asyncio.sleep(ctx.run.spec.drift_interval.total_seconds())
        verdict = await watch.look(ctx, final=False)
        if verdict == "drift" and ctx.run.spec.on_drift is OnDrift.STOP:
            ending.because("DRIFT", "The agent's last two steps are about something else than the goal; it was ended.")
            await handle.cancel()
            return


async def _watch_budget(ctx: RunContext, handle: AtWork, batch_usage: BatchUsage, ending: _Ending) -> None:
    while True:
        try:
            used = await ctx.peers.usage(ctx.run.run_id)
            over = over_budget(ctx.run.spec.budget, used)
            if over is None and ctx.batch.budget.needs_telemetry:
                over = over_budget(ctx.batch.budget, await batch_usage())
        except AutopackError as error:
            await ctx.warn("telemetry", f"The budget could not be checked: {error.message}")
            over = None
        if over is not None:
            ending.because("BUDGET", f"The budget is used up: {over}.")
            await handle.cancel()
            return
        await asyncio.sleep(BUDGET_INTERVAL_S)

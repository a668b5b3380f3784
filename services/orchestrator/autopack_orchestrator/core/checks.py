"""Checks of a batch before anything starts: all problems at once, each with its field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import PurePosixPath

from autopack_kit.commands import MAX_SCRIPT_BYTES, MAX_WORD_BYTES, MAX_WORDS, Command
from autopack_kit.errors import FieldViolation
from autopack_kit.globs import MalformedGlob, check_globs

from autopack_orchestrator.core.admission import MAX_PRIORITY
from autopack_orchestrator.core.agents import GENERIC
from autopack_orchestrator.core.isolation import check_limits
from autopack_orchestrator.core.model import BatchSpec, Budget, RetryPolicy, RunSpec, StepKind
from autopack_orchestrator.core.names import problem_with_batch_name, problem_with_run_name
from autopack_orchestrator.core.needs import problems_with_needs
from autopack_orchestrator.core.sources import problems_with_workplace

__all__ = ["MAX_RUNS", "MAX_STEPS", "check_batch"]

MAX_RUNS = 1000  # a larger batch is several batches
MAX_CONCURRENT = 256
MAX_STEPS = 50
MAX_TITLE_BYTES = 500
MAX_DESCRIPTION_BYTES = 16 << 10
MAX_ITEMS = 100
MAX_ITEM_BYTES = 2 << 10
MAX_GLOBS = 200
MAX_GLOB_BYTES = 1 << 10
MAX_PASSED = 100
PATTERN_GLOB = re.compile(r"[\w.*?\[\]!-]{1,128}", re.ASCII)  # ids of patterns have dots, letters, digits, - and _
MAX_PATH_BYTES = 4096  # PATH_MAX
MIN_DRIFT_INTERVAL = timedelta(seconds=1)
MIN_IDLE = timedelta(seconds=1)
MAX_TIMEOUT = timedelta(hours=24)
MAX_ATTEMPTS = 5
MAX_DOCTOR_CALLS = 5
MAX_INITIAL_BACKOFF = timedelta(hours=1)
MAX_BACKOFF = timedelta(hours=24)
MAX_QUEUE_TIMEOUT = timedelta(days=30)  # a batch that waits longer was forgotten
#: Kinds of detected steps that may validate: the others install, or never end.
VALIDATING = (StepKind.BUILD, StepKind.TEST, StepKind.LINT, StepKind.TYPECHECK, StepKind.FORMAT)


def check_batch(
    spec: BatchSpec,
    *,
    agents: frozenset[str],
    passable_env: frozenset[str],
    remote_hosts: frozenset[str] = frozenset(),
) -> list[FieldViolation]:
    """Every problem of ``spec`` that needs no disk.

    Args:
        spec: the batch.
        agents: names of the known presets.
        passable_env: names of variables that a run may be given.
        remote_hosts: hosts whose repositories may be used.
    """
    found = [*problems_with_workplace(spec.workplace, remote_hosts)]
    found += _batch(spec, agents, passable_env)
    return [FieldViolation(field, problem) for field, problem in found]


Problems = Iterator[tuple[str, str]]


def _source(spec: BatchSpec) -> Problems:
    if not spec.workplace.local:
        return
    if not spec.path:
        yield "path", "is required; give the absolute path of a git repository"
    elif not PurePosixPath(spec.path).is_absolute() or "\0" in spec.path or len(spec.path.encode()) > MAX_PATH_BYTES:
        yield "path", f"{spec.path[:200]!r} is not an absolute path of at most {MAX_PATH_BYTES} bytes"


def _batch(spec: BatchSpec, agents: frozenset[str], passable_env: frozenset[str]) -> Problems:
    if problem := problem_with_batch_name(spec.name):
        yield "name", problem
    yield from _source(spec)
    if not 1 <= spec.max_concurrent_runs <= MAX_CONCURRENT:
        yield "max_concurrent_runs", f"must be from 1 to {MAX_CONCURRENT}"
    if not -MAX_PRIORITY <= spec.priority <= MAX_PRIORITY:
        yield "priority", f"must be from -{MAX_PRIORITY} to {MAX_PRIORITY}, higher first"
    if spec.queue_timeout is not None and not timedelta(0) < spec.queue_timeout <= MAX_QUEUE_TIMEOUT:
        yield "queue_timeout", "must be more than zero and at most 30 days; leave it out to wait for ever"
    yield from _retry(spec.retry)
    if not spec.runs:
        yield "runs", "must have at least one run"
    if len(spec.runs) > MAX_RUNS:
        yield "runs", f"has more than {MAX_RUNS} runs; split it into several batches"
        return
    yield from _budget("budget", spec.budget)
    seen: dict[str, int] = {}
    for index, run in enumerate(spec.runs):
        first = seen.setdefault(run.name.lower(), index)
        if first != index and run.name:
            yield f"runs[{index}].name", f"{run.name[:80]!r} is the name of runs[{first}] too (case does not count)"
        for field, problem in _run(run, agents, passable_env):
            yield f"runs[{index}].{field}", problem
    yield from problems_with_needs(spec.runs)


def _retry(policy: RetryPolicy) -> Problems:
    if not 1 <= policy.max_attempts <= MAX_ATTEMPTS:
        yield "retry.max_attempts", f"must be from 1 to {MAX_ATTEMPTS}; 1 tries nothing again"
    if not timedelta(0) <= policy.initial_backoff <= MAX_INITIAL_BACKOFF:
        yield "retry.initial_backoff", "must be from zero to 1 h"
    if not policy.initial_backoff <= policy.max_backoff <= MAX_BACKOFF:
        yield "retry.max_backoff", "must be at least initial_backoff and at most 24 h"


def _run(run: RunSpec, agents: frozenset[str], passable_env: frozenset[str]) -> Problems:
    if problem := problem_with_run_name(run.name):
        yield "name", f"{run.name[:80]!r} {problem}"
    yield from _intention(run)
    chosen = [item for item in (run.command, run.agent, run.mock, run.http) if item is not None]
    if len(chosen) != 1:
        yield "executor", "needs exactly one of command, agent, http and mock"
    if run.agent is not None:
        if run.agent.name not in agents:
            yield "agent.name", f"{run.agent.name[:64]!r} is not known; known are {', '.join(sorted(agents))}"
        if run.agent.name == GENERIC and not run.agent.arguments:
            yield "agent.arguments", f"are required for {GENERIC!r}: the words of the command, for example ['my-agent']"
        yield from _words("agent.arguments", run.agent.arguments)
    if run.command is not None:
        yield from _command("command", run.command)
    if run.mock is not None:
        if not 0 <= run.mock.failure_rate <= 1:
            yield "mock.failure_rate", "must be from 0 to 1"
        if not timedelta(0) <= run.mock.duration <= MAX_TIMEOUT:
            yield "mock.duration", "must be from zero to 24 h"
    if run.doctor is not None:
        yield from _command("doctor.command", run.doctor.command)
        if not 1 <= run.doctor.max_calls <= MAX_DOCTOR_CALLS:
            yield "doctor.max_calls", f"must be from 1 to {MAX_DOCTOR_CALLS}"
    for field, steps in (("install", run.install), ("validate", run.validate)):
        if len(steps) > MAX_STEPS:
            yield field, f"has {len(steps)} steps; at most {MAX_STEPS}"
        for index, command in enumerate(steps[:MAX_STEPS]):
            yield from _command(f"{field}[{index}]", command)
    for index, kind in enumerate(run.validate_kinds):
        if kind not in VALIDATING:
            known = ", ".join(item.name for item in VALIDATING)
            yield f"validate_kinds[{index}]", f"{kind.name} does not validate; use one of {known}"
    yield from _limits(run)
    if len(run.mitigate_yes_to) > MAX_PASSED:
        yield "mitigate_yes_to", f"has more than {MAX_PASSED} globs"
    for index, glob in enumerate(run.mitigate_yes_to[:MAX_PASSED]):
        if not PATTERN_GLOB.fullmatch(glob):
            yield f"mitigate_yes_to[{index}]", "must be an id of a pattern, such as uv.lock_outdated, or a glob of ids"
    if len(run.pass_env) > MAX_PASSED:
        yield "pass_env", f"has more than {MAX_PASSED} names"
    for index, name in enumerate(run.pass_env[:MAX_PASSED]):
        if name not in passable_env:
            yield (
                f"pass_env[{index}]",
                f"{name[:64]!r} may not be passed to runs; allow it with AUTOPACK_ORCHESTRATOR_PASSABLE_ENV",
            )


def _limits(run: RunSpec) -> Problems:
    if run.drift_interval < MIN_DRIFT_INTERVAL:
        yield "drift_interval", "must be at least 1 s"
    yield from check_limits(run.limits)
    if run.idle_timeout is not None and not MIN_IDLE <= run.idle_timeout <= MAX_TIMEOUT:
        yield "idle_timeout", "must be from 1 s to 24 h; leave it out to allow any silence"
    timeouts = (("timeout", run.timeout), ("step_timeout", run.step_timeout), ("prepare_timeout", run.prepare_timeout))
    for field, value in timeouts:
        if not timedelta(0) < value <= MAX_TIMEOUT:
            yield field, "must be more than zero and at most 24 h"
    if run.max_attempts is not None and not 1 <= run.max_attempts <= MAX_ATTEMPTS:
        yield "max_attempts", f"must be from 1 to {MAX_ATTEMPTS}"
    yield from _budget("budget", run.budget)


def _budget(field: str, budget: Budget) -> Problems:
    for name, limit in (("max_tokens", budget.max_tokens), ("max_cost_microusd", budget.max_cost_microusd)):
        if limit is not None and limit <= 0:
            yield f"{field}.{name}", "must be more than zero; leave it out for no limit"
    if budget.max_wall_time is not None and budget.max_wall_time <= timedelta(0):
        yield f"{field}.max_wall_time", "must be more than zero; leave it out for no limit"


def _intention(run: RunSpec) -> Problems:
    intention = run.intention
    if not intention.title.strip():
        yield "intention.title", "is required: say in one line what is to be done"
    if len(intention.title.encode()) > MAX_TITLE_BYTES:
        yield "intention.title", f"has more than {MAX_TITLE_BYTES} bytes; put the rest into the description"
    if len(intention.description.encode()) > MAX_DESCRIPTION_BYTES:
        yield "intention.description", "has more than 16 KiB"
    for field in ("title", "description"):
        if "\0" in getattr(intention, field):
            yield f"intention.{field}", "must not have NUL characters"
    for field in ("constraints", "acceptance", "non_goals", "notes"):
        items: tuple[str, ...] = getattr(intention, field)
        if len(items) > MAX_ITEMS or any(len(item.encode()) > MAX_ITEM_BYTES or "\0" in item for item in items):
            yield f"intention.{field}", f"must have at most {MAX_ITEMS} items of at most 2 KiB, without NUL"
    for field in ("scope", "non_goal_globs"):
        yield from _globs(f"intention.{field}", getattr(intention, field))


def _globs(field: str, globs: tuple[str, ...]) -> Problems:
    if len(globs) > MAX_GLOBS or any(len(glob.encode()) > MAX_GLOB_BYTES for glob in globs):
        yield field, f"must have at most {MAX_GLOBS} globs of at most 1 KiB"
        return
    for index, glob in enumerate(globs):
        if ".." in glob.split("/") or glob.startswith(":"):
            yield f"{field}[{index}]", f"{glob[:200]!r} can match nothing: a glob is like a line of .gitignore"
    try:
        check_globs(globs)
    except MalformedGlob as error:
        yield f"{field}[{error.index}]", f"{error}; write it as in .gitignore, for example 'src/**'"


def _words(field: str, words: tuple[str, ...]) -> Problems:
    if len(words) > MAX_WORDS or any(len(word.encode()) > MAX_WORD_BYTES or "\0" in word for word in words):
        yield field, f"must have at most {MAX_WORDS} words of at most 32 KiB, without NUL"


def _command(field: str, command: Command) -> Problems:
    yield from _words(f"{field}.argv", command.argv)
    if command.argv and not command.argv[0]:
        yield f"{field}.argv[0]", "is empty; name a program"
    if command.script is not None:
        if not command.script.interpreter:
            yield f"{field}.script.interpreter", "is required, for example ['bash', '-e']"
        if len(command.script.text.encode()) > MAX_SCRIPT_BYTES:
            yield f"{field}.script.text", "has more than 64 KiB"
    path = PurePosixPath(command.cwd)
    if path.is_absolute() or ".." in path.parts or "\0" in command.cwd:
        yield f"{field}.cwd", f"{command.cwd!r} must be relative to the workspace and stay inside it"
    for name, value in command.env.items():
        if not name or "=" in name or "\0" in name + value or name.startswith("AUTOPACK_"):
            yield f"{field}.env", f"{name[:64]!r} is not allowed: a name has no '=', and AUTOPACK_* is ours"
    if command.timeout is not None and not timedelta(0) < command.timeout <= MAX_TIMEOUT:
        yield f"{field}.timeout", "must be more than zero and at most 24 h"

"""Actions that a pattern states in full: variables, commands of its own words, other words, pauses, a stale lock."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from autopack_kit.commands import Command
from autopack_kit.safe_actions import (
    MAX_ATTEMPTS,
    MAX_WAIT_S,
    MIN_LOCK_AGE_S,
    is_repeatable,
    unsafe_env,
    unsafe_words,
)

from autopack_hardening.core.actions import (
    Action,
    EditCommand,
    FileExists,
    PathAbsent,
    Precondition,
    RemoveStaleLock,
    RetryWithBackoff,
    RunCommand,
    SetEnv,
)
from autopack_hardening.core.matching import Hit, command_line
from autopack_hardening.core.model import Mitigation, Risk
from autopack_hardening.core.rules.context import Context, Finding, Parameters, Resolver, telling
from autopack_hardening.core.workspace import join

__all__ = ["EDIT_COMMAND", "REMOVE_STALE_LOCK", "RETRY_WITH_BACKOFF", "RUN_COMMAND", "SET_ENV", "strings"]

# Variables that hold several options: what the command has already is kept.
_OPTIONS = frozenset(["NODE_OPTIONS", "MAVEN_OPTS", "GRADLE_OPTS", "GOFLAGS"])


def _set_env(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """``env``: a table of variables. Nothing is proposed if the command had them already."""
    command = context.failure.command
    if command is None:
        return Finding(telling(hits))
    env = {
        name: f"{command.env[name]} {value}" if name in _OPTIONS and command.env.get(name) else value
        for name, value in parameters["env"].items()
        if value not in command.env.get(name, "").split() and command.env.get(name) != value
    }
    if not env:
        return Finding(telling(hits))
    return Finding(telling(hits), Mitigation((Action(SetEnv(env)),), risk=Risk.NONE, automatic=True))


def _run_command(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """``run``: the words; ``requires``: files that must be in the cwd; ``creates``: what must not be there yet."""
    if context.failure.command is None:
        return Finding(telling(hits))
    preconditions: list[Precondition] = [FileExists(join(context.cwd, path)) for path in parameters.get("requires", ())]
    preconditions += [PathAbsent(join(context.cwd, path)) for path in parameters.get("creates", ())]
    known = context.workspace.known
    for one in preconditions:
        if known and isinstance(one, FileExists) != context.workspace.has(one.path):
            return Finding(telling(hits))
    command = Command.of(*parameters["run"], cwd=context.cwd)
    action = Action(RunCommand(command), tuple(preconditions))
    return Finding(telling(hits), Mitigation((action,), risk=Risk.LOW, automatic=True))


def _edit_command(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """``drop``: words to leave out; ``add``: words to append; ``replace``: words for others; ``interpreters``: what
    runs a script by its suffix; ``commands``: globs of the command lines to which that applies. Nothing is proposed
    for others, if that changes nothing, or for a script.
    """
    command = context.failure.command
    if command is None or not command.argv:
        return Finding(telling(hits))
    globs = parameters.get("commands", ())
    if globs and not any(fnmatchcase(command_line(command), glob) for glob in globs):
        return Finding(telling(hits))
    replaced: Mapping[str, str] = parameters.get("replace", {})
    words = [replaced.get(word, word) for word in command.argv if word not in parameters.get("drop", ())]
    words += [word for word in parameters.get("add", ()) if word not in words]
    suffix = posixpath.splitext(words[0])[1] if words else ""
    path = join(context.cwd, words[0]) if words else ""
    preconditions: tuple[Precondition, ...] = ()
    if suffix in parameters.get("interpreters", {}) and not words[0].startswith("/"):
        words = [*parameters["interpreters"][suffix], *words]
        preconditions = (FileExists(path),)
    if not words or tuple(words) == command.argv:
        return Finding(telling(hits))
    action = Action(EditCommand(replace(command, argv=tuple(words))), preconditions)
    return Finding(telling(hits), Mitigation((action,), risk=Risk.LOW, automatic=True))


def _retry(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """``attempts``, ``initial_s``, ``max_s``. Automatic only for a command that may run twice."""
    command = context.failure.command
    if command is None:
        return Finding(telling(hits))
    line = command_line(command)
    kind = RetryWithBackoff(
        int(parameters.get("attempts", MAX_ATTEMPTS)),
        float(parameters.get("initial_s", 2.0)),
        float(parameters.get("max_s", 30.0)),
    )
    is_safe = is_repeatable(line)
    reason = "" if is_safe else "it is not known whether this command may run twice"
    mitigation = Mitigation((Action(kind),), risk=Risk.NONE, automatic=is_safe, consent_reason=reason)
    return Finding(telling(hits), mitigation)


def _remove_stale_lock(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """``path``: the lock, relative to the cwd; ``min_age_s``: seconds without a change."""
    if context.failure.command is None:
        return Finding(telling(hits))
    path = join(context.cwd, parameters["path"])
    kind = RemoveStaleLock(path, int(parameters.get("min_age_s", MIN_LOCK_AGE_S)))
    return Finding(telling(hits), Mitigation((Action(kind, (FileExists(path),)),), risk=Risk.LOW, automatic=True))


def strings(value: object) -> bool:
    """Whether ``value`` is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def _check_env(parameters: Parameters) -> str:
    env = parameters["env"]
    if not isinstance(env, dict) or not env or not all(isinstance(value, str) for value in env.values()):
        return "env must be a table of texts"
    return unsafe_env(env)


def _check_run(parameters: Parameters) -> str:
    for key in ("run", "requires", "creates"):
        if key in parameters and not strings(parameters[key]):
            return f"{key} must be a list of texts"
    return unsafe_words(parameters["run"])


def _check_edit(parameters: Parameters) -> str:
    for key in ("drop", "add", "commands"):
        if key in parameters and not strings(parameters[key]):
            return f"{key} must be a list of texts"
    for key in ("replace", "interpreters"):
        if not isinstance(parameters.get(key, {}), dict):
            return f"{key} must be a table"
    added = [*parameters.get("add", ()), *parameters.get("replace", {}).values()]
    problems = [unsafe_words(added, is_whole=False)]
    problems += [unsafe_words(words) for words in parameters.get("interpreters", {}).values()]
    return next(filter(None, problems), "")


def _check_retry(parameters: Parameters) -> str:
    if not 1 <= parameters.get("attempts", 1) <= MAX_ATTEMPTS:
        return f"attempts must be between 1 and {MAX_ATTEMPTS}"
    if not 0 < parameters.get("initial_s", 2) <= parameters.get("max_s", 30) <= MAX_WAIT_S:
        return f"initial_s and max_s must be above 0, in this order, and at most {MAX_WAIT_S:.0f}"
    return ""


def _check_lock(parameters: Parameters) -> str:
    path = parameters["path"]
    if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
        return "path must be relative and without '..'"
    return (
        "" if parameters.get("min_age_s", MIN_LOCK_AGE_S) >= MIN_LOCK_AGE_S else f"min_age_s is under {MIN_LOCK_AGE_S}"
    )


SET_ENV = Resolver(_set_env, required=("env",), check=_check_env)
RUN_COMMAND = Resolver(_run_command, required=("run",), optional=("requires", "creates"), check=_check_run)
EDIT_COMMAND = Resolver(
    _edit_command, optional=("drop", "add", "replace", "interpreters", "commands"), check=_check_edit
)
RETRY_WITH_BACKOFF = Resolver(_retry, optional=("attempts", "initial_s", "max_s"), check=_check_retry)
REMOVE_STALE_LOCK = Resolver(_remove_stale_lock, required=("path",), optional=("min_age_s",), check=_check_lock)

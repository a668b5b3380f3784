"""The code behind the actions that patterns name: each resolves one action from the hits and the caller's facts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autopack_hardening.core.patterns import Step
from autopack_hardening.core.rules import commands, directory, discovery, formatting, lockfile, missing, runtime, scope
from autopack_hardening.core.rules.context import Resolver

__all__ = ["RESOLVERS", "check_step"]

RESOLVERS: Mapping[str, Resolver] = MappingProxyType(
    {
        "change_cwd": directory.CHANGE_CWD,
        "change_cwd_to_tests": discovery.CHANGE_CWD_TO_TESTS,
        "edit_command": commands.EDIT_COMMAND,
        "install_declared": missing.INSTALL_DECLARED,
        "regenerate_lockfile": lockfile.REGENERATE_LOCKFILE,
        "remove_stale_lock": commands.REMOVE_STALE_LOCK,
        "restore_out_of_scope": scope.RESTORE_OUT_OF_SCOPE,
        "retry_with_backoff": commands.RETRY_WITH_BACKOFF,
        "run_command": commands.RUN_COMMAND,
        "run_formatter": formatting.RUN_FORMATTER,
        "set_env": commands.SET_ENV,
        "set_python_path": directory.SET_PYTHON_PATH,
        "switch_runtime": runtime.SWITCH_RUNTIME,
    }
)


def check_step(step: Step) -> str:
    """What is wrong with a step of a mitigation; empty = nothing."""
    resolver = RESOLVERS.get(step.action)
    if resolver is None:
        return f"there is no action {step.action!r}; there are {', '.join(RESOLVERS)}"
    unknown = sorted(set(step.parameters) - {*resolver.required, *resolver.optional})
    if unknown:
        known = ", ".join((*resolver.required, *resolver.optional)) or "none"
        return f"{step.action} has the unknown key {unknown[0]!r}; known are {known}"
    missing_keys = [key for key in resolver.required if key not in step.parameters]
    if missing_keys:
        return f"{step.action} lacks {', '.join(missing_keys)}"
    problem = resolver.check(step.parameters)
    return f"{step.action}: {problem}" if problem else ""

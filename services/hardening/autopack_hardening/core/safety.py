"""What no mitigation may propose, checked when a pattern is loaded and on every action made.

The words, programs and variables are in ``autopack_kit.safe_actions``; the client that applies mitigations checks them
again.
"""

from __future__ import annotations

from collections.abc import Sequence

from autopack_kit.commands import Command
from autopack_kit.safe_actions import MAX_ATTEMPTS, MAX_WAIT_S, unsafe_env, unsafe_install, unsafe_words

from autopack_hardening.core.actions import (
    Action,
    EditCommand,
    InstallDeclared,
    RegenerateLockfile,
    RemoveStaleLock,
    RestoreOutOfScope,
    RetryWithBackoff,
    RunCommand,
    RunFormatter,
    SetEnv,
)

__all__ = ["CONSENT_ONLY", "CUSTOM_FORBIDDEN", "refusal"]

CUSTOM_FORBIDDEN = frozenset(["run_command", "edit_command", "set_env", "run_formatter", "regenerate_lockfile"])
"""Actions of which custom patterns may have none: they would carry words of whoever wrote the pattern."""
CONSENT_ONLY = frozenset(["regenerate_lockfile", "edit_command"])
"""Never automatic: other versions than the reviewed ones are installed; another command passes than the one that
failed."""


def refusal(action: Action, failed: Command | None) -> str:
    """Why ``action`` may not be proposed for the command that failed; empty = it may. The last line of defence."""
    kind = action.kind
    match kind:
        case RunCommand(command) | RegenerateLockfile(command, _):
            return unsafe_words(command.argv)
        case RunFormatter(command, paths):
            return unsafe_words(command.argv[: len(command.argv) - len(paths)], is_whole=False) or _outside(paths)
        case EditCommand(command):
            before = failed.argv if failed is not None else ()
            return unsafe_words([word for word in command.argv if word not in before], is_whole=False)
        case InstallDeclared(commands, _, _):
            return next(filter(None, (unsafe_install(command) for command in commands)), "")
        case SetEnv(env):
            before_env = failed.env if failed is not None else {}
            return unsafe_env({name: _added(value, before_env.get(name, "")) for name, value in env.items()})
        case RestoreOutOfScope(paths):
            return _outside(paths)
        case RemoveStaleLock(path, _):
            return _outside((path,))
        case RetryWithBackoff(attempts, _, max_s):
            return "" if 1 <= attempts <= MAX_ATTEMPTS and max_s <= MAX_WAIT_S else "it waits too often or too long"
        case _:
            return ""


def _added(value: str, before: str) -> str:
    """What of ``value`` is new beside what the variable had."""
    return value.removesuffix(before).removesuffix(":").removeprefix(before).strip() if before else value


def _outside(paths: Sequence[str]) -> str:
    for path in paths:
        if path.startswith("/") or ".." in path.split("/"):
            return f"{path!r} leads out of the workspace"
    return ""

"""regenerate_lockfile: the lock file no longer fits the manifest; the package manager resolves it again."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from autopack_kit.commands import Command
from autopack_kit.safe_actions import unsafe_words

from autopack_hardening.core.actions import Action, FileExists, RegenerateLockfile
from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import Mitigation, Risk
from autopack_hardening.core.rules.commands import strings
from autopack_hardening.core.rules.context import Context, Finding, Parameters, Resolver, telling
from autopack_hardening.core.workspace import join

__all__ = ["REGENERATE_LOCKFILE"]

_REASON = "it may resolve to other versions than those that were reviewed; look at the difference of the lock file"


def _regenerate(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """``run``: the package manager's words; ``manifest``: file beside the lock; ``files``: the lock files that change.

    Runs in the nearest directory at or above the cwd that has the manifest.
    """
    if context.failure.command is None:
        return Finding(telling(hits))
    place = context.cwd
    if context.workspace.known:
        while place != "." and join(place, parameters["manifest"]) not in context.workspace.files:
            place = posixpath.dirname(place) or "."
        if join(place, parameters["manifest"]) not in context.workspace.files:
            return Finding(telling(hits))
    files = tuple(join(place, name) for name in parameters["files"])
    kind = RegenerateLockfile(Command.of(*parameters["run"], cwd=place), files)
    action = Action(kind, (FileExists(join(place, parameters["manifest"])),))
    return Finding(telling(hits), Mitigation((action,), risk=Risk.MEDIUM, consent_reason=_REASON))


def _check(parameters: Parameters) -> str:
    if (
        not strings(parameters["run"])
        or not strings(parameters["files"])
        or not isinstance(parameters["manifest"], str)
    ):
        return "run and files must be lists of texts, manifest a text"
    return unsafe_words(parameters["run"])


REGENERATE_LOCKFILE = Resolver(_regenerate, required=("run", "manifest", "files"), check=_check)

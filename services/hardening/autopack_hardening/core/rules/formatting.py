"""run_formatter: what a formatter or a safe fixer finds, it may also mend, in the files of the scope."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from autopack_kit.commands import Command
from autopack_kit.globs import out_of_scope
from autopack_kit.safe_actions import unsafe_words

from autopack_hardening.core.actions import Action, FileExists, RunFormatter
from autopack_hardening.core.matching import Hit
from autopack_hardening.core.model import Mitigation, Risk
from autopack_hardening.core.rules.commands import strings
from autopack_hardening.core.rules.context import Context, Finding, Parameters, Resolver, telling
from autopack_hardening.core.workspace import is_inside, join, relative_to

__all__ = ["RUN_FORMATTER"]

# A formatter that complains about more files was never used here; rewriting the project is nobody's fix.
MAX_FILES = 100


def _format(parameters: Parameters, hits: Sequence[Hit], context: Context) -> Finding:
    """``program``: the formatter; ``words``: its arguments before the files; ``otherwise``: the whole command where
    the failed one does not start the program itself (``npm run lint``); ``where``: a capture without which there is
    nothing that it can mend.

    The files are those that the output names (capture ``path``, relative to the cwd or absolute), that the workspace
    has and the scope covers.
    """
    command = context.failure.command
    paths = _files(hits, context)
    where = parameters.get("where")
    if where is not None and not any(hit.captures.get(where) for hit in hits):
        return Finding(telling(hits))
    if command is None or not paths or len(paths) > MAX_FILES:
        return Finding(telling(hits))
    prefix = _prefix(parameters, command)
    if not prefix:
        return Finding(telling(hits))
    words = (*prefix, *(relative_to(path, context.cwd) for path in paths))
    kind = RunFormatter(replace(command, argv=words, script=None), tuple(paths))
    action = Action(kind, tuple(FileExists(path) for path in paths))
    return Finding(telling(hits), Mitigation((action,), risk=Risk.MEDIUM, automatic=True))


def _prefix(parameters: Parameters, command: Command) -> tuple[str, ...]:
    """How the failed command started the program (``uv run black``, ``python -m black``), with the words to mend."""
    program = parameters["program"]
    for number, word in enumerate(command.argv):
        if posixpath.basename(word) == program and not is_option_value(command.argv, number):
            return (*command.argv[: number + 1], *parameters.get("words", ()))
    return tuple(parameters.get("otherwise", ()))


def is_option_value(words: Sequence[str], number: int) -> bool:
    """Whether the word follows an option, and so may be its value; ``-m`` of Python names the program."""
    return number > 0 and words[number - 1].startswith("-") and words[number - 1] not in ("-m", "--")


def _files(hits: Sequence[Hit], context: Context) -> list[str]:
    named = dict.fromkeys(hit.captures.get("path", "") for hit in hits)
    found = {path for name in named if name for path in _places(name, context)}
    outside = set(out_of_scope(sorted(found), context.failure.scope)) if context.failure.scope else set()
    return sorted(found - outside)


def _places(name: str, context: Context) -> list[str]:
    """The file that the output means; of an absolute path the longest end that the workspace has."""
    if not name.startswith("/"):
        path = join(context.cwd, name)
        return [path] if path in context.workspace.files else []
    parts = name.strip("/").split("/")
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        if path in context.workspace.files and (start or is_inside(path, context.cwd)):
            return [path]
    return []


def _check(parameters: Parameters) -> str:
    for key in ("words", "otherwise"):
        if key in parameters and not strings(parameters[key]):
            return f"{key} must be a list of texts"
    if "where" in parameters and not isinstance(parameters["where"], str):
        return "where must be the name of a capture"
    problem = unsafe_words([parameters["program"], *parameters.get("words", ())])
    return problem or (unsafe_words(parameters["otherwise"]) if "otherwise" in parameters else "")


RUN_FORMATTER = Resolver(_format, required=("program",), optional=("words", "otherwise", "where"), check=_check)

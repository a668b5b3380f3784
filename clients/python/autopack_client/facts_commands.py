"""What an install command itself names: packages, indexes, recipes. A run may have put them into the file that it is
read from (a CI workflow, a Makefile), and then no manifest tells of them. Blocking.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from autopack_kit.commands import Command

from autopack_client.facts import Declared
from autopack_client.mitigate_git import Git, inside, read_inside

__all__ = ["added_by_command"]

MAX_RECIPE_BYTES = 1 << 20
# Behind these words of a package manager stand the packages to be installed.
_VERBS = frozenset(["install", "i", "add", "download", "get", "require", "inject"])
# Options whose value is a file or a directory of the project, which is looked at as a manifest.
_FILES = frozenset(["-r", "--requirement", "-c", "--constraint", "-e", "--editable", "--requirements", "--constraints"])
_RECIPES = ("Makefile", "makefile", "GNUmakefile", "justfile", "Justfile", ".justfile", "Taskfile.yml", "Taskfile.yaml")
_RUN_RECIPES = frozenset(["make", "gmake", "just", "task"])
# These are in no commit, and run just as well when they are found on the search path.
_OF_ENVIRONMENT = re.compile(r"(?:.*/)?\.?venv/bin/(?:python|pip|uv|poetry|pdm)[\d.]*")
_SHELLS = frozenset(["sh", "bash", "zsh", "dash", "source"])
_NAME = re.compile(r"[A-Za-z0-9@][\w@./-]*", re.ASCII)


def added_by_command(
    workspace: Path, git: Git, base: str | None, command: Command, found: Iterable[Declared]
) -> Iterator[str]:
    """What the command names, or runs, that neither a manifest declares nor a file mentions at the base commit.

    Args:
        workspace: its root.
        git: of the workspace.
        base: the base commit; None = nothing is known of it, and everything counts.
        command: an install command.
        found: what the manifests declare.
    """
    commit = git.commit(base) if base else None
    declared = {_canonical(one.entry.name) for one in found if one.at_base and one.entry.distribution}
    for word in _packages(workspace, command):
        match = _NAME.match(word)
        name = match.group().split("@", 1)[0] if match and not word.startswith("@") else word
        if _canonical(name) not in declared and not (commit and git.mentions(commit, word)):
            yield word
    for path in _recipes(command):
        content = read_inside(workspace, path, MAX_RECIPE_BYTES)
        before = git.read(commit, path, MAX_RECIPE_BYTES) if commit else None
        if os.path.lexists(workspace / path) and (content is None or content != before):
            yield path


def _packages(workspace: Path, command: Command) -> Iterator[str]:
    """The words behind ``install`` that are no options, no files of the project, and no values of either."""
    words = iter(command.argv)
    if not any(word in _VERBS for word in words):
        return
    for word in words:
        if word in _FILES:
            next(words, None)
            continue
        if word.startswith("-"):
            _, is_given, value = word.partition("=")
            if is_given and "://" in value:
                yield word
            continue
        path = re.sub(r"\[[\w,. -]*\]$", "", word)
        place = inside(workspace, posixpath.normpath(posixpath.join(command.cwd, path)) if path else "")
        # A directory of the project is named by a path: one that is called like a package is none of pip.
        if place is not None and place.exists() and (path == "." or "/" in path or place.is_file()):
            continue
        yield word


def _recipes(command: Command) -> Iterator[str]:
    """The files that the command runs, relative to the workspace."""
    program, *rest = command.argv or ("",)
    names: Iterable[str] = ()
    if posixpath.basename(program) in _RUN_RECIPES:
        names = _RECIPES
    elif posixpath.basename(program) in _SHELLS:
        names = [word for word in rest if not word.startswith("-")][:1]
    elif "/" in program and not program.startswith("/") and _OF_ENVIRONMENT.fullmatch(program) is None:
        names = [program]
    for name in names:
        yield posixpath.normpath(posixpath.join(command.cwd, name))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

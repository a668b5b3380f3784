"""The checks of those actions that bring a command of their own, wait, or remove a lock. Used by the applier alone."""

from __future__ import annotations

import os
import posixpath
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from autopack_api.hardening.v1.hardening_pb2 import (
    Action,
    Mitigation,
    RemoveStaleLock,
    RetryWithBackoff,
    RunFormatter,
)
from autopack_kit.commands import Command
from autopack_kit.convert import command_from_proto
from autopack_kit.errors import InvalidArgument
from autopack_kit.globs import out_of_scope
from autopack_kit.safe_actions import (
    MAX_ATTEMPTS,
    MAX_WAIT_S,
    MIN_LOCK_AGE_S,
    OwnCommands,
    is_movable,
    is_repeatable,
    unsafe_words,
)

from autopack_client.facts_manifests import is_lock, is_manifest
from autopack_client.mitigate_git import Git, inside

__all__ = ["MoreActions", "changed_beyond", "is_among", "leading_out", "named_paths", "own_command", "pauses"]

_ENSURE_PIP = ("-m", "ensurepip", "--upgrade")

JITTER = 0.2
"""Part of a pause by which it is longer or shorter, so that many runs do not come back at once."""


class MoreActions:
    """Checks, in one workspace, what actions with a command of their own, pauses and locks may do."""

    def __init__(
        self,
        workspace: Path,
        git: Git,
        *,
        scope: Sequence[str],
        interactive: bool,
        commands: OwnCommands,
        search_path: str,
    ) -> None:
        self._commands = commands
        self._search_path = search_path
        self._workspace = workspace
        self._git = git
        self._scope = scope
        self._interactive = interactive

    def check_command(self, action: Action, failed: Command, *, consent: bool) -> Iterator[str]:
        """Why an action with a command of its own is refused."""
        kind = action.WhichOneof("kind")
        try:
            command = own_command(action)
        except InvalidArgument as error:
            yield str(error)
            return
        if command.script is not None:
            yield "a mitigation runs no script"
            return
        place = inside(self._workspace, command.cwd)
        if place is None or not place.is_dir():
            yield f"{command.cwd} is no directory of the workspace"
        if kind == "edit_command":
            yield from self._check_edit(command, failed, consent=consent)
            return
        paths: Sequence[str] = ()
        if kind == "run_formatter":
            paths = action.run_formatter.paths
            yield from self._check_formatter(action.run_formatter, command)
        elif kind == "regenerate_lockfile":
            paths = action.regenerate_lockfile.files
            if not consent:
                yield "it needs consent: other versions than the reviewed ones may be locked"
            yield from (f"{path} is no lock file" for path in paths if not is_lock(path))
            yield from (reason for path in paths if (reason := self._linked(path)))
        words = command.argv[: len(command.argv) - len(paths)] if kind == "run_formatter" else command.argv
        yield from self._check_words(words, failed, kind == "run_formatter")
        if words[1:] == _ENSURE_PIP and not consent and not self._is_own(words[0], failed):
            yield f"it needs consent: {words[0]} is not in the workspace, and something would be installed into it"
        if self._interactive and self._git.is_work_tree():
            modified = self._git.changed()
            yield from (f"{path} is modified; commit or stash it first" for path in paths if is_among(path, modified))

    def _check_words(self, words: Sequence[str], failed: Command, is_formatter: bool) -> Iterator[str]:
        """Whether the words are of those that mitigations bring themselves."""
        known = self._commands.formatters if is_formatter else self._commands.run
        problem = "" if tuple(words) in known else f"{' '.join(words)!r} is no command of a mitigation"
        if problem and is_formatter:
            # How the failed command started the formatter (`uv run black`) is the caller's own.
            for number, word in enumerate(words):
                named = (os.path.basename(word), *words[number + 1 :])
                if named in known and tuple(words[: number + 1]) == failed.argv[: number + 1]:
                    problem = ""
        unsafe = unsafe_words([word for word in words if word not in failed.argv], is_whole=False)
        yield from filter(None, (problem, unsafe))

    def _check_edit(self, command: Command, failed: Command, *, consent: bool) -> Iterator[str]:
        if not consent:
            yield "it needs consent: another command would pass than the one that failed"
        if (command.cwd, dict(command.env)) != (failed.cwd, dict(failed.env)):
            yield "it changes more than the words of the command"
        for word in _put_in(command.argv, failed.argv):
            if word not in self._commands.edits:
                yield f"it puts in {word!r}, which is no word of a mitigation"
        problem = unsafe_words([word for word in command.argv if word not in failed.argv], is_whole=False)
        if problem:
            yield problem

    def _is_own(self, program: str, failed: Command) -> bool:
        """Whether the program that would run stands in the workspace, for example in its virtual environment."""
        found = shutil.which(program, path=failed.env.get("PATH", self._search_path))
        return found is not None and Path(os.path.abspath(found)).is_relative_to(self._workspace)

    def _linked(self, path: str) -> str:
        place = inside(self._workspace, path)
        if place is None:
            return f"{path!r} leads out of the workspace"
        return f"{path} is a symbolic link; what it names would be written" if place.is_symlink() else ""

    def _check_formatter(self, formatter: RunFormatter, command: Command) -> Iterator[str]:
        words = command.argv[len(command.argv) - len(formatter.paths) :]
        named = [posixpath.normpath(posixpath.join(command.cwd, word)) for word in words]
        if not formatter.paths or named != list(formatter.paths):
            yield "its last words are not the files that it may rewrite"
        for path in formatter.paths:
            place = inside(self._workspace, path)
            if place is None or place.is_symlink() or not place.is_file():
                yield f"{path} is no file of the workspace"
        if self._scope:
            yield from (f"{path} is outside the scope" for path in out_of_scope(formatter.paths, self._scope))

    def check_retry(self, retry: RetryWithBackoff, failed: Command, *, consent: bool) -> Iterator[str]:
        """Why a pause is refused."""
        if not consent and not is_repeatable(line_of(failed)):
            yield "it needs consent: it is not known whether this command may run twice"
        longest = retry.longest.ToTimedelta().total_seconds()
        initial = retry.initial.ToTimedelta().total_seconds()
        if not 1 <= retry.attempts <= MAX_ATTEMPTS or not 0 <= initial <= longest <= MAX_WAIT_S:
            yield f"it waits too often or too long: at most {MAX_ATTEMPTS} times, {MAX_WAIT_S:.0f} s"

    def check_move(self, path: str, failed: Command, *, consent: bool) -> Iterator[str]:
        """Why the command may not run in ``path``."""
        if not consent and not is_movable(line_of(failed)):
            yield "it needs consent: elsewhere this command may take away, or change, something else"
        yield from self.check_directory(path)

    def check_directory(self, path: str) -> Iterator[str]:
        """Why ``path`` is no directory of the workspace."""
        place = inside(self._workspace, path)
        if place is None:
            yield f"{path!r} leads out of the workspace"
        elif not place.is_dir():
            yield f"{path} is no directory"

    def check_lock(self, lock: RemoveStaleLock) -> Iterator[str]:
        """Why a lock may still be somebody's."""
        place = inside(self._workspace, lock.path)
        if place is None or place.is_symlink() or not place.is_file():
            yield f"{lock.path} is no file of the workspace"
            return
        if not place.name.endswith(".lock") or is_lock(lock.path):
            yield f"{lock.path} is no lock of a process"
        age = time.time() - place.stat().st_mtime
        least = max(lock.min_age.ToTimedelta().total_seconds(), MIN_LOCK_AGE_S)
        if age < least:
            yield f"{lock.path} was touched {age:.0f} s ago; only after {least:.0f} s it is stale"
        if _is_open(place):
            yield f"a process has {lock.path} open"
        # Git closes its lock and keeps it: `git commit -a` for as long as somebody writes the message.
        at_work = _git_at_work(self._workspace, place)
        if at_work:
            yield f"git is at work here, as process {at_work}"

    def remove_lock(self, lock: RemoveStaleLock) -> tuple[str, ...]:
        """Removes the lock, unless :meth:`check_lock` has something to say by now, which is returned."""
        reasons = tuple(self.check_lock(lock))
        place = inside(self._workspace, lock.path)
        if not reasons and place is not None:
            place.unlink(missing_ok=True)
        return reasons


def line_of(command: Command) -> str:
    """The command as :func:`autopack_kit.safe_actions.is_repeatable` reads it; empty for a script of several lines."""
    if command.script is not None:
        return command.script.text
    return " ".join([posixpath.basename(command.argv[0]), *command.argv[1:]])


def own_command(action: Action) -> Command:
    """The command that the action brings.

    Raises:
        InvalidArgument: it is none.
    """
    return command_from_proto(getattr(action, action.WhichOneof("kind") or "").command)


def pauses(retry: RetryWithBackoff, *, jitter: float = JITTER) -> tuple[float, ...]:
    """Seconds before each attempt: they double up to the longest, each a little longer or shorter by chance."""
    initial = retry.initial.ToTimedelta().total_seconds()
    longest = retry.longest.ToTimedelta().total_seconds()
    return tuple(
        min(initial * 2**number, longest) * random.uniform(1 - jitter, 1 + jitter)  # noqa: S311 - spreads load
        for number in range(retry.attempts)
    )


def named_paths(mitigation: Mitigation) -> list[str]:
    """The files that the actions name as those that they may change."""
    found: list[str] = []
    for action in mitigation.actions:
        found += [*action.run_formatter.paths, *action.regenerate_lockfile.files, *action.restore_out_of_scope.paths]
    return found


_INSTALLED = (".venv", "venv", "node_modules")


def leading_out(workspace: Path, directories: Sequence[str]) -> Iterator[str]:
    """What an installer would write through: lock files, manifests and environments that are links leading out."""
    for directory in dict.fromkeys(posixpath.normpath(one or ".") for one in directories):
        place = inside(workspace, directory)
        if place is None or not place.is_dir():
            continue
        for entry in sorted(os.scandir(place), key=lambda one: one.name):
            path = posixpath.normpath(posixpath.join(directory, entry.name))
            is_written = is_lock(path) or is_manifest(path) or entry.name in _INSTALLED
            if is_written and entry.is_symlink() and inside(workspace, path) is None:
                yield f"{path} is a link that leads out of the workspace"


def changed_beyond(mitigation: Mitigation, changed: Sequence[str]) -> str:
    """The first changed file that no action may change; empty = none, or the mitigation is not limited to files."""
    allowed: set[str] = set()
    for action in mitigation.actions:
        match action.WhichOneof("kind"):
            case "run_formatter":
                allowed.update(action.run_formatter.paths)
            case "regenerate_lockfile":
                allowed.update(action.regenerate_lockfile.files)
            case "install_declared" | "run_command" | "restore_out_of_scope":
                return ""
    return next((path for path in changed if path not in allowed), "") if allowed else ""


def _put_in(words: Sequence[str], failed: Sequence[str]) -> list[str]:
    """The words that are not of the failed command, in its order: that is a part of what they mean."""
    added, at = [], 0
    for word in words:
        if word in failed[at:]:
            at += failed[at:].index(word) + 1
        elif word not in added:
            added.append(word)
    return added


def is_among(path: str, status: Mapping[str, str]) -> bool:
    """Whether git lists the path, or an untracked directory above it, as differing from the commit."""
    parts = path.split("/")
    return path in status or any("/".join(parts[:number]) + "/" in status for number in range(1, len(parts)))


def _is_open(path: Path) -> bool:
    """Whether a process that can be looked into has ``path`` open."""
    wanted = path.stat()
    for process in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for descriptor in process.iterdir():
                with suppress(OSError):
                    found = os.stat(descriptor)
                    if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                        return True
    return False


def _git_at_work(workspace: Path, lock: Path) -> int:
    """A process of git whose directory is in the workspace, or that cannot be looked into; 0 = none."""
    root, owner = workspace.resolve(), lock.stat().st_uid
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if not (process / "comm").read_text().startswith("git"):
                continue
            try:
                is_here = Path(os.readlink(process / "cwd")).is_relative_to(root)
            except PermissionError:
                is_here = process.stat().st_uid == owner
            if is_here:
                return int(process.name)
    return 0

"""The one place that applies a mitigation: ``check -> apply -> (re-run by the caller) -> undo``.

    applier = Applier(workspace, LocalRunner(logs), facts=facts, base_commit=base)
    outcome = await applier.apply(diagnosis.mitigation, command)
    if outcome.state is State.APPLIED:
        ...                                  # run outcome.rerun; only if that passes the failure is fixed
        await applier.undo(outcome)          # if it did not

:class:`autopack_client.proving.Chain` does this with every diagnosis that may be acted upon, pauses included.

The answer of a service is advice from the network: every precondition is checked here, in the workspace, and more: no
path leaves the workspace (not through a symbolic link either), nothing is installed but by an install command that the
caller itself knows, and nothing that the base commit did not declare, unless a person consented.
"""

from __future__ import annotations

import asyncio
import enum
import os
import posixpath
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from autopack_api.hardening.v1.hardening_pb2 import (
    APPROVAL_NEVER,
    Action,
    InstallDeclared,
    InstalledRuntime,
    Mitigation,
    Precondition,
    ProjectFacts,
    SetEnv,
    SwitchRuntime,
)
from autopack_kit.commands import Command
from autopack_kit.convert import command_from_proto
from autopack_kit.errors import InvalidArgument
from autopack_kit.safe_actions import OWN_COMMANDS, OwnCommands, unsafe_env, unsafe_install

from autopack_client.facts import added_since, declared, listed
from autopack_client.facts_commands import added_by_command
from autopack_client.facts_manifests import ManifestError, declares, entries, is_lock
from autopack_client.mitigate_git import Git, inside, read_inside
from autopack_client.mitigate_more import MoreActions, changed_beyond, leading_out, named_paths, own_command, pauses
from autopack_client.mitigate_restore import Reverter
from autopack_client.mitigate_run import LocalRunner, Ran, Runner
from autopack_client.mitigate_runtime import RuntimeSwitch, carried, environment_of
from autopack_client.mitigate_undo import Copy, changed_copies, keep, modes_of, put_back, remove_created, set_modes

__all__ = ["Applier", "LocalRunner", "Outcome", "Ran", "Runner", "State"]

CHANGING = ("install_declared", "restore_out_of_scope", "run_command", "run_formatter", "regenerate_lockfile")
"""Actions that may change files."""
MAX_ACTIONS = 10
MAX_DIFF_BYTES = 1 << 20
"""Bytes of the difference that is shown; lock files change by the megabyte."""
MAX_MANIFEST_BYTES = 16 << 20
MAX_NEW_FILES = 5000
"""Files that git does not know, of which copies are made before anything runs."""


class State(enum.Enum):
    """What became of a mitigation."""

    APPLIED = "applied"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of :meth:`Applier.apply`.

    Attributes:
        state: REFUSED: a check failed and nothing was touched. FAILED: a command failed and what it changed was undone.
        rerun: the command to run next: the failed one, in another directory or with variables where that was the fix.
        reasons: why it was refused or failed.
        changed: tracked files that differ from before, relative to the workspace.
        created: new files and directories (ending in ``/``) that git neither tracks nor ignores.
        diff: what changed in ``changed``, at most 1 MiB.
        ran: the commands that ran, with their outputs.
        pauses: seconds to wait before each time that ``rerun`` may run; empty = it runs once, at once.
        before: the tree from which :meth:`Applier.undo` restores; None outside of git, or if no action changes files.
        copies: the files that it restores byte for byte.
        modes: permissions of tracked files.
        made: directories that the mitigation made for itself, which git ignores; undoing it removes them.
    """

    state: State
    rerun: Command
    reasons: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    created: tuple[str, ...] = ()
    diff: bytes = b""
    ran: tuple[Ran, ...] = ()
    pauses: tuple[float, ...] = ()
    before: str | None = field(default=None, repr=False)
    copies: Mapping[str, Copy] = field(default_factory=dict, repr=False)
    modes: Mapping[str, int] = field(default_factory=dict, repr=False)
    made: tuple[str, ...] = ()


class Applier:
    """Applies mitigations in one workspace."""

    def __init__(
        self,
        workspace: Path,
        runner: Runner,
        *,
        facts: Sequence[ProjectFacts] = (),
        base_commit: str | None = None,
        scope: Sequence[str] = (),
        consent: bool = False,
        interactive: bool = False,
        git_dir: Path | None = None,
        runtimes: Sequence[InstalledRuntime] = (),
        search_path: str | None = None,
        commands: OwnCommands = OWN_COMMANDS,
    ) -> None:
        """Args:
        workspace: its root. Paths of a mitigation are relative to it.
        runner: runs install commands, with the environment in which the failed command ran.
        facts: the projects as the caller built them; only their install commands may run.
        base_commit: what is trusted. Without it no install is automatic.
        scope: globs in which the run may change files; what they cover is never restored.
        consent: a person or a policy agreed to what is not automatic.
        interactive: the workspace is a person's own checkout: files that they modified are not touched.
        git_dir: a git directory for this workspace that no agent writes; default: what its ``.git`` names.
        runtimes: those that the service was told of; only these may be switched to.
        search_path: ``PATH`` of the failed command; default: this process's own.
        commands: the words that mitigations may bring themselves; default: those of the packaged patterns.
        """
        self._workspace = workspace
        self._runner = runner
        self._facts = tuple(facts)
        self._base = base_commit
        self._scope = tuple(scope)
        self._consent = consent
        self._interactive = interactive
        self._git_dir = git_dir
        self._git = Git(workspace, trusted=interactive, git_dir=git_dir)
        self._reverter = Reverter(workspace, self._git, base_commit, self._scope, interactive=interactive)
        path = os.environ.get("PATH", os.defpath) if search_path is None else search_path
        self._switch = RuntimeSwitch(workspace, runtimes, path)
        self._more = MoreActions(
            workspace, self._git, scope=self._scope, interactive=interactive, commands=commands, search_path=path
        )

    def check(self, mitigation: Mitigation, command: Command) -> tuple[str, ...]:
        """Why the mitigation may not be applied here and now; empty = it may. Changes nothing. Blocking."""
        if not mitigation.actions:
            return ("it has no action, only advice",)
        if len(mitigation.actions) > MAX_ACTIONS:
            return (f"it has {len(mitigation.actions)} actions; at most {MAX_ACTIONS} are applied",)
        if mitigation.approval == APPROVAL_NEVER:
            return ("it is never applied: there is only advice",)
        if not mitigation.automatic and not self._consent:
            return (f"it needs consent: {mitigation.consent_reason or 'it is not automatic'}",)
        return tuple(reason for action in mitigation.actions for reason in self._refusals(action, command))

    async def apply(self, mitigation: Mitigation, command: Command) -> Outcome:
        """Checks, then carries out every action in order, or undoes what was changed.

        Args:
            mitigation: as the service answered it.
            command: the command that failed.

        Raises:
            FailedPrecondition: ``GIT_FAILED``: git cannot say what is there, so nothing was done.
            Unavailable: ``GIT_TIMEOUT``.
        """
        reasons = await asyncio.to_thread(self.check, mitigation, command)
        if reasons:
            return Outcome(State.REFUSED, command, reasons)
        outcome, dirty, untracked = await asyncio.to_thread(self._before, mitigation, command)
        try:
            for action in mitigation.actions:
                outcome = await self._carry_out(action, outcome)
                if outcome.state is State.FAILED:
                    break
        except BaseException:  # interrupted: what it has changed so far is taken back before anybody is told
            await self.undo(await asyncio.to_thread(self._report, outcome, untracked, mitigation))
            raise
        outcome = await asyncio.to_thread(self._report, outcome, untracked, mitigation)
        beyond = changed_beyond(mitigation, (*outcome.changed, *outcome.created))
        if beyond and outcome.state is State.APPLIED:
            outcome = replace(outcome, state=State.FAILED, reasons=(f"it changed {beyond}, which it may not",))
        theirs = [path for path in outcome.changed if path in dirty]
        if theirs and self._interactive and outcome.state is State.APPLIED:
            reason = f"it changed {theirs[0]}, which is modified; commit or stash it first"
            outcome = replace(outcome, state=State.FAILED, reasons=(reason,))
        if outcome.state is State.FAILED:
            await self.undo(outcome)
        return outcome

    async def undo(self, outcome: Outcome) -> tuple[str, ...]:
        """Restores the files that the mitigation changed or removed, byte for byte, and removes those that it created.

        In a person's checkout only what an action names is removed: the rest, listed as ``created``, may be theirs.
        What was installed into ignored directories stays. Returns the restored paths.
        """
        return await asyncio.to_thread(self._undo, outcome)

    def _undo(self, outcome: Outcome) -> tuple[str, ...]:
        try:
            self._undo_by_git(outcome)
        finally:
            put_back(self._workspace, outcome.copies)
        return outcome.changed

    def _undo_by_git(self, outcome: Outcome) -> None:
        remove_created(self._workspace, outcome.made)
        if outcome.before is not None:
            if not self._interactive:  # first: a file may stand where a directory was
                remove_created(self._workspace, outcome.created)
            others = [path for path in outcome.changed if path not in outcome.copies]
            self._git.restore(others, outcome.before)
            set_modes(self._workspace, {path: outcome.modes[path] for path in others if path in outcome.modes})

    def _before(self, mitigation: Mitigation, command: Command) -> tuple[Outcome, set[str], set[str]]:
        """What undoing needs; the files that differ from HEAD, and those that git does not track."""
        outcome = Outcome(State.APPLIED, command)
        kinds = {action.WhichOneof("kind") for action in mitigation.actions}
        if kinds.isdisjoint(CHANGING):
            return outcome, set(), set()
        paths = [*named_paths(mitigation), *self._manifests(mitigation)]
        if not self._git.is_work_tree():
            return replace(outcome, copies=keep(self._workspace, paths)), set(), set()
        named = {path for action in mitigation.actions for path in action.restore_out_of_scope.paths}
        status = self._git.changed()
        untracked = {path for path, letters in status.items() if letters == "??"}
        existing = [path for path in sorted(named) if os.path.lexists(self._workspace / path)]
        # What was never added is in no commit either: of all that git has not, there are copies.
        new = self._git.files(untracked=True)
        dirty = {*(set(status) - untracked), *new[:MAX_NEW_FILES]}
        outcome = replace(
            outcome,
            before=self._git.snapshot(existing),
            copies=keep(self._workspace, [*paths, *sorted(dirty)]),
            modes=modes_of(self._workspace, self._git.files()),
        )
        return outcome, dirty, untracked | set(new)

    def _manifests(self, mitigation: Mitigation) -> Iterator[str]:
        """What package managers rewrite in passing, where the commands of the mitigation run."""
        for action in mitigation.actions:
            kind = action.WhichOneof("kind") or ""
            commands = getattr(action, kind).commands if kind == "install_declared" else ()
            places = [message.cwd or "." for message in commands]
            places += [action.run_command.command.cwd or "."] if kind == "run_command" else []
            for place in places:
                yield from listed(self._workspace, place)

    def _report(self, outcome: Outcome, untracked: set[str], mitigation: Mitigation) -> Outcome:
        copied = changed_copies(self._workspace, outcome.copies)
        if outcome.before is None:
            return replace(outcome, changed=tuple(dict.fromkeys([*outcome.changed, *copied])))
        tracked = self._git.changed_since(outcome.before)
        changed = tuple(dict.fromkeys([*outcome.changed, *tracked, *copied]))
        diff = self._git.diff(outcome.before, changed, MAX_DIFF_BYTES)
        return replace(outcome, changed=changed, created=tuple(self._git.created(untracked)), diff=diff)

    async def _carry_out(self, action: Action, outcome: Outcome) -> Outcome:
        match action.WhichOneof("kind"):
            case "install_declared":
                return await self._install(action.install_declared, outcome)
            case "change_cwd":
                return replace(outcome, rerun=replace(outcome.rerun, cwd=posixpath.normpath(action.change_cwd.cwd)))
            case "set_env":
                env = MappingProxyType({**outcome.rerun.env, **action.set_env.env})
                return replace(outcome, rerun=replace(outcome.rerun, env=env))
            case "run_command" | "run_formatter" | "regenerate_lockfile":
                return await self._run(own_command(action), outcome)
            case "edit_command":
                return replace(outcome, rerun=own_command(action))
            case "retry_with_backoff":
                return replace(outcome, pauses=pauses(action.retry_with_backoff))
            case "switch_runtime":
                return await self._switch_runtime(action.switch_runtime, outcome)
            case "remove_stale_lock":
                reasons = await asyncio.to_thread(self._more.remove_lock, action.remove_stale_lock)
                return replace(outcome, state=State.FAILED, reasons=reasons) if reasons else outcome
            case _:
                removed = await asyncio.to_thread(self._reverter.restore, action.restore_out_of_scope)
                return replace(outcome, changed=(*outcome.changed, *removed))

    async def _install(self, install: InstallDeclared, outcome: Outcome) -> Outcome:
        for message in install.commands:
            outcome = await self._run(command_from_proto(message), outcome)
            if outcome.state is State.FAILED:
                break
        return outcome

    async def _switch_runtime(self, switch: SwitchRuntime, outcome: Outcome) -> Outcome:
        first = self._switch.prepare(switch)
        if first is not None:
            made = self._workspace / environment_of(switch)
            try:
                outcome = await self._run(first, outcome)
                if outcome.state is not State.FAILED:
                    await asyncio.to_thread(self._switch.hide, switch)
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)
                raise
            outcome = replace(outcome, made=(*outcome.made, f"{made.name}/"))
        if outcome.state is State.FAILED:
            return outcome
        return replace(outcome, rerun=self._switch.switched(switch, outcome.rerun))

    async def _run(self, command: Command, outcome: Outcome) -> Outcome:
        command = carried(outcome.rerun, command)
        ran = await self._runner.run(command, self._workspace / command.cwd)
        outcome = replace(outcome, ran=(*outcome.ran, ran))
        if ran.exit_code == 0 and not ran.timed_out:
            return outcome
        how = "took too long" if ran.timed_out else f"exited {ran.exit_code}"
        reason = f"{command.line()} {how}; its output is in {ran.output}"
        return replace(outcome, state=State.FAILED, reasons=(reason,))

    def _refusals(self, action: Action, command: Command) -> Iterator[str]:
        for precondition in action.preconditions:
            reason = self._unmet(precondition)
            if reason:
                yield reason
        match action.WhichOneof("kind"):
            case "install_declared":
                yield from self._check_install(action.install_declared)
            case "change_cwd":
                yield from self._more.check_move(action.change_cwd.cwd, command, consent=self._consent)
            case "set_env":
                yield from self._check_env(action.set_env, command)
            case "restore_out_of_scope":
                yield from self._reverter.check(action.restore_out_of_scope)
            case "run_command" | "run_formatter" | "regenerate_lockfile" | "edit_command":
                yield from self._more.check_command(action, command, consent=self._consent)
            case "remove_stale_lock":
                yield from self._more.check_lock(action.remove_stale_lock)
            case "retry_with_backoff":
                yield from self._more.check_retry(action.retry_with_backoff, command, consent=self._consent)
            case "switch_runtime":
                yield from self._switch.check(action.switch_runtime)
            case _:
                yield "it has an action that this version does not know"

    def _unmet(self, precondition: Precondition) -> str:
        kind = precondition.WhichOneof("kind")
        if kind == "declared_at_base":
            return self._undeclared(precondition.declared_at_base.name, precondition.declared_at_base.path)
        if kind not in ("file_exists", "directory_exists", "path_absent"):
            return "it has a precondition that this version does not know"
        path: str = getattr(precondition, kind)
        place = inside(self._workspace, path)
        if place is None:
            return f"{path!r} leads out of the workspace"
        if kind == "file_exists":
            return "" if place.is_file() else f"{path} is no file"
        if kind == "directory_exists":
            return "" if place.is_dir() else f"{path} is no directory"
        return f"{path} exists" if os.path.lexists(place) else ""

    def _undeclared(self, name: str, path: str) -> str:
        commit = self._git.commit(self._base) if self._base else None
        if commit is None:
            return f"there is no base commit that could declare {name!r}"
        content = self._git.read(commit, path, MAX_MANIFEST_BYTES) if inside(self._workspace, path) else None
        return "" if _declares(path, content, name) else f"{path} does not declare {name!r} at the base commit"

    def _check_install(self, install: InstallDeclared) -> Iterator[str]:
        if not install.commands or not install.distributions:
            yield "an install needs commands and distributions"
        for message in install.commands:
            try:
                command = command_from_proto(message)
            except InvalidArgument as error:
                yield str(error)
                return
            project = self._owner(command)
            if project is None:
                yield f"{command.line()} is no install command of a project here"
                return
            yield from self._check_command(command, project)
        content = read_inside(self._workspace, install.declared_in, MAX_MANIFEST_BYTES)
        if not install.distributions or not _declares(install.declared_in, content, install.distributions[0]):
            yield f"{install.declared_in} does not declare {', '.join(install.distributions[:1])!r}"

    def _owner(self, command: Command) -> ProjectFacts | None:
        """The project of the caller's own facts that is installed by exactly this command."""
        for project in self._facts:
            if any(command == command_from_proto(message) for message in project.install):
                return project
        return None

    def _check_command(self, command: Command, project: ProjectFacts) -> Iterator[str]:
        words = command.argv
        problem = unsafe_install(command)
        if not words or problem:
            yield f"{command.line()} is never run by a mitigation: {problem or 'it has no words'}"
        yield from self._more.check_directory(command.cwd)
        yield from leading_out(self._workspace, (command.cwd, project.workdir))
        extra = [
            posixpath.normpath(posixpath.join(command.cwd, word)) for word in words if word.endswith((".txt", ".in"))
        ]
        found = declared(self._workspace, project.workdir, self._base, extra, git_dir=self._git_dir)
        added = [f"{one.entry.name} in {one.path}" for one in added_since(found)]
        added += [
            f"{word} of {command.line()}"
            for word in added_by_command(self._workspace, self._git, self._base, command, found)
        ]
        if added and not self._consent:
            shown = ", ".join(added[:5])
            yield f"it needs consent: the base commit does not declare {shown}"
        if self._interactive and self._git.is_work_tree():
            modified = self._git.changed()
            for path in sorted({one.path for one in found if is_lock(one.path) and one.path in modified}):
                yield f"{path} is modified; commit or stash it first"

    def _check_env(self, env: SetEnv, command: Command) -> Iterator[str]:
        for name, value in env.env.items():
            # Options are put behind those that the command had.
            added = value.removeprefix(command.env.get(name, "")).strip() if name != "PYTHONPATH" else value
            problem = unsafe_env({name: added})
            if problem:
                yield f"it would set {name!r}: {problem}"
            if problem or name != "PYTHONPATH":
                continue
            known = command.env.get(name, "").split(":")
            for entry in value.split(":"):
                if entry not in known:
                    yield from self._more.check_directory(posixpath.normpath(posixpath.join(command.cwd, entry)))


def _declares(path: str, content: bytes | None, name: str) -> bool:
    if content is None:
        return False
    try:
        return declares(entries(path, content), name)
    except ManifestError:
        return False

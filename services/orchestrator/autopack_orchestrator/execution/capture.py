"""What the agent changed, within its scope."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import structlog
from autopack_kit.errors import AutopackError, ResourceExhausted

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.agents import known_agents
from autopack_orchestrator.core.judge import out_of_scope
from autopack_orchestrator.core.model import EventKind, FileChange, OnScopeViolation, RunState
from autopack_orchestrator.core.text import clean
from autopack_orchestrator.execution.attempts import workspace_is_gone
from autopack_orchestrator.execution.context import RunContext, make_event

__all__ = [
    "Captured",
    "added_paths",
    "back_to_base",
    "capture",
    "commit_result",
    "environment_paths",
    "has_changes",
    "keep_patch",
    "keep_work",
    "pathspecs",
    "restore_captured",
]

_log = structlog.get_logger("autopack.orchestrator")

CAPTURE_LIMIT_S = 1800.0  # each git command has a limit of its own; there are many in an unlucky capture
MAX_CHANGES_STORED = 2000  # a listing for people; the patch has them all
MAX_PATHS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Captured:
    """The tree as it is, and how it differs from the base commit."""

    tree: str
    changes: tuple[FileChange, ...]


async def capture(ctx: RunContext) -> Captured:
    """Capture the worktree, revert what lies outside the scope, and store the rest.

    Raises:
        RunFailed: there are changes outside the scope, and the run is to end for that.
    """
    captured = await _look(ctx)
    outside = out_of_scope(ctx.run.spec.intention, captured.changes)
    if outside:
        shown = ", ".join(map(clean, outside[:MAX_PATHS_SHOWN]))
        if ctx.run.spec.on_scope_violation is OnScopeViolation.FAIL:
            raise ctx.fail(
                "SCOPE_VIOLATION",
                f"The agent changed files outside its scope: {shown}.",
                "Widen the scope, or let such changes be reverted (on_scope_violation: revert).",
            )
        await git.restore_paths(ctx.worktree, outside)
        captured = await _look(ctx)
        reverted = tuple(dict.fromkeys((*ctx.result.reverted_paths, *map(clean, outside))))
        await ctx.write(
            reverted_paths=reverted[:MAX_CHANGES_STORED],
            events=(make_event(EventKind.SCOPE, f"outside the scope and reverted: {shown}", reverted=shown),),
        )
    changes = tuple(FileChange(c.status, clean(c.path), clean(c.old_path)) for c in captured.changes)
    await ctx.write(changes=changes[:MAX_CHANGES_STORED], tree_id=captured.tree)
    return captured


async def back_to_base(ctx: RunContext) -> None:
    """Put the worktree back to the base commit; the environments in it stay."""
    found = (await _look(ctx)).changes
    await git.restore_paths(ctx.worktree, [path for change in found for path in (change.path, change.old_path) if path])


async def restore_captured(ctx: RunContext) -> None:
    """Put the worktree back as it was last captured: what an interrupted validation wrote is no part of the change."""
    if ctx.result.tree_id:
        tree = await git.worktree_tree(ctx.worktree, ctx.environment_paths)
        found = await git.changes(ctx.worktree.mirror, ctx.result.tree_id, tree)
        await git.restore_paths(
            ctx.worktree, [path for change in found for path in change.paths], to=ctx.result.tree_id
        )


async def has_changes(ctx: RunContext) -> bool:
    """Whether anything differs from the base commit now."""
    return bool((await _look(ctx)).changes)


async def _look(ctx: RunContext) -> Captured:
    try:
        async with asyncio.timeout(CAPTURE_LIMIT_S):
            tree = await git.worktree_tree(ctx.worktree, ctx.environment_paths)
            found = await git.changes(ctx.worktree.mirror, ctx.run.base_commit, tree)
    except TimeoutError as error:
        raise ctx.fail(
            "CAPTURE_TIMEOUT",
            f"What the run changed could not be captured in {CAPTURE_LIMIT_S / 60:.0f} min.",
            "Let .gitignore name what is generated: each file that is not ignored is read.",
            state=RunState.TIMED_OUT,
        ) from error
    return Captured(tree, tuple(FileChange(c.kind.value, c.path, c.old_path or "") for c in found))


async def environment_paths(ctx: RunContext) -> tuple[str, ...]:
    """What preparing added to the worktree beside the usual environments, as few paths as possible, and what its agent
    keeps in it for itself.

    Tracked files that it changed are put back: the agent starts from the base commit.
    """
    found = (await _look(ctx)).changes
    added = [change.path for change in found if change.status == "A"]
    changed = [path for change in found if change.status != "A" for path in (change.path, change.old_path) if path]
    if changed:
        await git.restore_paths(ctx.worktree, changed)
        shown = ", ".join(map(clean, changed[:MAX_PATHS_SHOWN]))
        await ctx.warn("prepare", f"Preparing the environment changed tracked files, which were put back: {shown}.")
    agent = ctx.run.spec.agent
    return (*await _patterns(ctx, added), *(known_agents()[agent.name].own_files if agent is not None else ()))


async def added_paths(ctx: RunContext, before: str, after: str) -> tuple[str, ...]:
    """Pathspecs of what tree ``after`` has and tree ``before`` has not."""
    found = await git.changes(ctx.worktree.mirror, before, after)
    return tuple(spec for change in found if change.kind is git.ChangeKind.ADDED for spec in pathspecs(change.path))


async def _patterns(ctx: RunContext, added: Sequence[str]) -> tuple[str, ...]:
    known = await git.directories(ctx.worktree.mirror, ctx.run.base_commit) if added else frozenset()
    return tuple(dict.fromkeys(spec for path in added for spec in pathspecs(_topmost_new(path, known))))


def pathspecs(path: str) -> tuple[str, ...]:
    """Pathspecs, as text, for a path and all below it: a byte that is not UTF-8 is matched as any one byte."""
    escaped = "".join(f"\\{letter}" if letter in "*?[\\" else letter for letter in path)
    escaped = "".join("?" if "\udc80" <= letter <= "\udcff" else letter for letter in escaped)
    # git takes a pathspec for a directory only where it holds nothing that could be a pattern.
    return (path,) if escaped == path else (escaped, f"{escaped}/*")


def _topmost_new(path: str, known: frozenset[str]) -> str:
    """The highest directory above ``path`` that the base commit does not have, else the path itself."""
    parents = [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "."]
    return next((parent for parent in reversed(parents) if parent not in known), path)


async def keep_work(ctx: RunContext) -> dict[str, Any]:
    """Keep what an attempt that did not succeed had changed: its tree and the size of its patch, nothing if that fails.

    What was validated is kept as it was validated; else everything that is there.
    """
    if ctx.tree is None or not ctx.tree.ready:
        return {}
    try:
        tree = ctx.result.tree_id or await git.worktree_tree(ctx.tree, ctx.environment_paths)
        return {"tree_id": tree, "patch_bytes": await keep_patch(ctx, tree)}
    except (AutopackError, OSError) as error:
        _log.warning("a run's work could not be kept", run_id=ctx.run.run_id, error=str(error))
        ctx.leave_tree = not workspace_is_gone(ctx)
        return {}


async def keep_patch(ctx: RunContext, tree: str) -> int:
    """Write the patch of ``tree`` against the base commit; returns its size in bytes, 0 if nothing differs.

    A change that is too large for one is committed to the run's branch, which then stays in the mirror: 0, with a
    warning.
    """
    path = ctx.layout.patch(ctx.run)
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True, mode=0o700)
    await asyncio.to_thread(path.unlink, missing_ok=True)
    mirror = ctx.worktree.mirror
    try:
        return await git.patch(mirror, ctx.run.base_commit, tree, path)
    except ResourceExhausted as error:
        await commit_result(ctx, tree)
        ctx.only_on_branch = True
        there = f"git fetch {mirror.path} {ctx.run.branch}"
        await ctx.warn("patch", f"There is no patch: {error.message} The change is on the run's branch: {there}")
        return 0


async def commit_result(ctx: RunContext, tree: str) -> str:
    """Commit ``tree`` to the run's branch, once; returns the commit's id."""
    message = f"{ctx.run.spec.intention.title.strip()}\n\nAutopack-Run: {ctx.run.run_id}\n"
    return await git.commit(ctx.worktree, tree, message, git.OURS)

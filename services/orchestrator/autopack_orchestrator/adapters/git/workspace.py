"""A worktree per run:

Made without races, removed without traces, and never with a program of the repository being run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from autopack_kit.errors import AlreadyExists, AutopackError, FailedPrecondition, ResourceExhausted, invalid_field

from autopack_orchestrator.adapters.trees import delete_tree
from autopack_orchestrator.core.sources import WHOLE, Checkout

from . import capture, checkout
from .command import GitError, run_git
from .lock import RepositoryLocks
from .mirror import Mirror
from .origin import Origin
from .records import Workspace, discard_torn, forget, list_workspaces, save

__all__ = ["GcReport", "Workspaces"]

ADD_ATTEMPTS = 4  # an agent may run `git worktree` itself beside us, outside of our lock
DEFAULT_MIN_AGE_S = 60.0  # a run of another process that is not yet in the list of what to keep
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection did: run ids, and the patches in which their unfinished work was kept."""

    removed: tuple[str, ...] = ()
    harvested: tuple[Path, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)


class Workspaces:
    """Worktrees below one directory of ours (``<data_dir>/worktrees``)."""

    def __init__(self, root: Path, locks: RepositoryLocks, checkouts: int | None = None) -> None:
        """``checkouts``:

        How many are written at once; default is the number of cores, more made each of them slower.
        """
        self._root = root.resolve()
        self._locks = locks
        self._checkouts = asyncio.Semaphore(checkouts or os.cpu_count() or 1)

    async def create(
        self,
        mirror: Mirror,
        sha: str,
        branch: str,
        path: Path,
        run_id: str,
        options: Checkout = WHOLE,
        lfs: Origin | None = None,
    ) -> Workspace:
        """A worktree of commit ``sha`` at ``path`` (below our root, not existing) on the new ``branch``.

        When it fails, nothing is left: no directory, no branch, no record.

        Args:
            run_id: unique per worktree, valid as a name (see :func:`~.names.worktree_name_problem`).
            options: sparse directories, and whether files in Git LFS are fetched; the rest is done by others.
            lfs: where such files come from.

        Raises:
            AlreadyExists: BRANCH_EXISTS, WORKSPACE_EXISTS. InvalidArgument. GitError. Unavailable: REPOSITORY_BUSY.
        """
        path = self._inside(path)
        workspace = Workspace(mirror, run_id, branch, sha, path, checkout=options)
        ours = False
        try:
            async with self._locks.hold(mirror.lock) as lock:
                await self._check_free(workspace)
                ours = True
                workspace = save(workspace)
                workspace = save(workspace, git_dir=await self._add(workspace, lock))
                await checkout.prepare(workspace, lock)
            async with self._checkouts:
                await checkout.write(workspace, lfs)
            return save(workspace, ready=True)
        except BaseException:
            if ours:
                await _finish(self.remove(workspace, delete_branch=True))
            raise

    async def remove(self, workspace: Workspace, *, delete_branch: bool = False) -> None:
        """Delete the directory, git's record of it, ours, and on request the branch.

        Nothing to do when it is gone already.
        """
        await asyncio.to_thread(delete_tree, self._inside(workspace.path))
        async with self._locks.hold(workspace.mirror.lock) as lock:
            # Again: the git of a killed orchestrator holds the lock until it ends, and may have made it meanwhile.
            await asyncio.to_thread(delete_tree, workspace.path)
            for git_dir in await asyncio.to_thread(_admin_dirs, workspace):
                await asyncio.to_thread(delete_tree, git_dir)
            if delete_branch:
                words = ("update-ref", "-d", f"refs/heads/{workspace.branch}")
                await run_git(*words, git_dir=workspace.mirror.path, pass_fd=lock)
            forget(workspace)

    def existing(self, mirror: Mirror) -> list[Workspace]:
        """All worktrees of ``mirror`` that exist or began to exist."""
        return list_workspaces(mirror)

    async def gc(
        self,
        mirror: Mirror,
        keep: Collection[str],
        harvest_dir: Path,
        min_age_s: float = DEFAULT_MIN_AGE_S,
        exclude: Collection[str] = (),
    ) -> GcReport:
        """Remove the worktrees whose run id is not in ``keep``; unfinished work is first written to
        ``<harvest_dir>/<run_id>.patch``, or committed to its branch where it is too large for that.

        Only what a record of ours names is touched. A branch that holds commits stays; one that never moved is
        deleted. What cannot be harvested is not removed. Fails soft: one bad worktree does not keep the others.
        """
        removed, harvested, failed = [], [], {}
        discard_torn(mirror, min_age_s)
        for workspace in list_workspaces(mirror):
            if workspace.run_id in keep or workspace.age_s < min_age_s:
                continue
            try:
                if (file := await self._harvest(workspace, harvest_dir, exclude)) is not None:
                    harvested.append(file)
                moved = await capture.branch_tip(workspace) not in (None, workspace.base)
                await self.remove(workspace, delete_branch=not moved)
                removed.append(workspace.run_id)
            except (AutopackError, OSError) as error:
                failed[workspace.run_id] = str(error)
                _log.warning("worktree_not_removed", run_id=workspace.run_id, error=str(error))
        return GcReport(tuple(removed), tuple(harvested), failed)

    async def _harvest(self, workspace: Workspace, harvest_dir: Path, exclude: Collection[str]) -> Path | None:
        if not workspace.ready or not workspace.path.is_dir():
            return None
        tree = await capture.worktree_tree(workspace, tuple(exclude))
        tip = await capture.branch_tip(workspace) or workspace.base
        if not await capture.changes(workspace.mirror, tip, tree):
            return None
        harvest_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = harvest_dir / f"{workspace.run_id}.patch"
        file.unlink(missing_ok=True)  # of a collection that was killed
        try:
            await capture.patch(workspace.mirror, workspace.base, tree, file)
        except ResourceExhausted:  # too large for a patch: it stays as a branch
            await capture.commit(workspace, tree, f"What was left of {workspace.run_id}", capture.OURS)
            return None
        return file

    async def _check_free(self, workspace: Workspace) -> None:
        """Under the lock: what we are about to make must not exist, so that all of it is ours to delete again."""
        metadata = {"run_id": workspace.run_id, "branch": workspace.branch, "path": str(workspace.path)}
        if workspace.record.exists() or os.path.lexists(workspace.path):
            raise AlreadyExists(
                f"There already is a worktree for {workspace.run_id} or something else at {workspace.path}.",
                reason="WORKSPACE_EXISTS",
                remedy="Remove it first, or use another run id.",
                metadata=metadata,
            )
        name = f"refs/heads/{workspace.branch}"
        if (await run_git("check-ref-format", name, check=False)).returncode != 0:
            raise invalid_field(
                "branch", f"{workspace.branch[:200]!r} is not a valid branch name", reason="INVALID_NAME"
            )
        if await workspace.mirror.sha(name):
            raise AlreadyExists(
                f"There already is a branch {workspace.branch}.",
                reason="BRANCH_EXISTS",
                remedy="Use another name for the run or the batch.",
                metadata=metadata,
            )

    async def _add(self, workspace: Workspace, lock: int) -> Path:
        """``git worktree add`` without checkout, again after the known race; returns git's directory for it."""
        workspace.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = ("--quiet", "--no-checkout", "--no-track", "--lock", "--reason", workspace.reason)
        words = ("worktree", "add", *options, "-b", workspace.branch, "--", str(workspace.path), workspace.base)
        for attempt in range(1, ADD_ATTEMPTS + 1):
            result = await run_git(*words, git_dir=workspace.mirror.path, pass_fd=lock, check=False)
            if result.returncode == 0:
                break
            if "commondir" not in result.stderr or attempt == ADD_ATTEMPTS:
                raise GitError(words, result)
            _log.warning("worktree_add_again", run_id=workspace.run_id, error=result.error)
            for leftover in (workspace.path, *_admin_dirs(workspace)):
                await asyncio.to_thread(delete_tree, leftover)
            words_delete = ("update-ref", "-d", f"refs/heads/{workspace.branch}")
            await run_git(*words_delete, git_dir=workspace.mirror.path, pass_fd=lock)
        link = (workspace.path / ".git").read_text()
        return Path(link.removeprefix("gitdir: ").strip())

    def _inside(self, path: Path) -> Path:
        """``path`` if it lies below our root: the only place where directories are made and deleted."""
        real = path.parent.resolve() / path.name
        if real == self._root or not real.is_relative_to(self._root):
            raise FailedPrecondition(
                f"{path} lies outside of the directory for worktrees, {self._root}.",
                reason="WORKSPACE_OUTSIDE_ROOT",
                remedy="Give a path below it.",
                metadata={"path": str(path)},
            )
        return real


def _admin_dirs(workspace: Workspace) -> list[Path]:
    """Git's directories for this worktree:

    The recorded one, and those locked with our marker (a killed ``add`` recorded nothing).
    """
    found = {workspace.git_dir} if workspace.git_dir else set()
    for locked in (workspace.mirror.path / "worktrees").glob("*/locked"):
        with contextlib.suppress(FileNotFoundError):
            if locked.read_text().strip() == workspace.reason:
                found.add(locked.parent)
    for pointer in (workspace.mirror.path / "worktrees").glob("*/gitdir"):
        with contextlib.suppress(FileNotFoundError):
            if pointer.read_text().strip() == str(workspace.path / ".git"):
                found.add(pointer.parent)
    return [path for path in found if path.parent == workspace.mirror.path / "worktrees"]


async def _finish(coroutine: Coroutine[None, None, None]) -> None:
    """Await a cleanup to its end even if we are cancelled meanwhile."""
    task = asyncio.ensure_future(coroutine)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()

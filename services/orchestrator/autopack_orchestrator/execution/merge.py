"""How the finished branches of a batch merge, tried in the private mirror; and the branch made of it on request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autopack_kit.commands import Command
from autopack_kit.errors import AutopackError, invalid_field

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.core.merging import Branch, Merged, commands, finished, in_order, problem_with_new_branch
from autopack_orchestrator.core.model import Batch, Run
from autopack_orchestrator.errors import nothing_to_merge, repository_elsewhere
from autopack_orchestrator.execution.sources import APPROVED, Sources

__all__ = ["Merges", "Preview"]


@dataclass(frozen=True, slots=True)
class Preview:
    """What merges, how a person does the same, and the runs that have nothing to merge."""

    merged: Merged
    commands: tuple[Command, ...]
    unfinished: tuple[str, ...]
    mirror: git.Mirror


@dataclass(slots=True)
class Merges:
    """Merges of finished branches."""

    store: Store
    mirrors: git.Mirrors
    sources: Sources
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def preview(self, tenant: str, batch_id: str, into: str) -> Preview:
        """Try out the merge of every finished branch of a batch.

        Args:
            into: a branch, tag or commit of the repository; empty for the batch's base commit.

        Raises:
            NotFound: no such batch or reference. FailedPrecondition: the repository cannot be used, or git is too old.
        """
        batch = await self.store.get_batch(tenant, batch_id)
        runs = await self.store.all_runs(tenant, batch_id)
        mirror, commit = await self._start(batch, runs[0], into)
        branches = finished(runs)
        await self._fetch_missing(batch, runs[0], mirror, branches)
        merged = await git.merge_all(mirror, commit, in_order(branches), git.OURS)
        known = {branch.run_id for branch in branches}
        unfinished = tuple(run.run_id for run in runs if run.run_id not in known)
        return Preview(merged, commands(merged, into or commit, f"merge-{batch_id}"), unfinished, mirror)

    async def write(self, tenant: str, batch_id: str, into: str, branch: str) -> Preview:
        """Merge what merges, and bring it into the repository as the new branch ``branch``.

        Raises:
            InvalidArgument: the name. AlreadyExists: such a branch is there. FailedPrecondition: nothing merges, or the
            repository is not on this disk.
            As :meth:`preview`.
        """
        if problem := problem_with_new_branch(branch):
            raise invalid_field("branch", problem)
        await git.check_branch_name(branch)
        batch = await self.store.get_batch(tenant, batch_id)
        runs, _ = await self.store.list_runs(tenant, batch_id=batch_id, limit=1)
        if not runs[0].spec.workplace.local:
            raise repository_elsewhere(batch)
        preview = await self.preview(tenant, batch_id, into)
        if not preview.commands:
            raise nothing_to_merge(batch_id)
        source = await git.open_source(Path(batch.repository), APPROVED)
        async with self._lock:  # the name stands in the mirror only while it is brought home
            ref, mirror = f"refs/heads/{branch}", preview.mirror
            await git.run_git("update-ref", ref, preview.merged.commit, git_dir=mirror.path)
            try:
                await self.mirrors.publish(mirror, branch, source)
            finally:
                await git.run_git("update-ref", "-d", ref, git_dir=mirror.path)
        return preview

    async def _start(self, batch: Batch, run: Run, into: str) -> tuple[git.Mirror, str]:
        """The mirror, and the commit in it that is merged into; ``run`` is any of the batch: all work on one source."""
        mirror = await self.sources.mirror_of(run, batch.repository, batch.base_commit)
        if not into:
            return mirror, batch.base_commit
        if run.spec.workplace.local:
            commit = await git.resolve(await git.open_source(Path(batch.repository), APPROVED), into)
            return await self.sources.mirror_of(run, batch.repository, commit), commit
        git.check_ref(into)
        for name in (f"refs/remotes/origin/{into}", f"refs/tags/{into}", into):
            if (found := await mirror.sha(name)) is not None:
                return mirror, found
        raise git.ref_not_found(into, batch.repository)

    async def _fetch_missing(self, batch: Batch, run: Run, mirror: git.Mirror, branches: Sequence[Branch]) -> None:
        """Commits that a mirror that was made anew does not have, from the repository that they were brought into."""
        for branch in branches:
            if await mirror.sha(branch.commit) is None:
                with contextlib.suppress(AutopackError):  # that it is not there either is told with its branch
                    await self.sources.mirror_of(run, batch.repository, branch.commit)

"""What is kept, for how long, and how it goes: worktrees without a run, results of batches that ended long ago, mirrors
that nobody uses.

Only below our own directory, and there only what a record, a batch or a name of ours says is ours. Every step decides
on facts that a crash does not change, so a collection that was interrupted is simply done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from autopack_kit.errors import Aborted, AutopackError

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.expiry import Ended, Expiry
from autopack_orchestrator.adapters.trees import delete_tree
from autopack_orchestrator.adapters.uploads import Uploads
from autopack_orchestrator.core.garbage import Garbage, GarbageKind, Report
from autopack_orchestrator.execution.archive import Archive
from autopack_orchestrator.execution.directory import lock
from autopack_orchestrator.execution.layout import Layout
from autopack_orchestrator.settings import OrchestratorSettings

__all__ = ["Retention"]

QUIET = timedelta(hours=1)  # what ended less than this ago may still be in use: removed, fetched, tried again
CACHE_QUIET = timedelta(days=2)  # a command that began longer ago has ended: none may take more than a day
FIRST_LOOK_S = 10.0  # after the start, which nothing here may delay
EVERY_S = 24 * 3600.0
LOOK_S = 600.0  # how often it is asked whether a day is over; a process that sleeps with its laptop has no clock

_log = structlog.get_logger("autopack.orchestrator")


@dataclass(slots=True)
class Retention:
    """The collector of one directory."""

    expiry: Expiry
    layout: Layout
    mirrors: git.Mirrors
    workspaces: git.Workspaces
    settings: OrchestratorSettings
    archive: Archive | None
    uploads: Uploads
    _task: asyncio.Task[None] | None = field(default=None)

    def start(self) -> None:
        """Collect once a day, in a task of its own."""
        self._task = asyncio.create_task(self._daily(), name="autopack-retention")

    async def stop(self) -> None:
        """End the task; a collection that is under way ends after what it is at."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def collect(self, *, dry_run: bool) -> Report:
        """Remove what was kept long enough, or only tell it.

        Raises:
            Aborted: GC_UNDER_WAY.
        """
        async with self._alone():
            report = Report()
            await self._worktrees(report, dry_run)
            ended = await self.expiry.ended()
            kept = await self._batches(report, ended, dry_run)
            await self._orphans(report, dry_run)
            await self._harvested(report, dry_run)
            await self._over_quota(report, kept, dry_run)
            await self._unused_mirrors(report, dry_run)
            await self._expired_uploads(report, dry_run)
            await self._old_caches(report, dry_run)
            if not dry_run:
                await asyncio.to_thread(self._stamp.touch)
            return report

    @property
    def _keep(self) -> timedelta:
        return max(self.settings.keep_results, QUIET)

    # ---- each kind ----

    async def _worktrees(self, report: Report, dry_run: bool) -> None:
        runs = await self.expiry.recent_runs(QUIET)
        for mirror in self.mirrors.all():
            trees = await asyncio.to_thread(self.workspaces.existing, mirror)
            idle = [tree for tree in trees if _run_of(tree) not in runs and tree.age_s > QUIET.total_seconds()]
            sizes = {tree.run_id: await asyncio.to_thread(_size, tree.path) for tree in idle}
            failed: dict[str, str] = {}
            if idle and not dry_run:
                keep = {tree.run_id for tree in trees} - sizes.keys()
                harvested = self.layout.root / "harvested"
                done = await self.workspaces.gc(mirror, keep, harvested, min_age_s=QUIET.total_seconds())
                failed = done.failed
            for tree in idle:
                if tree.run_id in failed:
                    report.problems.append(f"worktree {tree.run_id}: {failed[tree.run_id]}")
                else:
                    used = datetime.now(UTC) - timedelta(seconds=tree.age_s if dry_run else 0)
                    size = sizes[tree.run_id]
                    report.add(Garbage(GarbageKind.WORKTREE, tree.run_id, size, "no run is at work in it", used))

    async def _batches(self, report: Report, ended: list[Ended], dry_run: bool) -> list[tuple[Ended, int]]:
        """Batches past their time; returns the others with their sizes, the one that ended first first."""
        kept = []
        for batch in ended:
            place = self.layout.results(batch.batch_id)
            size = await asyncio.to_thread(_size, place)
            if not batch.hidden and datetime.now(UTC) - batch.end_time <= self._keep:
                kept.append((batch, size))
                continue
            if dry_run or await self._remove_batch(report, batch, place):
                reason = f"it ended more than {_words(self._keep)} ago"
                report.add(Garbage(GarbageKind.BATCH, batch.batch_id, size, reason, batch.end_time))
        return kept

    async def _remove_batch(self, report: Report, batch: Ended, place: Path) -> bool:
        try:
            if not batch.hidden and not await self.expiry.hide(batch):
                return False
            if self.archive is not None:
                await self.archive.objects.remove(await self.expiry.objects(batch.batch_id))
            await asyncio.to_thread(delete_tree, place)
            await self.expiry.delete(batch.batch_id)
        except (AutopackError, OSError) as error:
            report.problems.append(f"batch {batch.batch_id}: {error}")
            return False
        return True

    async def _orphans(self, report: Report, dry_run: bool) -> None:
        """Results of batches that the database does not know: another host deleted them, or it is another database. So
        only what is past its time by its own age goes."""
        known = await self.expiry.batch_ids()
        for place in await asyncio.to_thread(_children, self.layout.all_results):
            if place.name not in known:
                reason = "no batch that is known has it"
                await self._old_path(report, GarbageKind.RESULTS, place, reason, dry_run)

    async def _harvested(self, report: Report, dry_run: bool) -> None:
        for place in await asyncio.to_thread(_children, self.layout.root / "harvested"):
            reason = f"it is older than {_words(self._keep)}"
            await self._old_path(report, GarbageKind.HARVESTED, place, reason, dry_run)

    async def _old_path(self, report: Report, kind: GarbageKind, place: Path, reason: str, dry_run: bool) -> None:
        used = await asyncio.to_thread(_last_change, place)
        size = await asyncio.to_thread(_size, place)
        if datetime.now(UTC) - used <= self._keep:
            report.kept_bytes += size
            return
        await self._remove_path(report, Garbage(kind, place.name, size, reason, used), place, dry_run)

    async def _over_quota(self, report: Report, kept: list[tuple[Ended, int]], dry_run: bool) -> None:
        """Logs and patches of the batches that ended first go, until the rest fits; the batches stay listed."""
        report.kept_bytes += sum(size for _, size in kept)
        reason = f"all results together have more than {self.settings.keep_bytes:,} bytes"
        for batch, size in kept:
            if report.kept_bytes <= self.settings.keep_bytes:
                return
            if not size or datetime.now(UTC) - batch.end_time < QUIET:
                continue
            # Attempts that have ended alone: a run that is tried again right now has its own directory.
            attempts = [] if dry_run else await self.expiry.attempts(batch.batch_id)
            try:
                await asyncio.to_thread(self._remove_attempts, batch.batch_id, attempts)
            except OSError as error:
                report.problems.append(f"results of {batch.batch_id}: {error}")
                continue
            report.kept_bytes -= size
            report.add(Garbage(GarbageKind.RESULTS, batch.batch_id, size, reason, batch.end_time))

    def _remove_attempts(self, batch_id: str, attempts: list[tuple[str, int]]) -> None:
        if attempts:
            self.layout.removed_mark(batch_id).touch()
        for name, last in attempts:
            for number in range(1, last + 1):
                delete_tree(self.layout.attempt_of(batch_id, name, number))

    async def _unused_mirrors(self, report: Report, dry_run: bool) -> None:
        bases = await self.expiry.bases()
        for mirror in self.mirrors.all():
            try:
                if mirror.used_since(datetime.now(UTC) - self._keep):
                    continue
                if self.workspaces.existing(mirror) or bases.intersection(await mirror.pins()):
                    continue
                size, used = await asyncio.to_thread(_size, mirror.path), mirror.last_used
                if not dry_run:
                    await self.mirrors.remove(mirror)
            except (AutopackError, OSError) as error:
                report.problems.append(f"mirror {mirror.name}: {error}")
                continue
            report.add(Garbage(GarbageKind.MIRROR, str(mirror.path), size, "no batch uses it", used))

    async def _expired_uploads(self, report: Report, dry_run: bool) -> None:
        """Also those in the object store: whoever took them there may be gone."""
        try:
            expired = await self.uploads.expired(QUIET)
        except AutopackError as error:
            report.problems.append(f"uploads: {error}")
            return
        for item in expired:
            try:
                if not dry_run:
                    await self.uploads.discard(item)
            except (AutopackError, OSError) as error:
                report.problems.append(f"upload {item.name}: {error}")
                continue
            report.add(Garbage(GarbageKind.UPLOAD, item.name, item.size, "it has expired", item.written))

    async def _old_caches(self, report: Report, dry_run: bool) -> None:
        """A tenant's caches go together, and only when no command can still have them: a package manager under which
        they vanish fails its run."""
        found = []
        for place in await asyncio.to_thread(_children, self.layout.all_caches):
            used = datetime.fromtimestamp((await asyncio.to_thread(place.lstat)).st_mtime, UTC)
            found.append((used, place, await asyncio.to_thread(_size, place)))
        total = sum(size for *_, size in found)
        for used, place, size in sorted(found):
            idle = datetime.now(UTC) - used
            if idle > max(self._keep, CACHE_QUIET):
                reason = f"no run has used it for {_words(self._keep)}"
            elif idle > CACHE_QUIET and total > self.settings.cache_bytes:
                reason = f"all caches together have more than {self.settings.cache_bytes:,} bytes"
            else:
                continue
            total -= size
            await self._remove_path(report, Garbage(GarbageKind.CACHE, place.name, size, reason, used), place, dry_run)

    async def _remove_path(self, report: Report, item: Garbage, place: Path, dry_run: bool) -> None:
        try:
            if not dry_run:
                await asyncio.to_thread(delete_tree, place)
        except OSError as error:
            report.problems.append(f"{item.kind.value} {item.name}: {error}")
            return
        report.add(item)

    # ---- when ----

    @property
    def _stamp(self) -> Path:
        """Touched by each collection: commands that last a second must not look at everything each time."""
        return self.layout.root / "gc.last"

    async def _daily(self) -> None:
        await asyncio.sleep(FIRST_LOOK_S)
        while True:
            try:
                if await asyncio.to_thread(_age, self._stamp) > EVERY_S:
                    report = await self.collect(dry_run=False)
                    _log.info("garbage collected", items=len(report.items), bytes=report.size, failed=report.problems)
            except (AutopackError, OSError) as error:
                _log.warning("garbage could not be collected", error=str(error))
            await asyncio.sleep(LOOK_S)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        held = await asyncio.to_thread(lock, self.layout.root, "gc.lock")
        if held is None:
            raise Aborted(
                "Another collection is under way in this directory.",
                reason="GC_UNDER_WAY",
                remedy="Wait until it has ended; it does the same.",
            )
        try:
            yield
        finally:
            os.close(held)


def _run_of(tree: git.Workspace) -> str:
    """The run of a worktree: its name is ``<run>-<attempt>``, with ``.base.<n>`` behind it for the base commit's."""
    return tree.run_id.partition(".base.")[0].rpartition("-")[0]


def _words(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:g} days" if days >= 1 else f"{span.total_seconds():g} s"


def _children(directory: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(directory.iterdir())
    return []


def _age(path: Path) -> float:
    """Seconds since it was touched; for ever if it never was."""
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return float("inf")


def _last_change(path: Path) -> datetime:
    """The latest change of it or of what is right below it, two levels deep: a run's, an attempt's."""
    times = [path.lstat().st_mtime]
    if path.is_dir() and not path.is_symlink():
        times += [item.lstat().st_mtime for pattern in ("*", "*/*") for item in path.glob(pattern)]
    return datetime.fromtimestamp(max(times), UTC)


def _size(path: Path) -> int:
    """Bytes of all files below it; what vanishes meanwhile counts nothing, and links are not followed."""
    if not path.is_dir() or path.is_symlink():
        with contextlib.suppress(FileNotFoundError):
            return path.lstat().st_size
        return 0
    total, waiting = 0, [os.fspath(path)]
    while waiting:  # not os.walk, which ends with an error in a tree that is deeper than Python's stack
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
    return total

"""From a batch's source to the worktrees of its runs, and from a finished branch back to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autopack_kit.errors import AutopackError, FailedPrecondition

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.uploads import Uploads
from autopack_orchestrator.core.model import BatchSpec, Run
from autopack_orchestrator.core.sources import Publish, Workplace
from autopack_orchestrator.core.urls import RemoteUrl, join_remote_url, parse_remote_url, problem_with_host
from autopack_orchestrator.settings import OrchestratorSettings, roots_of

__all__ = ["APPROVED", "Located", "Sources", "with_mirror"]

#: The repository was allowed when its batch was created. The settings of whoever carries the run out, perhaps after a
#: restart with other roots, must not take that back when the work is done.
APPROVED = (Path("/"),)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Located:
    """A source that was found.

    Attributes:
        repository: its name for people: a path, a URL, or ``upload:<id>``.
        found: the commit, or the tag, that was asked for.
        source: as mirrors take it.
        warnings: what is worth knowing.
    """

    repository: str
    found: str
    source: git.Source | git.Remote | git.Origin
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources of every kind."""

    settings: OrchestratorSettings
    mirrors: git.Mirrors
    remotes: git.Remotes
    uploads: Uploads

    async def locate(self, tenant: str, spec: BatchSpec) -> Located:
        """Find the repository of a batch and what its ``ref`` means there now; nothing is copied yet.

        Raises:
            FailedPrecondition, NotFound, PermissionDenied, Unavailable: it cannot be used.
        """
        place = spec.workplace
        if place.remote is not None:
            remote = _remote(place, tenant)
            return Located(remote.url.text, await self.remotes.resolve(remote, _ref(spec)), remote)
        if place.upload_id:
            file = await self.uploads.open(tenant, place.upload_id)
            ref = _ref(spec)
            found = git.choose_ref(await git.bundle_refs(file), ref) or (ref if _COMMIT.fullmatch(ref) else None)
            if found is None:
                raise git.ref_not_found(ref, "the uploaded bundle")
            return Located(f"upload:{place.upload_id}", found, git.bundle_origin(file, tenant))
        source = await git.open_source(Path(spec.path), roots_of(self.settings.allowed_roots, tenant))
        return Located(str(source.path), await git.resolve(source, spec.ref), source, await _uncommitted(source))

    async def copy(self, located: Located) -> tuple[git.Mirror, str]:
        """The mirror of what was located, and its commit."""
        mirror = await self._ensure(located.source, located.found)
        commit = await mirror.sha(located.found)
        if commit is None:
            raise git.ref_not_found(located.found, located.repository)
        if commit != located.found:  # a tag: its commit is what is asked for from now on
            await self._ensure(located.source, commit)
        return mirror, commit

    async def mirror_of(self, run: Run, repository: str, commit: str) -> git.Mirror:
        """The mirror with a commit of a run's source: the one that is there, also if the source is gone; else a copy.

        Raises:
            As :meth:`locate`.
        """
        place = run.spec.workplace
        if found := await self.mirrors.find(place.mirror, commit):
            return found
        if place.remote is not None:
            return await self.remotes.ensure(_remote(place, run.tenant), commit)
        if place.upload_id:
            file = await self.uploads.open(run.tenant, place.upload_id)
            return await self.mirrors.ensure(git.bundle_origin(file, run.tenant), commit)
        return await self.mirrors.ensure(await git.open_source(Path(repository), APPROVED), commit)

    async def worktree(
        self, workspaces: git.Workspaces, mirror: git.Mirror, run: Run, repository: str, at: tuple[str, Path, str]
    ) -> tuple[git.Workspace, tuple[str, ...]]:
        """A worktree of the run's base commit with all that its batch wants in it, and warnings.

        Args:
            workspaces: where it is made.
            mirror: with the commit.
            run: whose.
            repository: of the batch.
            at: branch, directory, and name of the worktree.
        """
        place = run.spec.workplace
        branch, path, name = at
        lfs = await self._lfs(place, run.tenant, repository) if place.checkout.lfs else None
        tree = await workspaces.create(mirror, run.base_commit, branch, path, name, place.checkout, lfs)
        try:
            return await self._fill(tree, place, run.tenant, repository)
        except BaseException:
            await workspaces.remove(tree, delete_branch=True)
            raise

    async def publish(self, mirror: git.Mirror, run: Run, repository: str) -> None:
        """Bring the finished branch of a run to where its batch wants it.

        Raises:
            AutopackError: it could not be brought there; it stays in the mirror.
        """
        place = run.spec.workplace
        large: list[str] = []
        if place.checkout.lfs and place.publish is not Publish.NONE:
            large = await git.new_lfs_objects(mirror, run.base_commit, run.branch)
        if place.publish is Publish.LOCAL:
            source = await git.open_source(Path(repository), APPROVED)
            await git.bring_lfs_home(mirror, large, source.git_dir)
            await self.mirrors.publish(mirror, run.branch, source)
        elif place.publish is Publish.PUSH:
            remote = _remote(place, run.tenant)
            await git.push_lfs(mirror, large, await self.remotes.origin(remote))
            await self.remotes.push(mirror, run.branch, remote)

    async def _ensure(self, source: git.Source | git.Remote | git.Origin, sha: str) -> git.Mirror:
        if isinstance(source, git.Remote):
            return await self.remotes.ensure(source, sha)
        try:
            return await self.mirrors.ensure(source, sha)
        except git.GitError as error:
            if isinstance(source, git.Origin):
                raise git.ref_not_found(sha, "the uploaded bundle") from error
            raise

    async def _lfs(self, place: Workplace, tenant: str, repository: str) -> git.Origin:
        if place.remote is not None:
            return await self.remotes.origin(_remote(place, tenant))
        source = await git.open_source(Path(repository), APPROVED)
        return git.Origin(b"", str(source.git_dir))

    async def _fill(
        self, tree: git.Workspace, place: Workplace, tenant: str, repository: str
    ) -> tuple[git.Workspace, tuple[str, ...]]:
        warnings: tuple[str, ...] = ()
        source = None
        if place.local and (place.checkout.copies or place.checkout.submodules):
            source = await git.open_source(Path(repository), APPROVED)
        if place.checkout.submodules:
            above = parse_remote_url(place.remote.url) if place.remote is not None else source
            await git.fill_submodules(tree.mirror, tree.base, tree.path, self._fetcher(place, tenant, above))
        if source is not None and place.checkout.copies:
            globs, include = place.checkout.copy_untracked, place.checkout.worktreeinclude
            tree, skipped = await git.copy_untracked(source, tree, globs, include=include)
            warnings = _skipped(skipped)
        return tree, warnings

    def _fetcher(self, place: Workplace, tenant: str, above: RemoteUrl | git.Source | None) -> git.Fetch:
        """What finds the submodules of the repository ``above``; None for one that is not known by a place."""

        async def fetch(module: git.Submodule) -> tuple[git.Mirror, git.Fetch]:
            if isinstance(above, git.Source):
                own = await self._own_module(above, module, tenant)
                if own is not None:
                    return await self.mirrors.ensure(own, module.commit), self._fetcher(place, tenant, own)
            remote = self._remote_module(place, tenant, above, module)
            return await self.remotes.ensure(remote, module.commit), self._fetcher(place, tenant, remote.url)

        return fetch

    async def _own_module(self, above: git.Source, module: git.Submodule, tenant: str) -> git.Source | None:
        """The submodule on this disk: as the user has fetched it, or where a relative path leads; None for a URL."""
        modules = above.git_dir / "modules"
        kept = (modules / module.name).resolve()
        if kept.is_relative_to(modules.resolve()) and kept != modules.resolve() and (kept / "objects").is_dir():
            source = git.Source(kept, kept, True)
            try:
                await git.resolve(source, module.commit)
                return source
            except AutopackError:
                pass  # the user has not fetched this commit of it: perhaps it is where the URL says
        if "://" in module.url or (":" in module.url.partition("/")[0]):
            return None
        roots = roots_of(self.settings.allowed_roots, tenant)
        return await git.open_source(Path((above.path / module.url).as_posix()), roots)

    def _remote_module(
        self, place: Workplace, tenant: str, above: RemoteUrl | git.Source | None, module: git.Submodule
    ) -> git.Remote:
        problem: str | None
        try:
            url = join_remote_url(above, module.url) if isinstance(above, RemoteUrl) else parse_remote_url(module.url)
            problem = problem_with_host(url, frozenset(self.settings.remote_hosts))
        except ValueError as error:
            problem = str(error)
        if problem is not None:
            raise FailedPrecondition(
                f"The submodule {module.path!r} cannot be fetched: its URL {problem}.",
                reason="SUBMODULE_NOT_ALLOWED",
                remedy="Fetch it in the repository itself (git submodule update --init), let the operator allow its"
                " host, or leave `checkout.submodules` out.",
                metadata={"path": module.path},
            )
        own = parse_remote_url(place.remote.url) if place.remote is not None else None
        same = own is not None and (own.scheme, own.authority) == (url.scheme, url.authority)
        credential = place.remote.credential if place.remote is not None and same else ""
        return git.Remote(url, credential, tenant)


def with_mirror(spec: BatchSpec, mirror: git.Mirror) -> BatchSpec:
    """The batch, each of whose runs knows where it works."""
    place = replace(spec.workplace, mirror=mirror.name)
    return replace(spec, workplace=place, runs=tuple(replace(run, workplace=place) for run in spec.runs))


def _ref(spec: BatchSpec) -> str:
    return "" if spec.ref == "HEAD" else spec.ref


def _remote(place: Workplace, tenant: str) -> git.Remote:
    assert place.remote is not None
    return git.Remote(parse_remote_url(place.remote.url), place.remote.credential, tenant)


def _skipped(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    shown = ", ".join(names[:10])
    return (
        f"{len(names)} untracked files were not copied, because they are links or something is in their way: {shown}",
    )


async def _uncommitted(source: git.Source) -> tuple[str, ...]:
    """What no run will see; not worth failing a batch for."""
    try:
        return await git.uncommitted(source)
    except AutopackError as error:
        return (f"Whether there are uncommitted changes could not be found out: {error.message}",)

"""A private bare mirror per source repository: worktrees hang off it, so the user's repository is never written to.

Beside the mirror stands its *trusted* git directory. An agent can write the mirror's configuration (its worktree
points there), and a configuration can name programs (filter drivers) that git runs when it reads or writes a work
tree. So checkouts and captures run with the trusted directory as their git directory: it shares only the mirror's
objects and has a configuration that no run knows of.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.resources
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from autopack_kit.errors import AlreadyExists, AutopackError, FailedPrecondition, NotFound

from autopack_orchestrator.adapters.trees import delete_tree

from .command import GitError, run_git
from .lock import RepositoryLocks
from .origin import Origin
from .source import Source

__all__ = ["Mirror", "Mirrors", "excludes", "write_config"]

TRANSFER_TIMEOUT_S = 3600.0  # a first copy of tens of gigabytes from a slow disk
CLONE_TRIES = 3
"""Of a repository on this disk: git links its files one by one, and ends at one that is renamed or deleted meanwhile,
which is what somebody who commits or packs there does."""
_TRANSFER = ("--quiet", "--no-write-fetch-head", "--no-tags", "--no-auto-maintenance", "--no-recurse-submodules")
# An agent may have written `[remote "<path>"] uploadpack` or `[url] insteadOf` into the mirror's configuration.
_UPLOAD_PACK = "--upload-pack=git-upload-pack"
_ONLY_LOCAL = {"GIT_ALLOW_PROTOCOL": "file"}
_REMOTE_NAMES = ("refs/remotes/origin", "refs/tags")
_UNBORN = "refs/heads/autopack-none"  # HEAD of the mirror itself: no branch is ever "checked out" there
_CONFIG = """[core]
\trepositoryformatversion = {version}
\tfilemode = true
\tbare = {bare}
[gc]
\tauto = 0
[maintenance]
\tauto = false
{extensions}"""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where the copy of one source lives.

    Attributes:
        path: the bare repository with all objects and the run branches.
        trusted: git directory for commands that touch a work tree (see the module's docstring); also holds the
        worktree records.
        lock: file to hold (:class:`~.lock.RepositoryLocks`) around changes of metadata.
    """

    path: Path
    trusted: Path
    lock: Path

    @property
    def name(self) -> str:
        """Its name below the directory of all mirrors."""
        return self.path.stem

    @property
    def records(self) -> Path:
        """Directory of what we know about each worktree."""
        return self.trusted / "records"

    @property
    def last_used(self) -> datetime:
        """When a batch last asked for it."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def used_since(self, moment: datetime) -> bool:
        """Whether a batch has asked for it since."""
        return self.last_used > moment

    def touch(self) -> None:
        """It is in use."""
        with contextlib.suppress(OSError):  # a collector may be faster; whoever asked gets it made again
            os.utime(self.path)

    async def pins(self) -> set[str]:
        """The base commits that are pinned in it."""
        listed = await run_git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/autopack/base", git_dir=self.path)
        return set(listed.text.splitlines())

    async def sha(self, ref: str) -> str | None:
        """Commit id of a full reference name (``refs/heads/...``) or id; None when there is none."""
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        result = await run_git(*words, git_dir=self.path, check=False)
        return result.text if result.returncode == 0 else None


def excludes() -> str:
    """Patterns (format of ``.gitignore``) of untracked files that never belong to a run's result."""
    return importlib.resources.files(__package__).joinpath("worktree_excludes.gitignore").read_text()


class Mirrors:
    """All mirrors below one directory (``<data_dir>/mirrors``)."""

    def __init__(self, root: Path, locks: RepositoryLocks) -> None:
        self._root = root.resolve()
        self._locks = locks

    def of(self, source: Source | Origin) -> Mirror:
        """Where the mirror of ``source`` is or will be; the path of its git directory is its identity."""
        return self._mirror(hashlib.sha256(_origin(source).identity).hexdigest()[:32])

    async def find(self, name: str, sha: str) -> Mirror | None:
        """The mirror of this name if it is here and has ``sha``: then its source is not needed any more."""
        if not name:
            return None
        mirror = self._mirror(name)
        if not mirror.path.exists() or not await mirror.sha(sha):
            return None
        mirror.touch()
        return mirror

    def all(self) -> list[Mirror]:
        """Every mirror that exists."""
        return [self._mirror(path.stem) for path in sorted(self._root.glob("*.git"))]

    async def ensure(self, source: Source | Origin, sha: str) -> Mirror:
        """The mirror of ``source`` with commit ``sha`` in it, pinned by ``refs/autopack/base/<sha>``; made or updated
        as needed.

        Raises:
            GitError: the copy or fetch failed. Unavailable: REPOSITORY_BUSY. NotFound: COMMIT_NOT_FOUND.
        """
        mirror, pin = self.of(source), f"refs/autopack/base/{sha}"
        source = _origin(source)
        if mirror.path.exists() and await mirror.sha(pin):
            mirror.touch()
            return mirror
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with self._locks.hold(mirror.lock) as lock:
            if not mirror.path.exists():
                await self._clone(source, mirror, lock)
            if await mirror.sha(pin):
                return mirror
            if await mirror.sha(sha):
                await run_git("update-ref", pin, sha, git_dir=mirror.path, pass_fd=lock)
                return mirror
            await (self._fetch_remote if source.remote else self._fetch_local)(source, mirror, lock, sha)
        return mirror

    async def remove(self, mirror: Mirror) -> None:
        """Delete a mirror that no worktree hangs off; it is copied anew when it is asked for again.

        Raises:
            Unavailable: REPOSITORY_BUSY. FailedPrecondition: MIRROR_IN_USE.
        """
        async with self._locks.hold(mirror.lock):
            if await asyncio.to_thread(_has_entries, mirror.records):
                raise FailedPrecondition(
                    f"Worktrees hang off the mirror {mirror.path}.",
                    reason="MIRROR_IN_USE",
                    remedy="Wait until their runs have ended.",
                )
            # Under this name a clone sweeps it away, should we be killed now.
            doomed = mirror.path.with_name(f"{mirror.path.stem}.tmp-{secrets.token_hex(4)}")
            mirror.path.rename(doomed)
            for path in (doomed, mirror.trusted):
                await asyncio.to_thread(delete_tree, path)

    async def publish(self, mirror: Mirror, branch: str, source: Source) -> str:
        """Bring the finished ``branch`` into the user's repository as a new branch of the same name; returns its
        commit id.

        Nothing else there changes: not its index, HEAD, work tree, configuration or other branches; no FETCH_HEAD.
        Doing it again is harmless.

        Raises:
            NotFound: BRANCH_NOT_FOUND. AlreadyExists: BRANCH_EXISTS, with other content. FailedPrecondition:
            PUBLISH_FAILED.
        """
        ref = f"refs/heads/{branch}"
        async with self._locks.hold(mirror.lock) as lock:
            ours = await mirror.sha(ref)
            if ours is None:
                raise _branch_error(NotFound, branch, f"There is no branch {branch}.", "BRANCH_NOT_FOUND", "")
            words = ("rev-parse", "--verify", "--quiet", ref)
            theirs = await run_git(*words, git_dir=source.git_dir, user_config=True, check=False)
            if theirs.returncode == 0:
                if theirs.text == ours:
                    return ours
                message = f"{source.path} already has a branch {branch} with other content."
                remedy = f"Rename or delete it: git branch -m {branch} NEW_NAME"
                raise _branch_error(AlreadyExists, branch, message, "BRANCH_EXISTS", remedy)
            result = await run_git(
                *("fetch", *_TRANSFER, _UPLOAD_PACK, str(mirror.path), f"{ref}:{ref}"),
                git_dir=source.git_dir,
                env=_ONLY_LOCAL,
                user_config=True,
                check=False,
                timeout_s=TRANSFER_TIMEOUT_S,
                pass_fd=lock,
            )
        if result.returncode != 0:
            message = f"The branch {branch} could not be brought into {source.path}: {result.error}"
            remedy = f"Fetch it by hand: git fetch {mirror.path} {ref}:{ref}"
            raise _branch_error(FailedPrecondition, branch, message, "PUBLISH_FAILED", remedy)
        return ours

    async def _fetch_local(self, source: Origin, mirror: Mirror, lock: int, sha: str) -> None:
        await self._fetch(source, mirror, lock, f"+{sha}:refs/autopack/base/{sha}")
        await self._refresh_names(source, mirror, lock)

    async def _fetch_remote(self, source: Origin, mirror: Mirror, lock: int, sha: str) -> None:
        """Through the trusted directory: what an agent wrote into the mirror's configuration (``core.sshCommand``,
        ``credential.helper``, ``http.proxy``) would otherwise run, or be told our secret."""
        names = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        try:
            await self._transfer(source, mirror.trusted, lock, f"+{sha}:refs/autopack/fetched")
        except GitError:  # a server need not give out commits by their id; where it does, names are a convenience
            await self._transfer(source, mirror.trusted, lock, *names, options=("--prune",))
        if await mirror.sha(sha) is None:
            raise NotFound(
                f"The commit {sha} is not on any branch or tag of {source.location}.",
                reason="COMMIT_NOT_FOUND",
                remedy="Push it to a branch there first, or name another one.",
                metadata={"commit": sha},
            )
        await run_git("update-ref", f"refs/autopack/base/{sha}", sha, git_dir=mirror.path, pass_fd=lock)
        try:
            await self._transfer(source, mirror.trusted, lock, *names, options=("--prune",))
            await _copy_names(mirror, lock)
        except AutopackError as error:
            _log.warning("mirror_names_not_refreshed", mirror=str(mirror.path), error=str(error))

    async def _transfer(
        self, source: Origin, git_dir: Path, lock: int, *refspecs: str, options: tuple[str, ...] = ()
    ) -> None:
        await run_git(
            *("fetch", *_TRANSFER, *options, "--end-of-options", source.location, *refspecs),
            git_dir=git_dir,
            env=source.env,
            config=source.config,
            timeout_s=TRANSFER_TIMEOUT_S,
            pass_fd=lock,
        )

    def _mirror(self, key: str) -> Mirror:
        return Mirror(self._root / f"{key}.git", self._root / f"{key}.trusted", self._root / f"{key}.lock")

    async def _clone(self, source: Origin, mirror: Mirror, lock: int) -> None:
        """Copy, on one file system with hard-linked objects; it appears under its name only when complete."""
        for leftover in self._root.glob(f"{mirror.path.stem}.tmp-*"):  # of a clone that was killed: we hold the lock
            await asyncio.to_thread(delete_tree, leftover)
        temporary = self._root / f"{mirror.path.stem}.tmp-{secrets.token_hex(4)}"
        await _clone_into(temporary, source, lock)
        object_format = (await run_git("rev-parse", "--show-object-format", git_dir=temporary)).text
        await asyncio.to_thread(write_config, temporary, object_format, bare=True)
        await _pack_loose(temporary, lock)
        await self._set_names_aside(temporary)
        await asyncio.to_thread(_make_trusted, mirror, object_format)
        temporary.rename(mirror.path)

    async def _set_names_aside(self, repository: Path) -> None:
        """The user's branches become ``refs/remotes/origin/*``:

        Agents see them, and run branches have ``refs/heads`` alone.
        """
        await run_git("symbolic-ref", "HEAD", _UNBORN, git_dir=repository)
        listed = await run_git(
            "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads", git_dir=repository
        )
        commands = b""
        for line in listed.stdout.splitlines():
            sha, _, name = line.partition(b" ")
            commands += b"create refs/remotes/origin/%s %s\ndelete refs/heads/%s\n" % (name, sha, name)
        if commands:
            await run_git("update-ref", "--stdin", git_dir=repository, stdin=commands)

    async def _fetch(self, source: Origin, mirror: Mirror, lock: int, *refspecs: str, prune: bool = False) -> None:
        options = (*_TRANSFER, _UPLOAD_PACK, "--update-shallow", *(["--prune"] if prune else []))
        await run_git(
            *("fetch", *options, source.location, *refspecs),
            git_dir=mirror.path,
            env=source.env,
            user_config=source.user_config,
            timeout_s=TRANSFER_TIMEOUT_S,
            pass_fd=lock,
        )

    async def _refresh_names(self, source: Origin, mirror: Mirror, lock: int) -> None:
        """Tags (version tools read them) and the user's branches. A convenience: the base commit is there already."""
        try:
            names = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
            await self._fetch(source, mirror, lock, *names, prune=True)
        except AutopackError as error:
            _log.warning("mirror_names_not_refreshed", mirror=str(mirror.path), error=str(error))


def _has_entries(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _origin(source: Source | Origin) -> Origin:
    if isinstance(source, Origin):
        return source
    return Origin(os.fsencode(source.git_dir), str(source.git_dir), _ONLY_LOCAL, user_config=True)


async def _copy_names(mirror: Mirror, lock: int) -> None:
    """The remote's branches and tags from the trusted directory to the mirror, where agents see them."""
    words = ("for-each-ref", "--format=%(objectname) %(refname)", *_REMOTE_NAMES)
    there, here = [
        dict(line.split(b" ", 1)[::-1] for line in (await run_git(*words, git_dir=git_dir)).stdout.splitlines())
        for git_dir in (mirror.trusted, mirror.path)
    ]
    commands = [b"update %s %s\n" % (name, sha) for name, sha in there.items() if here.get(name) != sha]
    commands += [b"delete %s\n" % name for name in here if name not in there]
    if commands:
        await run_git("update-ref", "--stdin", git_dir=mirror.path, stdin=b"".join(commands), pass_fd=lock)


def write_config(repository: Path, object_format: str, *, bare: bool) -> None:
    extensions = "" if object_format == "sha1" else f"[extensions]\n\tobjectFormat = {object_format}\n"
    text = _CONFIG.format(version=1 if extensions else 0, bare=str(bare).lower(), extensions=extensions)
    (repository / "config").write_text(text)
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info" / "exclude").write_text(excludes())


async def _clone_into(temporary: Path, source: Origin, lock: int) -> None:
    options = ("--quiet", "--bare", "--template=", _UPLOAD_PACK, "--end-of-options")
    for left in reversed(range(1 if source.remote else CLONE_TRIES)):
        try:
            await run_git(
                *("clone", *options, source.location, str(temporary)),
                env=source.env,
                config=source.config,
                user_config=source.user_config,
                timeout_s=TRANSFER_TIMEOUT_S,
                pass_fd=lock,
            )
            return
        except GitError as error:
            if not left:
                raise
            _log.warning("mirror_clone_again", source=source.location, error=error.message)
            await asyncio.to_thread(delete_tree, temporary)


async def _pack_loose(repository: Path, lock: int) -> None:
    """Pack the loose objects of a fresh copy.

    They may be hard links to the user's own, and in the sandbox of a run, where new objects must be written, only packs
    can be read-only. By their names: walking the history to find them takes seconds.
    """
    objects = repository / "objects"
    loose = await asyncio.to_thread(
        lambda: [path.parent.name + path.name for path in objects.glob("[0-9a-f][0-9a-f]/*")]
    )
    if not loose:
        return
    words = ("pack-objects", "--quiet", "--window=0", str(objects / "pack" / "pack"))
    names = "\n".join(loose).encode() + b"\n"
    await run_git(*words, git_dir=repository, stdin=names, timeout_s=TRANSFER_TIMEOUT_S, pass_fd=lock)
    await run_git("prune-packed", "--quiet", git_dir=repository, timeout_s=TRANSFER_TIMEOUT_S, pass_fd=lock)


def _make_trusted(mirror: Mirror, object_format: str) -> None:
    mirror.records.mkdir(mode=0o700, parents=True, exist_ok=True)
    (mirror.trusted / "refs").mkdir(exist_ok=True)
    (mirror.trusted / "HEAD").write_text(f"ref: {_UNBORN}\n")
    write_config(mirror.trusted, object_format, bare=False)
    objects = mirror.trusted / "objects"
    if not objects.is_symlink():
        objects.symlink_to(mirror.path / "objects")


def _branch_error(kind: type[AutopackError], branch: str, message: str, reason: str, remedy: str) -> AutopackError:
    return kind(message, reason=reason, remedy=remedy, metadata={"branch": branch})

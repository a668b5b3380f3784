"""Repositories on other hosts: which commit is meant, and bringing a finished branch there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from autopack_kit.errors import (
    AlreadyExists,
    AutopackError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)

from autopack_orchestrator.core.text import clean
from autopack_orchestrator.core.urls import RemoteUrl

from .access import Credentials
from .command import GitError, GitResult, run_git
from .lock import RepositoryLocks
from .mirror import Mirror, Mirrors
from .names import check_ref
from .origin import Origin

__all__ = ["Remote", "Remotes", "choose_ref", "parse_refs", "ref_not_found"]

ASK_TIMEOUT_S = 120.0  # a list of a million names
PUSH_TIMEOUT_S = 1800.0
PUSH_PAUSES_S = (
    2.0,
    8.0,
)  # before another try where the host could not be reached: an hour's work is worth ten seconds
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DENIED = (
    "authentication failed",
    "could not read username",
    "permission denied",
    "error: 403",
    "error: 401",
    "denied to",
)
_MISSING = ("not found", "does not appear to be a git repository", "error: 404", "does not exist")


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository on another host, and for which tenant."""

    url: RemoteUrl
    credential: str
    tenant: str

    @property
    def identity(self) -> bytes:
        """Of its mirror: what a tenant's credential reached is no other tenant's."""
        return "\0".join(("remote", self.tenant, self.url.text)).encode()


@dataclass(frozen=True, slots=True)
class Remotes:
    """All that is done with other hosts."""

    mirrors: Mirrors
    locks: RepositoryLocks
    credentials: Credentials

    async def origin(self, remote: Remote) -> Origin:
        """The remote as mirrors take it."""
        access = await self.credentials.access(remote.url, remote.credential, remote.tenant)
        return Origin(remote.identity, remote.url.text, access.env, access.config, remote=True)

    async def resolve(self, remote: Remote, ref: str = "") -> str:
        """The commit (or tag object) that ``ref`` means on the remote now: a branch, a tag, a full commit id, HEAD.

        Raises:
            InvalidArgument: INVALID_REF. NotFound: REF_NOT_FOUND, REMOTE_NOT_FOUND. PermissionDenied: REMOTE_DENIED.
            Unavailable: REMOTE_UNREACHABLE.
        """
        check_ref(ref)
        if _COMMIT.fullmatch(ref):
            return ref
        origin = await self.origin(remote)
        name = ref or "HEAD"
        patterns = (
            (name,) if name == "HEAD" or name.startswith("refs/") else (f"refs/tags/{name}", f"refs/heads/{name}")
        )
        peeled = tuple(f"{pattern}^{{}}" for pattern in patterns)
        result = await run_git(
            *("ls-remote", "--quiet", "--end-of-options", origin.location, *patterns, *peeled),
            env=origin.env,
            config=origin.config,
            check=False,
            timeout_s=ASK_TIMEOUT_S,
        )
        if result.returncode != 0:
            raise remote_error(remote, result)
        found = choose_ref(parse_refs(result.stdout), ref)
        if found is None:
            raise ref_not_found(ref, remote.url.text)
        return found

    async def ensure(self, remote: Remote, sha: str) -> Mirror:
        """The mirror of the remote with ``sha`` in it.

        Raises:
            As :meth:`resolve`; NotFound: COMMIT_NOT_FOUND.
        """
        try:
            return await self.mirrors.ensure(await self.origin(remote), sha)
        except GitError as error:
            raise remote_error(remote, error.result) from error

    async def push(self, mirror: Mirror, branch: str, remote: Remote) -> str:
        """Bring ``branch`` to the remote, as a new branch or forward, never by force; returns its commit.

        Raises:
            AlreadyExists: PUSH_REJECTED, the remote's branch has other commits. FailedPrecondition: PUSH_REFUSED by a
            rule of the remote. PermissionDenied: REMOTE_DENIED. Unavailable: REMOTE_UNREACHABLE.
        """
        for pause in (*PUSH_PAUSES_S, None):
            try:
                return await self._push(mirror, branch, remote)
            except Unavailable:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the loop returns or raises")

    async def _push(self, mirror: Mirror, branch: str, remote: Remote) -> str:
        ref, origin = f"refs/heads/{branch}", await self.origin(remote)
        async with self.locks.hold(mirror.lock) as lock:
            ours = await mirror.sha(ref)
            if ours is None:
                raise NotFound(f"There is no branch {branch}.", reason="BRANCH_NOT_FOUND", metadata={"branch": branch})
            options = (
                "--porcelain",
                "--no-verify",
                "--no-follow-tags",
                "--no-signed",
                "--recurse-submodules=no",
                "--no-progress",
            )
            result = await run_git(
                *("push", *options, "--end-of-options", origin.location, f"{ours}:{ref}"),
                git_dir=mirror.trusted,  # for the reasons that Mirrors names where it fetches
                env=origin.env,
                config=origin.config,
                check=False,
                timeout_s=PUSH_TIMEOUT_S,
                pass_fd=lock,
            )
        if result.returncode == 0:
            return ours
        for line in result.text.splitlines():
            if line.startswith("!"):
                raise _refused(branch, remote, clean(line.rpartition("\t")[2]), result)
        raise remote_error(remote, result)


def parse_refs(listing: bytes) -> dict[str, str]:
    """Full names and ids of ``git ls-remote`` or ``git bundle list-heads``."""
    lines = (line.split(None, 1) for line in listing.decode("utf-8", "surrogateescape").splitlines())
    return {words[1]: words[0] for words in lines if len(words) == 2 and _COMMIT.fullmatch(words[0])}


def choose_ref(refs: Mapping[str, str], ref: str) -> str | None:
    """What ``ref`` means among ``refs``, tags before branches as git has it; None if nothing."""
    names = [ref or "HEAD", f"refs/tags/{ref}", f"refs/heads/{ref}"]
    return next((refs[found] for name in names for found in (f"{name}^{{}}", name) if found in refs), None)


def ref_not_found(ref: str, where: str) -> NotFound:
    """``REF_NOT_FOUND``."""
    return NotFound(
        f"{ref or 'HEAD'!r} is not a branch or tag of {where}.",
        reason="REF_NOT_FOUND",
        remedy="Give the name of a branch or tag as it is there, or the full id of a commit.",
        metadata={"ref": ref},
    )


def remote_error(remote: Remote, result: GitResult) -> AutopackError:
    """Why a remote could not be used, from what git said."""
    said, url = result.stderr.lower(), remote.url.text
    reason = clean(next((line for line in result.stderr.splitlines() if line.startswith("fatal:")), result.error))
    metadata = {"url": url}
    if "host key verification failed" in said or "no matching host key" in said:
        return FailedPrecondition(
            f"The key of {remote.url.authority} is not known: {reason}",
            reason="REMOTE_HOST_KEY",
            remedy="Let the operator put it into known_hosts in AUTOPACK_ORCHESTRATOR_CREDENTIALS_DIR (ssh-keyscan"
            " prints it; compare it with what the host publishes).",
            metadata=metadata,
        )
    if "unable to update url base from redirection" in said or "error: 30" in said:
        message, remedy = f"{url} leads elsewhere, which is not followed.", "Give the URL that it leads to."
        return InvalidArgument(message, reason="REMOTE_REDIRECTS", remedy=remedy, metadata=metadata)
    if any(word in said for word in _DENIED):
        using = f"the credential {remote.credential!r}" if remote.credential else "no credential"
        return PermissionDenied(
            f"{url} refused {using}: {reason}",
            reason="REMOTE_DENIED",
            remedy="Name a `credential` that may use this repository: a token needs the right to read or write it.",
            metadata=metadata,
        )
    if any(word in said for word in _MISSING):
        message = f"There is no repository at {url}, or it is not shown to this credential: {reason}"
        return NotFound(
            message, reason="REMOTE_NOT_FOUND", remedy="Check the URL and the `credential`.", metadata=metadata
        )
    return Unavailable(
        f"{url} could not be used: {reason}",
        reason="REMOTE_UNREACHABLE",
        remedy="Check that this server reaches the host, and try again.",
        metadata=metadata,
    )


def _refused(branch: str, remote: Remote, why: str, result: GitResult) -> AutopackError:
    metadata = {"branch": branch, "url": remote.url.text}
    kept = "Nothing is lost: the patch is kept (`autopack runs patch`)."
    if why.startswith("[rejected]"):
        return AlreadyExists(
            f"{remote.url.text} has a branch {branch} with other commits: {why}",
            reason="PUSH_REJECTED",
            remedy=f"Rename or delete that branch there, then retry the run. {kept}",
            metadata=metadata,
        )
    hints = [line.removeprefix("remote:").strip() for line in result.stderr.splitlines() if line.startswith("remote:")]
    said = clean(" ".join([why, *filter(None, hints[:5])]))
    return FailedPrecondition(
        f"{remote.url.text} refused the branch {branch}: {said}",
        reason="PUSH_REFUSED",
        remedy=f"See its rules for branches, and what the credential may do. {kept}",
        metadata=metadata,
    )

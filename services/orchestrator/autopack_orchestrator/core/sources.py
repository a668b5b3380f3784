"""Where a batch's repository is, what a worktree holds of it, and where finished branches go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from autopack_kit.globs import MalformedGlob, check_globs

from autopack_orchestrator.core.names import problem_with_name
from autopack_orchestrator.core.urls import parse_remote_url, problem_with_host

__all__ = ["WHOLE", "Checkout", "Publish", "RemoteSource", "Workplace", "problems_with_workplace"]

MAX_SPARSE_PATHS = 500  # git compares every file with each of them
MAX_COPIED_GLOBS = 100
MAX_PATH_BYTES = 4096  # PATH_MAX
MAX_GLOB_BYTES = 1 << 10
MAX_CREDENTIAL_NAME = 64
_UPLOAD_ID = re.compile(r"[0-9a-f]{64}")
_PATTERN = frozenset("*?[]\\!#\n")


class Publish(Enum):
    """Where finished branches go."""

    NONE = "none"
    LOCAL = "local"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A repository on another host, and the name of the credential for it."""

    url: str
    credential: str = ""


@dataclass(frozen=True, slots=True)
class Checkout:
    """What a worktree holds beside the files of its commit, or without some of them."""

    sparse_paths: tuple[str, ...] = ()
    submodules: bool = False
    lfs: bool = False
    copy_untracked: tuple[str, ...] = ()
    worktreeinclude: bool = False

    @property
    def copies(self) -> bool:
        """Whether untracked files of the user's repository are wanted."""
        return bool(self.copy_untracked) or self.worktreeinclude


#: All files of the commit and nothing else.
WHOLE = Checkout()


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a run's files come from and its branch goes: what the batch says, kept with each of its runs.

    Attributes:
        remote: the repository on another host; None for a path or an upload.
        upload_id: the uploaded bundle; empty for any other source.
        mirror: name of the mirror that was made when the batch was created; runs go on from it if the source is gone.
    """

    remote: RemoteSource | None = None
    upload_id: str = ""
    publish: Publish = Publish.LOCAL
    checkout: Checkout = WHOLE
    mirror: str = ""

    @property
    def local(self) -> bool:
        """Whether the source is a path on the orchestrator's disk."""
        return self.remote is None and not self.upload_id


Problems = Iterator[tuple[str, str]]


def problems_with_workplace(place: Workplace, hosts: frozenset[str]) -> Problems:
    """Field and sentence for everything that is wrong.

    Args:
        place: as it was asked for.
        hosts: the hosts that remotes may be on.
    """
    if place.remote is not None:
        yield from _remote(place.remote, place.checkout, hosts)
    if place.upload_id and not _UPLOAD_ID.fullmatch(place.upload_id):
        yield "upload_id", "is not what UploadSource answers: 64 hexadecimal digits"
    if place.publish is Publish.LOCAL and not place.local:
        yield "publish", "LOCAL needs `path`: there is no repository on this disk to bring branches into; use NONE"
    if place.publish is Publish.PUSH and place.remote is None:
        yield (
            "publish",
            "PUSH needs `remote`; branches of a path are brought into that repository (LOCAL)",
        )
    yield from _checkout(place)


def _remote(remote: RemoteSource, checkout: Checkout, hosts: frozenset[str]) -> Problems:
    if remote.credential and (
        "." in remote.credential or problem_with_name(remote.credential, MAX_CREDENTIAL_NAME) is not None
    ):
        yield "remote.credential", f"is a name of at most {MAX_CREDENTIAL_NAME} letters, digits, '_' and '-'"
    try:
        url = parse_remote_url(remote.url)
    except ValueError as error:
        yield "remote.url", str(error)
        return
    if problem := problem_with_host(url, hosts):
        yield "remote.url", problem
    if url.scheme == "ssh" and not remote.credential:
        yield "remote.credential", "is required for ssh; name a key that the orchestrator holds"
    if url.scheme == "ssh" and checkout.lfs:
        yield "checkout.lfs", "needs a path or an https URL"


def _checkout(place: Workplace) -> Problems:
    checkout = place.checkout
    if len(checkout.sparse_paths) > MAX_SPARSE_PATHS:
        yield "checkout.sparse_paths", f"has more than {MAX_SPARSE_PATHS} directories"
    for index, path in enumerate(checkout.sparse_paths[:MAX_SPARSE_PATHS]):
        if problem := _problem_with_directory(path):
            yield f"checkout.sparse_paths[{index}]", f"{path[:200]!r} {problem}"
    if checkout.lfs and place.upload_id:
        yield "checkout.lfs", "needs a path or an https URL: a bundle has no files of Git LFS"
    if checkout.copies and not place.local:
        field = "copy_untracked" if checkout.copy_untracked else "worktreeinclude"
        yield f"checkout.{field}", "needs `path`: no other source has untracked files"
    globs = checkout.copy_untracked
    if len(globs) > MAX_COPIED_GLOBS:
        yield "checkout.copy_untracked", f"has more than {MAX_COPIED_GLOBS} globs"
        return
    for index, glob in enumerate(globs):
        if not glob.strip() or len(glob.encode()) > MAX_GLOB_BYTES or not glob.isprintable():
            yield f"checkout.copy_untracked[{index}]", "must be a printable glob of at most 1 KiB, such as '.env'"
            return
    try:
        check_globs(globs)
    except MalformedGlob as error:
        yield f"checkout.copy_untracked[{error.index}]", f"{error}; write it as in .gitignore, for example '.env'"


def _problem_with_directory(path: str) -> str | None:
    pure = PurePosixPath(path)
    if not path.strip("/") or pure.is_absolute() or {"..", ".", ".git"} & set(path.split("/")):
        return "is not a directory in the repository; write it from the top, for example 'services/api'"
    if len(path.encode()) > MAX_PATH_BYTES or not path.isprintable():
        return f"must be printable and have at most {MAX_PATH_BYTES} bytes"
    if _PATTERN & set(path):
        return "is a pattern; name directories: everything below them is checked out"
    return None

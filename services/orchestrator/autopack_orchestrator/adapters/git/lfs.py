"""Content of Git LFS that a finished branch needs: brought along with the branch."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from autopack_kit.errors import FailedPrecondition

from .checkout import lfs_config, lfs_url
from .command import run_git
from .mirror import Mirror
from .origin import Origin

__all__ = ["bring_lfs_home", "new_lfs_objects", "push_lfs"]

MAX_POINTER = 1024  # of its specification
MAX_OBJECTS = 10_000
PUSH_TIMEOUT_S = 3600.0
WORDS_AT_ONCE = 500  # ids on a command line
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"(?:ext-[^\n]{1,500}\n)*oid sha256:([0-9a-f]{64})\nsize [0-9]{1,19}\n"
)


async def new_lfs_objects(mirror: Mirror, base: str, branch: str) -> list[str]:
    """Ids of the content that ``branch`` names and the commit ``base`` does not, as far as it is here.

    Raises:
        FailedPrecondition: TOO_MANY_LFS_FILES.
    """
    tip = await mirror.sha(f"refs/heads/{branch}") or base
    words = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--diff-filter=AMT", base, tip)
    fields = (await run_git(*words, git_dir=mirror.trusted)).stdout.split(b"\0")
    blobs = [field.split()[3] for field in fields if field.startswith(b":")]
    checked = await run_git("cat-file", "--batch-check", git_dir=mirror.trusted, stdin=_lines(blobs)) if blobs else None
    sizes = [line.split() for line in checked.stdout.splitlines()] if checked else []
    small = [words[0] for words in sizes if words[1] == b"blob" and int(words[2]) < MAX_POINTER]
    if not small:
        return []
    content = (await run_git("cat-file", "--batch", git_dir=mirror.trusted, stdin=_lines(small))).stdout
    found = dict.fromkeys(match.decode() for match in _POINTER.findall(content))
    if len(found) > MAX_OBJECTS:
        raise FailedPrecondition(
            f"The change has {len(found)} files in Git LFS; at most {MAX_OBJECTS} are brought along.",
            reason="TOO_MANY_LFS_FILES",
            remedy="Keep generated files out of the repository.",
        )
    return [oid for oid in found if _file(_store(mirror), oid).is_file()]


async def bring_lfs_home(mirror: Mirror, oids: Sequence[str], git_dir: Path) -> None:
    """Copy content into the store of the user's repository; what is there already is not touched."""
    for oid in oids:
        await asyncio.to_thread(_copy, _file(_store(mirror), oid), _file(git_dir / "lfs" / "objects", oid), oid)


async def push_lfs(mirror: Mirror, oids: Sequence[str], remote: Origin) -> None:
    """Send content to the remote.

    Raises:
        FailedPrecondition: LFS_NOT_PUSHED.
    """
    config = (*remote.config, *lfs_config(mirror), *lfs_url(remote), f"remote.origin.url={remote.location}")
    for start in range(0, len(oids), WORDS_AT_ONCE):
        result = await run_git(
            *("lfs", "push", "--object-id", "origin", *oids[start : start + WORDS_AT_ONCE]),
            git_dir=mirror.trusted,
            env=remote.env,
            config=config,
            check=False,
            timeout_s=PUSH_TIMEOUT_S,
        )
        if result.returncode != 0:
            raise FailedPrecondition(
                f"{remote.location} did not take the files in Git LFS: {result.error}",
                reason="LFS_NOT_PUSHED",
                remedy="Check that it has Git LFS, and that the credential may write. The patch of the run is kept.",
                metadata={"url": remote.location},
            )


def _lines(names: Sequence[bytes]) -> bytes:
    return b"\n".join(names) + b"\n"


def _store(mirror: Mirror) -> Path:
    return mirror.path / "lfs" / "objects"


def _file(store: Path, oid: str) -> Path:
    return store / oid[:2] / oid[2:4] / oid


def _copy(source: Path, target: Path, oid: str) -> None:
    """Atomically, and only what has the right hash: an agent may have written into the store."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{oid}.{secrets.token_hex(4)}")
    digest = hashlib.sha256()
    try:
        reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(reading, "rb") as content, draft.open("xb") as copy:
            while data := content.read(1 << 20):
                digest.update(data)
                copy.write(data)
        if digest.hexdigest() == oid:
            draft.chmod(0o444)
            draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)

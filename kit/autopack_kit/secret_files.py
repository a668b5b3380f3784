"""Files that hold a secret: mode 0600, written whole or not at all, and read only if nobody else could."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autopack_kit.errors import AlreadyExists, FailedPrecondition

__all__ = ["alone", "read_secret", "unreadable", "write_secret"]

MAX_SECRET_FILE = 1 << 20
"""Bytes read of any secret file; 1,000 tokens need about 150 KB."""


def write_secret(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Writes a 0600 file in a 0700 directory; it appears with its whole content or not at all.

    Raises:
        AlreadyExists: it is there already and ``replace`` is false.
        FailedPrecondition: ``SECRET_FILE_UNWRITABLE``.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            _publish(draft, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):  # what made the write fail has been reported
            draft.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Runs the block while no other process runs one for the directory of ``path``, which is made if it is absent.

    For files that belong together. Whoever crashes in the block lets the next one in. Blocks while another is in.

    Raises:
        FailedPrecondition: ``SECRET_FILE_UNWRITABLE``.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _publish(draft: Path, path: Path) -> None:
    """Gives ``draft`` its name unless the name is taken: what rename(2) cannot do."""
    try:
        os.link(draft, path)
    except FileExistsError as error:
        raise AlreadyExists(
            f"{path} exists already.",
            reason="FILE_EXISTS",
            remedy="Remove it first if you mean to replace it.",
            metadata={"path": str(path)},
        ) from error


def read_secret(path: Path) -> bytes:
    """The content of a secret file.

    Raises:
        FailedPrecondition: ``SECRET_FILE_MODE`` when others can reach it, ``SECRET_FILE_UNREADABLE``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SECRET_FILE:
                raise unreadable(path, "it is not a regular file of at most 1 MiB")
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise FailedPrecondition(
                    f"{path} holds a secret and its mode is {stat.S_IMODE(status.st_mode):04o}: others can reach it.",
                    reason="SECRET_FILE_MODE",
                    remedy=f"Run: chmod 600 {path}",
                    metadata={"path": str(path)},
                )
            return file.read(MAX_SECRET_FILE)
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error


def _unwritable(path: Path, error: OSError) -> FailedPrecondition:
    return FailedPrecondition(
        f"{path} cannot be written: {error.strerror or error}.",
        reason="SECRET_FILE_UNWRITABLE",
        remedy="Make its directory writable for this user, or set AUTOPACK_DATA_DIR to one that is.",
        metadata={"path": str(path)},
    )


def unreadable(path: Path, why: str) -> FailedPrecondition:
    """``SECRET_FILE_UNREADABLE``."""
    return FailedPrecondition(
        f"{path} cannot be used: {why}.",
        reason="SECRET_FILE_UNREADABLE",
        remedy="Name a readable regular file with mode 0600.",
        metadata={"path": str(path)},
    )

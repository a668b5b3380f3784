"""Uploaded bundles: taken within bounds, checked, kept per tenant until they expire."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autopack_kit.errors import DeadlineExceeded, InvalidArgument, NotFound, ResourceExhausted, invalid_field

from autopack_orchestrator.adapters import git
from autopack_orchestrator.adapters.objects import Objects
from autopack_orchestrator.adapters.trees import delete_tree

__all__ = ["Expired", "Upload", "Uploads"]

MAX_PER_TENANT = 100  # kept at once: batches copy what they need, so that none of them waits for its bundle
MAX_AT_ONCE = 8  # each writes to the disk as fast as its sender can
PIECE_TIMEOUT_S = 60.0  # without a byte
MAX_PIECE = 1 << 20
_PREFIX = "uploads"
_SHA256 = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Upload:
    """A bundle that was taken: its id, the references in it, and until when it is kept."""

    upload_id: str
    refs: dict[str, str]
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Expired:
    """A bundle that is no longer kept: its name, its size in bytes, when it was written, and its file or its key."""

    name: str
    size: int
    written: datetime
    place: Path | str


class Uploads:
    """Bundles below ``root``, in one directory per tenant, each under the SHA-256 of its content."""

    def __init__(self, root: Path, max_bytes: int, keep: timedelta) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._keep = keep
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self.shared: Objects | None = None
        """Where the other processes of a cluster find them too."""

    async def take(self, tenant: str, size: int, sha256: str, pieces: AsyncIterator[bytes]) -> Upload:
        """Write ``pieces`` to the disk, check them, and keep the bundle.

        Raises:
            InvalidArgument: it is not what was announced, or not a complete bundle. ResourceExhausted:
            UPLOAD_TOO_LARGE, TOO_MANY_UPLOADS. DeadlineExceeded: UPLOAD_STALLED.
        """
        self._check_announced(size, sha256)
        directory = self._directory(tenant)
        await asyncio.to_thread(self._make_room, directory, sha256)
        part = directory / f"{sha256}.part-{secrets.token_hex(4)}"
        try:
            async with self._slots:
                await _receive(part, size, sha256, pieces)
                refs = await git.check_bundle(part)
                target = self._file(tenant, sha256)
                await asyncio.to_thread(os.replace, part, target)
                await asyncio.to_thread(os.utime, target)
                if self.shared is not None:
                    await self.shared.put_file(_key(tenant, sha256), target)
        finally:
            part.unlink(missing_ok=True)
        return Upload(sha256, refs, datetime.now(UTC) + self._keep)

    async def open(self, tenant: str, upload_id: str) -> Path:
        """The bundle.

        Raises:
            NotFound: UPLOAD_NOT_FOUND, it never was or is no longer kept.
        """
        file = self._file(tenant, upload_id)
        if await asyncio.to_thread(self._is_kept, file) or await self._fetch(tenant, upload_id, file):
            return file
        raise NotFound(
            f"There is no upload {upload_id[:12]}..., or it has expired.",
            reason="UPLOAD_NOT_FOUND",
            remedy="Upload the bundle again: the same bundle has the same id.",
            metadata={"upload_id": upload_id},
        )

    async def _fetch(self, tenant: str, upload_id: str, file: Path) -> bool:
        """Copy a bundle that another process took; its id says whether it is the one."""
        if self.shared is None or len(upload_id) != 64 or not _SHA256.issuperset(upload_id):
            return False
        part = self._directory(tenant) / f"{upload_id}.part-{secrets.token_hex(4)}"
        try:
            await asyncio.to_thread(part.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            if not await self.shared.get_file(_key(tenant, upload_id), part):
                return False
            if await asyncio.to_thread(_digest, part) != upload_id:
                return False
            await asyncio.to_thread(os.replace, part, file)
            await asyncio.to_thread(os.utime, file)
        finally:
            part.unlink(missing_ok=True)
        return True

    def sweep(self) -> int:
        """Delete what has expired, and parts of what was never finished; returns how many. Blocks."""
        gone = 0
        for file in self._root.glob("*/*"):
            if not self._is_kept(file):
                if file.is_dir():  # of a check that was killed
                    shutil.rmtree(file, ignore_errors=True)
                else:
                    file.unlink(missing_ok=True)
                gone += 1
        return gone

    async def expired(self, grace: timedelta) -> list[Expired]:
        """What has expired, here and in the object store, for longer than ``grace``.

        Raises:
            Unavailable: the object store cannot be listed.
        """
        found = await asyncio.to_thread(self._expired_here, grace)
        if self.shared is not None:
            limit = datetime.now(UTC) - self._keep - grace
            objects = await self.shared.listed(_PREFIX)
            found += [Expired(item.key, item.size, item.written, item.key) for item in objects if item.written < limit]
        return found

    async def discard(self, upload: Expired) -> None:
        """Delete one of these; nothing to do if it is gone.

        Raises:
            OSError, Unavailable: it could not be deleted.
        """
        if isinstance(upload.place, str):
            assert self.shared is not None
            await self.shared.remove([upload.place])
        else:
            await asyncio.to_thread(delete_tree, upload.place)

    def _expired_here(self, grace: timedelta) -> list[Expired]:
        found = []
        limit = time.time() - (self._keep + grace).total_seconds()
        for file in sorted(self._root.glob("*/*")):
            with contextlib.suppress(FileNotFoundError):
                status = file.lstat()
                if status.st_mtime < limit:
                    used = datetime.fromtimestamp(status.st_mtime, UTC)
                    found.append(Expired(f"{_PREFIX}/{file.relative_to(self._root)}", status.st_size, used, file))
        return found

    def _check_announced(self, size: int, sha256: str) -> None:
        if len(sha256) != 64 or not _SHA256.issuperset(sha256):
            raise invalid_field("header.sha256", "must be 64 lower-case hexadecimal digits")
        if size < 1:
            raise invalid_field("header.size_bytes", "is required: the size of the bundle")
        if size > self._max_bytes:
            raise ResourceExhausted(
                f"The bundle has {size} bytes; this server takes at most {self._max_bytes}.",
                reason="UPLOAD_TOO_LARGE",
                remedy="Upload one branch instead of all, or let the operator raise"
                " AUTOPACK_ORCHESTRATOR_MAX_UPLOAD_BYTES.",
                metadata={"size": str(size), "limit": str(self._max_bytes)},
            )

    def _make_room(self, directory: Path, sha256: str) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free
        self.sweep()
        others = [file for file in directory.iterdir() if not file.name.startswith(sha256)]
        if len(others) >= MAX_PER_TENANT or free < self._max_bytes // 8:
            why = f"{len(others)} bundles are kept" if len(others) >= MAX_PER_TENANT else "the disk is nearly full"
            raise ResourceExhausted(
                f"No further bundle can be taken: {why}.",
                reason="TOO_MANY_UPLOADS",
                remedy=f"Bundles expire after {self._keep}; try again later, or let the operator make room.",
            )

    def _is_kept(self, file: Path) -> bool:
        try:
            return time.time() - file.stat().st_mtime < self._keep.total_seconds()
        except FileNotFoundError:
            return False

    def _directory(self, tenant: str) -> Path:
        return self._root / hashlib.sha256(tenant.encode()).hexdigest()[:32]

    def _file(self, tenant: str, upload_id: str) -> Path:
        return self._directory(tenant) / f"{upload_id}.bundle"


def _key(tenant: str, upload_id: str) -> str:
    return f"{_PREFIX}/{hashlib.sha256(tenant.encode()).hexdigest()[:32]}/{upload_id}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _receive(part: Path, size: int, sha256: str, pieces: AsyncIterator[bytes]) -> None:
    digest, received = hashlib.sha256(), 0
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while True:
            try:
                async with asyncio.timeout(PIECE_TIMEOUT_S):
                    piece = await anext(pieces, b"")
            except TimeoutError as error:
                raise DeadlineExceeded(
                    f"Nothing came for {PIECE_TIMEOUT_S:.0f} s, after {received} of {size} bytes.",
                    reason="UPLOAD_STALLED",
                    remedy="Try again.",
                ) from error
            if not piece:
                break
            received += len(piece)
            if len(piece) > MAX_PIECE or received > size:
                problem = (
                    "is larger than 1 MiB" if len(piece) > MAX_PIECE else f"goes beyond the announced {size} bytes"
                )
                raise invalid_field("data", problem)
            digest.update(piece)
            await asyncio.to_thread(file.write, piece)
    if received != size or digest.hexdigest() != sha256:
        raise InvalidArgument(
            f"{received} of {size} bytes came, with the SHA-256 {digest.hexdigest()}, not {sha256}.",
            reason="UPLOAD_DAMAGED",
            remedy="Upload it again; if that happens twice, compute size and SHA-256 from the file as it is sent.",
        )

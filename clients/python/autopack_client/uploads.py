"""A local repository for a server that shares no disk with this machine: made into a bundle and sent.

upload = await upload_repository(client, Path("."), "main")
spec = BatchSpec(upload_id=upload.upload_id, ref="main", runs=[...])
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from autopack_api.orchestrator.v1 import batch_pb2
from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_kit.errors import FailedPrecondition, Internal, InvalidArgument, NotFound

from autopack_client.evidence import run_git

if TYPE_CHECKING:
    from autopack_client.client import AsyncClient

__all__ = ["make_bundle", "upload_bundle", "upload_for", "upload_repository"]

PIECE_BYTES = 1 << 18
MAX_ANSWER = 1 << 20
BUNDLE_TIMEOUT_S = 1800.0


async def upload_repository(client: AsyncClient, repository: Path, ref: str = "HEAD") -> pb.UploadSourceResponse:
    """Upload what ``ref`` of a repository needs, and nothing else of it: no other branch, no uncommitted change.

    Raises:
        NotFound: ``REF_NOT_FOUND``. InvalidArgument: ``SHALLOW_REPOSITORY``, ``BUNDLE_FAILED``. Whatever the server
        answers.
    """
    with tempfile.TemporaryDirectory(prefix="autopack-bundle-") as directory:
        bundle = Path(directory) / "source.bundle"
        await make_bundle(repository, ref, bundle)
        return await upload_bundle(client, bundle)


async def upload_for(client: AsyncClient, spec: batch_pb2.BatchSpec) -> None:
    """Upload the repository that a batch names by its path, and make the upload the batch's source.

    Raises:
        As :func:`upload_repository`.
    """
    repository, ref = Path(spec.path), spec.ref or "HEAD"
    upload = await upload_repository(client, repository, ref)
    names = list(upload.refs)
    # A name such as origin/main means something else, or nothing, in the bundle.
    spec.ref = names[0] if len(names) == 1 else await _ask(repository, "rev-parse", "--verify", f"{ref}^{{commit}}")
    spec.upload_id = upload.upload_id


async def make_bundle(repository: Path, ref: str, file: Path) -> None:
    """Write a complete bundle of ``ref`` (a branch, a tag, HEAD; for a commit: of all branches and tags).

    Raises:
        NotFound: ``REF_NOT_FOUND``. InvalidArgument: ``SHALLOW_REPOSITORY``, ``BUNDLE_FAILED``.
    """
    top = Path(repository).resolve()
    if await _ask(top, "rev-parse", "--is-shallow-repository") == "true":
        raise InvalidArgument(
            f"{top} is a shallow clone: its history is not all there.",
            reason="SHALLOW_REPOSITORY",
            remedy="Fetch the rest: git fetch --unshallow",
        )
    if ref.startswith("-") or not await _ask(top, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"):
        raise NotFound(
            f"{ref[:200]!r} is not a branch, tag or commit of {top}.",
            reason="REF_NOT_FOUND",
            remedy="See git branch --all and git tag.",
        )
    name = ref if ref == "HEAD" else await _ask(top, "rev-parse", "--verify", "--quiet", "--symbolic-full-name", ref)
    wanted = [name] if name else ["HEAD", "--branches", "--tags"]
    process = await asyncio.create_subprocess_exec(
        *("git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "pack.writeBitmaps=false"),
        *("bundle", "create", "--quiet", str(file), *wanted),
        cwd=top,
        env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BUNDLE_TIMEOUT_S):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise InvalidArgument(
            f"{top} could not be made into a bundle: {errors[-500:].decode('utf-8', 'replace').strip()}",
            reason="BUNDLE_FAILED",
            remedy="Check the repository: git fsck",
        )


async def upload_bundle(client: AsyncClient, file: Path) -> pb.UploadSourceResponse:
    """Send a bundle; the same bundle again is the same upload."""
    sha256 = await asyncio.to_thread(_digest, file)
    header = pb.UploadHeader(size_bytes=file.stat().st_size, sha256=sha256)

    async def announced() -> AsyncIterator[pb.UploadSourceRequest]:
        yield pb.UploadSourceRequest(header=header)

    async def pieces() -> AsyncIterator[pb.UploadSourceRequest]:
        yield pb.UploadSourceRequest(header=header)
        with file.open("rb") as stream:
            while data := await asyncio.to_thread(stream.read, PIECE_BYTES):
                yield pb.UploadSourceRequest(data=data)

    try:
        return await client.orchestrator.UploadSource(pieces())
    except Internal as error:
        # A server that refuses what was announced ends the call while pieces are on their way, and gRPC may then fail
        # to send them before it has read the answer. Nothing is on its way behind the announcement alone.
        try:
            await client.orchestrator.UploadSource(announced())
        except InvalidArgument:  # that is not refused, but for the pieces that are missing
            raise error from None
        raise


async def _ask(repository: Path, *arguments: str) -> str:
    """What git answers, empty if it has no answer."""
    try:
        return os.fsdecode(await run_git(repository, arguments, max_bytes=MAX_ANSWER)).strip()
    except FailedPrecondition:
        return ""


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

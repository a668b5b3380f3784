"""Directories as sources for the toolchain service, for a server that does not share this disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

from autopack_api.common.v1 import common_pb2
from autopack_api.toolchain.v1 import toolchain_pb2 as pb
from autopack_client import AsyncClient
from autopack_client.snapshots import snapshot
from autopack_kit.errors import FailedPrecondition, NotFound

__all__ = ["snapshot_of"]


async def snapshot_of(client: AsyncClient, root: Path) -> common_pb2.WorkspaceSnapshot:
    """The files of a directory as the server wants them.

    Raises:
        NotFound: there is no such directory.
        FailedPrecondition: it cannot be read.
    """
    spec = await client.toolchain.GetSnapshotSpec(pb.GetSnapshotSpecRequest())
    try:
        return await asyncio.to_thread(snapshot, root, spec)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"There is no directory {str(root)!r}.", reason="SOURCE_NOT_FOUND", remedy="Check the path."
        ) from error
    except OSError as error:
        raise FailedPrecondition(
            f"The directory {str(root)!r} cannot be read: {error.strerror}.",
            reason="SOURCE_NOT_READABLE",
            remedy="Give yourself permission to read it.",
        ) from error

"""Uploads, from their messages and to their answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_kit.convert import timestamp_to_proto
from autopack_kit.errors import invalid_field

from autopack_orchestrator.adapters.uploads import Upload
from autopack_orchestrator.core.text import clean

__all__ = ["upload_from_proto", "upload_to_proto"]


async def upload_from_proto(messages: AsyncIterator[pb.UploadSourceRequest]) -> tuple[int, str, AsyncIterator[bytes]]:
    """Size and SHA-256 that were announced, and the pieces that follow.

    Raises:
        InvalidArgument: the first message is no header, or a later one is no data.
    """
    first = await anext(messages, None)
    if first is None or first.WhichOneof("piece") != "header":
        raise invalid_field("header", "must be the first message of the stream")
    return first.header.size_bytes, first.header.sha256, _pieces(messages)


async def _pieces(messages: AsyncIterator[pb.UploadSourceRequest]) -> AsyncIterator[bytes]:
    async for message in messages:
        if message.WhichOneof("piece") != "data" or not message.data:
            raise invalid_field("data", "must be in every message after the first, and not empty")
        yield message.data


def upload_to_proto(upload: Upload) -> pb.UploadSourceResponse:
    """What was taken."""
    return pb.UploadSourceResponse(
        upload_id=upload.upload_id,
        refs={clean(name): sha for name, sha in upload.refs.items()},
        expire_time=timestamp_to_proto(upload.expire_time),
    )

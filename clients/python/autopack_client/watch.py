"""Streams that resume by themselves: a server closes old connections on purpose, and networks do it without."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

from autopack_api.orchestrator.v1 import orchestrator_pb2 as pb
from autopack_kit.errors import Unavailable
from autopack_kit.status import STREAM_ENDED

from autopack_client.client import AsyncClient

__all__ = ["get_patch", "read_log", "watch_batch"]

FIRST_DELAY = 0.1
"""Seconds before the first new attempt."""
LONGEST_DELAY = 5.0
"""Seconds: a server that restarts is found again within this time."""
PATIENCE = 12
"""Attempts in a row without a message: about 35 seconds, more than an orderly restart takes."""


class _Backoff:
    """Waits longer after each failure in a row; full jitter, so that many clients do not return at once."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    async def wait(self, error: Unavailable) -> None:
        """Waits, or raises ``error`` when there were too many."""
        if error.reason == STREAM_ENDED:
            self.reset()  # it was there and ended the stream in good order; but never without any delay
        self._failures += 1
        if self._failures >= PATIENCE:
            raise error
        longest = min(FIRST_DELAY * 2**self._failures, LONGEST_DELAY)
        await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret


async def watch_batch(client: AsyncClient, batch_id: str, after: int = 0) -> AsyncIterator[pb.Event]:
    """Every event of a batch with a number over ``after``, in order, each once, until the batch has ended.

    Raises:
        NotFound: no such batch.
        Unavailable: the server stayed away for about half a minute.
    """
    backoff = _Backoff()
    while True:
        request = pb.WatchBatchRequest(batch_id=batch_id, after_sequence=after)
        try:
            async for response in client.orchestrator.WatchBatch(request):
                after = response.event.sequence
                backoff.reset()
                yield response.event
            return
        except Unavailable as error:
            await backoff.wait(error)


async def read_log(
    client: AsyncClient, run_id: str, *, attempt: int = 0, offset: int = 0, follow: bool = False
) -> AsyncIterator[bytes]:
    """What the commands of a run printed, in pieces, each byte once.

    Args:
        client: the connection.
        run_id: the run.
        attempt: from 1; 0 = the latest when the call is made.
        offset: start at this byte; negative = so many bytes before the end.
        follow: go on until the attempt has ended.

    Raises:
        NotFound: no such run or attempt.
        OutOfRange: the offset is beyond the end.
        Unavailable: the server stayed away for about half a minute.
    """
    if attempt == 0:
        # Pinned, because a stream that resumes must not go on in the log of a later attempt.
        attempt = (await client.orchestrator.GetRun(pb.GetRunRequest(run_id=run_id))).run.attempt
    backoff = _Backoff()
    while True:
        request = pb.ReadLogRequest(run_id=run_id, attempt=attempt, offset=offset, follow=follow)
        try:
            async for response in client.orchestrator.ReadLog(request):
                offset = response.offset + len(response.data)
                backoff.reset()
                yield response.data
            return
        except Unavailable as error:
            await backoff.wait(error)


async def get_patch(client: AsyncClient, run_id: str) -> AsyncIterator[bytes]:
    """The patch of a run in pieces. It does not resume: a patch may be replaced by that of a later attempt.

    Raises:
        NotFound: no such run.
        FailedPrecondition: nothing was captured yet.
    """
    async for response in client.orchestrator.GetPatch(pb.GetPatchRequest(run_id=run_id)):
        yield response.data

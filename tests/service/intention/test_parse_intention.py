"""ParseIntention on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_api.intention.v1 import intention_pb2_grpc as pb_grpc
from autopack_intention import create
from autopack_intention.settings import IntentionSettings
from autopack_kit.errors import InvalidArgument
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import running
from grpc.aio import AioRpcError

ISSUE = """\
# Retry failed requests

Use exponential backoff.

## Constraints
- No new dependency

## Scope
- `src/http/`
- the client
"""


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[pb_grpc.IntentionServiceAsyncStub]:
    settings = IntentionSettings(database_url=f"sqlite:///{tmp_path / 'intention.db'}")
    async with running(create(settings)) as target:
        yield pb_grpc.IntentionServiceStub(target.channel)


async def test_parsed_intention_is_taken_by_the_other_calls(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    answer = await stub.ParseIntention(pb.ParseIntentionRequest(text=ISSUE))
    assert answer.intention == pb.Intention(
        title="Retry failed requests",
        description="Use exponential backoff.",
        constraints=["No new dependency"],
        scope=["src/http/"],
        notes=["the client"],
    )
    assert ["names no path" in warning for warning in answer.warnings] == [True]
    context = await stub.BuildContext(pb.BuildContextRequest(intention=answer.intention))
    assert "May change: src/http/" in context.text


async def test_title_of_an_issue_is_enough(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    answer = await stub.ParseIntention(pb.ParseIntentionRequest(title="Fix the login loop"))
    assert answer.intention == pb.Intention(title="Fix the login loop")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ParseIntentionRequest(), "text"),
        (pb.ParseIntentionRequest(text="## Scope\n- src/"), "title"),
        (pb.ParseIntentionRequest(text="x" * 10_000_000), "text"),
        (pb.ParseIntentionRequest(text="x\n" * 100_000), "text"),
        (pb.ParseIntentionRequest(text="x", title="t" * 501), "title"),
    ],
    ids=["nothing", "no goal", "10 MB", "too many lines", "long title"],
)
async def test_text_that_gives_no_intention_is_refused_by_its_field(
    stub: pb_grpc.IntentionServiceAsyncStub, request_: pb.ParseIntentionRequest, field: str
) -> None:
    with pytest.raises(AioRpcError) as caught:
        await stub.ParseIntention(request_)
    error = from_rpc_error(caught.value)
    assert isinstance(error, InvalidArgument)
    assert [violation.field for violation in error.violations] == [field]
    assert ":" in error.violations[0].description  # what to do stands behind what is wrong


async def test_hostile_text_does_not_hold_up_others(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    hostile = [pb.ParseIntentionRequest(text=text * 9_999, title="T") for text in ("- a\n", "> [\n", "`a/` {\n")]
    answers = await asyncio.gather(
        *(stub.ParseIntention(request) for request in hostile), *(_context(stub) for _ in range(20))
    )
    assert len(answers) == 23


async def _context(stub: pb_grpc.IntentionServiceAsyncStub) -> pb.BuildContextResponse:
    return await stub.BuildContext(pb.BuildContextRequest(intention=pb.Intention(title="Fix the login loop")))

from __future__ import annotations

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

GOAL = pb.Intention(title="Retry failed requests of the HTTP client", description="Exponential backoff with jitter.")
FILES = (
    pb.FileChange(path="src/http/client.py", added_identifiers=["retry_request", "backoff", "jitter", "failed"]),
    pb.FileChange(path="src/http/retry.py", added_identifiers=["exponential_backoff", "jitter", "delay"], added=True),
    pb.FileChange(path="web/theme/palette.css", added_identifiers=["color", "hover", "button", "stylesheet"]),
)


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[pb_grpc.IntentionServiceAsyncStub]:
    async with running(create(IntentionSettings(database_url=f"sqlite:///{tmp_path}/intention.sqlite3"))) as target:
        yield pb_grpc.IntentionServiceStub(target.channel)


async def test_a_file_of_another_task_is_named_with_its_probability(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    evidence = pb.ChangeEvidence(paths=[file.path for file in FILES], files=FILES)
    answer = await stub.CheckDrift(pb.CheckDriftRequest(intention=GOAL, evidence=evidence))
    assert [file.path for file in answer.off_goal_files] == ["web/theme/palette.css"]
    assert 0.9 < answer.off_goal_files[0].score < 1
    assert pb.ADVISORY_OFF_GOAL_FILES in answer.advisories


async def test_evidence_by_file_beyond_its_limits_names_every_field(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    bad = pb.FileChange(hunk_headers=["x"] * 201, added_identifiers=["x" * 1_025])
    evidence = pb.ChangeEvidence(files=[bad, *[FILES[0]] * 200])
    with pytest.raises(AioRpcError) as caught:
        await stub.CheckDrift(pb.CheckDriftRequest(intention=GOAL, evidence=evidence))
    error = from_rpc_error(caught.value)
    assert isinstance(error, InvalidArgument)
    assert {violation.field for violation in error.violations} == {
        "evidence.files",
        "evidence.files[0].path",
        "evidence.files[0].hunk_headers",
        "evidence.files[0].added_identifiers[0]",
    }

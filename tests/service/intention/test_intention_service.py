from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_api.intention.v1 import intention_pb2_grpc as pb_grpc
from autopack_intention import create
from autopack_intention.settings import IntentionSettings
from autopack_kit.errors import AutopackError, InvalidArgument, NotFound
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import running
from grpc.aio import AioRpcError

AREAS = ("billing", "search", "upload", "login", "mail", "report", "cache", "theme", "export", "chat", "audit", "quota")
GOAL = pb.Intention(
    title="Retry failed requests in the HTTP client",
    description="Use exponential backoff with jitter; stop after max_attempts.",
    constraints=["No new dependency"],
    scope=["src/http/"],
)
ON_GOAL = pb.ChangeEvidence(
    paths=["src/http/retry.py"], added_identifiers=["retry", "backoff", "jitter", "max_attempts", "request", "client"]
)
PROFILE = pb.Profile(
    messages=[f"Let the {area} service load its {other} values" for area in AREAS for other in AREAS],
    background=[
        pb.ChangeEvidence(paths=[f"src/http/{area}.py"], added_identifiers=[f"{area}_id", "session", "value"])
        for area in AREAS
    ],
)


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[pb_grpc.IntentionServiceAsyncStub]:
    async with running(create(IntentionSettings(database_url=f"sqlite:///{tmp_path}/intention.sqlite3"))) as target:
        yield pb_grpc.IntentionServiceStub(target.channel)


async def refusal(call: object) -> AutopackError:
    with pytest.raises(AioRpcError) as caught:
        await call  # type: ignore[misc]  # grpc's call objects are awaitable, their stubs do not say so
    return from_rpc_error(caught.value)


async def test_a_context_comes_back_within_its_budget(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    first = await stub.BuildContext(pb.BuildContextRequest(intention=GOAL))
    assert first == await stub.BuildContext(pb.BuildContextRequest(intention=GOAL))
    assert first.size_bytes == len(first.text.encode()) <= 2_048
    assert dict(first.kept) == {"goal": 1, "constraints": 1, "scope": 1}
    assert not first.dropped
    assert len(first.source_sha256) == 64


async def test_a_drift_check_with_a_profile_explains_itself(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    profile_id = (await stub.PutProfile(pb.PutProfileRequest(profile=PROFILE))).profile_id
    answer = await stub.CheckDrift(
        pb.CheckDriftRequest(intention=GOAL, profile_id=profile_id, evidence=ON_GOAL, final=True)
    )
    assert answer.step_verdict == answer.run_verdict == pb.VERDICT_ON_GOAL
    assert answer.single_step
    assert answer.z > 2
    assert answer.prior == 0.5
    assert answer.profile_source == pb.PROFILE_SOURCE_REPOSITORY
    assert answer.profile_size == 144 + 12
    assert "backoff" in answer.shared_terms


async def test_a_goal_that_was_edited_is_told(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    context = await stub.BuildContext(pb.BuildContextRequest(intention=GOAL))
    request = pb.CheckDriftRequest(
        intention=GOAL, evidence=ON_GOAL, earlier_z=[0.1], source_sha256=context.source_sha256
    )
    unchanged = await stub.CheckDrift(request)
    assert (unchanged.source_sha256, unchanged.single_step) == (context.source_sha256, False)
    request.intention.description += " And never again."
    edited = await stub.CheckDrift(request)
    assert pb.ADVISORY_GOAL_EDITED in edited.advisories
    assert edited.single_step


async def test_without_a_profile_the_answer_says_so(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    answer = await stub.CheckDrift(pb.CheckDriftRequest(intention=GOAL, evidence=ON_GOAL))
    assert answer.profile_source == pb.PROFILE_SOURCE_NONE
    assert pb.ADVISORY_NO_HISTORY in answer.advisories


async def test_a_path_out_of_scope_is_named(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    evidence = pb.ChangeEvidence(paths=["src/http/retry.py", "setup.py"])
    answer = await stub.CheckDrift(pb.CheckDriftRequest(intention=GOAL, evidence=evidence))
    assert answer.step_verdict == pb.VERDICT_SCOPE_VIOLATION
    assert list(answer.out_of_scope_paths) == ["setup.py"]


async def test_an_unknown_profile_is_not_found_with_the_remedy(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    error = await refusal(stub.CheckDrift(pb.CheckDriftRequest(intention=GOAL, evidence=ON_GOAL, profile_id="0" * 64)))
    assert isinstance(error, NotFound)
    assert error.reason == "PROFILE_NOT_FOUND"
    assert "PutProfile" in error.remedy


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CheckDriftRequest(), "intention.title"),
        (pb.CheckDriftRequest(intention=pb.Intention(title="\u200b\u202e")), "intention.title"),
        (pb.CheckDriftRequest(intention=pb.Intention(title="x" * 501)), "intention.title"),
        (pb.CheckDriftRequest(intention=pb.Intention(title="x", description="ä" * 8_193)), "intention.description"),
        (pb.CheckDriftRequest(intention=pb.Intention(title="x", notes=["n"] * 101)), "intention.notes"),
        (pb.CheckDriftRequest(intention=pb.Intention(title="x", scope=["src/", "[z-a]"])), "intention.scope[1]"),
        (
            pb.CheckDriftRequest(intention=pb.Intention(title="x", scope=[f"{n}" + "*a" * 500 for n in range(200)])),
            "intention.scope[100]",
        ),
        (pb.CheckDriftRequest(intention=GOAL, evidence=pb.ChangeEvidence(paths=["p"] * 2_001)), "evidence.paths"),
        (pb.CheckDriftRequest(intention=GOAL, evidence=pb.ChangeEvidence(paths=["p" * 5_000])), "evidence.paths[0]"),
        (pb.CheckDriftRequest(intention=GOAL, note="n" * 20_000), "note"),
        (pb.CheckDriftRequest(intention=GOAL, earlier_z=[1.0] * 10_001), "earlier_z"),
        (pb.CheckDriftRequest(intention=GOAL, profile_id="../../etc/passwd"), "profile_id"),
        (pb.CheckDriftRequest(intention=GOAL, source_sha256="yesterday's"), "source_sha256"),
        (pb.BuildContextRequest(intention=GOAL, budget_bytes=255), "budget_bytes"),
        (pb.BuildContextRequest(intention=GOAL, budget_bytes=-1), "budget_bytes"),
        (pb.PutProfileRequest(profile=pb.Profile(messages=["m"] * 1_001)), "profile.messages"),
        (pb.PutProfileRequest(profile=pb.Profile(messages=["ok", "m" * 5_000])), "profile.messages[1]"),
        (pb.PutProfileRequest(profile=pb.Profile(background=[pb.ChangeEvidence()] * 101)), "profile.background"),
    ],
)
async def test_a_bad_field_is_named(stub: pb_grpc.IntentionServiceAsyncStub, request_: object, field: str) -> None:
    method = getattr(stub, type(request_).__name__.removesuffix("Request"))
    error = await refusal(method(request_))
    assert isinstance(error, InvalidArgument)
    assert [violation.field for violation in error.violations] == [field]


async def test_every_bad_field_is_named_at_once(stub: pb_grpc.IntentionServiceAsyncStub) -> None:
    intention = pb.Intention(description="x" * 20_000, constraints=["c"] * 101)
    error = await refusal(stub.BuildContext(pb.BuildContextRequest(intention=intention)))
    assert [violation.field for violation in error.violations] == [
        "intention.title",
        "intention.description",
        "intention.constraints",
    ]

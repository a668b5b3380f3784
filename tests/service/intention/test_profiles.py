"""Where profiles are kept: over restarts, between replicas, within limits, and when the database is away."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from autopack_api.intention.v1 import intention_pb2 as pb
from autopack_api.intention.v1 import intention_pb2_grpc as pb_grpc
from autopack_intention.adapters.tables import PROFILES
from autopack_intention.service import IntentionService
from autopack_intention.settings import IntentionSettings
from autopack_kit.auth import LOCAL_PRINCIPAL, Authenticator
from autopack_kit.bind import Bind
from autopack_kit.db.testing import fresh_url
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_kit.identity import Principal
from autopack_kit.server import ServerOptions
from autopack_kit.settings import load
from autopack_kit.status import from_rpc_error
from autopack_kit.testing import running
from grpc.aio import AioRpcError
from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, select, text, update

Stub: TypeAlias = "pb_grpc.IntentionServiceAsyncStub"  # known to type checkers alone

PROFILE = pb.Profile(
    messages=[f"Let service{n % 12} load its value{n}" for n in range(100)],
    background=[
        pb.ChangeEvidence(paths=[f"src/area{n}.py"], added_identifiers=[f"area{n}_id", "session"]) for n in range(12)
    ],
)
STRANGER = Principal("stranger", "other", LOCAL_PRINCIPAL.scopes)
NOON = 1_000_000.0


class Clock:
    """Seconds since 1970, as a test wants them."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_url(request.param, tmp_path, "intention") as fresh:
        yield fresh


@asynccontextmanager
async def serving(
    url: str, *, clock: Clock | None = None, principal: Principal = LOCAL_PRINCIPAL, **settings: Any
) -> AsyncIterator[Stub]:
    service = IntentionService(IntentionSettings(database_url=url, **settings), clock=clock or Clock())
    async with running(service, principal=principal) as target:
        yield pb_grpc.IntentionServiceStub(target.channel)


async def put(stub: Stub, profile: pb.Profile = PROFILE) -> str:
    return (await stub.PutProfile(pb.PutProfileRequest(profile=profile))).profile_id


def small(name: str) -> pb.Profile:
    return pb.Profile(messages=[name])


async def known(stub: Stub, profile_id: str) -> bool:
    """Whether a check finds the profile; one that does not must say what to do."""
    try:
        await stub.CheckDrift(pb.CheckDriftRequest(intention=pb.Intention(title="Retry"), profile_id=profile_id))
    except AioRpcError as caught:
        error = from_rpc_error(caught)
        assert error.reason == "PROFILE_NOT_FOUND"
        assert "PutProfile" in error.remedy
        return False
    return True


@contextmanager
def database(url: str) -> Iterator[Connection]:
    """The service's database, past the service."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET search_path TO intention"))
            yield connection
    finally:
        engine.dispose()


def stored(url: str) -> dict[str, float]:
    """When each profile was used, in seconds, by its id."""
    with database(url) as connection:
        return {row.id: row.last_used / 1e6 for row in connection.execute(select(PROFILES.c.id, PROFILES.c.last_used))}


async def test_a_profile_outlives_the_server_and_is_kept_once(url: str) -> None:
    async with serving(url) as stub:
        ids = {await put(stub) for _ in range(2)}
    assert set(stored(url)) == ids
    async with serving(url) as stub:
        request = pb.CheckDriftRequest(intention=pb.Intention(title="Retry failed requests"), profile_id=ids.pop())
        answers = await asyncio.gather(*(stub.CheckDrift(request) for _ in range(50)))
    assert {answer.profile_source for answer in answers} == {pb.PROFILE_SOURCE_REPOSITORY}


async def test_a_profile_put_on_one_replica_is_known_to_the_other(url: str) -> None:
    async with serving(url) as one, serving(url) as other:
        assert await known(other, await put(one))
        assert await known(one, await put(other, small("put the other way round")))


async def test_replicas_that_put_the_same_profile_at_once_keep_it_once(url: str) -> None:
    async with serving(url) as one, serving(url) as other:
        ids = await asyncio.gather(*(put(stub) for stub in (one, other) for _ in range(10)))
        assert set(stored(url)) == set(ids)


async def test_a_profile_of_another_tenant_is_not_found(url: str) -> None:
    async with serving(url) as stub, serving(url, principal=STRANGER) as stranger:
        assert not await known(stranger, await put(stub))


@pytest.mark.parametrize("content", [b"{", b'{"model":"lexical-0"}'], ids=["damaged", "of an earlier model"])
async def test_a_stored_profile_that_cannot_be_read_is_not_found_and_dropped(url: str, content: bytes) -> None:
    async with serving(url) as stub:
        profile_id = hashlib.sha256(content).hexdigest() if content.endswith(b"}") else await put(stub)
    with database(url) as connection:
        row = {"tenant": LOCAL_PRINCIPAL.tenant, "id": profile_id, "last_used": 0, "size": 1, "content": content}
        if not connection.execute(update(PROFILES).values(content=content)).rowcount:
            connection.execute(insert(PROFILES), [row])
    async with serving(url) as stub:
        assert not await known(stub, profile_id)
        assert stored(url) == {}


async def test_profiles_over_the_count_make_room_for_the_newest(url: str) -> None:
    clock = Clock()
    async with serving(url, clock=clock, profiles_in_memory=1, profiles_stored=2) as stub:
        ids = []
        for number in range(4):
            clock.now += 1
            ids.append(await put(stub, small(f"message{number}")))
        assert set(stored(url)) == set(ids[-2:])
        assert await known(stub, ids[-2])
        assert not await known(stub, ids[0])


async def test_profiles_over_the_bytes_make_room_for_the_newest_which_always_stays(url: str) -> None:
    clock = Clock()
    async with serving(url, clock=clock, profiles_bytes=1) as stub:
        for number in range(3):
            clock.now += 1
            newest = await put(stub, small(f"message{number}"))
        assert set(stored(url)) == {newest}


async def test_the_newest_stays_when_the_clock_of_another_replica_is_ahead(url: str) -> None:
    ahead = Clock()
    ahead.now += 3_600
    async with serving(url, clock=ahead, profiles_stored=1) as other, serving(url, profiles_stored=1) as stub:
        await put(other, small("from the future"))
        newest = await put(stub, small("now"))
        assert set(stored(url)) == {newest}


async def test_room_for_one_tenant_is_not_made_at_the_cost_of_another(url: str) -> None:
    async with serving(url, profiles_stored=1) as stub, serving(url, profiles_stored=1, principal=STRANGER) as stranger:
        ids = {await put(stub, small("ours")), await put(stranger, small("theirs"))}
        assert set(stored(url)) == ids


async def test_a_profile_that_checks_use_outlives_one_that_was_only_put_later(url: str) -> None:
    clock = Clock()
    async with serving(url, clock=clock) as stub:
        used = await put(stub, small("used"))
        clock.now += 1
        idle = await put(stub, small("idle"))
        clock.now += 100
        assert await known(stub, used)
    async with serving(url, clock=clock, profiles_stored=2) as stub:
        newest = await put(stub, small("newest"))
    assert set(stored(url)) == {used, newest}
    assert idle not in stored(url)


@pytest.mark.parametrize(("after", "noted"), [(58, 0), (60, 60)])
async def test_a_use_is_noted_once_a_minute_at_most(url: str, after: float, noted: float) -> None:
    clock = Clock()
    async with serving(url, clock=clock) as stub:
        profile_id = await put(stub)
        clock.now += after
        assert await known(stub, profile_id)
        clock.now += 1
        assert await known(stub, profile_id)
    assert stored(url) == {profile_id: NOON + noted}


async def test_checks_with_a_profile_in_memory_ask_the_database_nothing(url: str) -> None:
    async with serving(url) as stub:
        profile_id = await put(stub)
        statements: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            statements.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            assert all(await asyncio.gather(*(known(stub, profile_id) for _ in range(50))))
            assert statements == []
            assert not await known(stub, "0" * 64)
            assert statements
        finally:
            event.remove(Engine, "before_cursor_execute", note)


async def test_a_full_disk_costs_nothing_but_the_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/intention.sqlite3"
    service = IntentionService(IntentionSettings(database_url=url))
    async with running(service) as target:
        stub = pb_grpc.IntentionServiceStub(target.channel)
        database = service._profiles._store._database
        await database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1").first())
        profile_id = await put(stub, pb.Profile(messages=[f"word{n} other{n} third{n}" for n in range(1_000)]))
        assert stored(url) == {}
        assert await known(stub, profile_id)


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_a_database_that_goes_away_costs_a_resend_and_comes_back(url: str) -> None:
    async with serving(url, profiles_in_memory=1) as stub:
        profile_id = await put(stub)
        await put(stub, small("takes the place in memory"))
        with away(url):
            assert not await known(stub, profile_id)
            assert await put(stub) == profile_id
            assert await known(stub, profile_id)
            lost = await put(stub, small("while it was away"))
        assert lost not in stored(url)
        assert await known(stub, profile_id)
        assert await put(stub, small("while it was away")) == lost
        assert lost in stored(url)


async def test_a_database_that_cannot_be_used_is_told_by_the_probe_and_what_needs_none_is_answered(url: str) -> None:
    options = ServerOptions(authenticator=Authenticator(signing_key=b"k" * 32), http_bind=Bind.parse("127.0.0.1:0"))
    service = IntentionService(IntentionSettings(database_url=url))
    async with (
        running(service, options=options) as target,
        httpx.AsyncClient(base_url=target.server.http_address, timeout=60, verify=False) as client,
    ):
        assert (await client.get("/readyz")).status_code == 200
        with database(url) as connection:
            connection.execute(text("ALTER TABLE profiles RENAME TO elsewhere"))
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "not_ready": ["intention"]})
        stub = pb_grpc.IntentionServiceStub(target.channel)
        assert (await stub.BuildContext(pb.BuildContextRequest(intention=pb.Intention(title="Retry")))).text
        with database(url) as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO profiles"))
        assert (await client.get("/readyz")).status_code == 200


@contextmanager
def away(url: str) -> Iterator[None]:
    """For the block, the server has no database of that name."""
    name = make_url(url).database
    engine = create_engine(make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
            )
            yield
            connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
    finally:
        engine.dispose()


async def test_start_when_the_database_cannot_be_used_fails_with_path_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition) as refused:
        async with serving(f"sqlite:///{tmp_path}/file/intention.sqlite3"):
            pass
    assert str(tmp_path) in refused.value.message
    assert refused.value.remedy


@pytest.mark.parametrize("name", ["PROFILES_IN_MEMORY", "PROFILES_STORED", "PROFILES_BYTES"])
def test_a_limit_that_leaves_room_for_nothing_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"AUTOPACK_INTENTION_{name}"):
        load(IntentionSettings, {f"AUTOPACK_INTENTION_{name}": "0"})

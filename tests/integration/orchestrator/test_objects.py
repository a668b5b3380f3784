"""The object store: a directory that processes share, and an S3 server (moto's, real HTTP)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from autopack_kit.errors import InvalidArgument, NotFound, Unavailable
from autopack_orchestrator.adapters.objects import Objects
from autopack_orchestrator.adapters.shelf import Entry, Shelf
from autopack_orchestrator.adapters.store import Store
from autopack_orchestrator.adapters.uploads import Uploads
from autopack_orchestrator.core.model import Run
from autopack_orchestrator.errors import LeaseLost, StoreFailed
from autopack_orchestrator.execution import archive as archives
from autopack_orchestrator.execution.archive import LOG, Archive
from autopack_orchestrator.execution.context import RunContext
from autopack_orchestrator.execution.layout import Layout
from moto.server import ThreadedMotoServer

from tests.integration.orchestrator.stored import submit
from tests.robustness.processes import HANG_LIMIT_S, until


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/objects"
    endpoint = request.getfixturevalue("server")
    settings = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in {**settings, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/runs"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await asyncio.to_thread(Store.open, f"sqlite:///{tmp_path}/store.sqlite3")
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def held(store: Store) -> Run:
    """A run that this test holds."""
    await submit(store, "batch")
    run = await store.claim("me", limit=1)
    assert run is not None
    return run


def context(run: Run, tmp_path: Path) -> RunContext:
    """As much of a run's context as keeping its log needs."""
    layout, warnings = Layout(tmp_path / "data"), list[str]()

    async def warn(about: str, message: str) -> None:
        warnings.append(message)

    layout.attempt(run).mkdir(parents=True)
    made = SimpleNamespace(run=run, layout=layout, directory=layout.attempt(run), warn=warn, warnings=warnings)
    return cast(RunContext, made)


async def read(archive: Archive, run: Run, offset: int = 0) -> bytes:
    async def ended() -> bool:
        return True

    return b"".join([data async for data, _ in archive.read_log(run.run_id, run.attempt, offset, ended=ended)])


async def test_what_was_put_is_read_back_whole_and_in_part(url: str, tmp_path: Path) -> None:
    objects = Objects(url)
    (tmp_path / "patch").write_bytes(bytes(range(256)) * 100)
    await objects.put("batch/run/log-0", b"0123456789")
    await objects.put_file("batch/run/patch", tmp_path / "patch")
    assert await objects.get("batch/run/log-0", 3, 7) == b"3456"
    assert await Objects(url).get("batch/run/patch", 0, 25600) == bytes(range(256)) * 100


async def test_an_object_that_is_not_there_says_what_to_check(url: str) -> None:
    with pytest.raises(Unavailable, match="object store") as caught:
        await Objects(url).get("none", 0, 1)
    assert "AUTOPACK_ORCHESTRATOR_OBJECT_STORE_URL" in caught.value.remedy


def a_bundle(directory: Path) -> Path:
    repository, bundle = str(directory / "repository"), directory / "bundle"
    git = ("git", "-c", "user.name=A User", "-c", "user.email=user@example.com")
    for words in (("init", "-q", repository), ("-C", repository, "commit", "-q", "--allow-empty", "-m", "x")):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "-C", repository, "bundle", "create", "-q", str(bundle), "HEAD"], check=True)
    return bundle


async def test_a_bundle_that_another_process_took_is_found_and_one_that_was_exchanged_is_not(
    url: str, tmp_path: Path
) -> None:
    bundle = a_bundle(tmp_path)
    content = bundle.read_bytes()
    digest = hashlib.sha256(content).hexdigest()

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    one, two = (Uploads(tmp_path / name, 1 << 20, timedelta(hours=1)) for name in ("one", "two"))
    with pytest.raises(NotFound):
        await two.open("tenant", digest)
    one.shared = two.shared = Objects(url)
    with pytest.raises(NotFound):
        await two.open("tenant", digest)
    await one.take("tenant", len(content), digest, pieces())
    found = await two.open("tenant", digest)
    assert found.read_bytes() == content
    with pytest.raises(NotFound):
        await two.open("another", digest)
    found.unlink()
    key = f"uploads/{hashlib.sha256(b'tenant').hexdigest()[:32]}/{digest}"
    await two.shared.put(key, b"something else")
    with pytest.raises(NotFound):
        await two.open("tenant", digest)


async def test_a_bundle_that_has_expired_leaves_the_disk_and_the_store_and_a_kept_one_stays(
    url: str, tmp_path: Path
) -> None:
    content = a_bundle(tmp_path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    key = f"uploads/{hashlib.sha256(b'tenant').hexdigest()[:32]}/{digest}"

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    uploads = Uploads(tmp_path / "one", 1 << 20, timedelta(hours=1))
    objects = uploads.shared = Objects(url)
    assert await uploads.expired(timedelta()) == []
    await uploads.take("tenant", len(content), digest, pieces())
    await objects.put("another/object", b"x")
    assert [(item.key, item.size) for item in await objects.listed("uploads")] == [(key, len(content))]
    assert await uploads.expired(timedelta()) == []
    # As seen by a process for which the time of the bundle is over, with a clock that runs ahead by two hours.
    later = Uploads(tmp_path / "one", 1 << 20, timedelta(hours=-1))
    later.shared = objects
    found = await later.expired(timedelta())
    assert sorted(item.name.rpartition("/")[2] for item in found) == [digest, f"{digest}.bundle"]
    assert await later.expired(timedelta(hours=2)) == []
    for item in found:
        await later.discard(item)
        await later.discard(item)
    assert await objects.listed("uploads") == []
    assert await objects.get("another/object", 0, 1) == b"x"
    assert list((tmp_path / "one").glob("*/*")) == []


@pytest.mark.parametrize("wrong", ["", "bucket/prefix", "ftp://host/", "memory://", "file"])
def test_a_url_of_another_kind_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgument, match="OBJECT_STORE_URL"):
        Objects(wrong)


async def test_a_log_is_kept_in_pieces_and_any_byte_of_it_is_found(
    url: str, store: Store, held: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "PIECE_BYTES", 1000)
    shelf = Shelf(store.database)
    archive, ctx = Archive(Objects(url), shelf), context(held, tmp_path)
    content = b"".join(b"line %d\n" % number for number in range(500))
    log = ctx.layout.log(held.batch_id, held.name, held.attempt)
    async with archive.keeping(ctx):
        assert ctx.keeper is not None
        log.write_bytes(content[:1500])
        await ctx.keeper()
        with log.open("ab") as file:
            file.write(content[1500:])
        ctx.layout.patch(held).write_bytes(b"diff")
        await ctx.keeper()
    pieces = await shelf.after(held.run_id, 1, LOG, 0)
    assert [(piece.start, piece.size) for piece in pieces[:3]] == [(0, 1000), (1000, 500), (1500, 1000)]
    assert max(piece.size for piece in pieces) == 1000
    for offset in (0, 1, 999, 1000, 1499, 1500, len(content) - 1, len(content)):
        assert await read(archive, held, offset) == content[offset:]
    assert await read(archive, held, -10) == content[-10:]
    assert b"".join([data async for data in archive.read_patch(held)]) == b"diff"


async def test_whoever_takes_the_run_up_goes_on_where_the_log_was_kept(
    url: str, store: Store, held: Run, tmp_path: Path
) -> None:
    archive, ctx = Archive(Objects(url), Shelf(store.database)), context(held, tmp_path)
    log = ctx.layout.log(held.batch_id, held.name, held.attempt)
    log.write_bytes(b"before ")
    async with archive.keeping(ctx):
        assert ctx.keeper is not None
        await ctx.keeper()
    log.write_bytes(b"before after")
    ctx.run = await store.adopt(held, "me")
    async with archive.keeping(ctx):
        await ctx.keeper()
    assert await read(archive, held) == b"before after"


async def test_who_has_lost_the_run_adds_nothing_to_what_it_left(store: Store, held: Run) -> None:
    shelf = Shelf(store.database)
    await store.adopt(held, "another")
    with pytest.raises(LeaseLost):
        await shelf.add(held, LOG, Entry(0, 1, "", "key"))
    assert await shelf.size(held.run_id, 1, LOG) == 0


async def test_a_patch_that_was_exchanged_is_not_handed_out_whole(
    url: str, store: Store, held: Run, tmp_path: Path
) -> None:
    objects, ctx = Objects(url), context(held, tmp_path)
    archive = Archive(objects, Shelf(store.database))
    ctx.layout.patch(held).write_bytes(b"+good\n")
    async with archive.keeping(ctx):
        assert ctx.keeper is not None
        await ctx.keeper()
    (entry,) = await archive.shelf.after(held.run_id, 1, "patch", 0)
    await objects.put(entry.key, b"+evil\n")
    with pytest.raises(Unavailable, match="not what was uploaded"):
        [data async for data in archive.read_patch(held)]


async def test_a_store_that_is_away_costs_the_log_and_not_the_run(
    store: Store, held: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "TRY_AGAIN_S", 0.0)
    (tmp_path / "objects").write_text("a file where a directory should be")
    archive, ctx = Archive(Objects(f"file://{tmp_path}/objects"), Shelf(store.database)), context(held, tmp_path)
    ctx.layout.log(held.batch_id, held.name, held.attempt).write_bytes(b"text")
    async with archive.keeping(ctx):
        assert ctx.keeper is not None
        await ctx.keeper()
    warnings: Any = ctx
    assert ["could not be uploaded" in text for text in warnings.warnings] == [True]
    assert await archive.log_size(held.run_id, 1) == 0


async def test_a_log_is_followed_on_after_neither_it_nor_a_warning_could_be_stored(
    store: Store, held: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "PIECE_S", 0.01)
    away = tmp_path / "objects"
    away.write_text("a file where a directory should be")
    archive, ctx = Archive(Objects(f"file://{away}"), Shelf(store.database)), context(held, tmp_path)
    tried = asyncio.Event()

    async def warn(about: str, message: str) -> None:
        tried.set()
        raise StoreFailed(message)

    cast(Any, ctx).warn = warn
    ctx.layout.log(held.batch_id, held.name, held.attempt).write_bytes(b"text")
    async with asyncio.timeout(HANG_LIMIT_S), archive.keeping(ctx):
        await tried.wait()
        away.unlink()
        await until(lambda: archive.log_size(held.run_id, 1), "the log was uploaded")
    assert await read(archive, held) == b"text"


async def test_a_piece_that_was_listed_although_that_seemed_to_fail_leaves_no_gap(
    store: Store, held: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "TRY_AGAIN_S", 0.0)
    archive, ctx = Archive(Objects(f"file://{tmp_path}/objects"), Shelf(store.database)), context(held, tmp_path)
    log = ctx.layout.log(held.batch_id, held.name, held.attempt)
    log.write_bytes(b"one ")
    add = Shelf.add

    async def add_and_seem_to_fail(self: Shelf, run: Run, kind: str, entry: Entry) -> None:
        monkeypatch.setattr(Shelf, "add", add)
        await add(self, run, kind, entry)
        log.write_bytes(b"one two")
        raise Unavailable("The answer was lost.", reason="DATABASE_UNREACHABLE")

    monkeypatch.setattr(Shelf, "add", add_and_seem_to_fail)
    async with archive.keeping(ctx):
        assert ctx.keeper is not None
        await ctx.keeper()
    assert await read(archive, held) == b"one two"

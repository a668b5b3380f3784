"""What surrounds every call: errors, deadlines, cancellation, size limits, request ids, log lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from autopack_kit import errors
from autopack_kit.channel import from_rpc_error, open_channel
from autopack_kit.identity import Principal, Scope, current_principal, require
from autopack_kit.interceptors import CallLimits
from autopack_kit.server import MAX_REQUEST_BYTES, ServerOptions
from autopack_kit.testing import Running, running
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2, status_pb2

PATH = "/test.v1.ProbeService/"
KINDS = ["Unary", "Watch", "Upload", "Chat"]


def begin(target: Any, kind: str, request: bytes = b"x", **options: Any) -> Any:
    """A call of any kind, started; ``target`` has a channel."""

    async def one() -> AsyncIterator[bytes]:
        yield request

    channel, path = target.channel, PATH + kind
    if kind == "Watch":
        return channel.unary_stream(path)(request, **options)
    if kind == "Chat":
        return channel.stream_stream(path)(one(), **options)
    if kind == "Upload":
        return channel.stream_unary(path)(one(), **options)
    return channel.unary_unary(path)(request, **options)


async def call(target: Any, kind: str, request: bytes = b"x", **options: Any) -> list[bytes]:
    """The answers of a call of any kind."""
    rpc = begin(target, kind, request, **options)
    return [item async for item in rpc] if kind in {"Watch", "Chat"} else [await rpc]


async def failure(target: Any, kind: str, request: bytes = b"x", **options: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(target, kind, request, **options)
    return caught.value


async def trailers_of(channel: Any, request_id: str) -> dict[str, str]:
    rpc = channel.unary_unary(PATH + "Unary")(b"x", metadata=(("x-request-id", request_id),))
    await rpc
    return dict(tuple(await rpc.trailing_metadata()))


@pytest.mark.parametrize("kind", KINDS)
async def test_call_of_every_kind_when_it_succeeds_returns_the_answer(service: Any, kind: str) -> None:
    async with running(service) as target:
        assert (await call(target, kind, b"hello"))[-1] == b"hello"


@pytest.mark.parametrize("kind", KINDS)
async def test_domain_error_in_every_kind_arrives_whole_at_the_client(service: Any, kind: str) -> None:
    def act(request: bytes) -> bytes:
        raise errors.InvalidArgument(
            "runs[2].name is empty.",
            reason="NAME_EMPTY",
            remedy="Give each run a name.",
            metadata={"index": "2"},
            violations=[errors.FieldViolation("runs[2].name", "must not be empty")],
        )

    service.act = act
    async with running(service) as target:
        raw = await failure(target, kind)
    assert raw.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raw.details() == "runs[2].name is empty. Give each run a name."
    restored = from_rpc_error(raw)
    assert type(restored) is errors.InvalidArgument
    assert (restored.reason, restored.message, restored.remedy) == (
        "NAME_EMPTY",
        "runs[2].name is empty.",
        "Give each run a name.",
    )
    assert restored.metadata == {"index": "2"}
    assert restored.violations == (errors.FieldViolation("runs[2].name", "must not be empty"),)


@pytest.mark.parametrize("kind", KINDS)
async def test_unknown_error_in_every_kind_becomes_internal_without_its_text(service: Any, kind: str) -> None:
    def act(request: bytes) -> bytes:
        raise ZeroDivisionError("secret detail")

    service.act = act
    with structlog.testing.capture_logs() as logs:
        async with running(service) as target:
            raw = await failure(target, kind)
    assert raw.code() is grpc.StatusCode.INTERNAL
    assert "secret detail" not in str(raw.details())
    correlation_id = from_rpc_error(raw).metadata["correlation_id"]
    assert correlation_id in str(raw.details())
    logged = [entry for entry in logs if entry.get("correlation_id") == correlation_id]
    assert isinstance(logged[0]["exc_info"], ZeroDivisionError)


async def test_error_larger_than_the_headers_still_arrives_with_its_reason(service: Any) -> None:
    def act(request: bytes) -> bytes:
        raise errors.InvalidArgument(
            "é" * 5000,
            reason="MANY",
            remedy="ü" * 5000,
            metadata={f"k{index}": "v" * 5000 for index in range(100)},
            violations=[errors.FieldViolation(f"field{index}", "ö" * 5000) for index in range(100)],
        )

    service.act = act
    async with running(service) as target:
        raw = await failure(target, "Unary")
    assert raw.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc_error(raw).reason == "MANY"


@pytest.mark.parametrize("kind", ["Unary", "Upload"])
async def test_call_without_deadline_when_the_default_passes_ends_as_deadline_exceeded(service: Any, kind: str) -> None:
    service.act = lambda request: asyncio.sleep(3600)
    options = ServerOptions(limits=CallLimits(default_deadline=0.05))
    async with (
        running(service, options=options) as target,
        # Our own channels always set a deadline; those of others need not.
        grpc.aio.insecure_channel(target.address) as bare,
    ):
        raw = await failure(Running(target.address, bare, target.server), kind)
    assert raw.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert from_rpc_error(raw).reason == "DEADLINE_EXCEEDED"
    assert service.cancelled.is_set()


async def test_call_with_a_longer_deadline_than_the_maximum_ends_at_the_maximum(service: Any) -> None:
    service.act = lambda request: asyncio.sleep(3600)
    options = ServerOptions(limits=CallLimits(default_deadline=0.05, max_deadline=0.1))
    async with running(service, options=options) as target:
        raw = await failure(target, "Unary", timeout=600)
    assert from_rpc_error(raw).metadata["seconds"] == "0.1"


@pytest.mark.parametrize("kind", ["Watch", "Chat"])
async def test_stream_at_the_maximum_ends_as_unavailable_so_that_the_client_resumes(service: Any, kind: str) -> None:
    service.act = lambda request: asyncio.sleep(3600)
    options = ServerOptions(limits=CallLimits(default_deadline=0.01, max_deadline=0.1))
    async with running(service, options=options) as target:
        raw = await failure(target, kind)
    assert raw.code() is grpc.StatusCode.UNAVAILABLE
    assert from_rpc_error(raw).reason == "STREAM_ENDED_BY_SERVER"


async def test_timeout_inside_a_handler_is_not_taken_for_the_deadline(service: Any) -> None:
    def act(request: bytes) -> bytes:
        raise TimeoutError("mine")

    service.act = act
    async with running(service) as target:
        assert (await failure(target, "Unary")).code() is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("kind", KINDS)
async def test_client_that_goes_away_cancels_the_handler(service: Any, kind: str) -> None:
    service.act = lambda request: asyncio.sleep(3600)
    async with running(service) as target:
        # The call itself is cancelled: grpc's client can lose the cancellation of a task that awaits one just started.
        rpc = begin(target, kind)
        await service.entered.wait()
        assert rpc.cancel()
        await asyncio.wait_for(service.cancelled.wait(), 30)
        assert await rpc.code() is grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("kind", KINDS)
async def test_request_over_the_limit_of_its_service_is_refused_where_another_allows_more(
    service: Any, kind: str
) -> None:
    class Large(type(service)):  # type: ignore[misc]
        name = "large"
        full_names = ("test.v1.LargeService",)
        max_request_bytes = 64 << 20

        def add_to(self, server: grpc.aio.Server) -> None:
            pass

    async with running(service, Large()) as target:
        raw = await failure(target, kind, bytes(MAX_REQUEST_BYTES + 1))
        assert (await call(target, kind, bytes(MAX_REQUEST_BYTES)))[-1] == bytes(MAX_REQUEST_BYTES)
    restored = from_rpc_error(raw)
    assert isinstance(restored, errors.ResourceExhausted)
    assert restored.reason == "REQUEST_TOO_LARGE"


async def test_request_id_of_the_caller_comes_back_and_is_in_the_log(service: Any) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        async with running(service) as target:
            trailers = await trailers_of(target.channel, "mine-1")
    assert trailers["x-request-id"] == "mine-1"
    line = next(entry for entry in logs if entry["event"] == "call")
    assert line["request_id"] == "mine-1"
    assert (line["method"], line["code"], line["principal"], line["tenant"]) == (
        PATH + "Unary",
        "OK",
        "local",
        "default",
    )
    assert line["ms"] >= 0


async def test_request_id_that_could_forge_a_log_line_is_replaced(service: Any) -> None:
    async with running(service) as target:
        trailers = await trailers_of(target.channel, "a b=c")
        assert len(trailers["x-request-id"]) == 32


async def test_retry_delay_of_an_exhausted_limit_becomes_retry_info(service: Any) -> None:
    def act(request: bytes) -> bytes:
        raise errors.ResourceExhausted("Full.", reason="QUEUE_FULL", metadata={"retry_delay": "1.5"})

    service.act = act
    async with running(service) as target:
        raw = await failure(target, "Unary")
    details = status_pb2.Status.FromString(dict(raw.trailing_metadata())["grpc-status-details-bin"]).details
    info = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in details)
    assert info.retry_delay.ToMilliseconds() == 1500


async def test_unknown_method_is_unimplemented(service: Any) -> None:
    async with running(service) as target:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(target, "Nothing")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_principal_of_a_call_is_seen_in_threads(service: Any) -> None:
    service.act = lambda request: asyncio.to_thread(lambda: current_principal().tenant.encode())
    principal = Principal("someone", "acme", frozenset({Scope.READ}))
    async with running(service, principal=principal) as target:
        assert await call(target, "Unary") == [b"acme"]


async def test_call_without_the_scope_that_its_method_needs_is_denied(service: Any) -> None:
    def act(request: bytes) -> bytes:
        require(Scope.RUN)
        return request

    service.act = act
    async with running(service, principal=Principal("reader", "default", frozenset({Scope.READ}))) as target:
        raw = await failure(target, "Unary")
    assert raw.code() is grpc.StatusCode.PERMISSION_DENIED
    assert from_rpc_error(raw).reason == "SCOPE_MISSING"


async def test_token_inside_a_run_reaches_ingest_methods_and_no_other(service: Any) -> None:
    inside = Principal("run:r1", "default", frozenset({Scope.INGEST}), "r1")
    async with running(service, principal=inside) as target:
        assert await call(target, "Ingest", b"usage") == [b"usage"]
        for kind in KINDS:
            assert (await failure(target, kind)).code() is grpc.StatusCode.PERMISSION_DENIED


def probe_descriptor(level: Any) -> FileDescriptor:
    """ProbeService as protoc would describe it, with ``Unary`` marked so."""
    proto = descriptor_pb2.FileDescriptorProto(name="probe.proto", package="test.v1", syntax="proto3")
    proto.message_type.add(name="Empty")
    method = proto.service.add(name="ProbeService").method.add(
        name="Unary", input_type=".test.v1.Empty", output_type=".test.v1.Empty"
    )
    method.options.idempotency_level = level
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return pool.FindFileByName("probe.proto")


@pytest.mark.parametrize(
    ("level", "attempts"),
    [(descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS, 3), (descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN, 1)],
)
async def test_unavailable_is_retried_for_reads_and_for_nothing_else(service: Any, level: Any, attempts: int) -> None:
    seen = 0

    def act(request: bytes) -> bytes:
        nonlocal seen
        seen += 1
        if seen < 3:
            raise errors.Unavailable("Not yet.", reason="NOT_YET")
        return b"at last"

    service.act = act
    async with running(service) as target:
        channel = open_channel(target.address, files=[probe_descriptor(level)])
        async with channel:
            client = Running(target.address, channel, target.server)
            if attempts == 3:
                assert await call(client, "Unary") == [b"at last"]
            else:
                assert from_rpc_error(await failure(client, "Unary")).reason == "NOT_YET"
    assert seen == attempts


async def test_no_line_of_the_log_holds_payload_or_token(service: Any) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(service, token="apk_topsecret") as target:
            await failure(target, "Unary", b"payload-in-clear")
        async with running(service) as target:
            await call(target, "Unary", b"payload-in-clear")
    assert len([entry for entry in logs if entry["event"] == "call"]) == 2
    assert "topsecret" not in str(logs)
    assert "payload-in-clear" not in str(logs)

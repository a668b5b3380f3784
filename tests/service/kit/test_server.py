"""Real servers: where they listen, who gets in, what they refuse, how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from autopack_kit import certs
from autopack_kit.auth import Authenticator, ensure_tokens_file, mint_run_token, read_token
from autopack_kit.bind import Bind
from autopack_kit.channel import from_rpc_error, open_channel, open_sync_channel
from autopack_kit.errors import AutopackError, FailedPrecondition, PermissionDenied, Unauthenticated, Unavailable
from autopack_kit.server import Server, ServerOptions
from autopack_kit.testing import running
from autopack_kit.tls import ClientTls, ServerTls
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

UNARY = "/test.v1.ProbeService/Unary"
INGEST = "/test.v1.ProbeService/Ingest"
KEY = b"k" * 32
LOOPBACK = Bind.parse("127.0.0.1:0")


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ap-") as name:
        yield Path(name)


@pytest.fixture
def options(tmp_path: Path) -> ServerOptions:
    """Accepts the generated admin token and run tokens."""
    return ServerOptions(authenticator=Authenticator(ensure_tokens_file(tmp_path / "tokens.toml"), signing_key=KEY))


async def unary(channel: Any, request: bytes, method: str = UNARY) -> bytes:
    return bytes(await channel.unary_unary(method)(request))


async def watch(channel: Any) -> list[bytes]:
    return [item async for item in channel.unary_stream("/test.v1.ProbeService/Watch")(b"x")]


def unary_sync(channel: Any) -> bytes:
    return bytes(channel.unary_unary(UNARY)(b"sync", timeout=30))


async def refused(channel: Any, method: str = UNARY) -> AutopackError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(method)(b"x", timeout=30)
    return from_rpc_error(caught.value)


async def status(channel: Any, name: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)).status)


async def test_socket_of_a_server_has_mode_0600_in_a_0700_directory(service: Any, short: Path) -> None:
    path = short / "new" / "s"
    async with running(service, bind=Bind.unix(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


async def test_start_on_a_socket_that_is_served_is_refused_and_leaves_it_serving(service: Any, short: Path) -> None:
    bind = Bind.unix(short / "s")
    async with running(service, bind=bind) as target:
        with pytest.raises(FailedPrecondition) as caught:
            await Server([], bind).start()
        assert await unary(target.channel, b"x") == b"x"
    assert caught.value.reason == "ALREADY_SERVING"


async def test_start_on_a_socket_of_another_program_is_refused(service: Any, short: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(short / "s"))
        other.listen()
        with pytest.raises(FailedPrecondition) as caught:
            await Server([service], Bind.unix(short / "s")).start()
    assert caught.value.reason == "ALREADY_SERVING"


async def test_start_on_a_stale_socket_replaces_it(service: Any, short: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(short / "s"))
    async with running(service, bind=Bind.unix(short / "s")) as target:
        assert await unary(target.channel, b"x") == b"x"


async def test_start_where_a_file_is_leaves_the_file_alone(service: Any, short: Path) -> None:
    (short / "s").write_text("precious")
    with pytest.raises(FailedPrecondition) as caught:
        await Server([service], Bind.unix(short / "s")).start()
    assert caught.value.reason == "SOCKET_PATH_TAKEN"
    assert (short / "s").read_text() == "precious"


async def test_start_in_a_directory_that_others_may_write_is_refused(service: Any, short: Path) -> None:
    short.chmod(0o777)
    with pytest.raises(FailedPrecondition) as caught:
        await Server([service], Bind.unix(short / "s")).start()
    assert caught.value.reason == "SOCKET_DIRECTORY_UNSAFE"


async def test_start_where_no_socket_can_be_is_refused_with_a_remedy(service: Any, short: Path) -> None:
    (short / "file").write_text("x")
    with pytest.raises(FailedPrecondition) as caught:
        await Server([service], Bind.unix(short / "file" / "s")).start()
    assert caught.value.reason == "SOCKET_UNUSABLE"


async def test_stop_that_fails_in_one_service_still_stops_the_others_and_frees_the_socket(
    service: Any, short: Path
) -> None:
    class Stuck(type(service)):  # type: ignore[misc]
        full_names = ()

        def add_to(self, server: grpc.aio.Server) -> None:
            pass

        async def stop(self, grace: float) -> None:
            raise OSError("disk full")

    server = Server([service, Stuck()], Bind.unix(short / "s"))
    await server.start()
    with pytest.raises(ExceptionGroup, match="did not stop"):
        await server.stop(grace=0)
    assert service.events[-1] == "stop"
    assert not (short / "s").exists()


async def test_stop_during_which_grpc_fails_still_stops_the_services_and_frees_the_socket(
    service: Any, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server([service], Bind.unix(short / "s"))
    await server.start()
    core: Any = type(server._answering[0][0])
    stop = core.stop

    async def stop_and_fail(running: grpc.aio.Server, grace: float | None) -> None:
        await stop(running, grace)
        raise RuntimeError("the core is in a bad state")

    monkeypatch.setattr(core, "stop", stop_and_fail)
    with pytest.raises(RuntimeError, match="bad state"):
        await server.stop(grace=0)
    assert service.events[-1] == "stop"
    assert not (short / "s").exists()
    await server.wait()


async def test_start_on_a_port_in_use_is_refused_with_the_address(service: Any, options: ServerOptions) -> None:
    async with running(service, bind=LOOPBACK, options=options) as target:
        with pytest.raises(FailedPrecondition) as caught:
            await Server([], Bind.parse(target.address), options).start()
    assert caught.value.reason == "ADDRESS_UNAVAILABLE"
    assert target.address in str(caught.value)


async def test_start_that_fails_in_a_service_stops_the_started_ones_and_frees_the_socket(
    service: Any, short: Path
) -> None:
    class Broken(type(service)):  # type: ignore[misc]
        full_names = ()

        def add_to(self, server: grpc.aio.Server) -> None:
            pass

        async def start(self, context: Any) -> None:
            raise FailedPrecondition("The database is read-only.", reason="READ_ONLY")

    with pytest.raises(FailedPrecondition, match="read-only"):
        await Server([service, Broken()], Bind.unix(short / "s")).start()
    assert service.events == ["start ['probe']", "stop"]
    async with running(service, bind=Bind.unix(short / "s")):
        pass


async def test_tcp_without_any_token_to_accept_is_refused(service: Any) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await Server([service], LOOPBACK).start()
    assert caught.value.reason == "TOKENS_NEEDED"


async def test_public_address_without_tls_is_refused_unless_terminated_elsewhere(
    service: Any, options: ServerOptions
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await Server([service], Bind.parse("0.0.0.0:0"), options).start()
    assert caught.value.reason == "TLS_NEEDED"
    assert "--tls-terminated-elsewhere" in caught.value.remedy


async def test_tcp_without_a_token_serves_health_and_nothing_else(service: Any, options: ServerOptions) -> None:
    async with running(service, bind=LOOPBACK, options=options) as target:
        assert await status(target.channel) == health_pb2.HealthCheckResponse.SERVING
        assert await status(target.channel, "test.v1.ProbeService") == health_pb2.HealthCheckResponse.SERVING
        assert isinstance(await refused(target.channel), Unauthenticated)
        with open_sync_channel(target.address) as blocking:
            database = ProtoReflectionDescriptorDatabase(blocking)
            with pytest.raises(grpc.RpcError) as caught:
                await asyncio.to_thread(lambda: list(database.get_services()))
    assert from_rpc_error(caught.value).reason == "TOKEN_MISSING"


async def test_tcp_with_the_generated_token_serves_calls_and_reflection(
    service: Any, options: ServerOptions, tmp_path: Path
) -> None:
    token = read_token(tmp_path / "token")
    async with running(service, bind=LOOPBACK, options=options, token=token) as target:
        assert await unary(target.channel, b"x") == b"x"
        assert await watch(target.channel) == [b"first", b"x"]
        with open_sync_channel(target.address, token=token) as blocking:
            database = ProtoReflectionDescriptorDatabase(blocking)
            services = await asyncio.to_thread(lambda: list(database.get_services()))
            assert await asyncio.to_thread(unary_sync, blocking) == b"sync"
    assert set(services) >= {"test.v1.ProbeService", "grpc.health.v1.Health"}


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
async def test_request_over_tcp_without_a_token_is_refused_before_it_is_parsed(
    service: Any, options: ServerOptions, kind: str
) -> None:
    parsed: list[int] = []

    class Parsing(type(service)):  # type: ignore[misc]
        full_names = ("test.v1.ParsingService",)

        def add_to(self, server: grpc.aio.Server) -> None:
            def parse(data: bytes) -> bytes:
                parsed.append(len(data))
                return data

            behaviours = {"unary_unary": self.unary, "unary_stream": self.watch}
            behaviours |= {"stream_unary": self.upload, "stream_stream": self.chat}
            handler = getattr(grpc, f"{kind}_rpc_method_handler")(behaviours[kind], parse)
            handlers = {"Take": handler}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.full_names[0], handlers),))

    request = b"x" * (8 << 20)  # more than fits into the windows and buffers of a connection
    async with running(Parsing(), bind=LOOPBACK, options=options) as target:
        call = getattr(target.channel, kind)("/test.v1.ParsingService/Take")
        answer = call(iter([request]) if kind.startswith("stream") else request)
        with pytest.raises(grpc.RpcError) as caught:
            await (anext(aiter(answer)) if kind.endswith("stream") else answer)
    assert from_rpc_error(caught.value).reason == "TOKEN_MISSING"
    assert parsed == []


async def test_wrong_token_is_refused_on_the_socket_too(service: Any, options: ServerOptions) -> None:
    async with running(service, options=options, token="apk_wrong") as target:
        assert (await refused(target.channel)).reason == "TOKEN_INVALID"


async def test_run_token_on_the_socket_has_only_its_own_scope(service: Any, options: ServerOptions) -> None:
    token = mint_run_token(KEY, "r1", "default", expires=2**40)
    async with running(service, options=options, token=token) as target:
        assert await unary(target.channel, b"x", INGEST) == b"x"
        assert isinstance(await refused(target.channel), PermissionDenied)


async def test_mutual_tls_serves_a_client_with_a_certificate_and_no_other(
    service: Any, options: ServerOptions, tmp_path: Path
) -> None:
    files = certs.init(tmp_path / "certs")
    secure = ServerOptions(authenticator=options.authenticator, tls=ServerTls(files.server, files.server_key, files.ca))
    server = Server([service], Bind.parse("127.0.0.1:0"), secure)
    await server.start()
    token = read_token(tmp_path / "token")
    try:
        complete = ClientTls(files.ca, files.client, files.client_key)
        async with open_channel(server.address, token=token, tls=complete) as channel:
            assert await unary(channel, b"x") == b"x"
        async with open_channel(server.address, token=token, tls=ClientTls(files.ca)) as channel:
            assert isinstance(await refused(channel), Unavailable)
    finally:
        await server.stop(grace=0)


async def test_health_only_address_serves_health_and_nothing_else(service: Any, short: Path) -> None:
    options = ServerOptions(health_bind=LOOPBACK)
    async with (
        running(service, options=options) as target,
        open_channel(target.server.health_address) as probe,
    ):
        assert await status(probe) == health_pb2.HealthCheckResponse.SERVING
        assert (await refused(probe)).reason == "RPC_UNIMPLEMENTED"


async def test_stop_lets_a_call_in_flight_finish_and_ends_streams(service: Any) -> None:
    release = asyncio.Event()

    async def act() -> bytes:
        await release.wait()
        return b"done"

    service.act = lambda request: act()
    async with running(service) as target:
        call = asyncio.create_task(unary(target.channel, b"x"))
        await service.entered.wait()
        stream = health_pb2_grpc.HealthStub(target.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await stream.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(target.server.stop(grace=60))
        assert (await stream.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        release.set()
        assert await call == b"done"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.wait_for(stopping, 30)
    assert service.events[-1] == "stop"


PROGRAM = """
    import asyncio, sys
    import grpc
    from pathlib import Path
    from autopack_kit.server import Bind, serve

    class Slow:
        name = "slow"
        full_names = ("test.v1.SlowService",)
        def add_to(self, server):
            handlers = {"Wait": grpc.unary_unary_rpc_method_handler(self.wait)}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.v1.SlowService", handlers),))
        async def wait(self, request, context):
            print("entered", flush=True)
            await asyncio.sleep(3600 if request == b"long" else 1)
            return b"finished"
        async def start(self, context): pass
        async def stop(self, grace): print("service stopped", flush=True)

    bind = Bind.unix(Path(sys.argv[1]))
    asyncio.run(serve([Slow()], bind, ready=lambda server: print("ready", flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_during_a_call_lets_it_finish_and_a_second_one_ends_it(short: Path, number: int) -> None:
    for request, signals in ((b"short", 1), (b"long", 2)):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(PROGRAM), str(short / "s"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        lines = process.stdout
        while await lines.readline() not in (b"ready\n", b""):
            pass
        async with open_channel(f"unix:{short / 's'}") as channel:
            call = asyncio.create_task(unary(channel, request, "/test.v1.SlowService/Wait"))
            while await lines.readline() not in (b"entered\n", b""):
                pass
            for _ in range(signals):
                os.kill(process.pid, number)
                await _not_serving(channel)
            if signals == 1:
                assert await call == b"finished"
            else:
                with pytest.raises(grpc.aio.AioRpcError):
                    await call
        output = (await asyncio.wait_for(lines.read(), 60)).decode()
        assert await process.wait() == 0
        assert "service stopped" in output
        assert not (short / "s").exists()


async def _not_serving(channel: grpc.aio.Channel) -> None:
    """Returns once the server drains, so that a second signal is not merged with the first."""
    while True:
        try:
            if await status(channel) == health_pb2.HealthCheckResponse.NOT_SERVING:
                return
        except grpc.aio.AioRpcError:
            return

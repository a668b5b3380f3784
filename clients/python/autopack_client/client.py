"""One connection, five services."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio
from autopack_api.hardening.v1 import hardening_pb2
from autopack_api.hardening.v1.hardening_pb2_grpc import HardeningServiceStub
from autopack_api.intention.v1 import intention_pb2
from autopack_api.intention.v1.intention_pb2_grpc import IntentionServiceStub
from autopack_api.orchestrator.v1 import orchestrator_pb2
from autopack_api.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from autopack_api.telemetry.v1 import telemetry_pb2
from autopack_api.telemetry.v1.telemetry_pb2_grpc import TelemetryServiceStub
from autopack_api.toolchain.v1 import toolchain_pb2
from autopack_api.toolchain.v1.toolchain_pb2_grpc import ToolchainServiceStub
from autopack_kit.channel import open_channel, open_sync_channel
from autopack_kit.tls import ClientTls

from autopack_client.calls import AsyncCalls, Calls

if TYPE_CHECKING:
    from autopack_api.hardening.v1.hardening_pb2_grpc import HardeningServiceAsyncStub
    from autopack_api.intention.v1.intention_pb2_grpc import IntentionServiceAsyncStub
    from autopack_api.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceAsyncStub
    from autopack_api.telemetry.v1.telemetry_pb2_grpc import TelemetryServiceAsyncStub
    from autopack_api.toolchain.v1.toolchain_pb2_grpc import ToolchainServiceAsyncStub

__all__ = ["AsyncClient", "Client", "connect", "connect_sync"]

_FILES = [
    module.DESCRIPTOR for module in (toolchain_pb2, hardening_pb2, intention_pb2, orchestrator_pb2, telemetry_pb2)
]
"""Their safe methods are sent again when the server was away for a moment."""


class AsyncClient:
    """The generated asyncio stubs of all services on one channel. Close it, or use it as a context manager.

    Every failed call raises an :class:`autopack_kit.errors.AutopackError` with the server's reason, remedy and field
    violations. A server that runs only some of the services answers UNIMPLEMENTED for the others.

    Attributes:
        address: what it is connected to.
        channel: the channel itself, for services that are not Autopack's, such as ``grpc.health.v1.Health``.
        toolchain: what is this repository?
        hardening: why did this command fail?
        intention: what must the agent keep in mind?
        orchestrator: runs.
        telemetry: what did it cost?
    """

    toolchain: ToolchainServiceAsyncStub
    hardening: HardeningServiceAsyncStub
    intention: IntentionServiceAsyncStub
    orchestrator: OrchestratorServiceAsyncStub
    telemetry: TelemetryServiceAsyncStub

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.channel = channel
        calls: Any = AsyncCalls(channel)
        self.toolchain = ToolchainServiceStub(calls)
        self.hardening = HardeningServiceStub(calls)
        self.intention = IntentionServiceStub(calls)
        self.orchestrator = OrchestratorServiceStub(calls)
        self.telemetry = TelemetryServiceStub(calls)

    async def close(self) -> None:
        """Ends the calls in flight and closes the channel."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Client:
    """As :class:`AsyncClient`, without asyncio."""

    toolchain: ToolchainServiceStub
    hardening: HardeningServiceStub
    intention: IntentionServiceStub
    orchestrator: OrchestratorServiceStub
    telemetry: TelemetryServiceStub

    def __init__(self, address: str, channel: grpc.Channel) -> None:
        self.address = address
        self.channel = channel
        calls: Any = Calls(channel)
        self.toolchain = ToolchainServiceStub(calls)
        self.hardening = HardeningServiceStub(calls)
        self.intention = IntentionServiceStub(calls)
        self.orchestrator = OrchestratorServiceStub(calls)
        self.telemetry = TelemetryServiceStub(calls)

    def close(self) -> None:
        """Ends the calls in flight and closes the channel."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(address: str, *, token: str | Callable[[], str] | None = None, tls: ClientTls | None = None) -> AsyncClient:
    """A client for asyncio. It connects at its first call, so an absent server is the error of that call.

    Args:
        address: ``unix:/path`` or ``HOST:PORT``.
        token: sent with every call, or what makes it anew for each; the UNIX socket of one's own server needs none.
        tls: certificate files; None = plaintext.
    """
    return AsyncClient(address, open_channel(address, token=token, tls=tls, files=_FILES))


def connect_sync(address: str, *, token: str | None = None, tls: ClientTls | None = None) -> Client:
    """A client without asyncio; arguments as for :func:`connect`."""
    return Client(address, open_sync_channel(address, token=token, tls=tls, files=_FILES))

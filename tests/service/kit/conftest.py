"""A hand-made service that does whatever a test asks for, without generated stubs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from autopack_kit.server import ServiceContext

FULL_NAME = "test.v1.ProbeService"


class ProbeService:
    """Raw bytes in and out; ``act`` decides what a call does."""

    name = "probe"
    full_names = (FULL_NAME,)
    ingest_methods = frozenset({f"/{FULL_NAME}/Ingest"})

    def __init__(self) -> None:
        self.act: Callable[[bytes], Any] = lambda request: request
        self.events: list[str] = []
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Ingest": grpc.unary_unary_rpc_method_handler(self.unary),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch),
            "Upload": grpc.stream_unary_rpc_method_handler(self.upload),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(FULL_NAME, handlers),))

    async def start(self, context: ServiceContext) -> None:
        self.events.append(f"start {sorted(context.services)}")

    async def stop(self, grace: float) -> None:
        self.events.append("stop")

    async def _do(self, request: bytes) -> bytes:
        self.entered.set()
        try:
            result = self.act(request)
            return bytes(await result if asyncio.iscoroutine(result) else result)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def unary(self, request: bytes, context: Any) -> bytes:
        return await self._do(request)

    async def watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        yield await self._do(request)

    async def upload(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return await self._do(b"".join([request async for request in requests]))

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield await self._do(request)


@pytest.fixture
def service() -> ProbeService:
    return ProbeService()

"""Errors of calls as :class:`autopack_kit.errors.AutopackError`, for the generated stubs.

A stub asks its channel for one callable per method. The channels here hand out callables that turn ``grpc.RpcError``
into the error the server raised. An interceptor cannot do it for streams in asyncio: it returns the call before the
first message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
from autopack_kit.status import from_rpc_error

__all__ = ["AsyncCalls", "AsyncStream", "Calls", "Stream"]


class AsyncStream:
    """A server stream: iterate it once; :meth:`cancel` ends it early."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for message in self._call:
                yield message
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            self._call.cancel()

    def cancel(self) -> bool:
        """Ends the call; False if it had ended."""
        return bool(self._call.cancel())


class Stream:
    """As :class:`AsyncStream`, without asyncio."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            self._call.cancel()

    def cancel(self) -> bool:
        """Ends the call; False if it had ended."""
        return bool(self._call.cancel())


class AsyncCalls:
    """Stands for a ``grpc.aio.Channel`` when a generated stub is made."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, *args: Any, **options: Any) -> Callable[..., Any]:
        """A method with one request and one response."""
        return _awaiting(self._channel.unary_unary(*args, **options))

    def stream_unary(self, *args: Any, **options: Any) -> Callable[..., Any]:
        """A method that takes a stream of requests."""
        return _awaiting(self._channel.stream_unary(*args, **options))

    def unary_stream(self, *args: Any, **options: Any) -> Callable[..., AsyncStream]:
        """A method that answers with a stream."""
        call = self._channel.unary_stream(*args, **options)
        return lambda request, **keywords: AsyncStream(call(request, **keywords))


class Calls:
    """Stands for a ``grpc.Channel`` when a generated stub is made."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def unary_unary(self, *args: Any, **options: Any) -> Callable[..., Any]:
        """A method with one request and one response."""
        return _blocking(self._channel.unary_unary(*args, **options))

    def stream_unary(self, *args: Any, **options: Any) -> Callable[..., Any]:
        """A method that takes a stream of requests."""
        return _blocking(self._channel.stream_unary(*args, **options))

    def unary_stream(self, *args: Any, **options: Any) -> Callable[..., Stream]:
        """A method that answers with a stream."""
        call = self._channel.unary_stream(*args, **options)
        return lambda request, **keywords: Stream(call(request, **keywords))


def _awaiting(call: Any) -> Callable[..., Any]:
    async def run(request: Any, **keywords: Any) -> Any:
        try:
            return await call(request, **keywords)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    return run


def _blocking(call: Any) -> Callable[..., Any]:
    def run(request: Any, **keywords: Any) -> Any:
        try:
            return call(request, **keywords)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error

    return run

"""What happens around every call, in this order: request id, log, authentication, deadline, errors.

One interceptor runs all five steps in one wrapper per call: each further layer would cost every call of every service.
Wrapped handlers are cached per method. Payloads and tokens are never logged.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio
import structlog

from autopack_kit.auth import Authenticator, Transport
from autopack_kit.errors import (
    AutopackError,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    Unavailable,
)
from autopack_kit.identity import Principal, Scope, as_principal, require
from autopack_kit.status import DETAILS_KEY, STREAM_ENDED, to_status

if TYPE_CHECKING:
    from autopack_kit.tracing import CallSpan, Tracing

__all__ = ["REQUEST_ID_KEY", "CallInterceptor", "CallLimits", "MethodRules", "request_id"]

REQUEST_ID_KEY = "x-request-id"
"""Metadata in which a caller may send an id that it finds again in our log, and in which we return it."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

HEALTH_PREFIX = "/grpc.health.v1.Health/"
REFLECTION_PREFIX = "/grpc.reflection."


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Times of calls, in seconds.

    Attributes:
        default_deadline: for calls with a single answer whose caller set none.
        max_deadline: for all calls. A stream that reaches it ends as UNAVAILABLE, and its client resumes.
    """

    default_deadline: float = 60.0
    max_deadline: float = 3600.0


@dataclass(frozen=True, slots=True)
class MethodRules:
    """What differs between methods, by full path ``/package.Service/Method`` or service prefix ``/package.Service/``.

    Attributes:
        domains: service prefix -> error domain such as ``toolchain.autopack``.
        max_request_bytes: service prefix -> largest request message.
        ingest: methods that a caller without scope ``read`` may use: what a run's own token can reach.
    """

    domains: dict[str, str] = field(default_factory=dict)
    max_request_bytes: dict[str, int] = field(default_factory=dict)
    ingest: frozenset[str] = frozenset()


class _TooLarge:
    """Stands in for a request that was refused before it was parsed."""

    def __init__(self, size: int, limit: int) -> None:
        self.size, self.limit = size, limit

    def error(self) -> ResourceExhausted:
        return ResourceExhausted(
            f"The request has {self.size} bytes; this service takes at most {self.limit}.",
            reason="REQUEST_TOO_LARGE",
            remedy="Send less: the tail of a log, fewer files, or several requests.",
            metadata={"bytes": str(self.size), "limit": str(self.limit)},
        )


@dataclass(slots=True)
class _Call:
    """The state of one call while it is served."""

    request_id: str
    started: float
    principal: Principal | None = None
    code: str = "OK"
    reason: str = ""
    span: CallSpan | None = None


class CallInterceptor(grpc.GenericRpcHandler):
    """What stands between a server and all its methods; to be registered as its one handler.

    Not an interceptor of gRPC's: those are asked for the handler of each call through coroutines of their own, which
    takes longer than all that is done here. Services register with it as they would with a server.

    Args:
        authenticator: who may call.
        transport: of the one address that the server listens on.
        rules: what differs between methods.
        limits: deadlines.
        observe: told method, code and seconds of every call once its answer has gone out; for metrics.
        tracing: makes spans; None = none are made.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        transport: Transport,
        rules: MethodRules,
        limits: CallLimits | None = None,
        observe: Callable[[str, str, float], None] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._transport = transport
        self._rules = rules
        self._limits = limits or CallLimits()
        self._observe = observe
        self._tracing = tracing
        self._log = structlog.get_logger("autopack.call").bind()
        self._handlers: list[Any] = []
        self._wrapped: dict[str, Any] = {}
        self._streams: set[_Deadline] = set()

    def end_streams(self, seconds: float) -> None:
        """Gives every response stream that is open now at most ``seconds``: the server drains."""
        for deadline in self._streams:
            deadline.shorten(seconds)

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """As of a server."""
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """As of a server. Generated code registers each method in both ways; one is enough."""

    def service(self, details: Any) -> Any:
        """The wrapped handler of a method; None for an unknown method, which gRPC answers itself.

        Over TCP a caller must be known before its request is even received: reading and parsing up to the largest
        request for anybody who can connect would be theirs to spend. The UNIX socket is open to its owner alone.
        """
        method = details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = next((found for one in self._handlers if (found := one.service(details)) is not None), None)
            if handler is None:
                return None
            # Bounded: only methods that exist get here.
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        if self._transport is Transport.TCP:
            try:
                self._authenticate(method, details.invocation_metadata)
            except AutopackError as error:
                return self._refused(method, error)
        return wrapped

    def _refused(self, method: str, error: AutopackError) -> Any:
        """A handler that ends the call with ``error``. It takes a stream, because gRPC reads a single request first."""

        async def work(_: float) -> Any:
            raise error

        async def run(_: Any, context: Any) -> Any:
            return await self._around(method, _prefix(method), context, work, self._limits.default_deadline)

        return grpc.stream_unary_rpc_method_handler(run)

    def _wrap(self, method: str, handler: Any) -> Any:
        prefix = _prefix(method)
        limit = self._rules.max_request_bytes.get(prefix)
        parse = _bounded(handler.request_deserializer, limit)
        serialize = handler.response_serializer
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        if handler.request_streaming and limit is not None:
            behaviour = _checked_stream(behaviour, response_streaming=handler.response_streaming)
        if handler.response_streaming:
            factory = grpc.stream_stream_rpc_method_handler if handler.request_streaming else None
            factory = factory or grpc.unary_stream_rpc_method_handler
            return factory(self._streaming(method, prefix, behaviour), parse, serialize)
        single = grpc.stream_unary_rpc_method_handler if handler.request_streaming else None
        single = single or grpc.unary_unary_rpc_method_handler
        return single(self._single(method, prefix, behaviour), parse, serialize)

    def _single(self, method: str, prefix: str, behaviour: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        async def run(request: Any, context: Any) -> Any:
            async def work(seconds: float) -> Any:
                if isinstance(request, _TooLarge):
                    raise request.error()
                async with _Deadline(seconds, streaming=False):
                    return await behaviour(request, context)

            return await self._around(method, prefix, context, work, self._limits.default_deadline)

        return run

    def _streaming(self, method: str, prefix: str, behaviour: Callable[[Any, Any], Any]) -> Any:
        async def run(request: Any, context: Any) -> None:
            async def work(seconds: float) -> None:
                if isinstance(request, _TooLarge):
                    raise request.error()
                async with _Deadline(seconds, streaming=True) as deadline:
                    with self._listed(deadline):
                        await _write_all(behaviour(request, context), context)

            # No default deadline: following a batch takes as long as the batch.
            await self._around(method, prefix, context, work, self._limits.max_deadline)

        return run

    @contextmanager
    def _listed(self, deadline: _Deadline) -> Iterator[None]:
        self._streams.add(deadline)
        try:
            yield
        finally:
            self._streams.discard(deadline)

    async def _around(
        self, method: str, prefix: str, context: Any, work: Callable[[float], Awaitable[Any]], default: float
    ) -> Any:
        metadata = context.invocation_metadata() or ()
        call = _Call(request_id(metadata), time.perf_counter())
        structlog.contextvars.bind_contextvars(request_id=call.request_id)
        if self._tracing is not None and (span := self._tracing.start(method, metadata)) is not None:
            call.span = span
            structlog.contextvars.bind_contextvars(trace_id=span.trace_id)
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        try:
            call.principal = self._authenticate(method, metadata)
            remaining = context.time_remaining()
            seconds = min(default if remaining is None else remaining, self._limits.max_deadline)
            with as_principal(call.principal):
                self._authorize(method)
                return await work(seconds)
        except AutopackError as error:
            await self._abort(context, call, prefix, error)
        except asyncio.CancelledError:
            call.code = "CANCELLED"
            raise
        except grpc.aio.AbortError:
            raise  # the handler (health, reflection) chose its own status
        except Exception as error:
            await self._abort(context, call, prefix, self._unknown(method, error))
        finally:
            self._report(method, call, context)

    def _authenticate(self, method: str, metadata: Any) -> Principal:
        if method.startswith(HEALTH_PREFIX):
            return _PROBE  # probes carry no credentials
        return self._authenticator.authenticate(metadata, self._transport)

    def _authorize(self, method: str) -> None:
        """The floor under every method; a servicer asks for more with ``require``."""
        if method.startswith(HEALTH_PREFIX):
            return
        if method in self._rules.ingest:
            require(Scope.INGEST)
            return
        require(Scope.READ)

    def _unknown(self, method: str, error: Exception) -> Internal:
        correlation_id = uuid.uuid4().hex
        self._log.error("unexpected error", method=method, correlation_id=correlation_id, exc_info=error)
        return Internal(
            "Something went wrong inside Autopack.",
            reason="INTERNAL",
            remedy=f"Report it with the log lines that carry correlation id {correlation_id}.",
            metadata={"correlation_id": correlation_id},
        )

    async def _abort(self, context: Any, call: _Call, prefix: str, error: AutopackError) -> NoReturn:
        code, message, details = to_status(error, self._rules.domains.get(prefix, "autopack"))
        call.code, call.reason = code.name, error.reason
        await context.abort(code, message, ((REQUEST_ID_KEY, call.request_id), (DETAILS_KEY, details)))
        raise AssertionError("abort returned")  # unreachable: abort raises

    def _report(self, method: str, call: _Call, context: Any) -> None:
        code = call.code
        if code == "OK" and (own := context.code()):
            code = own.name if isinstance(own, grpc.StatusCode) else _CODE_NAMES.get(own, str(own))
        if call.span is not None:
            call.span.end(code, call.reason)
        # A probe every few seconds would bury everything else.
        write = self._log.debug if method.startswith(HEALTH_PREFIX) and code == "OK" else self._log.info
        principal = call.principal
        seconds = time.perf_counter() - call.started
        fields = {
            "method": method,
            "code": code,
            "ms": round(seconds * 1000, 2),
            "principal": principal.name if principal else "",
            "tenant": principal.tenant if principal else "",
            "peer": context.peer(),
        }
        if call.reason:
            fields["reason"] = call.reason
        # After the answer has gone out: rendering and writing a line takes 30 to 60 microseconds.
        asyncio.get_running_loop().call_soon(self._after, write, fields, seconds)

    def _after(self, write: Callable[..., Any], fields: dict[str, Any], seconds: float) -> None:
        write("call", **fields)
        if self._observe is not None:
            self._observe(fields["method"], fields["code"], seconds)


_PROBE = Principal("probe", "", frozenset())
_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class _Deadline:
    """Ends the block after ``seconds`` with an error that says so; a timeout of the block's own passes through."""

    def __init__(self, seconds: float, *, streaming: bool) -> None:
        self._seconds = seconds
        self._streaming = streaming
        self._timeout = asyncio.timeout(max(seconds, 0.0))

    async def __aenter__(self) -> _Deadline:
        await self._timeout.__aenter__()
        return self

    def shorten(self, seconds: float) -> None:
        """Ends the block at most ``seconds`` from now."""
        when = asyncio.get_running_loop().time() + seconds
        current = self._timeout.when()
        if not self._timeout.expired() and (current is None or when < current):
            self._timeout.reschedule(when)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as expired:
            metadata = {"seconds": f"{self._seconds:g}"}
            if self._streaming:
                raise Unavailable(
                    "This stream has reached the longest time of a stream, or the server is stopping.",
                    reason=STREAM_ENDED,
                    remedy="Open it again from the last position received.",
                    metadata=metadata,
                ) from expired
            raise DeadlineExceeded(
                f"The call did not end within {self._seconds:g} s.",
                reason="DEADLINE_EXCEEDED",
                remedy="Set a longer deadline, up to the server's maximum, or ask for less.",
                metadata=metadata,
            ) from expired


async def _write_all(answer: Any, context: Any) -> None:
    if not isinstance(answer, AsyncGenerator):
        await answer  # the handler writes to the context itself
        return
    async with aclosing(answer) as messages:
        async for message in messages:
            await context.write(message)


def _prefix(method: str) -> str:
    """``/package.Service/`` of ``/package.Service/Method``."""
    return method[: method.rindex("/") + 1]


def request_id(metadata: Any) -> str:
    """The caller's own id of a call, if it sent a usable one; else a random one."""
    for key, value in metadata:
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return os.urandom(16).hex()


def _bounded(parse: Any, limit: int | None) -> Any:
    """A deserializer that refuses before it parses: after parsing, the memory is spent."""
    if limit is None:
        return parse

    def bounded(data: bytes) -> Any:
        if len(data) > limit:
            return _TooLarge(len(data), limit)
        return parse(data) if parse is not None else data

    return bounded


def _checked_stream(behaviour: Callable[[Any, Any], Any], *, response_streaming: bool) -> Callable[[Any, Any], Any]:
    async def checked(requests: AsyncIterable[Any]) -> AsyncIterable[Any]:
        async for request in requests:
            if isinstance(request, _TooLarge):
                raise request.error()
            yield request

    def run(requests: AsyncIterable[Any], context: Any) -> Any:
        return behaviour(checked(requests), context)

    async def run_single(requests: AsyncIterable[Any], context: Any) -> Any:
        return await behaviour(checked(requests), context)

    return run if response_streaming else run_single

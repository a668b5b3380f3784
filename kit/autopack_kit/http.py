"""What happens around every request at the HTTP port, and what an endpoint may use.

An endpoint runs as its caller, so ``require(Scope.INGEST)`` and ``require_run(...)`` of :mod:`autopack_kit.identity`
mean what they mean in a servicer, and an :class:`AutopackError` becomes a ``google.rpc.Status``::

    async def logs(request: Request) -> Response:
        require(Scope.INGEST)
        body = await read_body(request)

Everything but the probes needs a token before the body is even read. This module needs starlette, which comes with
the extra ``telemetry``: import it only where routes are made.
"""

from __future__ import annotations

import asyncio
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import grpc
import structlog
from google.protobuf import json_format
from google.rpc import status_pb2
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from autopack_kit.auth import Authenticator, Transport
from autopack_kit.bind import is_loopback
from autopack_kit.errors import (
    AutopackError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from autopack_kit.identity import Principal, as_principal, require
from autopack_kit.identity import Scope as TokenScope
from autopack_kit.interceptors import REQUEST_ID_KEY, request_id
from autopack_kit.status import to_status

__all__ = ["MAX_BODY_BYTES", "MAX_BUFFERED_BYTES", "PROTOBUF", "Gate", "HttpRules", "error_response", "read_body"]

MAX_BODY_BYTES = 64 << 20
"""Largest body, before and after decompression: as over gRPC."""
MAX_BUFFERED_BYTES = 256 << 20
"""Bytes of all bodies that are being answered at a time: four of the largest. Beyond it senders come again."""
PROTOBUF = "application/x-protobuf"
"""Media type of binary protobuf in OTLP/HTTP."""
INFLATE_STEP = 1 << 20
"""Bytes that are decompressed before other calls get their turn: about 3 ms."""

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""As google.rpc.Code has it; what is not here is a 500."""
_TOO_LARGE = "REQUEST_TOO_LARGE"
_EXCHANGE = "autopack.exchange"
_NO_CALLER = Principal("", "", frozenset())
_log = structlog.get_logger("autopack.http")


@dataclass(frozen=True, slots=True)
class HttpRules:
    """What differs between paths.

    Attributes:
        open: paths that need no token: the probes.
        ingest: paths that a caller without scope ``read`` may use: what a run's own token can reach.
        domains: path -> error domain, such as ``telemetry.autopack``.
    """

    open: frozenset[str] = frozenset()
    ingest: frozenset[str] = frozenset()
    domains: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Exchange:
    """The state of one request while it is answered."""

    gate: Gate
    request_id: str
    started: float
    principal: Principal = _NO_CALLER
    reason: str = ""
    status: int = 0
    held: int = 0
    """Bytes of its body that are in memory."""

    def hold(self, count: int) -> None:
        if self.gate.buffered + count > MAX_BUFFERED_BYTES:
            raise ResourceExhausted(
                "Too many large requests are being answered.",
                reason="HTTP_BODIES_FULL",
                remedy="Send it again in a second.",
                metadata={"limit": str(MAX_BUFFERED_BYTES), "retry_delay": "1"},
            )
        self.held += count
        self.gate.buffered += count

    def let_go(self) -> None:
        self.gate.buffered -= self.held
        self.held = 0


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The body, decompressed where ``Content-Encoding`` says so (``gzip``, ``deflate``).

    Args:
        request: of which the body has not been read.
        limit: bytes, of what is sent and of what it decompresses to.

    Raises:
        ResourceExhausted: ``REQUEST_TOO_LARGE``, as soon as that is known; ``HTTP_BODIES_FULL``.
        InvalidArgument: ``HTTP_ENCODING_UNKNOWN``, ``HTTP_BODY_CORRUPT``.
    """
    exchange: _Exchange = request.scope[_EXCHANGE]
    encoding = request.headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding != "identity" and encoding not in _WINDOWS:
        raise InvalidArgument(
            f"Content-Encoding {encoding[:40]!r} is not understood here.",
            reason="HTTP_ENCODING_UNKNOWN",
            remedy="Send the body as it is, or compressed with gzip or deflate.",
            metadata={"encoding": encoding[:40]},
        )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    sent = bytearray()
    async for chunk in request.stream():
        if len(sent) + len(chunk) > limit:
            raise _too_large(limit)
        exchange.hold(len(chunk))
        sent += chunk
    if encoding == "identity":
        return bytes(sent)
    return await _inflate(sent, _WINDOWS[encoding], limit, exchange)


async def _inflate(data: bytearray, window: int, limit: int, exchange: _Exchange) -> bytes:
    """Stops at ``limit``, whatever the data would become: a megabyte can stand for a gigabyte."""
    inflater = zlib.decompressobj(window)
    whole = bytearray()
    rest = bytes(data)
    try:
        while not inflater.eof:
            part = inflater.decompress(rest, min(INFLATE_STEP, limit + 1 - len(whole)))
            exchange.hold(len(part))
            whole += part
            if len(whole) > limit:
                raise _too_large(limit)
            rest = inflater.unconsumed_tail
            if not part and not rest and not inflater.eof:
                raise _corrupt("it ends too early")
            await asyncio.sleep(0)
    except zlib.error as error:
        raise _corrupt("it is not what Content-Encoding says") from error
    if inflater.unused_data:
        raise _corrupt("something follows its end")
    return bytes(whole)


class Gate:
    """The ASGI application of the port: request id, origin, authentication, deadline, errors, log; then the routes.

    Args:
        authenticator: who may call.
        host: where the port listens: on loopback it answers to no other name.
        routes: what there is.
        rules: what differs between paths.
        deadline: seconds for a whole request, its body included.
        observe: told route, status and seconds of every answer; for metrics.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        host: str,
        routes: Sequence[Route],
        rules: HttpRules,
        *,
        deadline: float = 60.0,
        observe: Callable[[str, int, float], None] | None = None,
    ) -> None:
        self.buffered = 0
        self.draining = False
        self._authenticator = authenticator
        self._loopback = is_loopback(host)
        self._router = Router(routes, redirect_slashes=False)
        self._rules = rules
        self._deadline = deadline
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = Headers(scope=scope)
        exchange = _Exchange(self, request_id(headers.items()), time.perf_counter())
        scope["app"], scope[_EXCHANGE] = self, exchange

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message.setdefault("headers", []).extend(_headers(exchange))
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        try:
            await self._answer(scope, headers, receive, answer, exchange)
        except ClientDisconnect:
            exchange.reason = "CANCELLED"
        except AutopackError as error:
            exchange.reason = error.reason
            if not exchange.status:  # else the answer is on its way and can only break off
                response = error_response(error, headers, self._rules.domains.get(scope["path"], "autopack"))
                await response(scope, receive, answer)
        finally:
            exchange.let_go()
            self._report(scope, exchange)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, send: Send, exchange: _Exchange) -> None:
        timeout = asyncio.timeout(self._deadline)
        try:
            self._refuse_browsers(headers)
            async with timeout:
                if scope["path"] in self._rules.open:
                    await self._router(scope, receive, send)
                    return
                if self.draining:
                    raise _draining()
                metadata = ((key, value) for key, value in headers.items())
                exchange.principal = self._authenticator.authenticate(metadata, Transport.TCP)
                with as_principal(exchange.principal):
                    require(TokenScope.INGEST if scope["path"] in self._rules.ingest else TokenScope.READ)
                    await self._router(scope, receive, send)
        except (AutopackError, ClientDisconnect):
            raise
        except HTTPException as error:
            raise _no_route(error, scope) from error
        except Exception as error:
            raise (_late(self._deadline) if timeout.expired() else self._unknown(scope, error)) from error

    def _refuse_browsers(self, headers: Headers) -> None:
        """No page of another site may use this port with what the browser of its reader can reach."""
        host = headers.get("host", "")
        if self._loopback and not is_loopback(_name_of(host)):
            raise PermissionDenied(  # a name that an attacker made point at 127.0.0.1 (DNS rebinding)
                f"This port answers to localhost, not to {host[:100]!r}.",
                reason="HTTP_HOST_REFUSED",
                remedy="Call it as localhost, 127.0.0.1 or [::1].",
                metadata={"host": host[:100]},
            )
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != host
        if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise PermissionDenied(
                "Pages of other sites may not call this port.",
                reason="HTTP_ORIGIN_REFUSED",
                remedy="Call it from a program.",
                metadata={"origin": (origin or "")[:100]},
            )

    def _unknown(self, scope: Scope, error: Exception) -> Internal:
        correlation_id = uuid.uuid4().hex
        _log.error("unexpected error", path=_route(scope), correlation_id=correlation_id, exc_info=error)
        return Internal(
            "Something went wrong inside Autopack.",
            reason="INTERNAL",
            remedy=f"Report it with the log lines that carry correlation id {correlation_id}.",
            metadata={"correlation_id": correlation_id},
        )

    def _report(self, scope: Scope, exchange: _Exchange) -> None:
        seconds, route = time.perf_counter() - exchange.started, _route(scope)
        if self._observe is not None:
            self._observe(route, exchange.status, seconds)
        # Probes and scrapes come every few seconds, and would bury everything else.
        quiet = exchange.status == 200 and scope["method"] == "GET"
        fields = {"reason": exchange.reason} if exchange.reason else {}
        (_log.debug if quiet else _log.info)(
            "request",
            method=scope["method"],
            path=route or scope["path"][:200],
            status=exchange.status,
            ms=round(seconds * 1000, 2),
            principal=exchange.principal.name,
            tenant=exchange.principal.tenant,
            peer=":".join(map(str, scope.get("client") or ())),
            **fields,
        )


def error_response(error: AutopackError, headers: Headers, domain: str = "autopack") -> Response:
    """A ``google.rpc.Status``: as protobuf to who sent protobuf, as JSON to all others.

    The HTTP status says whether to come again, as OTLP has it: 429, 503 and 504 only where that can help.
    """
    code, _, details = to_status(error, domain)
    number = 413 if error.reason == _TOO_LARGE else _HTTP_STATUS.get(code, 500)
    extra = {}
    if delay := error.metadata.get("retry_delay"):
        extra["Retry-After"] = str(max(1, round(float(delay))))
    if number == 401:
        extra["WWW-Authenticate"] = "Bearer"
    if headers.get("content-type", "").partition(";")[0].strip().lower() == PROTOBUF:
        return Response(details, number, extra, PROTOBUF)
    return JSONResponse(json_format.MessageToDict(status_pb2.Status.FromString(details)), number, extra)


def _headers(exchange: _Exchange) -> list[tuple[bytes, bytes]]:
    return [
        (b"date", formatdate(usegmt=True).encode()),
        (REQUEST_ID_KEY.encode(), exchange.request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]


def _route(scope: Scope) -> str:
    """The path of the route that answered: bounded, where the path of a request is not; "" for none."""
    route: Any = scope.get("route")
    return str(route.path) if isinstance(route, Route) else ""


def _name_of(host: str) -> str:
    """``::1`` of ``[::1]:4318``, ``localhost`` of ``localhost:4318``."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _too_large(limit: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"The body has more than {limit} bytes, as sent or decompressed.",
        reason=_TOO_LARGE,
        remedy="Send less, in several requests.",
        metadata={"limit": str(limit)},
    )


def _corrupt(why: str) -> InvalidArgument:
    return InvalidArgument(
        f"The body cannot be decompressed: {why}.",
        reason="HTTP_BODY_CORRUPT",
        remedy="Send one gzip or zlib stream, whole.",
    )


def _draining() -> Unavailable:
    return Unavailable(
        "This server is stopping.",
        reason="SERVER_STOPPING",
        remedy="Send it again: another, or this one after its restart, will answer.",
        metadata={"retry_delay": "1"},
    )


def _late(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The request was not answered within {seconds:g} s.",
        reason="DEADLINE_EXCEEDED",
        remedy="Send less at a time, or raise AUTOPACK_DEFAULT_DEADLINE.",
        metadata={"seconds": f"{seconds:g}"},
    )


def _no_route(error: HTTPException, scope: Scope) -> AutopackError:
    metadata = {"method": scope["method"], "path": scope["path"][:200]}
    if error.status_code == 405:
        return InvalidArgument(
            f"{scope['path'][:200]} does not take {scope['method']}.",
            reason="HTTP_METHOD_REFUSED",
            remedy="OTLP is sent with POST; metrics and probes are read with GET.",
            metadata=metadata,
        )
    return NotFound(
        f"There is nothing at {scope['path'][:200]}.",
        reason="HTTP_PATH_UNKNOWN",
        remedy="There are /healthz, /readyz, /metrics; with telemetry also /v1/logs, /v1/metrics and /v1/traces.",
        metadata=metadata,
    )

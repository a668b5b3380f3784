"""The HTTP port of a server, in its own event loop: probes, metrics, and what its services offer.

Beside gRPC's own health and reflection, for what speaks no gRPC: kubelets and load balancers, Prometheus, and agents
that send OTLP over HTTP. Needs starlette, uvicorn and prometheus-client, which come with the extra ``telemetry``.
"""

from __future__ import annotations

import asyncio
import math
import resource
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from autopack_kit.auth import Authenticator, Transport
from autopack_kit.bind import Bind
from autopack_kit.errors import FailedPrecondition, FieldViolation, InvalidArgument
from autopack_kit.http import Gate, HttpRules
from autopack_kit.metrics import CONTENT_TYPE, CallMetrics, new_registry, render
from autopack_kit.tls import ServerTls

__all__ = ["HttpPort"]

PROBES = frozenset({"/healthz", "/readyz"})
"""What is answered without a token: nothing but whether, as over the health-only port."""
MAX_HEAD_BYTES = 32 << 10
"""Bytes of a request's head that are kept while it is incomplete: ours have under 2 KiB."""
HEAD_SECONDS = 10.0
"""Time for the head of a request to arrive: one packet, in general."""
MAX_CONNECTIONS = 1000
"""At a time: a thousand agents, each of which keeps one open; but no more than half of the process's file descriptors,
of which there are often 1,024 in all."""
BACKLOG = 128
"""Connections that wait to be accepted, and are accepted in one go: of file descriptors, too, they take their part."""


class _Connection(H11Protocol):
    """One that ends itself when its next request does not come whole; the gate's deadline is for what follows it.

    Args:
        waiting: the connections of the port without a request that is being answered, longest first.
        arguments: as uvicorn gives them.
    """

    def __init__(self, *arguments: Any, waiting: dict[_Connection, None], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Makes room for itself: by ending the connection on which nothing happens for the longest time.

        Probes come on new connections, and must be answered however many others are kept open.
        """
        super().connection_made(transport)
        if len(self.connections) > _most_connections():
            oldest = next(iter(self._waiting), None)
            if oldest is None:  # all have requests that are being answered
                transport.abort()
                return
            oldest.give_way()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """A piece of a request; the rest of a body that nobody reads any more changes nothing."""
        super().data_received(data)
        if self._answers():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """An answer has gone."""
        super().on_response_complete()
        if not self._answers():  # as it does if the next request came together with that one
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._stop_waiting()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Ends it now, for another."""
        self._stop_waiting()
        self.connections.discard(self)
        self.transport.abort()

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        """Time runs from the beginning of the connection, or from the last answer, to the last piece of a head."""
        self._stop_waiting()
        self._waiting[self] = None
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _most_connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // 2)


class HttpPort:
    """One TCP address with routes.

    Args:
        bind: where.
        tls: certificate files; None = plaintext.
        authenticator: who may call.
        deadline: seconds for a request.

    Attributes:
        address: ``http://127.0.0.1:4318``; valid once it listens.
        registry: where services register what ``/metrics`` shows.
        calls: counts RPCs and requests.
    """

    def __init__(self, bind: Bind, tls: ServerTls | None, authenticator: Authenticator, deadline: float) -> None:
        if bind.transport is not Transport.TCP:
            raise _not_tcp(bind)
        self.address = ""
        self.registry: CollectorRegistry = new_registry()
        self.calls = CallMetrics(self.registry)
        self._bind = bind
        self._tls = tls
        self._authenticator = authenticator
        self._deadline = deadline
        self._socket: socket.socket | None = None
        self._gate: Gate | None = None
        self._server: uvicorn.Server | None = None

    def listen(self) -> None:
        """Takes the address, so that it is known before services start; nobody is answered yet.

        Raises:
            FailedPrecondition: ``ADDRESS_UNAVAILABLE``.
        """
        try:
            found = socket.getaddrinfo(self._bind.host, self._bind.port, type=socket.SOCK_STREAM)[0]
            self._socket = socket.socket(found[0], socket.SOCK_STREAM)
            # Else the port of a server that was just stopped is taken for a minute by its last connections.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(found[4])
        except OSError as error:
            self.close()
            raise FailedPrecondition(
                f"Cannot listen on {self._bind.target()}: the address is in use or not one of this machine.",
                reason="ADDRESS_UNAVAILABLE",
                remedy="Stop what listens there, or choose another address; port 0 takes any free one.",
                metadata={"address": self._bind.target()},
            ) from error
        scheme = "http" if self._tls is None else "https"
        self.address = f"{scheme}://{self._bind.target(self._socket.getsockname()[1])}"

    async def start(self, services: Iterable[Any], ready: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Answers.

        Args:
            services: those with ``http_routes()`` have them served.
            ready: names of the services that are not ready.
        """
        assert self._socket is not None
        routes, rules = _routes(services)
        routes += self._own_routes(ready)
        self._gate = Gate(
            self._authenticator, self._bind.host, routes, rules, deadline=self._deadline, observe=self.calls.request
        )
        context = self._tls.ssl_context() if self._tls is not None else None
        config = uvicorn.Config(
            self._gate,
            http=partial(_Connection, waiting={}),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,  # the gate logs, as the rest of the server does
            access_log=False,
            proxy_headers=False,  # whoever is in front, what it says about the peer is not proof
            server_header=False,
            date_header=False,  # the gate sends it: uvicorn's needs a task that wakes ten times a second
            backlog=BACKLOG,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            ssl_context_factory=None if context is None else lambda *_: context,
        )
        config.load()
        self._server = uvicorn.Server(config)
        # The parts of Server.serve() without its signal handlers, which are those of this process.
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[self._socket])

    def drain(self) -> None:
        """From now on nothing but the probes is answered, and /readyz says no."""
        if self._gate is not None:
            self._gate.draining = True

    async def stop(self, grace: float) -> None:
        """Lets requests in flight end within ``grace`` seconds, then closes."""
        if self._server is not None and not self._server.server_state.connections:
            for listening in self._server.servers:
                listening.close()
            self._server = None  # its own end takes a tenth of a second at least, and commands wait for this
        if self._server is not None:
            # At least 1: with 0, uvicorn does not even look whether there is anything to wait for.
            self._server.config.timeout_graceful_shutdown = max(1, math.ceil(grace))
            await self._server.shutdown()
            self._server = None
        self.close()

    def close(self) -> None:
        """Gives the address back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _own_routes(self, ready: Callable[[], Awaitable[Sequence[str]]]) -> list[Route]:
        async def healthz(request: Request) -> Response:
            return PlainTextResponse("ok\n")

        async def readyz(request: Request) -> Response:
            waiting = list(await ready())
            return JSONResponse({"ready": not waiting, "not_ready": waiting}, 503 if waiting else 200)

        async def metrics(request: Request) -> Response:
            return Response(await asyncio.to_thread(render, self.registry), media_type=CONTENT_TYPE)

        return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def _routes(services: Iterable[Any]) -> tuple[list[Route], HttpRules]:
    routes: list[Route] = []
    domains: dict[str, str] = {}
    ingest: set[str] = set()
    for service in services:
        offered = service.http_routes() if hasattr(service, "http_routes") else ()
        routes += offered
        domains |= {route.path: f"{service.name}.autopack" for route in offered}
        ingest |= getattr(service, "ingest_paths", frozenset())
    return routes, HttpRules(PROBES, frozenset(ingest), domains)


def _not_tcp(bind: Bind) -> InvalidArgument:
    description = f"{bind.target()!r} is not a TCP address, and HTTP is served on one only"
    return InvalidArgument(
        f"{description}.",
        reason="ADDRESS_INVALID",
        remedy="Use HOST:PORT or [IPV6]:PORT, for example 127.0.0.1:4318.",
        metadata={"address": bind.target()},
        violations=[FieldViolation("http_address", description)],
    )

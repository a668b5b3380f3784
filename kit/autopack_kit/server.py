"""The server: any set of services on one address, with health, reflection, and an orderly end.

await serve([toolchain, hardening], Bind.parse("unix:/run/user/1000/autopack/autopack.sock"), ServerOptions())
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from autopack_kit.auth import Authenticator, Transport
from autopack_kit.bind import Bind, SocketLock, runs_path
from autopack_kit.errors import FailedPrecondition
from autopack_kit.extras import http_port, tracer
from autopack_kit.interceptors import CallInterceptor, CallLimits, MethodRules
from autopack_kit.process import protect_memory
from autopack_kit.tls import ServerTls

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from autopack_kit.http_port import HttpPort
    from autopack_kit.tracing import Tracing

__all__ = [
    "MAX_REQUEST_BYTES",
    "MAX_TELEMETRY_REQUEST_BYTES",
    "Bind",
    "Server",
    "ServerOptions",
    "Service",
    "ServiceContext",
    "serve",
]

MAX_REQUEST_BYTES = 16 << 20
"""Largest request: an output tail is 1 MiB, a snapshot of 50,000 paths about 5 MiB."""
MAX_TELEMETRY_REQUEST_BYTES = 64 << 20
"""Largest request where telemetry lives: OTLP exporters send batches of up to this size."""
MAX_CALLS_WAITING = 20_000
"""Calls that wait for the event loop, at some 12 KiB each. gRPC's own limit is 1,000: from there on it ends calls at
random as CANCELLED, which tells a client that it did so itself and is never retried."""
STREAM_GRACE = 2.0
"""Seconds that a response stream may go on once the server drains: enough for the tail of a patch or a log."""
HTTP_GRACE = 5.0
"""Seconds that a request may still take once all calls have ended: since the drain began, no new one was let in."""

_log = structlog.get_logger("autopack.server")


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """What a service is told at its start.

    Attributes:
        address: where this server listens, as a client would dial it.
        services: names of all services in this process, so that one knows which peers it has right here.
        http_address: of the HTTP port, such as ``http://127.0.0.1:4318``; empty without one.
        registry: where a service may register metrics of its own; None where nobody can read them.
    """

    address: str
    services: frozenset[str]
    http_address: str = ""
    registry: CollectorRegistry | None = None


class Service(Protocol):
    """One capability: what ``autopack_<name>.create(...)`` returns.

    Some attributes are optional: ``max_request_bytes: int`` (default 16 MiB), and ``ingest_methods: frozenset[str]``,
    the full paths (``/autopack.telemetry.v1.TelemetryService/RecordUsage``) that a caller with scope ``ingest`` alone
    may use. All others refuse a caller without scope ``read``: the token inside a run can ingest and nothing else.
    ``http_routes() -> Sequence[starlette.routing.Route]`` is what it answers at the HTTP port, if there is one (asked
    once it has started; see :mod:`autopack_kit.http`), with ``ingest_paths: frozenset[str]`` in the same sense, and
    ``async unready() -> str`` says why it cannot work now, "" if it can.
    """

    @property
    def name(self) -> str:
        """``toolchain``, ``hardening``, ...; also the first part of its error domain, ``toolchain.autopack``."""

    @property
    def full_names(self) -> tuple[str, ...]:
        """The proto services it answers for, for health, reflection, and the rules of its methods."""

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers its servicers."""

    async def start(self, context: ServiceContext) -> None:
        """Opens what it needs. Runs before the first call is answered: calls to peers belong into tasks it owns."""

    async def stop(self, grace: float) -> None:
        """Ends its tasks and closes what it opened, within ``grace`` seconds. Also called when its start failed."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How to serve; times in seconds.

    Attributes:
        authenticator: who may call; the default accepts the owner of the UNIX socket and nobody else.
        tls: certificate files; None = plaintext.
        tls_terminated_elsewhere: allow plaintext on a non-loopback address.
        limits: deadlines of calls.
        max_connection_age: after which a connection is closed, so that clients find new replicas.
        max_connection_age_grace: for the calls still in flight then.
        drain_grace: for the calls in flight when the server is told to stop.
        health_bind: a second, plaintext address that serves health and nothing else, for probes.
        http_bind: an address for HTTP: probes, metrics, and what services offer, with the same tokens.
        http_tls: certificate files of that address; None = plaintext.
        traces_endpoint: URL of a collector that is sent a span for each call; empty = no spans are made.
    """

    authenticator: Authenticator = field(default_factory=Authenticator)
    tls: ServerTls | None = None
    tls_terminated_elsewhere: bool = False
    limits: CallLimits = field(default_factory=CallLimits)
    max_connection_age: float = 1800.0
    max_connection_age_grace: float = 300.0
    drain_grace: float = 20.0
    health_bind: Bind | None = None
    http_bind: Bind | None = None
    http_tls: ServerTls | None = None
    traces_endpoint: str = ""


class Server:
    """Services on one address.

    Attributes:
        address: as a client dials it; valid after :meth:`start`.
        health_address: of the health-only port; empty without one.
        http_address: of the HTTP port, such as ``http://127.0.0.1:4318``; empty without one.
    """

    def __init__(self, services: Sequence[Service], bind: Bind, options: ServerOptions | None = None) -> None:
        self.address = ""
        self.health_address = ""
        self.http_address = ""
        self._services = tuple(services)
        self._bind = bind
        self._options = options or ServerOptions()
        self._health = health.aio.HealthServicer()
        self._started: list[Service] = []
        self._answering: list[tuple[grpc.aio.Server, CallInterceptor]] = []
        self._health_server: grpc.aio.Server | None = None
        self._http: HttpPort | None = None
        self._tracing: Tracing | None = None
        self._runs = _runs_bind(bind, self._options)
        sockets = [item.path for item in (bind, self._runs) if item is not None and item.path is not None]
        self._locks = [SocketLock(path) for path in sockets]
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Listens, starts the services, then reports SERVING.

        Raises:
            FailedPrecondition: the address is unsafe, taken, or already served.
        """
        _refuse_unsafe(self._bind, self._options.tls, self._options)
        if self._options.http_bind is not None:
            _refuse_unsafe(self._options.http_bind, self._options.http_tls, self._options)
        try:
            for lock in self._locks:
                lock.acquire()
            await self._start()
        except BaseException:
            await self.stop(grace=0)
            raise

    async def stop(self, grace: float | None = None) -> None:
        """Reports NOT_SERVING, refuses new calls, lets those in flight end within ``grace``, then stops the services.

        Streams get two seconds: one that follows a batch would use up every grace, and its client resumes elsewhere.
        """
        seconds = self._options.drain_grace if grace is None else grace
        try:
            await self._stop_answering(seconds)
        finally:  # whatever the matter with gRPC is: services hold processes, databases and locks
            try:
                await self._stop_services(seconds)
                if self._health_server is not None:
                    await self._health_server.stop(0)
            finally:
                for lock in self._locks:
                    lock.release()
                if self._tracing is not None:  # last: a collector that is away takes its time
                    await asyncio.to_thread(self._tracing.close)
                    self._tracing = None
                self._stopped.set()

    async def stop_calls(self) -> None:
        """Ends the calls in flight at once, during a :meth:`stop` that still waits for them."""
        for server, _ in self._answering:
            await server.stop(0)

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        await self._stopped.wait()

    async def _start(self) -> None:
        names = [name for service in self._services for name in service.full_names]
        rules = _rules(self._services)
        largest = max([MAX_REQUEST_BYTES, *rules.max_request_bytes.values()])
        options = self._options
        ready: list[tuple[grpc.aio.Server, CallInterceptor]] = []
        http = self._http = http_port(
            options.http_bind, options.http_tls, options.authenticator, options.limits.default_deadline
        )
        observe = None if http is None else http.calls.call
        own_name = f"autopack-{self._services[0].name}" if len(self._services) == 1 else "autopack"
        tracing = self._tracing = tracer(options.traces_endpoint, own_name)
        # At the second socket everybody is treated as if the call had come over the network.
        binds = [(self._bind, self._bind.transport), *([(self._runs, Transport.TCP)] if self._runs else ())]
        for bind, transport in binds:
            interceptor = CallInterceptor(options.authenticator, transport, rules, options.limits, observe, tracing)
            server = grpc.aio.server(options=_channel_options(options, largest))
            methods = cast(grpc.aio.Server, interceptor)
            for service in self._services:
                service.add_to(methods)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, methods)
            reflected = reflection.aio.ReflectionServicer([*names, health.SERVICE_NAME, reflection.SERVICE_NAME])
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflected, methods)
            server.add_generic_rpc_handlers((interceptor,))
            address = _listen(server, bind, options.tls)
            self.address = self.address if ready else address
            ready.append((server, interceptor))
        await self._set_health(names, health_pb2.HealthCheckResponse.NOT_SERVING)
        context = self._context()
        for service in self._services:
            self._started.append(service)
            await service.start(context)
        self._answering = ready
        for server, _ in ready:
            await server.start()
        await self._start_health()
        await self._set_health(names, health_pb2.HealthCheckResponse.SERVING)
        if http is not None:
            await http.start(self._services, self._not_ready)
        _log.info("serving", address=self.address, http_address=self.http_address, services=sorted(context.services))

    def _context(self) -> ServiceContext:
        names = frozenset(service.name for service in self._services)
        if self._http is None:
            return ServiceContext(self.address, names)
        self._http.listen()
        self.http_address = self._http.address
        return ServiceContext(self.address, names, self.http_address, self._http.registry)

    async def _not_ready(self) -> list[str]:
        """Names of the services that cannot work now; what gRPC's health says of them counts too."""
        found = []
        for service in self._services:
            known = [
                await self._health.Check(health_pb2.HealthCheckRequest(service=name), None)
                for name in service.full_names
            ]
            unready = getattr(service, "unready", None)
            if any(answer.status != health_pb2.HealthCheckResponse.SERVING for answer in known) or (
                unready is not None and await unready()
            ):
                found.append(service.name)
        return found

    async def _start_health(self) -> None:
        bind = self._options.health_bind
        if bind is None:
            return
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self.health_address = _listen(server, bind, None)
        self._health_server = server
        await server.start()

    async def _stop_answering(self, grace: float) -> None:
        await self._health.enter_graceful_shutdown()
        if self._http is not None:
            self._http.drain()
        for _, interceptor in self._answering:
            interceptor.end_streams(STREAM_GRACE)
        try:
            await asyncio.gather(*(server.stop(grace) for server, _ in self._answering))
        finally:  # after it, so that /readyz tells for as long as there are calls
            if self._http is not None:
                await self._http.stop(min(grace, HTTP_GRACE))

    async def _stop_services(self, grace: float) -> None:
        """Stops every service that was started, also after one of them failed to; raises what failed at the end."""
        failures: list[Exception] = []
        while self._started:
            service = self._started.pop()
            try:
                await service.stop(grace)
            except Exception as error:
                _log.error("service did not stop", service=service.name, exc_info=error)
                failures.append(error)
        if failures:
            raise ExceptionGroup("services did not stop", failures)

    async def _set_health(self, names: Sequence[str], status: int) -> None:
        for name in ("", *names):
            await self._health.set(name, status)


async def serve(
    services: Sequence[Service],
    bind: Bind,
    options: ServerOptions | None = None,
    *,
    ready: Callable[[Server], None] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends the calls in flight at once.

    Args:
        services: what to serve.
        bind: where.
        options: how.
        ready: called once calls are answered, for example to print the address.
    """
    protect_memory()
    server = Server(services, bind, options)
    loop = asyncio.get_running_loop()
    first, second = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (second if first.is_set() else first).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await server.start()
        # What is there now stays: to look through it for garbage holds up every call for some 50 milliseconds.
        gc.collect()
        gc.freeze()
        if ready is not None:
            ready(server)
        await first.wait()
        _log.info("draining", address=server.address)
        async with asyncio.TaskGroup() as group:
            hurry = group.create_task(_stop_at_once(server, second))
            await server.stop()
            hurry.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    _log.info("stopped", address=server.address)


async def _stop_at_once(server: Server, signalled: asyncio.Event) -> None:
    await signalled.wait()
    await server.stop_calls()


def _rules(services: Sequence[Service]) -> MethodRules:
    domains, sizes, ingest = {}, {}, set[str]()
    for service in services:
        for name in service.full_names:
            domains[f"/{name}/"] = f"{service.name}.autopack"
            sizes[f"/{name}/"] = int(getattr(service, "max_request_bytes", MAX_REQUEST_BYTES))
        ingest |= getattr(service, "ingest_methods", frozenset())
    return MethodRules(domains, sizes, frozenset(ingest))


def _runs_bind(bind: Bind, options: ServerOptions) -> Bind | None:
    """The second socket, where there can be one and a token could open it."""
    path = runs_path(bind.path) if bind.path is not None and options.authenticator.accepts_tokens else None
    return None if path is None else Bind.unix(path)


def _channel_options(options: ServerOptions, largest: int) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # a port in use is an error, not a lottery between two servers
        ("grpc.server.max_pending_requests", MAX_CALLS_WAITING),
        ("grpc.server.max_pending_requests_hard_limit", MAX_CALLS_WAITING),
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", MAX_TELEMETRY_REQUEST_BYTES),
        ("grpc.max_connection_age_ms", round(options.max_connection_age * 1000)),
        ("grpc.max_connection_age_grace_ms", round(options.max_connection_age_grace * 1000)),
    ]


def _refuse_unsafe(bind: Bind, tls: ServerTls | None, options: ServerOptions) -> None:
    if bind.transport is Transport.TCP and not options.authenticator.accepts_tokens:
        raise FailedPrecondition(
            f"{bind.target()} is a TCP address and no token would be accepted there.",
            reason="TOKENS_NEEDED",
            remedy="Give a tokens file (AUTOPACK_TOKENS_FILE), or listen on a UNIX socket.",
            metadata={"address": bind.target()},
        )
    if not bind.loopback and tls is None and not options.tls_terminated_elsewhere:
        raise FailedPrecondition(
            f"{bind.target()} can be reached from other machines and TLS is off, so tokens could be read on the way.",
            reason="TLS_NEEDED",
            remedy=(
                "Set AUTOPACK_TLS_CERTIFICATE_FILE and AUTOPACK_TLS_KEY_FILE (`autopack certs init` makes a set), "
                "listen on 127.0.0.1 or a UNIX socket, or pass --tls-terminated-elsewhere if a proxy in front does TLS."
            ),
            metadata={"address": bind.target()},
        )


def _listen(server: grpc.aio.Server, bind: Bind, tls: ServerTls | None) -> str:
    # gRPC creates the socket with the mode that the umask leaves; changing it afterwards would leave a gap.
    umask = os.umask(0o177) if bind.path is not None else None
    try:
        if tls is not None and bind.path is None:
            port = server.add_secure_port(bind.target(), tls.credentials())
        else:
            port = server.add_insecure_port(bind.target())
    except RuntimeError as error:
        raise FailedPrecondition(
            f"Cannot listen on {bind.target()}: the address is in use or not one of this machine.",
            reason="ADDRESS_UNAVAILABLE",
            remedy="Stop what listens there, or choose another address; port 0 takes any free one.",
            metadata={"address": bind.target()},
        ) from error
    finally:
        if umask is not None:
            os.umask(umask)
    return bind.target(port if bind.path is None else None)

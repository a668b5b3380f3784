"""The one factory of channels: addresses, tokens, TLS, retries, deadlines and limits are decided here alone.

channel = open_channel("unix:/run/user/1000/autopack/autopack.sock", files=[toolchain_pb2.DESCRIPTOR])
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from autopack_kit.bind import is_loopback
from autopack_kit.errors import FailedPrecondition, InvalidArgument
from autopack_kit.status import from_rpc_error
from autopack_kit.tls import ClientTls
from autopack_kit.trace_context import outgoing

__all__ = [
    "DEFAULT_DEADLINE",
    "from_rpc_error",
    "open_channel",
    "open_sync_channel",
    "retryable_methods",
    "service_config",
]

DEFAULT_DEADLINE = 60.0
"""Seconds for a call with a single answer that sets no timeout; the same as the server's own default."""
MAX_REQUEST = 64 << 20
"""Bytes: the server decides what it takes (16 MiB, 64 for telemetry); this only bounds our own mistakes."""
MAX_RESPONSE = 64 << 20
"""Bytes of a response."""

_RETRY_POLICY = {
    # 4 attempts over about 0.7 s bridge a rolling restart behind round_robin; longer outages are the caller's to judge.
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
Token = str | Callable[[], str] | None
_SAFE = (MethodOptions.NO_SIDE_EFFECTS, MethodOptions.IDEMPOTENT)


def open_channel(
    address: str,
    *,
    token: str | Callable[[], str] | None = None,
    tls: ClientTls | None = None,
    files: Iterable[FileDescriptor] = (),
    default_deadline: float = DEFAULT_DEADLINE,
) -> grpc.aio.Channel:
    """An asyncio channel; close it, or use it as a context manager. Connects lazily.

    Args:
        address: ``unix:/path``, ``host:port`` or ``dns:///host:port``.
        token: sent as ``authorization: Bearer ...`` with each call; or what makes it, asked for each call.
        tls: PEM files; None = plaintext.
        files: file descriptors (``toolchain_pb2.DESCRIPTOR``) whose :func:`retryable_methods` are retried.
        default_deadline: seconds for calls with a single answer that set no timeout.

    Raises:
        InvalidArgument: ``ADDRESS_INVALID``.
        FailedPrecondition: ``TOKEN_IN_PLAINTEXT``, or a TLS file that cannot be used.
    """
    target = _target(address)
    _refuse_plaintext(target, token, tls)
    options = _options(files)
    if tls is not None:
        channel = grpc.aio.secure_channel(target, tls.credentials(), options=options)
    else:
        channel = grpc.aio.insecure_channel(target, options=options)
    return _Channel(channel, token, default_deadline)


def open_sync_channel(
    address: str,
    *,
    token: str | None = None,
    tls: ClientTls | None = None,
    files: Iterable[FileDescriptor] = (),
    default_deadline: float = DEFAULT_DEADLINE,
) -> grpc.Channel:
    """The same for blocking code; see :func:`open_channel`."""
    target = _target(address)
    _refuse_plaintext(target, token, tls)
    options = _options(files)
    if tls is not None:
        channel = grpc.secure_channel(target, tls.credentials(), options=options)
    else:
        channel = grpc.insecure_channel(target, options=options)
    return grpc.intercept_channel(channel, _SyncDefaults(_metadata(token), default_deadline))


def retryable_methods(files: Iterable[FileDescriptor]) -> list[tuple[str, str]]:
    """(service, method) of every RPC that may be sent twice: marked so, or carrying a ``request_id`` (AIP-155)."""
    return [
        (service.full_name, method.name)
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
        if _is_safe(method)
    ]


def service_config(methods: Sequence[tuple[str, str]]) -> str:
    """gRPC service config as JSON: round robin over all addresses, and retries of ``methods`` on UNAVAILABLE."""
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if methods:
        names = [{"service": service, "method": method} for service, method in methods]
        config["methodConfig"] = [{"name": names, "retryPolicy": _RETRY_POLICY}]
    return json.dumps(config)


def _is_safe(method: MethodDescriptor) -> bool:
    return method.GetOptions().idempotency_level in _SAFE or "request_id" in method.input_type.fields_by_name


def _options(files: Iterable[FileDescriptor]) -> list[tuple[str, Any]]:
    return [
        ("grpc.service_config", service_config(retryable_methods(files))),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", MAX_RESPONSE),
        ("grpc.max_send_message_length", MAX_REQUEST),
    ]


def _target(address: str) -> str:
    if address.startswith("unix:/") or (":" in address.removeprefix("dns:///") and not address.startswith("unix:")):
        return address
    raise InvalidArgument(
        f"{address[:200]!r} is not an address.",
        reason="ADDRESS_INVALID",
        remedy="Use unix:/path/to/socket, HOST:PORT or dns:///HOST:PORT.",
        metadata={"address": address[:200]},
    )


def _refuse_plaintext(target: str, token: Token, tls: ClientTls | None) -> None:
    if token is None or tls is not None or target.startswith("unix:"):
        return
    host = target.removeprefix("dns:///").rpartition(":")[0].strip("[]")
    if not is_loopback(host):
        raise FailedPrecondition(
            f"A token would travel to {host} in plaintext, where others on the way can read it.",
            reason="TOKEN_IN_PLAINTEXT",
            remedy="Use TLS (--tls-ca FILE), or reach the server over a UNIX socket or a tunnel to 127.0.0.1.",
            metadata={"address": target},
        )


def _metadata(token: Token) -> tuple[tuple[str, str], ...]:
    if callable(token):
        token = token()
    return (("authorization", f"Bearer {token}"),) if token else ()


class _Method:
    """A method of any kind with the token and the default deadline filled in."""

    def __init__(self, method: Any, token: Token, timeout: float | None) -> None:
        self._method = method
        self._token = token
        self._timeout = timeout

    def __call__(self, request: Any = None, *, timeout: float | None = None, metadata: Any = None, **rest: Any) -> Any:
        return self._method(
            request,
            timeout=self._timeout if timeout is None else timeout,
            metadata=(*(metadata or ()), *_metadata(self._token), *outgoing()),
            **rest,
        )


class _Channel(grpc.aio.Channel):
    """Fills in the defaults without an interceptor: one costs a task per call, and hides the native call object."""

    def __init__(self, channel: grpc.aio.Channel, token: Token, timeout: float) -> None:
        self._channel = channel
        self._token = token
        self._timeout = timeout

    async def __aenter__(self) -> _Channel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return _Method(self._channel.unary_unary(*arguments, **options), self._token, self._timeout)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return _Method(self._channel.unary_stream(*arguments, **options), self._token, None)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return _Method(self._channel.stream_unary(*arguments, **options), self._token, self._timeout)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return _Method(self._channel.stream_stream(*arguments, **options), self._token, None)


class _SyncDetails(grpc.ClientCallDetails):
    def __init__(self, details: Any, metadata: tuple[tuple[str, str], ...], timeout: float | None) -> None:
        self.method = details.method
        self.timeout = timeout if details.timeout is None else details.timeout
        self.metadata = (*(details.metadata or ()), *metadata, *outgoing())
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


class _SyncDefaults(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, metadata: tuple[tuple[str, str], ...], timeout: float) -> None:
        self._metadata = metadata
        self._timeout = timeout

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(_SyncDetails(details, self._metadata, self._timeout), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(_SyncDetails(details, self._metadata, None), request)

    def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(_SyncDetails(details, self._metadata, self._timeout), requests)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(_SyncDetails(details, self._metadata, None), requests)

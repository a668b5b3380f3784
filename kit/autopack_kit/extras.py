"""Parts of a server that need packages which most servers do not: imported where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopack_kit.auth import Authenticator
from autopack_kit.bind import Bind
from autopack_kit.errors import FailedPrecondition
from autopack_kit.tls import ServerTls

if TYPE_CHECKING:
    from autopack_kit.http_port import HttpPort
    from autopack_kit.tracing import Tracing

__all__ = ["http_port", "tracer"]


def http_port(
    bind: Bind | None, tls: ServerTls | None, authenticator: Authenticator, deadline: float
) -> HttpPort | None:
    """The HTTP port, not listening yet; None without an address.

    Raises:
        InvalidArgument: ``ADDRESS_INVALID``: it is no TCP address.
        FailedPrecondition: ``EXTRA_NOT_INSTALLED``.
    """
    if bind is None:
        return None
    try:
        from autopack_kit.http_port import HttpPort
    except ModuleNotFoundError as error:
        raise _not_installed("The HTTP port", "telemetry", "serve without --http-address", error) from error
    return HttpPort(bind, tls, authenticator, deadline)


def tracer(endpoint: str, name: str) -> Tracing | None:
    """What makes the spans of a server of this name; None without an endpoint.

    Raises:
        InvalidArgument: the endpoint is not the URL of a collector.
        FailedPrecondition: ``EXTRA_NOT_INSTALLED``.
    """
    if not endpoint:
        return None
    try:
        from autopack_kit.tracing import Tracing
    except ModuleNotFoundError as error:
        raise _not_installed("Tracing", "tracing", "unset AUTOPACK_OTLP_TRACES_ENDPOINT", error) from error
    return Tracing(endpoint, name)


def _not_installed(what: str, extra: str, otherwise: str, error: ModuleNotFoundError) -> FailedPrecondition:
    return FailedPrecondition(
        f"{what} needs the package {error.name!r}, which is not installed.",
        reason="EXTRA_NOT_INSTALLED",
        remedy=f"Install it: pip install 'autopack[{extra}]', or {otherwise}.",
        metadata={"package": error.name or "", "extra": extra},
    )

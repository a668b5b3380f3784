"""Who is calling, and what they may do. Pure: ``core/`` packages may import it.

The interceptor sets the principal of a call; a servicer says what it needs::

    require(Scope.RUN)
    tenant = current_principal().tenant
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import cache

from autopack_kit.errors import PermissionDenied, Unauthenticated

__all__ = ["DEFAULT_TENANT", "Principal", "Scope", "as_principal", "current_principal", "require", "require_run"]

DEFAULT_TENANT = "default"


class Scope(Enum):
    """What a token allows, within its tenant.

    A token that creates batches can run commands on the host of the orchestrator: give RUN to those who may do that.
    """

    READ = "read"
    """Ask questions: detect, diagnose, list and read runs, logs and statistics. Runs no command and changes no run.

    All that it stores is of what the caller itself sends, of its own tenant and bounded in number and size: profiles
    for the drift check, by their hash, and the ends of failures that no pattern explains, without secrets.
    """
    RUN = "run"
    """Create, cancel and retry batches and runs, that is, run commands; implies READ."""
    ADMIN = "admin"
    """Everything, custom patterns and retention included; implies all others."""
    INGEST = "ingest"
    """Record phases and token usage, and nothing else: what an agent inside a run holds."""


_IMPLIED: dict[Scope, frozenset[Scope]] = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.RUN: frozenset({Scope.RUN, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
    Scope.INGEST: frozenset({Scope.INGEST}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one RPC.

    Attributes:
        name: who, for logs; the name of the token, ``local`` on the UNIX socket.
        tenant: whose data; always from the token, never from a request.
        scopes: what was granted, implied scopes not included.
        run_id: the one run this caller may touch, None for no such limit.
    """

    name: str
    tenant: str
    scopes: frozenset[Scope]
    run_id: str | None = None

    def has(self, scope: Scope) -> bool:
        """Whether ``scope`` is granted or implied by a granted one."""
        return scope in _with_implied(self.scopes)


@cache
def _with_implied(scopes: frozenset[Scope]) -> frozenset[Scope]:
    """Asked several times in every call; there are few sets of scopes."""
    return frozenset[Scope]().union(*(_IMPLIED[granted] for granted in scopes))


_current: ContextVar[Principal | None] = ContextVar("autopack_principal", default=None)


def current_principal() -> Principal:
    """The caller of the RPC that is being served; also in threads started with ``asyncio.to_thread``.

    Raises:
        Unauthenticated: ``NO_PRINCIPAL``: outside of a call.
    """
    principal = _current.get()
    if principal is None:
        raise Unauthenticated(
            "No caller is known here.", reason="NO_PRINCIPAL", remedy="Call through a server, or use as_principal()."
        )
    return principal


def as_principal(principal: Principal) -> AbstractContextManager[Principal]:
    """Runs the block as ``principal``: for the server, for work that outlives its call, and for tests."""
    return _AsPrincipal(principal)


class _AsPrincipal(AbstractContextManager[Principal]):
    """In every call, where a generator would take three times as long."""

    __slots__ = ("_principal", "_token")

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def __enter__(self) -> Principal:
        self._token = _current.set(self._principal)
        return self._principal

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def require(scope: Scope) -> Principal:
    """The caller, if it has ``scope``.

    Raises:
        PermissionDenied: ``SCOPE_MISSING``.
        Unauthenticated: outside of a call.
    """
    principal = current_principal()
    if not principal.has(scope):
        granted = ", ".join(sorted(item.value for item in principal.scopes)) or "none"
        raise PermissionDenied(
            f"{principal.name!r} has scope {granted}; this call needs {scope.value!r}.",
            reason="SCOPE_MISSING",
            remedy=f"Use a token with scope {scope.value!r}.",
            metadata={"principal": principal.name, "needed": scope.value, "granted": granted},
        )
    return principal


def require_run(run_id: str) -> Principal:
    """The caller, unless it is bound to another run.

    Raises:
        PermissionDenied: ``OTHER_RUN``.
    """
    principal = current_principal()
    if principal.run_id is not None and principal.run_id != run_id:
        raise PermissionDenied(
            f"This token belongs to run {principal.run_id!r} and may not touch run {run_id[:64]!r}.",
            reason="OTHER_RUN",
            remedy="Send the run's own id, or use a token that is not bound to a run.",
            metadata={"run_id": run_id[:64], "bound_to": principal.run_id},
        )
    return principal

"""Authentication: the tokens file, run tokens, and the rule for each transport.

- On the UNIX socket a call without a header is the user who owns the socket: its mode 0600 is the authentication.
- With an ``authorization: Bearer ...`` header the token alone decides, on every transport.
- On TCP a token is always needed, TLS or not.

Three kinds of token: those of the tokens file (long-lived, revoked by removing their entry and restarting), and two
that are signed with the key that all services of an installation share: run tokens (bound to one run, scope ``ingest``
only: what an agent inside a run may hold), and service tokens (one service asks another on behalf of a tenant).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import structlog

from autopack_kit.errors import AlreadyExists, FailedPrecondition, Unauthenticated
from autopack_kit.identity import DEFAULT_TENANT, Principal, Scope
from autopack_kit.secret_files import alone, read_secret, unreadable, write_secret

__all__ = [
    "LOCAL_PRINCIPAL",
    "Authenticator",
    "TokenEntry",
    "Transport",
    "ensure_signing_key",
    "ensure_tokens_file",
    "load_tokens",
    "mint_run_token",
    "mint_service_token",
    "read_token",
    "verify_signed_token",
]

_log = structlog.get_logger("autopack.auth")

#: The owner of the UNIX socket.
LOCAL_PRINCIPAL = Principal("local", DEFAULT_TENANT, frozenset({Scope.ADMIN}))

MAX_TOKENS = 1000
"""Entries of a tokens file: all are compared at each call, in about 0.2 microseconds each."""
MAX_HEADER = 4096
"""Characters of an authorization header; ours have under 600."""
SIGNING_KEY_BYTES = 32
"""As long as the output of SHA-256: more adds nothing (RFC 2104)."""

_ACCESS_PREFIX = "apk_"
_RUN_PREFIX = "apr1."
_SERVICE_PREFIX = "aps1."
_SERVICE_SCOPES = frozenset({Scope.READ, Scope.INGEST})
SERVICE_TOKEN_SECONDS = 300
"""Life of a service token: it is made anew for each call, and clocks of two machines differ."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Transport(Enum):
    """How the caller is connected."""

    UNIX = "unix"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One entry of the tokens file; it holds the SHA-256 of the token, never the token."""

    principal: Principal
    sha256: str


class Authenticator:
    """Turns the metadata of a call into its principal.

    Args:
        tokens: entries of the tokens file; empty = only the UNIX socket and signed tokens are accepted.
        signing_key: verifies signed tokens; None = none are accepted.
        local: who a caller on the UNIX socket without a header is; None = a token is needed there too.
        clock: seconds since the epoch, for the expiry of signed tokens.
    """

    def __init__(
        self,
        tokens: Iterable[TokenEntry] = (),
        *,
        signing_key: bytes | None = None,
        local: Principal | None = LOCAL_PRINCIPAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = [(entry.sha256.encode(), entry.principal) for entry in tokens]
        self._signing_key = signing_key
        self._local = local
        self._clock = clock

    @property
    def accepts_tokens(self) -> bool:
        """Whether any token could be accepted: without one a TCP server would refuse every call."""
        return bool(self._tokens) or self._signing_key is not None

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]], transport: Transport) -> Principal:
        """The caller.

        Raises:
            Unauthenticated: ``TOKEN_MISSING``, ``TOKEN_INVALID`` or ``TOKEN_EXPIRED``.
        """
        header = next((value for key, value in metadata if key == "authorization"), None)
        if header is not None:
            return self._by_token(_bearer(header))
        if transport is Transport.UNIX and self._local is not None:
            return self._local
        raise Unauthenticated(
            "This call needs a token.",
            reason="TOKEN_MISSING",
            remedy="Send the metadata 'authorization: Bearer TOKEN', or set AUTOPACK_TOKEN_FILE to its file.",
        )

    def _by_token(self, token: str) -> Principal:
        if token.startswith((_RUN_PREFIX, _SERVICE_PREFIX)):
            if self._signing_key is None:
                raise _invalid_token()
            return verify_signed_token(self._signing_key, token, now=self._clock())
        digest = hashlib.sha256(token.encode()).hexdigest().encode()
        found = None
        for known, principal in self._tokens:
            # Every entry is compared, in constant time, so that the duration tells nothing about the entries.
            if hmac.compare_digest(known, digest):
                found = principal
        if found is None:
            raise _invalid_token()
        return found


def mint_run_token(key: bytes, run_id: str, tenant: str, expires: float) -> str:
    """A token that may ingest telemetry for one run and do nothing else.

    Args:
        key: the signing key, shared by the service that mints and those that verify.
        run_id: the run it is bound to.
        tenant: the tenant of the run.
        expires: seconds since the epoch after which it is refused.
    """
    return _signed(key, _RUN_PREFIX, {"run": run_id, "tenant": tenant, "exp": int(expires)})


def mint_service_token(key: bytes, name: str, tenant: str, *, now: float | None = None) -> str:
    """A token with which the service ``name`` may ask and record for one tenant, for five minutes.

    Args:
        key: the signing key, shared by all services.
        name: who asks, for logs.
        tenant: for whom; what is asked and recorded is this tenant's.
        now: seconds since the epoch; default: the clock's.
    """
    expires = (time.time() if now is None else now) + SERVICE_TOKEN_SECONDS
    return _signed(key, _SERVICE_PREFIX, {"name": name, "tenant": tenant, "exp": int(expires)})


def verify_signed_token(key: bytes, token: str, *, now: float) -> Principal:
    """The principal of a token made by :func:`mint_run_token` or :func:`mint_service_token`.

    Raises:
        Unauthenticated: ``TOKEN_INVALID`` or ``TOKEN_EXPIRED``.
    """
    body, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_encode(_sign(key, body)).encode(), signature.encode()):
        raise _invalid_token()
    prefix, _, payload = body.rpartition(".")
    claims = json.loads(_decode(payload))  # ours: the signature was right
    if now >= claims["exp"]:
        raise Unauthenticated(
            "This token has expired.",
            reason="TOKEN_EXPIRED",
            remedy="A run's token ends with the run: retry it. A service's lasts minutes: compare their clocks.",
        )
    tenant = str(claims["tenant"])
    if f"{prefix}." == _SERVICE_PREFIX:
        return Principal(str(claims["name"]), tenant, _SERVICE_SCOPES)
    run_id = str(claims["run"])
    return Principal(f"run:{run_id}", tenant, frozenset({Scope.INGEST}), run_id)


def load_tokens(path: Path) -> tuple[TokenEntry, ...]:
    """Reads a tokens file: ``[[tokens]]`` with ``name``, ``tenant`` (default "default"), ``scopes``, ``sha256``.

    Raises:
        FailedPrecondition: ``SECRET_FILE_MODE`` when others can read it, ``SECRET_FILE_UNREADABLE`` or
            ``TOKENS_FILE_INVALID``.
    """
    try:
        document = tomllib.loads(read_secret(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad_tokens_file(path, str(error)) from error
    tables = document.get("tokens", [])
    if not isinstance(tables, list) or len(tables) > MAX_TOKENS or set(document) - {"tokens"}:
        raise _bad_tokens_file(path, f"it must hold nothing but at most {MAX_TOKENS} [[tokens]] tables")
    entries = tuple(_entry(path, index, table) for index, table in enumerate(tables))
    if len({entry.sha256 for entry in entries}) < len(entries):
        raise _bad_tokens_file(path, "two entries have the same sha256, so one token would stand for two callers")
    return entries


def ensure_tokens_file(path: Path) -> tuple[TokenEntry, ...]:
    """Reads the tokens file; when it is absent, makes one with a fresh admin token.

    The token itself goes to the file ``token`` beside it (both mode 0600), where the command line finds it.
    """
    if not path.exists():
        with alone(path):  # else the tokens file of one process could stand beside the token of another
            if not path.exists():
                _make_tokens_file(path)
    return load_tokens(path)


def _make_tokens_file(path: Path) -> None:
    token = _ACCESS_PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    text = (
        "# Who may call this server over TCP.\n"
        "# To add a token, put its SHA-256 here (printf %s TOKEN | sha256sum) and restart the server.\n"
        f'[[tokens]]\nname = "admin"\ntenant = "{DEFAULT_TENANT}"\nscopes = ["admin"]\nsha256 = "{digest}"\n'
    )
    token_file = path.with_name("token")
    # The token first: after a crash in between, it opens nothing and the next start makes both anew. The other way
    # round, the tokens file would ask for a token that nobody has.
    write_secret(token_file, token.encode() + b"\n", replace=True)
    write_secret(path, text.encode())
    _log.info("admin token created", token_file=str(token_file), tokens_file=str(path))


def ensure_signing_key(path: Path) -> bytes:
    """The key of run and service tokens; a random one is made when the file is absent.

    Raises:
        FailedPrecondition: others can read the file, or it holds fewer than 32 bytes.
    """
    if not path.exists():
        try:
            write_secret(path, secrets.token_bytes(SIGNING_KEY_BYTES))
        except AlreadyExists:
            _log.info("signing key was created by another process", path=str(path))
    key = read_secret(path)
    if len(key) < SIGNING_KEY_BYTES:
        raise FailedPrecondition(
            f"The signing key {path} has {len(key)} bytes and needs {SIGNING_KEY_BYTES}.",
            reason="SIGNING_KEY_SHORT",
            remedy=f"Replace it: head -c {SIGNING_KEY_BYTES} /dev/urandom > {path}",
            metadata={"path": str(path)},
        )
    return key


def read_token(path: Path) -> str:
    """The token in a 0600 file, for clients.

    Raises:
        FailedPrecondition: the file is absent, readable by others, or empty.
    """
    token = read_secret(path).decode("ascii", "replace").strip()
    if not token:
        raise unreadable(path, "it is empty")
    return token


def _bearer(header: str | bytes) -> str:
    text = header.decode("ascii", "replace") if isinstance(header, bytes) else header
    scheme, _, token = text.partition(" ")
    if len(text) > MAX_HEADER or scheme.lower() != "bearer" or not token:
        raise _invalid_token()
    return token.strip()


def _invalid_token() -> Unauthenticated:
    return Unauthenticated(
        "This token is not accepted.",
        reason="TOKEN_INVALID",
        remedy="Check that it is whole, sent as 'Bearer TOKEN', and listed in this server's tokens file.",
    )


def _bad_tokens_file(path: Path, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"The tokens file {path} is not valid: {why}.",
        reason="TOKENS_FILE_INVALID",
        remedy="Correct it, or remove it and a new one with an admin token is made at the next start.",
        metadata={"path": str(path)},
    )


def _entry(path: Path, index: int, table: Any) -> TokenEntry:
    where = f"tokens[{index}]"
    if not isinstance(table, dict) or set(table) - {"name", "tenant", "scopes", "sha256"}:
        raise _bad_tokens_file(path, f"{where} may have name, tenant, scopes and sha256 only")
    name, tenant = table.get("name"), table.get("tenant", DEFAULT_TENANT)
    for key, value in (("name", name), ("tenant", tenant)):
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise _bad_tokens_file(path, f"{where}.{key} must be 1 to 64 of letters, digits, '.', '_' and '-'")
    digest, scopes = table.get("sha256"), table.get("scopes")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise _bad_tokens_file(path, f"{where}.sha256 must be the 64 hexadecimal digits of the token's SHA-256")
    known = {scope.value: scope for scope in Scope}
    if not isinstance(scopes, list) or not scopes or any(scope not in known for scope in scopes):
        raise _bad_tokens_file(path, f"{where}.scopes must list some of {', '.join(known)}")
    return TokenEntry(Principal(str(name), str(tenant), frozenset(known[scope] for scope in scopes)), digest)


def _signed(key: bytes, prefix: str, claims: dict[str, Any]) -> str:
    body = prefix + _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{body}.{_encode(_sign(key, body))}"


def _sign(key: bytes, body: str) -> bytes:
    """Of the prefix too: a token of one kind is never one of the other."""
    return hmac.new(key, body.encode(), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

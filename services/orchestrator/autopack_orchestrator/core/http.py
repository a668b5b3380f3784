"""The ``http`` executor's contract: where it may go, what an answer means, how long to wait before asking again."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any
from urllib.parse import quote, urlsplit

__all__ = [
    "MAX_ANSWER_BYTES",
    "BadAnswer",
    "Judgement",
    "RemoteState",
    "RemoteStatus",
    "base_url",
    "idempotency_key",
    "judge",
    "problem_with_header",
    "problem_with_host",
    "read_status",
    "retry_after",
    "run_path",
]

MAX_URL_BYTES = 2048  # longer ones are refused by web servers too
MAX_ANSWER_BYTES = 32 << 20
"""Of one answer: a patch of 20 MB in base64. What is larger is no change that anybody reads."""
MAX_MESSAGE = 2000
MAX_REMOTE_LOG_BYTES = 1 << 20  # the end of what the agent printed; its server has the whole
MAX_RETRY_AFTER_S = 24 * 3600.0  # the longest run
PORTS = {"http": 80, "https": 443}
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
#: Ours, or HTTP's own: whoever set them could change where a request ends or how it is understood.
_OWN_HEADERS = frozenset(
    {
        "accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
        "host", "idempotency-key", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


class BadAnswer(ValueError):
    """An answer that is none of the contract; the text says why."""


class RemoteState(Enum):
    """States of a run on the other side; the last five are terminal. COMPLETE is another word for SUCCEEDED."""

    QUEUED = "QUEUED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"

    @property
    def terminal(self) -> bool:
        """Nothing more will happen."""
        return self not in (RemoteState.QUEUED, RemoteState.PENDING, RemoteState.RUNNING)

    @property
    def succeeded(self) -> bool:
        """The agent finished its work."""
        return self in (RemoteState.COMPLETE, RemoteState.SUCCEEDED)


class Judgement(Enum):
    """What the status code of an answer means for us."""

    TAKEN = "taken"
    """Read it."""
    AGAIN = "again"
    """Ask again later: the other side is busy or not well now."""
    REFUSED = "refused"
    """Asking again cannot help."""


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """What the other side says about a run.

    Attributes:
        message: why it ended as it did, for a person.
        patch: what it changed, for ``git apply`` on the base commit; empty for nothing.
        log: the end of what it printed.
        exit_code: of the agent, where there is one.
    """

    state: RemoteState
    message: str = ""
    patch: bytes = b""
    log: str = ""
    exit_code: int | None = None


def judge(status: int) -> Judgement:
    """What an HTTP status code means (RFC 9110, RFC 6585): 408, 425, 429 and 5xx pass; other codes but 2xx do not.

    501 and 505 say that the other side will never do what it was asked. Redirects are not followed.
    """
    if 200 <= status < 300:
        return Judgement.TAKEN
    if status in (408, 425, 429) or (status >= 500 and status not in (501, 505)):
        return Judgement.AGAIN
    return Judgement.REFUSED


def retry_after(value: str, now: datetime) -> float:
    """Seconds that ``Retry-After`` asks for: a number or a date (RFC 9110, 10.2.3); 0 if it is neither, or over."""
    value = value.strip()[:64]
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for a year or a zone of twenty digits
        return 0.0
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return min(max(0.0, (date - now).total_seconds()), MAX_RETRY_AFTER_S)


def read_status(data: bytes) -> RemoteStatus:
    """The status document in an answer.

    Raises:
        BadAnswer: it is not JSON, not an object, or a field is not what the contract says.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"it is not JSON ({str(error)[:200]})") from error
    if not isinstance(document, dict):
        raise BadAnswer("it is not a JSON object")
    name = str(document.get("state", ""))[:64].upper()
    if name not in RemoteState.__members__:
        raise BadAnswer(f"its state {name!r} is none of {', '.join(RemoteState.__members__)}")
    code = document.get("exit_code")
    return RemoteStatus(
        state=RemoteState[name],
        message=_text(document, "message")[:MAX_MESSAGE],
        patch=_patch(document),
        log=_text(document, "log")[-MAX_REMOTE_LOG_BYTES:],
        exit_code=code if isinstance(code, int) and not isinstance(code, bool) and -255 <= code <= 255 else None,
    )


def _text(document: dict[str, Any], field: str) -> str:
    value = document.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadAnswer(f"its {field} is not a text")
    return value


def _patch(document: dict[str, Any]) -> bytes:
    text, encoding = _text(document, "patch"), _text(document, "patch_encoding") or "utf-8"
    if encoding == "utf-8":
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise BadAnswer("its patch has half a surrogate pair; send it as base64") from error
    if encoding != "base64":
        raise BadAnswer(f"its patch_encoding {encoding[:32]!r} is none of utf-8, base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadAnswer("its patch is not base64") from error


def base_url(text: str) -> tuple[str, str, bool]:
    """A URL that runs are below, its authority (``host`` or ``host:port``), and whether it is this very machine.

    Raises:
        ValueError: it is none that is accepted; the sentence says why, and repeats no secret.
    """
    if not text:
        raise ValueError("is required; give the URL that /runs/{id}/execute is below")
    if len(text.encode()) > MAX_URL_BYTES or not text.isascii() or not text.isprintable() or set(' \\"<>`') & set(text):
        raise ValueError(f"must be a URL of at most {MAX_URL_BYTES} printable ASCII characters without blanks")
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise ValueError("is not a URL: its host or port cannot be read") from error
    if parts.scheme not in PORTS or not host:
        raise ValueError("must begin with https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must have no user, password or token in it; name a credential in `headers`")
    if "?" in text or "#" in text:
        raise ValueError("must have neither '?' nor '#': /runs/{id}/execute is put behind it")
    name = f"[{host}]" if ":" in host else host
    authority = name if port in (None, PORTS[parts.scheme]) else f"{name}:{port}"
    loopback = _is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise ValueError("http:// is allowed to this very machine only; use https://")
    return f"{parts.scheme}://{authority}{parts.path.rstrip('/')}", authority, loopback


def problem_with_host(text: str, hosts: frozenset[str]) -> str | None:
    """Why this server sends nothing to this URL, or None."""
    try:
        _, authority, _ = base_url(text)
    except ValueError as error:
        return str(error)
    if authority not in hosts:
        return (
            f"{authority} is not a host that this server may call; the operator allows it with"
            " AUTOPACK_ORCHESTRATOR_HTTP_HOSTS (a port that is not the scheme's own is part of the name)"
        )
    return None


def problem_with_header(name: str) -> str | None:
    """Why a batch may not set this header, or None."""
    if not _HEADER.fullmatch(name):
        return "is not the name of a header: at most 64 letters, digits and '-'"
    if name.lower() in _OWN_HEADERS:
        return "is set by Autopack itself"
    return None


def run_path(run_id: str) -> str:
    """Where a run is, below the base URL."""
    return f"/runs/{quote(run_id, safe='')}"


def idempotency_key(run_id: str, attempt: int) -> str:
    """What makes two requests the same: an attempt is begun once, however often it is asked for."""
    return f"{run_id}:{attempt}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

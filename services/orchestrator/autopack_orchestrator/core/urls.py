"""URLs of repositories: which are accepted, and which hosts they may name."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["RemoteUrl", "join_remote_url", "parse_remote_url", "problem_with_host"]

MAX_URL_BYTES = 2048  # longer ones are refused by web servers too
PORTS = {"https": 443, "ssh": 22, "http": 80}
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_SCP = re.compile(r"(?:[^/:@]{1,64}@)?[^/:@]{1,253}:[^/]")


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """A URL in parts; ``port`` is None for the scheme's own."""

    scheme: str
    user: str
    host: str
    port: int | None
    path: str

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, as in the list of allowed hosts."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The URL in one spelling, so that two spellings of one repository share a mirror."""
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{self.authority}{self.path}"

    @property
    def loopback(self) -> bool:
        """Whether it leads to this very machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_remote_url(text: str) -> RemoteUrl:
    """The parts of a URL.

    Raises:
        ValueError: it is none that is accepted; the sentence says why and what would be, and repeats no secret.
    """
    if not text:
        raise ValueError("is required; give an https:// or ssh:// URL")
    if len(text.encode()) > MAX_URL_BYTES or not text.isascii() or not text.isprintable() or set(' \\"<>`') & set(text):
        raise ValueError(f"must be a URL of at most {MAX_URL_BYTES} printable ASCII characters without blanks")
    if "://" not in text:
        if _SCP.match(text):
            raise ValueError("write it as a URL: ssh://USER@HOST/PATH")
        raise ValueError("is not a URL; for a repository on the orchestrator's own disk use `path`")
    try:
        parts = urlsplit(text)
        port, password = parts.port, parts.password
    except ValueError as error:
        raise ValueError("is not a URL: its host or port cannot be read") from error
    scheme, host, user = parts.scheme.lower(), (parts.hostname or "").lower(), parts.username or ""
    if scheme not in PORTS:
        known = "for a repository on the orchestrator's own disk use `path`" if scheme == "file" else "use https or ssh"
        raise ValueError(f"{scheme[:20]}:// is not allowed; {known}")
    if password is not None or (user and scheme != "ssh"):
        raise ValueError(
            "must have no user, password or token in it: whoever reads the batch would see it. Ask the operator to"
            " put it into a file of AUTOPACK_ORCHESTRATOR_CREDENTIALS_DIR, and name that file as `credential`"
        )
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("must end with the path of the repository, without '?' or '#'")
    if user and not _USER.fullmatch(user):
        raise ValueError("has a user that is not letters, digits, '.', '_' and '-'")
    if not _is_host(host):
        raise ValueError("has no host, or one that is not a name or an address")
    if not parts.path.strip("/") or "/../" in f"{parts.path}/":
        raise ValueError("has no path of a repository, or one with '..'")
    return RemoteUrl(scheme, user, host, None if port in (None, PORTS[scheme]) else port, parts.path.rstrip("/"))


def problem_with_host(url: RemoteUrl, hosts: frozenset[str]) -> str | None:
    """Why this server does not connect there, or None: it is no proxy into the network that it stands in."""
    if url.authority not in hosts:
        return (
            f"{url.authority} is not a host that this server may connect to; the operator allows it with"
            " AUTOPACK_ORCHESTRATOR_REMOTE_HOSTS (a port that is not the scheme's own is part of the name)"
        )
    if url.scheme == "http" and not url.loopback:
        return "http:// is allowed to this very machine only; use https://"
    return None


def join_remote_url(base: RemoteUrl, url: str) -> RemoteUrl:
    """The URL of a submodule, which may be relative (``../other.git``) to that of its repository.

    Raises:
        ValueError: as :func:`parse_remote_url`.
    """
    if url.startswith(("./", "../")):
        path = posixpath.normpath(f"{base.path}/{url}")
        return parse_remote_url(RemoteUrl(base.scheme, base.user, base.host, base.port, path).text)
    return parse_remote_url(url)


def _is_host(host: str) -> bool:
    if _HOST.fullmatch(host):
        return True
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False

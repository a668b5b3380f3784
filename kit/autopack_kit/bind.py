"""Where a server listens, and the rules for it: private UNIX sockets, no accidental plaintext to the network."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from autopack_kit.auth import Transport
from autopack_kit.errors import FailedPrecondition, FieldViolation, InvalidArgument

__all__ = ["MAX_SOCKET_PATH", "RUNS", "Bind", "SocketLock", "is_loopback", "runs_address", "runs_path"]

MAX_SOCKET_PATH = 107
"""Bytes of a UNIX socket's path on Linux: sun_path has 108 with the final NUL (unix(7))."""
RUNS = "runs"
"""Directory, beside a server's UNIX socket, of its second one: for callers that hold a token, whoever they are."""
MAX_PORT_NUMBER = 65535
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Bind:
    """An address to listen on: a UNIX socket, or a host and a TCP port (0 = any free one).

    >>> Bind.parse("127.0.0.1:0").transport
    <Transport.TCP: 'tcp'>
    """

    path: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def unix(cls, path: Path) -> Bind:
        """A UNIX socket.

        Raises:
            InvalidArgument: ``SOCKET_PATH_TOO_LONG``.
        """
        length = len(os.fsencode(path))
        if length > MAX_SOCKET_PATH:
            raise InvalidArgument(
                f"The socket path {path} has {length} bytes; the system takes at most {MAX_SOCKET_PATH}.",
                reason="SOCKET_PATH_TOO_LONG",
                remedy="Use a shorter directory: --address unix:/run/user/$UID/autopack.sock, or AUTOPACK_DATA_DIR.",
                metadata={"path": str(path), "bytes": str(length)},
            )
        return cls(path=path)

    @classmethod
    def parse(cls, text: str) -> Bind:
        """``unix:/path``, ``HOST:PORT`` or ``[IPV6]:PORT``.

        Raises:
            InvalidArgument: ``ADDRESS_INVALID`` or ``SOCKET_PATH_TOO_LONG``.
        """
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            path = path[2:] if path.startswith("///") else path
            if not path.startswith("/"):
                raise _invalid(text, "the path of a UNIX socket is absolute")
            return cls.unix(Path(path))
        host, separator, port = text.rpartition(":")
        if not separator or not host or not _PORT.fullmatch(port) or int(port) > MAX_PORT_NUMBER:
            raise _invalid(text, "it has neither a UNIX path nor a host and a port")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise _invalid(text, "an IPv6 address stands in brackets")
        return cls(host=host, port=int(port))

    @property
    def transport(self) -> Transport:
        """UNIX or TCP."""
        return Transport.UNIX if self.path is not None else Transport.TCP

    @property
    def loopback(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        return self.path is not None or is_loopback(self.host)

    def target(self, port: int | None = None) -> str:
        """As gRPC and :func:`autopack_kit.channel.open_channel` take it; ``port`` replaces a 0."""
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port if port is None else port}"


def runs_path(path: Path) -> Path | None:
    """Where the second socket of a server at ``path`` is; None if its path would be too long for one.

    What runs in a sandbox sees the directory of this socket, not that of the first, at which the owner needs no token.
    The directory, so that a server that starts again is found again.
    """
    found = path.parent / RUNS / path.name
    return found if len(os.fsencode(found)) <= MAX_SOCKET_PATH else None


def runs_address(address: str) -> str:
    """The address at which what runs inside Autopack reaches the server at ``address``, with a token."""
    if not address.startswith("unix:"):
        return address
    path = runs_path(Path(address.removeprefix("unix:")))
    return address if path is None else f"unix:{path}"


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its name or number; any other name could be anyone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class SocketLock:
    """Owns the path of a UNIX socket: one server at a time, whatever crashed before it.

    A lock file beside the socket decides, because "connect, then unlink" lets two starting servers remove each other's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Takes the lock, checks the directory, and removes a stale socket.

        Raises:
            FailedPrecondition: ``ALREADY_SERVING``, ``SOCKET_DIRECTORY_UNSAFE``, ``SOCKET_PATH_TAKEN`` or
                ``SOCKET_UNUSABLE``.
        """
        try:
            self._acquire()
        except OSError as error:
            raise FailedPrecondition(
                f"The socket {self._path} cannot be used: {error.strerror or error}.",
                reason="SOCKET_UNUSABLE",
                remedy="Choose an address in a directory that you may write to, or set AUTOPACK_DATA_DIR.",
                metadata={"path": str(self._path)},
            ) from error

    def _acquire(self) -> None:
        _private_directory(self._path.parent)
        lock = self._path.with_name(self._path.name + ".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_stale(self._path)
        except BlockingIOError as error:
            os.close(descriptor)
            raise _already_serving(self._path) from error
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Removes the socket and frees the path; the lock file stays, or two servers could lock different files."""
        if self._descriptor < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def _private_directory(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise FailedPrecondition(
            f"Others may write into {directory}, so they could replace the socket in it.",
            reason="SOCKET_DIRECTORY_UNSAFE",
            remedy=f"Use a directory of your own: mkdir -m 700 {directory}/autopack, and the socket inside it.",
            metadata={"path": str(directory)},
        )


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPrecondition(
            f"{path} exists and is not a socket.",
            reason="SOCKET_PATH_TAKEN",
            remedy="Choose another address, or remove that file if you do not need it.",
            metadata={"path": str(path)},
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()  # nobody listens: left behind by a crash
        except BlockingIOError as error:
            raise _already_serving(path) from error  # its queue is full
        else:
            raise _already_serving(path)


def _already_serving(path: Path) -> FailedPrecondition:
    return FailedPrecondition(
        f"A server is already serving at unix:{path}.",
        reason="ALREADY_SERVING",
        remedy="Use that one, stop it, or choose another --address.",
        metadata={"address": f"unix:{path}"},
    )


def _invalid(text: str, why: str) -> InvalidArgument:
    description = f"{text[:200]!r} is not an address: {why}"
    return InvalidArgument(
        f"{description}.",
        reason="ADDRESS_INVALID",
        remedy="Use unix:/path/to/socket, HOST:PORT or [IPV6]:PORT.",
        metadata={"address": text[:200]},
        violations=[FieldViolation("address", description)],
    )

"""Values of HTTP headers that a batch names and only the operator knows."""

from __future__ import annotations

from pathlib import Path

from autopack_kit.errors import FailedPrecondition, NotFound, PermissionDenied
from autopack_kit.secret_files import read_secret

__all__ = ["read_header"]

MAX_HEADER_BYTES = 8 << 10  # what web servers accept of one


def read_header(directory: Path | None, tenant: str, name: str, authority: str) -> str:
    """The first line of the file ``<directory>/<tenant>/<name>``, else ``<directory>/<name>``: the whole value.

    ``<name>.hosts`` beside it names the hosts (white space between them) that it may be sent to; without it, any
    allowed one. Blocks briefly.

    Raises:
        NotFound: CREDENTIAL_NOT_FOUND. PermissionDenied: CREDENTIAL_HOST. FailedPrecondition: its file is unusable.
    """
    file = _find(directory, tenant, name)
    hosts = file.with_name(f"{name}.hosts")
    if hosts.is_file() and authority not in hosts.read_text().split():
        raise PermissionDenied(
            f"The credential {name!r} may not be sent to {authority}.",
            reason="CREDENTIAL_HOST",
            remedy=f"Name another one, or ask the operator to add the host to {hosts.name}.",
            metadata={"credential": name, "host": authority},
        )
    value = (read_secret(file).splitlines() or [b""])[0].strip()
    if not value or len(value) > MAX_HEADER_BYTES or not value.isascii() or not value.decode().isprintable():
        raise FailedPrecondition(
            f"The credential {name!r} cannot be sent as a header: its first line is empty, too long or not ASCII.",
            reason="CREDENTIAL_UNUSABLE",
            remedy="Write the whole value of the header into its first line, for example 'Bearer ...'.",
            metadata={"credential": name},
        )
    return value.decode()


def _find(directory: Path | None, tenant: str, name: str) -> Path:
    if directory is not None:
        plain = tenant not in ("", ".", "..") and "/" not in tenant
        for file in (*([directory / tenant / name] if plain else []), directory / name):
            if file.is_file():
                return file
    raise NotFound(
        f"There is no credential {name!r}.",
        reason="CREDENTIAL_NOT_FOUND",
        remedy="Ask the operator for its name, or to put a file of mode 0600 with the header's whole value into"
        " AUTOPACK_ORCHESTRATOR_CREDENTIALS_DIR.",
        metadata={"credential": name},
    )

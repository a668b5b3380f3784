"""Values of HTTP headers that a batch names and only the operator knows."""

from __future__ import annotations

from autopack_kit.errors import FailedPrecondition
from autopack_kit.secret_files import read_secret

from autopack_orchestrator.adapters.git import Credentials

__all__ = ["read_header"]

MAX_HEADER_BYTES = 8 << 10  # what web servers accept of one


def read_header(credentials: Credentials, tenant: str, name: str, authority: str) -> str:
    """The first line of the credential's file: the whole value. Blocks briefly.

    Raises:
        NotFound: CREDENTIAL_NOT_FOUND. PermissionDenied: CREDENTIAL_HOST. FailedPrecondition: its file is unusable.
    """
    value = (read_secret(credentials.file(name, tenant, authority)).splitlines() or [b""])[0].strip()
    if not value or len(value) > MAX_HEADER_BYTES or not value.isascii() or not value.decode().isprintable():
        raise FailedPrecondition(
            f"The credential {name!r} cannot be sent as a header: its first line is empty, too long or not ASCII.",
            reason="CREDENTIAL_UNUSABLE",
            remedy="Write the whole value of the header into its first line, for example 'Bearer ...'.",
            metadata={"credential": name},
        )
    return value.decode()

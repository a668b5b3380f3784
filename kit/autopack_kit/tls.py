"""TLS and mTLS credentials from PEM files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from autopack_kit.errors import FailedPrecondition
from autopack_kit.secret_files import read_secret

__all__ = ["ClientTls", "ServerTls"]

MAX_PEM = 1 << 20
"""Bytes of a PEM file: a bundle of all public CAs has about 250 KB."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files of a server.

    Attributes:
        certificate: its chain.
        key: its private key, mode 0600.
        client_ca: if given, a client must present a certificate from it (mTLS).
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Reads the files.

        Raises:
            FailedPrecondition: a file is absent, not PEM, or the key can be read by others.
        """
        pair = (read_secret(self.key), _pem(self.certificate))
        client_ca = _pem(self.client_ca) if self.client_ca else None
        return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)

    def ssl_context(self) -> ssl.SSLContext:
        """The same for the HTTP port.

        Raises:
            FailedPrecondition: a file is absent, not PEM, the key can be read by others, or is not the certificate's.
        """
        self.credentials()  # its checks: the standard library reads any file, whoever else can
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.client_ca)
        except ssl.SSLError as error:
            raise _bad(self.certificate, f"it does not load with its key: {error.reason or error}") from error
        return context


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Files of a client.

    Attributes:
        ca: the CA of the server; None = the system's.
        certificate: its own chain, for mTLS; with ``key``.
        key: its private key, mode 0600.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files.

        Raises:
            FailedPrecondition: a file is absent, not PEM, or the key can be read by others.
        """
        if (self.certificate is None) != (self.key is None):
            raise FailedPrecondition(
                "A client certificate needs its key, and a key its certificate.",
                reason="TLS_FILES_INCOMPLETE",
                remedy="Give both files or neither.",
            )
        return grpc.ssl_channel_credentials(
            root_certificates=_pem(self.ca) if self.ca else None,
            private_key=read_secret(self.key) if self.key else None,
            certificate_chain=_pem(self.certificate) if self.certificate else None,
        )


def _pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM)
    except OSError as error:
        raise _bad(path, error.strerror or str(error)) from error
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise _bad(path, "it holds no PEM certificate")
    return data


def _bad(path: Path, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"The certificate {path} cannot be used: {why}.",
        reason="TLS_FILE_INVALID",
        remedy="Name a PEM file; `autopack certs init` makes a working set.",
        metadata={"path": str(path)},
    )

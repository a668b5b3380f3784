"""A working set of certificates for compose files and tests: a CA, a server and a client. Needs the extra ``certs``.

Not a PKI: for production use the one you have (cert-manager, a service mesh) and point the TLS settings at its files.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from autopack_kit.errors import AlreadyExists, FailedPrecondition
from autopack_kit.secret_files import write_secret

__all__ = ["SERVER_NAMES", "CertificateSet", "init"]

SERVER_NAMES = ("localhost", "toolchain", "hardening", "intention", "orchestrator", "telemetry")
"""DNS names of the server certificate: this machine, and the services of the compose file."""
LIFETIME = timedelta(days=397)
"""What browsers accept at most (CA/Browser Forum, 398 days): a set that outlives its purpose is forgotten and leaks."""


@dataclass(frozen=True, slots=True)
class CertificateSet:
    """Paths of the files; keys have mode 0600."""

    ca: Path
    ca_key: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    @classmethod
    def in_directory(cls, directory: Path) -> CertificateSet:
        """The fixed names under ``directory``."""
        names = ("ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key")
        return cls(*(directory / name for name in names))

    def files(self) -> tuple[Path, ...]:
        """All six."""
        return (self.ca, self.ca_key, self.server, self.server_key, self.client, self.client_key)


def init(directory: Path, *, force: bool = False, now: datetime | None = None) -> CertificateSet:
    """Makes the set.

    Args:
        directory: where; created with mode 0700.
        force: replace a set that is there.
        now: start of validity; default: the present.

    Raises:
        FailedPrecondition: ``CERTIFICATES_DIRECTORY``: the name is that of a file.
        AlreadyExists: ``CERTIFICATES_EXIST``: any of the files is there and ``force`` is false; nothing was written.
    """
    paths = CertificateSet.in_directory(directory)
    present = [path.name for path in paths.files() if path.exists()]
    if present and not force:
        raise AlreadyExists(
            f"{directory} holds {', '.join(present)} already.",
            reason="CERTIFICATES_EXIST",
            remedy="Choose another directory, or pass --force to replace them: clients of the old set lose access.",
            metadata={"path": str(directory)},
        )
    if directory.exists() and not directory.is_dir():
        raise FailedPrecondition(
            f"{directory} is not a directory.",
            reason="CERTIFICATES_DIRECTORY",
            remedy="Name a directory, or one that can be made.",
            metadata={"path": str(directory)},
        )
    start = now or datetime.now(UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("Autopack CA", ca_key, None, ca_key, start)
    for name, certificate_path, key_path in (
        ("autopack-server", paths.server, paths.server_key),
        ("autopack-client", paths.client, paths.client_key),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, ca, ca_key, start)
        write_secret(key_path, _key_pem(key), replace=True)
        write_secret(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), replace=True)
    write_secret(paths.ca_key, _key_pem(ca_key), replace=True)
    write_secret(paths.ca, ca.public_bytes(serialization.Encoding.PEM), replace=True)
    for public in (paths.ca, paths.server, paths.client):
        public.chmod(0o644)
    return paths


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    start: datetime,
) -> x509.Certificate:
    """A certificate for ``name``; a CA when it has no issuer."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    is_ca = issuer is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - timedelta(minutes=5))  # clocks of containers differ
        .not_valid_after(start + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(_key_usage(is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if name == "autopack-server":
        builder = builder.add_extension(_server_names(), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    elif name == "autopack-client":
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _server_names() -> x509.SubjectAlternativeName:
    addresses = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
    return x509.SubjectAlternativeName(
        [*(x509.DNSName(name) for name in SERVER_NAMES), *(x509.IPAddress(address) for address in addresses)]
    )


def _key_usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

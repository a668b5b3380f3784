from __future__ import annotations

import ipaddress
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from autopack_kit import certs
from autopack_kit.errors import AlreadyExists, FailedPrecondition
from autopack_kit.tls import ClientTls, ServerTls
from cryptography import x509


@pytest.fixture
def files(tmp_path: Path) -> certs.CertificateSet:
    return certs.init(tmp_path / "certs")


def test_init_makes_private_keys_and_readable_certificates(files: certs.CertificateSet) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files.files()}
    assert modes == {
        "ca.pem": 0o644,
        "ca.key": 0o600,
        "server.pem": 0o644,
        "server.key": 0o600,
        "client.pem": 0o644,
        "client.key": 0o600,
    }
    assert len(list(files.ca.parent.iterdir())) == 6


def test_server_certificate_names_this_machine_and_every_service(files: certs.CertificateSet) -> None:
    certificate = x509.load_pem_x509_certificate(files.server.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "localhost",
        "toolchain",
        "hardening",
        "intention",
        "orchestrator",
        "telemetry",
    }
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    }


def test_certificates_are_issued_by_the_ca_and_only_it_may_issue(files: certs.CertificateSet) -> None:
    ca, server, client = (
        x509.load_pem_x509_certificate(path.read_bytes()) for path in (files.ca, files.server, files.client)
    )
    for certificate in (server, client):
        certificate.verify_directly_issued_by(ca)
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_certificates_are_valid_now_and_not_for_ever(tmp_path: Path) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    server = x509.load_pem_x509_certificate(certs.init(tmp_path, now=start).server.read_bytes())
    assert server.not_valid_before_utc < start < server.not_valid_after_utc
    assert (server.not_valid_after_utc - start).days <= 398


def test_init_where_any_file_of_a_set_exists_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "client.key").write_text("mine")
    with pytest.raises(AlreadyExists) as caught:
        certs.init(tmp_path)
    assert caught.value.reason == "CERTIFICATES_EXIST"
    assert [path.name for path in tmp_path.iterdir()] == ["client.key"]
    assert (tmp_path / "client.key").read_text() == "mine"


def test_init_with_force_replaces_the_whole_set(files: certs.CertificateSet) -> None:
    before = [path.read_bytes() for path in files.files()]
    certs.init(files.ca.parent, force=True)
    after = [path.read_bytes() for path in files.files()]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_tls_key_that_others_can_read_is_refused(files: certs.CertificateSet) -> None:
    files.server_key.chmod(0o644)
    with pytest.raises(FailedPrecondition) as caught:
        ServerTls(files.server, files.server_key).credentials()
    assert caught.value.reason == "SECRET_FILE_MODE"


def test_tls_certificate_that_is_absent_or_no_pem_is_refused(files: certs.CertificateSet, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "absent", tmp_path / "text", tmp_path):
        with pytest.raises(FailedPrecondition) as caught:
            ServerTls(path, files.server_key).credentials()
        assert caught.value.reason == "TLS_FILE_INVALID"


def test_tls_client_certificate_without_its_key_is_refused(files: certs.CertificateSet) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        ClientTls(files.ca, certificate=files.client).credentials()
    assert caught.value.reason == "TLS_FILES_INCOMPLETE"

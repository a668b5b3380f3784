from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from autopack_kit.auth import (
    LOCAL_PRINCIPAL,
    Authenticator,
    TokenEntry,
    Transport,
    ensure_signing_key,
    ensure_tokens_file,
    load_tokens,
    mint_run_token,
    mint_service_token,
    read_token,
    verify_signed_token,
)
from autopack_kit.errors import FailedPrecondition, Unauthenticated
from autopack_kit.identity import Principal, Scope
from autopack_kit.secret_files import write_secret

KEY = b"k" * 32
ENTRY = TokenEntry(Principal("ci", "acme", frozenset({Scope.READ})), hashlib.sha256(b"apk_x").hexdigest())


def bearer(token: str) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "x"), ("authorization", f"Bearer {token}")]


def reason_of(metadata: list[tuple[str, str | bytes]], transport: Transport = Transport.TCP) -> str:
    with pytest.raises(Unauthenticated) as caught:
        Authenticator([ENTRY], signing_key=KEY, clock=lambda: 1000.0).authenticate(metadata, transport)
    assert caught.value.remedy
    return caught.value.reason


def test_socket_without_a_header_is_the_local_admin() -> None:
    assert Authenticator().authenticate([], Transport.UNIX) is LOCAL_PRINCIPAL
    assert LOCAL_PRINCIPAL.has(Scope.ADMIN)


def test_tcp_without_a_header_is_refused() -> None:
    assert reason_of([]) == "TOKEN_MISSING"


def test_socket_without_a_header_is_refused_where_no_local_caller_is_trusted() -> None:
    with pytest.raises(Unauthenticated):
        Authenticator([ENTRY], local=None).authenticate([], Transport.UNIX)


@pytest.mark.parametrize("transport", list(Transport))
def test_known_token_gives_its_principal_on_every_transport(transport: Transport) -> None:
    assert Authenticator([ENTRY]).authenticate(bearer("apk_x"), transport) is ENTRY.principal


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("header", ["Bearer apk_y", "Bearer ", "Basic apk_x", "apk_x", "Bearer " + "a" * 5000, ""])
def test_header_that_is_no_known_token_is_refused_on_every_transport(transport: Transport, header: str) -> None:
    assert reason_of([("authorization", header)], transport) == "TOKEN_INVALID"


def test_run_token_gives_ingest_for_its_run_only() -> None:
    token = mint_run_token(KEY, "r1", "acme", expires=2000)
    principal = Authenticator(signing_key=KEY, clock=lambda: 1000.0).authenticate(bearer(token), Transport.UNIX)
    assert principal == Principal("run:r1", "acme", frozenset({Scope.INGEST}), "r1")


def test_run_token_after_its_time_is_refused() -> None:
    assert reason_of(bearer(mint_run_token(KEY, "r1", "acme", expires=1000))) == "TOKEN_EXPIRED"


def test_run_token_of_another_key_is_refused() -> None:
    assert reason_of(bearer(mint_run_token(b"z" * 32, "r1", "acme", expires=2000))) == "TOKEN_INVALID"


def test_run_token_without_a_key_to_verify_is_refused() -> None:
    token = mint_run_token(KEY, "r1", "acme", expires=2000)
    with pytest.raises(Unauthenticated):
        Authenticator([ENTRY]).authenticate(bearer(token), Transport.TCP)


def test_run_token_with_any_character_changed_is_refused() -> None:
    token = mint_run_token(KEY, "r1", "acme", expires=2**40)
    for index in range(len(token)):
        forged = token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]
        with pytest.raises(Unauthenticated):
            Authenticator([ENTRY], signing_key=KEY).authenticate(bearer(forged), Transport.TCP)


def test_service_token_reads_and_records_for_its_tenant_and_may_nothing_else() -> None:
    token = mint_service_token(KEY, "orchestrator", "acme", now=1000.0)
    principal = Authenticator(signing_key=KEY, clock=lambda: 1000.0).authenticate(bearer(token), Transport.TCP)
    assert principal == Principal("orchestrator", "acme", frozenset({Scope.READ, Scope.INGEST}))
    assert not principal.has(Scope.RUN)


def test_service_token_after_five_minutes_is_refused() -> None:
    assert reason_of(bearer(mint_service_token(KEY, "orchestrator", "acme", now=699.0))) == "TOKEN_EXPIRED"


def test_run_token_under_the_prefix_of_a_service_token_is_refused() -> None:
    token = mint_run_token(KEY, "r1", "acme", expires=2000)
    assert reason_of(bearer(token.replace("apr1.", "aps1.", 1))) == "TOKEN_INVALID"


@pytest.mark.parametrize("token", ["apr1.", "apr1..", "apr1.é.é", "apr1.e30"])
def test_run_token_that_is_malformed_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        verify_signed_token(KEY, token, now=0)


def test_ensure_tokens_file_makes_an_admin_token_that_works_and_is_not_logged(tmp_path: Path) -> None:
    path = tmp_path / "data" / "tokens.toml"
    with structlog.testing.capture_logs() as logs:
        entries = ensure_tokens_file(path)
    token = read_token(path.with_name("token"))
    assert Authenticator(entries).authenticate(bearer(token), Transport.TCP).has(Scope.ADMIN)
    assert token not in path.read_text()
    assert token not in str(logs)
    assert str(path.with_name("token")) in str(logs)
    assert [stat.S_IMODE((path.parent / name).stat().st_mode) for name in ("tokens.toml", "token", ".")] == [
        0o600,
        0o600,
        0o700,
    ]


def test_ensure_tokens_file_that_exists_is_only_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    assert ensure_tokens_file(path) == ensure_tokens_file(path)


def test_ensure_tokens_file_after_a_crash_between_its_two_files_leaves_a_token_that_works(tmp_path: Path) -> None:
    path, blocked = tmp_path / "tokens.toml", tmp_path / "token"
    blocked.mkdir()  # the token cannot be written
    with pytest.raises(FailedPrecondition):
        ensure_tokens_file(path)
    assert not path.exists()
    blocked.rmdir()
    write_secret(blocked, b"apk_of_a_start_that_crashed\n")
    entries = ensure_tokens_file(path)
    assert Authenticator(entries).authenticate(bearer(read_token(blocked)), Transport.TCP).has(Scope.ADMIN)


def test_ensure_tokens_file_in_many_threads_at_once_makes_one_token_that_works(tmp_path: Path) -> None:
    path = tmp_path / "data" / "tokens.toml"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ensure_tokens_file, [path] * 8))
    token = read_token(path.with_name("token"))
    for entries in found:
        assert Authenticator(entries).authenticate(bearer(token), Transport.TCP).has(Scope.ADMIN)


def test_load_tokens_of_a_file_that_others_can_read_says_chmod(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    ensure_tokens_file(path)
    path.chmod(0o640)
    with pytest.raises(FailedPrecondition) as caught:
        load_tokens(path)
    assert caught.value.reason == "SECRET_FILE_MODE"
    assert f"chmod 600 {path}" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "[token]\n",
        'tokens = "x"',
        "[[tokens]]\nname = 'a'\nscopes = ['admin']\nsha256 = 'short'",
        f"[[tokens]]\nname = 'a'\nscopes = ['root']\nsha256 = '{'0' * 64}'",
        f"[[tokens]]\nname = 'a'\nscopes = []\nsha256 = '{'0' * 64}'",
        f"[[tokens]]\nname = 'a b'\nscopes = ['read']\nsha256 = '{'0' * 64}'",
        f"[[tokens]]\nname = 'a'\nscopes = ['read']\nsha256 = '{'0' * 64}'\ntoken = 'x'",
        f"[[tokens]]\nname = 'a'\nscopes = ['read']\nsha256 = '{'0' * 64}'\n" * 2,
    ],
)
def test_load_tokens_of_a_wrong_file_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.toml"
    write_secret(path, text.encode())
    with pytest.raises(FailedPrecondition) as caught:
        load_tokens(path)
    assert caught.value.reason == "TOKENS_FILE_INVALID"
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["absent", "directory", "fifo"])
def test_read_token_of_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "token"
    if kind == "directory":
        path.mkdir(mode=0o700)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    with pytest.raises(FailedPrecondition) as caught:
        read_token(path)
    assert caught.value.reason == "SECRET_FILE_UNREADABLE"


def test_ensure_signing_key_makes_one_and_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    key = ensure_signing_key(path)
    assert len(key) == 32
    assert ensure_signing_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ensure_signing_key_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    write_secret(path, b"short")
    with pytest.raises(FailedPrecondition, match="has 5 bytes"):
        ensure_signing_key(path)

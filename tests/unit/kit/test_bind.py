from __future__ import annotations

from pathlib import Path

import pytest
from autopack_kit.auth import Transport
from autopack_kit.bind import MAX_SOCKET_PATH, Bind, is_loopback
from autopack_kit.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "target", "loopback"),
    [
        ("unix:/a/b", "unix:/a/b", True),
        ("unix:///a/b", "unix:/a/b", True),
        ("127.0.0.1:0", "127.0.0.1:0", True),
        ("localhost:50051", "localhost:50051", True),
        ("[::1]:1", "[::1]:1", True),
        ("0.0.0.0:1", "0.0.0.0:1", False),
        ("[::]:1", "[::]:1", False),
        ("example.test:65535", "example.test:65535", False),
    ],
)
def test_parse_of_an_address_keeps_it_and_knows_who_can_reach_it(text: str, target: str, loopback: bool) -> None:
    bind = Bind.parse(text)
    assert (bind.target(), bind.loopback) == (target, loopback)
    assert bind.transport is (Transport.UNIX if text.startswith("unix") else Transport.TCP)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "localhost:",
        ":1",
        "localhost:x",
        "localhost:65536",
        "::1:1",
        "unix:a",
        "h:-1",
        "h:\u0661",
        "h:" + "9" * 5000,
    ],
)
def test_parse_of_what_is_no_address_says_which_forms_there_are(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Bind.parse(text)
    assert caught.value.reason == "ADDRESS_INVALID"
    assert "HOST:PORT" in caught.value.remedy


def test_socket_path_as_long_as_the_system_allows_is_accepted_and_one_byte_more_is_not() -> None:
    Bind.unix(Path("/" + "a" * (MAX_SOCKET_PATH - 1)))
    with pytest.raises(InvalidArgument) as caught:
        Bind.unix(Path("/" + "a" * (MAX_SOCKET_PATH - 2) + "é"))
    assert caught.value.reason == "SOCKET_PATH_TOO_LONG"
    assert "AUTOPACK_DATA_DIR" in caught.value.remedy


@pytest.mark.parametrize("host", ["localhost.evil.test", "127.0.0.1.evil.test", "10.0.0.1", "", "0.0.0.0"])
def test_host_that_only_looks_like_this_machine_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)

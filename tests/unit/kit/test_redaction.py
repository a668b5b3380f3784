"""What has the form of a secret goes, all else stays."""

from __future__ import annotations

import pytest
from autopack_kit.redaction import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key " + "sk-ant-" + "a1" * 12 + " end", "key [redacted] end"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]"),
        ("AKIAIOSFODNN7EXAMPLE!", "[redacted]!"),
        ("Authorization: Bearer abc.def, x", "Authorization: Bearer [redacted], x"),
        ('{"authorization": "Basic dXNlcg=="}', '{"authorization": "Basic [redacted]"}'),
        ("x-api-key: abc", "x-api-key: [redacted]"),
        ("NPM_CONFIG__authToken=abcdef0123 x", "NPM_CONFIG__authToken=[redacted] x"),
        ("//registry.example/:_authToken=abcdef0123", "//registry.example/:_authToken=[redacted]"),
        ('{"db_password": "it is long"}', '{"db_password": "[redacted]"}'),
        (
            "postgres connection failed: password=hunter22 host=db",
            "postgres connection failed: password=[redacted] host=db",
        ),
        ("https://user:pass@example.com/x", "https://user:[redacted]example.com/x"),
        ("a apr1.eyJydW4iOiJ4In0.c2lnbmF0dXJl b", "a [redacted] b"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nrest",
            "-----BEGIN RSA PRIVATE KEY-----[redacted]\nrest",
        ),
        ("-----BEGIN PRIVATE KEY-----\nabc and it is cut", "-----BEGIN PRIVATE KEY-----[redacted]"),
    ],
)
def test_what_has_the_form_of_a_secret_is_replaced(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task-oriented-programming-is-nice",
        "authorization failed for user",
        "SyntaxError: Unexpected token: identifier",
        "tokenizer == 2",
        "https://example.com:443/a@b",
        "commit 0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_hostile_log_takes_no_time() -> None:
    for text in ("sk-" * 300_000, "eyJ" + "a" * 1_000_000, "-----BEGIN " * 100_000, "a://" * 200_000):
        assert redact(text) is not None

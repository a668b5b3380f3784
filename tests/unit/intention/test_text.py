from __future__ import annotations

import pytest
from autopack_intention.core.text import count_terms, spell, stem


@pytest.mark.parametrize("name", ["parse_http_request", "parseHTTPRequest", "parse-http-request", "ParseHttpRequest"])
def test_every_way_to_write_a_name_gives_the_same_terms(name: str) -> None:
    assert dict(count_terms(name)) == {"pars": 1, "http": 1, "request": 1, "parsehttprequest": 1}


def test_a_path_shares_terms_with_prose() -> None:
    path = count_terms("src/autopack/http_retries/backoff_policy.py")
    assert {"http", "retry", "backof", "policy"} <= path.keys()
    assert {"retry", "backof"} <= count_terms("Retry with a backoff").keys()


@pytest.mark.parametrize(
    ("words", "root"),
    [
        (("caching", "caches", "cached", "cache"), "cach"),
        (("retries", "retry", "retried"), "retry"),
        (("running",), "run"),
    ],
)
def test_inflected_words_meet_in_one_stem(words: tuple[str, ...], root: str) -> None:
    assert {stem(word) for word in words} == {root}


def test_function_words_digits_and_single_letters_are_no_terms() -> None:
    assert count_terms("the 42 of a x and with") == {}


def test_a_word_that_is_not_ascii_stays_whole() -> None:
    assert dict(count_terms("Größe ändern 修复登录")) == {"größe": 1, "ändern": 1, "修复登录": 1}


def test_data_is_no_name_and_a_long_name_is_split() -> None:
    assert count_terms("A" * 129) == {}
    assert dict(count_terms("very_" * 30 + "long")) == {"very": 30, "long": 1}


def test_terms_keep_their_first_spelling() -> None:
    assert spell("Caching parseRequest, cached") == {
        "cach": "caching",
        "pars": "parse",
        "request": "request",
        "parserequest": "parseRequest",
    }

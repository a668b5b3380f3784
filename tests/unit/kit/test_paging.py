from __future__ import annotations

import base64
from typing import Any

import pytest
from autopack_kit.errors import InvalidArgument
from autopack_kit.paging import decode_token, encode_token, page_size
from hypothesis import given
from hypothesis import strategies as st

FILTERS = {"batch": "b1", "state": ["RUNNING"]}
OTHER_DOCUMENTS = (b"{}", b"[]", b"[1]", b'["x",null]', b'["x",true]', b'["x",[1]]', b'"x"', b"1")


@pytest.mark.parametrize(("requested", "used"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_page_size_in_any_range_becomes_one_that_can_be_served(requested: int, used: int) -> None:
    assert page_size(requested) == used


def test_page_size_below_zero_is_an_error_about_that_field() -> None:
    with pytest.raises(InvalidArgument) as caught:
        page_size(-1)
    assert caught.value.violations[0].field == "page_size"


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.integers(-(2**63), 2**63 - 1),
        min_size=1,
        max_size=4,
    )
)
def test_token_gives_back_its_key_and_is_safe_in_a_url(key: list[str | int]) -> None:
    token = encode_token(key, FILTERS)
    assert decode_token(token, FILTERS, *map(type, key)) == tuple(key)
    assert token.replace("-", "").replace("_", "").isalnum()


def test_token_that_is_empty_means_the_first_page() -> None:
    assert decode_token("", FILTERS) is None


def test_token_with_filters_in_another_order_is_the_same_request() -> None:
    assert decode_token(encode_token([1], FILTERS), dict(reversed(FILTERS.items())), int) == (1,)


def test_token_with_other_filters_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_token(encode_token([1], FILTERS), {**FILTERS, "state": []}, int)
    assert caught.value.reason == "PAGE_TOKEN_OTHER_FILTERS"


@pytest.mark.parametrize(
    "token",
    [
        "!",
        "é",
        "a",
        "A" * 5000,
        *(base64.urlsafe_b64encode(text).decode() for text in OTHER_DOCUMENTS),
        base64.urlsafe_b64encode(b"[" * 1500).decode(),
    ],
)
def test_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_token(token, FILTERS)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("key", [[], ["a"], [1, 2], [True], [1.5], [2**63], [-(2**63) - 1]])
def test_token_with_another_key_than_that_of_the_list_is_refused(key: list[Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_token(encode_token(key, FILTERS), FILTERS, int)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_token_with_text_that_no_database_takes_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        decode_token(encode_token([text], FILTERS), FILTERS, str)


@given(st.text(max_size=200))
def test_token_of_any_text_is_refused_with_our_error(token: str) -> None:
    if token:
        with pytest.raises(InvalidArgument):
            decode_token(token, FILTERS)

"""Pages of list RPCs as AIP-158 has them. Pure: ``core/`` packages may import it.

A token holds the sort key of the last item (keyset paging: stable under inserts, cheap at any depth) and a hash of the
filters. It is opaque, not secret: a forged one changes where the list starts, never whose items it shows.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from autopack_kit.errors import InvalidArgument, invalid_field

__all__ = ["DEFAULT_PAGE_SIZE", "MAX_PAGE_SIZE", "decode_token", "encode_token", "page_size"]

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
"""Items of a page: 1,000 items of 1 KB stay well under the 16 MiB of a message."""
MAX_TOKEN = 2048
"""Characters of a token; ours have under 200."""

Key = tuple[Any, ...]
"""The parts of a sort key, each of the type that the caller of :func:`decode_token` asked for."""


def page_size(requested: int, *, default: int = DEFAULT_PAGE_SIZE, maximum: int = MAX_PAGE_SIZE) -> int:
    """The size to use: 0 means the default, more than the maximum means the maximum.

    Raises:
        InvalidArgument: ``PAGE_SIZE_NEGATIVE``.
    """
    if requested < 0:
        raise invalid_field(
            "page_size", f"{requested} is negative; use 0 for the default of {default}", reason="PAGE_SIZE_NEGATIVE"
        )
    return min(requested, maximum) if requested else default


def encode_token(key: Sequence[str | int], filters: Mapping[str, object]) -> str:
    """A ``next_page_token`` that continues after the item with sort key ``key``.

    Args:
        key: sort key of the last item of this page.
        filters: everything of the request that selects or orders items, page size excepted; JSON values.
    """
    document = json.dumps([_digest(filters), *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(document.encode()).rstrip(b"=").decode()


def decode_token(token: str, filters: Mapping[str, object], *types: type[str | int]) -> Key | None:
    """The sort key after which the page starts; None for the first page (an empty token).

    Args:
        token: as the client sent it, which may have made it up.
        filters: as for :func:`encode_token`.
        types: of the parts of the key.

    Raises:
        InvalidArgument: ``PAGE_TOKEN_INVALID``; ``PAGE_TOKEN_OTHER_FILTERS`` when the request changed in between.
    """
    if not token:
        return None
    digest, key = _parse(token)
    if tuple(type(part) for part in key) != types or not all(map(_storable, key)):
        raise _invalid()
    if digest != _digest(filters):
        raise invalid_field(
            "page_token",
            "belongs to a request with other filters; send the same filters, or no token to start again",
            reason="PAGE_TOKEN_OTHER_FILTERS",
        )
    return key


def _parse(token: str) -> tuple[str, Key]:
    if len(token) > MAX_TOKEN or not token.isascii():
        raise _invalid()
    try:
        document = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _invalid() from error
    if not isinstance(document, list) or not document or not isinstance(document[0], str):
        raise _invalid()
    return document[0], tuple(document[1:])


def _storable(part: str | int) -> bool:
    """Whether every database can compare with it: 64 bits, and text without NUL and lone surrogates."""
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return "\0" not in part and not any("\ud800" <= letter <= "\udfff" for letter in part)


def _invalid() -> InvalidArgument:
    return invalid_field(
        "page_token",
        "is not a token of this list; send next_page_token of the previous page unchanged, or nothing",
        reason="PAGE_TOKEN_INVALID",
    )


def _digest(filters: Mapping[str, object]) -> str:
    canonical = json.dumps(dict(filters), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]

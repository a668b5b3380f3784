"""Text from outside, made fit to be stored and sent: valid Unicode, without NUL, and not longer than it may be."""

from __future__ import annotations

__all__ = ["MAX_TEXT", "clean"]

MAX_TEXT = 4000
"""Characters of a message or of a part of one: a screen of text. Logs and patches have the whole."""


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """``text`` without what JSON, protobuf or PostgreSQL refuse.

    Bytes that were not UTF-8 (kept as surrogates by ``os.fsdecode``) and NUL become escapes; what is too long is cut.

    >>> clean("caf\\udce9.txt"), clean("abcdef", limit=4)
    ('caf\\\\xe9.txt', 'abc…')
    """
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    return text if len(text) <= limit else text[: limit - 1] + "…"

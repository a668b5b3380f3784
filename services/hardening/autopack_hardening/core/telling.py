"""How much a word tells: the more, the fewer outputs have it on the fewer lines."""

from __future__ import annotations

import re

__all__ = ["DIGIT", "worth"]

DIGIT = "\ue000"
"""Stands for any digit in a word; a character for private use, which no expression has."""

# What a word tells at most: to tell more than that makes no difference.
_MOST = 32
# What every output of a command that failed says somewhere: of two parts, one without such words tells more.
_COMMON = re.compile(
    r"error|fail(?:ed|ing|ure)?|warning|command|package|python|compile|test|line|file|https?://"
    r"|not found|no such|could not|cannot|is not|does not|\.(?:[cm]?[jt]sx?|py|java)\b",
    re.IGNORECASE,
)
# How much a character tells, as so many others: a blank nothing, a digit twice as much as a letter. Those that are not
# here, the rarest, count for three letters.
_WEIGHED = str.maketrans(
    {chr(code): "xx" for code in range(128)} | dict.fromkeys(" \t\n\f\r", "") | dict.fromkeys("0123456789", "xxxx")
    | {DIGIT: "x"}
)  # fmt: skip


def worth(words: frozenset[str], *, is_common_told: bool = True) -> int:
    """How much the least telling one of ``words`` tells; those that are common in outputs may count for half."""
    told = [_tells(word.translate(_WEIGHED)) for word in words]
    if not is_common_told:
        told = [one - sum(map(len, _COMMON.findall(word))) for one, word in zip(told, words, strict=True)]
    return min(_MOST, *told)


def _tells(weighed: str) -> int:
    return len(weighed) if weighed.isascii() else len(weighed) + 5 * sum(not one.isascii() for one in weighed)

"""A cheaper expression for the one scan over all of them: wherever the original occurs, this occurs as well.

The automaton of a set holds, in each state, how far every expression has come. Counted repetitions, and expressions
that wait for the rest of a line, multiply the states until they outgrow any memory and every byte is worked out anew.
So the set gets of every expression only a stretch without repetitions, if it has one that is telling enough; else the
expression with open repetitions in place of counted ones. What the set finds is looked for again with the original.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["prefilter"]

# Literal characters of a stretch that may stand for the whole; fewer find too much, and what is found is read twice.
TELLING = 8

_CLASS = r"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]"
_TOKEN = re.compile(
    r"(?P<atom>\\[pPx]\{[^}]*\}|\\x[0-9A-Fa-f]{2}|\\[pP].|\\.|" + _CLASS + r")"
    r"|(?P<times>\{(?P<low>\d+)(?P<open>,?)(?P<high>\d*)\}|[*+?])(?P<lazy>\??)"
    r"|(?P<flags>\(\?[a-zA-Z-]+\))"
    r"|(?P<group>\(\?(?:P?<\w+>|[a-zA-Z-]*:)|\()"
    r"|.",
    re.DOTALL,
)


@dataclass(slots=True)
class _Item:
    """One part of a sequence: a character, a class or a group, with its repetition."""

    text: str = ""
    literals: int = 0
    repeats: bool = False


def prefilter(regex: str) -> str:
    r"""An RE2 expression that occurs in every text in which ``regex`` occurs.

    >>> prefilter(r"(?m)^(?P<tool>\w+) error: no file (?P<path>\S{1,80}) in [^\n]{0,60} of it")
    '(?m) error: no file '
    >>> prefilter(r"a{2,9}|b[^\n]*c")
    'a+|b[^\\n]*c'
    """
    flags = ""
    branches: list[list[_Item]] = [[]]
    depth = 0
    for token in _TOKEN.finditer(regex):
        word = token[0]
        if token["flags"]:
            if any(branches[0]) or depth:
                return regex  # flags in the middle: such an expression is left alone
            flags += word
            continue
        if depth == 0 and word == "|":
            branches.append([])
            continue
        items = branches[-1]
        if depth == 0 and not token["times"]:
            items.append(_Item())
        _extend(items[-1], token, depth)
        depth += bool(token["group"]) - (word == ")")
    return flags + "|".join(_stretch(items) for items in branches)


def _extend(item: _Item, token: re.Match[str], depth: int) -> None:
    word = token[0]
    if token["times"]:
        times, is_open = _times(token)
        item.text += times + token["lazy"]
        item.repeats = item.repeats or is_open
        if depth == 0:
            item.literals = 0
        return
    item.text += word
    is_escape = len(word) == 2 and word[0] == "\\" and not word[1].isalnum()
    if depth == 0 and (is_escape or (len(word) == 1 and word not in "^$.()|")):
        item.literals = 1


def _times(token: re.Match[str]) -> tuple[str, bool]:
    """The repetition without its count, and whether it has no end."""
    if token["low"] is None:
        return token["times"], token["times"] != "?"
    high = int(token["high"] or (0 if token["open"] else token["low"]))
    if high == 1:
        return token["times"], False
    return ("*" if int(token["low"]) == 0 else "+"), True


def _stretch(items: list[_Item]) -> str:
    """The first telling stretch without repetitions, else all."""
    stretches: list[list[_Item]] = [[]]
    for item in items:
        if item.repeats:
            stretches.append([])
        else:
            stretches[-1].append(item)
    for stretch in stretches:
        if sum(item.literals for item in stretch) >= TELLING:
            return "".join(item.text for item in stretch)
    return "".join(item.text for item in items)

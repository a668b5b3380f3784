"""Expressions of CI systems in texts: what is known is put in, the rest becomes a placeholder word."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..shell import PLACEHOLDER

__all__ = ["Lookup", "evaluate", "fill", "references", "replace_expressions"]

Lookup = Callable[[str], str | None]

_REFERENCE = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\['[\w -]+'\])*")
_LITERAL = re.compile(r"'((?:[^']|'')*)'|([0-9]+(?:\.[0-9]+)?|true|false)")
_INDEX = re.compile(r"\['([\w -]+)'\]")
_EMPTY_ON_A_CHANGE = ("inputs.", "github.event.", "github.head_ref", "vars.")
"""What is usually unset when a plain change starts the workflow, so that the alternative after ``||`` counts."""


def replace_expressions(text: str, opening: str, closing: str, value_of: Lookup) -> str:
    """``text`` with every expression between the marks replaced by its value, or by the placeholder if it is None."""
    if opening not in text:
        return text
    made: list[str] = []
    at = 0
    while (start := text.find(opening, at)) >= 0:
        end = text.find(closing, start + len(opening))
        if end < 0:
            break
        value = value_of(text[start + len(opening) : end].strip())
        made += (text[at:start], PLACEHOLDER if value is None else value)
        at = end + len(closing)
    return "".join(made) + text[at:]


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text of GitHub Actions with the values of these references (``matrix.os``, in small letters) put in."""
    return replace_expressions(text, "${{", "}}", lambda expression: evaluate(expression, values))


def evaluate(expression: str, values: Mapping[str, str]) -> str | None:
    """A reference, a literal, or the first of several between ``||`` that has a value; None = not known here."""
    value: str | None = None
    for term in expression.split("||"):
        term = term.strip()
        if match := _LITERAL.fullmatch(term):
            value = match[1].replace("''", "'") if match[1] is not None else match[2]
        elif _REFERENCE.fullmatch(term):
            name = _normal(term)
            value = values.get(name, "" if name.startswith(_EMPTY_ON_A_CHANGE) and "||" in expression else None)
        else:
            value = None
        if value is None:
            return None
        if value not in {"", "false", "0"}:
            return value
    return value


def references(text: str) -> set[str]:
    """The references that stand in the expressions of a text, in small letters."""
    found: set[str] = set()

    def collect(expression: str) -> None:
        found.update(_normal(match[0]) for match in _REFERENCE.finditer(expression))

    replace_expressions(text, "${{", "}}", collect)
    return found


def _normal(reference: str) -> str:
    return _INDEX.sub(r".\1", reference).lower()

"""The matrix of a job as rows of literal values, and the rows that a text needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice, product

from .document import Value
from .expressions import references
from .model import system_of

__all__ = ["Row", "known_values", "matrix_rows", "variants", "varying_keys"]

Row = Mapping[str, str]
"""Reference (``matrix.os``) -> value; without the keys whose values are not literal."""

MAX_ROWS = 128
"""Rows at most of a matrix that are looked at: GitHub itself allows 256, and the first ones show every kind."""

MAX_VARIANTS = 8
"""Commands at most into which one step is expanded: so many kinds of checks share one step at most."""

MAX_AXES = 16
"""Keys at most of a matrix or of an entry or value in it: people write five."""

_FIELDS_BESIDE = frozenset({"include", "exclude"})


def matrix_rows(matrix: Value) -> list[Row]:
    """The combinations that run, Linux first; one empty row if there is no matrix or it is computed."""
    axes: list[list[Row]] = []
    for key, values in islice(matrix.entries().items(), MAX_AXES):
        if key not in _FIELDS_BESIDE and values.is_sequence:
            axes.append([_flat(f"matrix.{key.lower()}", value) for value in values.items()[:MAX_ROWS]] or [{}])
    rows: list[Row] = []
    if axes:
        rows = [{k: v for part in parts for k, v in part.items()} for parts in islice(product(*axes), MAX_ROWS)]
    rows = _included(rows, matrix.get("include").items())
    rows.sort(key=lambda row: not _is_linux(row))
    return rows[:MAX_ROWS] or [{}]


def _flat(name: str, value: Value, depth: int = 2) -> dict[str, str]:
    """The literal values in a value of the matrix by reference: it may have keys of its own."""
    if not value.is_mapping:
        return {} if "${{" in value.text or value.is_sequence else {name: value.text}
    found: dict[str, str] = {}
    for key, item in islice(value.entries().items(), MAX_AXES if depth else 0):
        found |= _flat(f"{name}.{key.lower()}", item, depth - 1)
    return found


def _included(rows: list[Row], entries: Iterable[Value]) -> list[Row]:
    """An entry adds its values to the combinations that it fits, or stands for itself."""
    axes = {key for row in rows for key in row}
    alone: list[Row] = []
    for entry in islice(entries, MAX_ROWS):
        values = _flat("matrix", entry)
        shared = {key: value for key, value in values.items() if key in axes}
        fitting = [n for n, row in enumerate(rows) if all(row.get(key) == value for key, value in shared.items())]
        for n in fitting:
            rows[n] = {**rows[n], **values}
        if not fitting:
            alone.append(values)
    return rows + alone


def _is_linux(row: Row) -> bool:
    return system_of(*row.values()) in {"", "linux"}


def known_values(rows: list[Row]) -> dict[str, str]:
    """The references that have one and the same value in all rows that have them."""
    found: dict[str, str] = {}
    several: set[str] = set()
    for row in rows:
        for key, value in row.items():
            if found.setdefault(key, value) != value:
                several.add(key)
    return {key: value for key, value in found.items() if key not in several}


_WORD = re.compile(r"(?:^|[\n;&|(]|(?<=[ \t]))([^\s;&|()]*\$\{\{[^}]{0,200}\}\}[^\s;&|()]*)")
_TELLING = re.compile(r"[A-Za-z./]")
_NAMES_OF_SYSTEMS = re.compile(
    r"(?:^|\.)(?:os|runner|platform|arch|image|host|[\w-]*version|python|node|java|go|ruby|php|rust)$"
)


def varying_keys(rows: list[Row]) -> frozenset[str]:
    """The references that have several values."""
    return frozenset(key for row in rows for key in row) - frozenset(known_values(rows))


def variants(rows: list[Row], varying: frozenset[str], texts: Iterable[str]) -> list[list[Row]]:
    """Groups of rows for which a step with these texts is a command of its own; mostly one group of all.

    A step is expanded where a value of the matrix is a word that tells what runs (``run: ${{ matrix.command }}``,
    ``make ${{ matrix.target }}``), not where it is the value of an option or a version. ``varying`` are the
    :func:`varying_keys` of the rows.
    """
    if not varying:
        return [rows]
    wanted = sorted(key for key in _telling_words(texts) & varying if _tells(key, rows))
    if not wanted:
        return [rows]
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key) for key in wanted), []).append(row)
    return list(groups.values())[:MAX_VARIANTS]


def _telling_words(texts: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for text in texts:
        if "matrix" not in text:
            continue
        for match in _WORD.finditer(text):
            line = text.rfind("\n", 0, match.start(1)) + 1
            before = text[max(line, match.start(1) - 200) : match.start(1)].split()
            if not (before and before[-1].startswith("-") and "=" not in before[-1]) and not match[1].startswith("-"):
                found |= references(match[1])
    return found


def _tells(key: str, rows: list[Row]) -> bool:
    values = [row[key] for row in rows if key in row]
    return not _NAMES_OF_SYSTEMS.search(key) and any(_TELLING.search(value) for value in values)
